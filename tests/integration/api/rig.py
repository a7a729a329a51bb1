"""A server on loopback over the real runtime and a journal in memory; only the called services are played.

The usual definition, `job`, has a step `work` that can be undone. Its calls wait in `Hands.open` until the test answers
them, so a test decides when a saga moves. The others are `definitions.py`'s: one for each way in which a saga waits for
somebody. What a method answers is told beforehand in `Hands.answers`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

import grpc.aio
from google.protobuf import json_format, struct_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

from orchestrator.api import ApiBounds, ApiServer
from orchestrator.definition.diagnostics import Code, Diagnostic, Place
from orchestrator.diagnostics import LiveProcess, Sampler
from orchestrator.errors import InputInvalid, NotFound
from orchestrator.ids import StepId
from orchestrator.journal import MemoryJournal
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.cluster import ClusterView, SoleView
from orchestrator.ports.diagnostics import CallFacts, Diagnostics
from orchestrator.ports.invoker import CallRequest, OnReport
from orchestrator.ports.observer import Observer, Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import Orchestrator
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Call, Compensation, Facts, Plan, RetryPolicy, Step, StepKind
from orchestrator.telemetry import Metrics
from orchestrator.v1.admin_service_pb2_grpc import AdminServiceStub
from orchestrator.v1.definition_service_pb2_grpc import DefinitionServiceStub
from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub
from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from orchestrator.values import JSON_TYPE, Payload
from tests.integration.api.definitions import PLANS

PATIENCE_S = 4.0
"""Of a caller who shall have an answer before it gives up, in a test that uses `early`."""

if TYPE_CHECKING:  # these are names of the stubs, for types only
    from orchestrator.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from orchestrator.v1.definition_service_pb2_grpc import DefinitionServiceAsyncStub
    from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceAsyncStub
    from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceAsyncStub
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub

WORK = StepId("work")
ONCE = RetryPolicy(max_attempts=1, initial_backoff_s=0.1, max_backoff_s=1.0, multiplier=2.0)


class Ticks:
    """A clock that moves a millisecond whenever it is read, so that no two sagas start at one instant."""

    def __init__(self) -> None:
        self._reads = 0
        self._uids = 0

    def now(self) -> float:
        self._reads += 1
        return 1_790_000_000.0 + self._reads / 1000

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return self.now()

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        self._uids += 1
        return UUID(int=self._uids, version=4)


@dataclass(slots=True)
class Open:
    """A call that waits for the test's answer."""

    call: CallRequest
    on_report: OnReport
    is_over: bool = False

    def abort(self) -> None:
        """Nothing: this service ignores cancellation, so the test still decides."""

    def end(self, report: Report) -> None:
        if not self.is_over:
            self.is_over = True
            asyncio.get_running_loop().call_soon(self.on_report, report)


@dataclass(slots=True)
class Hands:
    """Plays the called services."""

    answer_at_once: bool = True
    open: list[Open] = field(default_factory=list)
    answers: dict[str, list[Report]] = field(default_factory=dict)
    """Last part of a method's name -> what it answers, one after the other; then as every other."""
    held: set[str] = field(default_factory=set)
    """Methods that do not answer by themselves."""
    began: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, call: CallRequest, on_report: OnReport) -> Open:
        opened = Open(call, on_report)
        self.open.append(opened)
        self.began.set()
        name = call.method.rpartition("/")[2]
        if self.answers.get(name):
            opened.end(self.answers[name].pop(0))
        elif self.answer_at_once and name not in self.held:
            opened.end(done(call.request))
        return opened

    def refuse(self, *names: str, code: str = "FAILED_PRECONDITION") -> None:
        """Let the next call of each method be refused."""
        for name in names:
            report = Report(code=code, phase=Phase.REPLIED, message=f"{name} will not")
            self.answers.setdefault(name, []).append(report)

    def called(self, name: str) -> list[CallRequest]:
        """The calls of a method, in order."""
        return [one.call for one in self.open if one.call.method.endswith(f"/{name}")]

    def in_flight(self) -> Mapping[str, int]:
        return {"shop": sum(not one.is_over for one in self.open)}

    def calls(self) -> Iterator[CallFacts]:
        for one in self.open:
            if not one.is_over:
                call = one.call
                yield CallFacts(
                    saga_id=call.saga_id,
                    step=call.step,
                    operation=call.operation.value,
                    attempt=call.attempt,
                    target=call.target,
                    method=call.method,
                    phase="sent",
                    begun_at=call.deadline_at - 30.0,
                    deadline_at=call.deadline_at,
                )

    async def close(self, grace_s: float) -> None:
        self.open.clear()

    def settle(self) -> None:
        """Answer OK to everything that waits, and to everything that comes."""
        self.answer_at_once = True
        for one in self.open:
            one.end(done(one.call.request))


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The `google.rpc.Status` of a failed call; it agrees with the call's code and text."""
    return rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is asked of a call


def done(reply: Payload) -> Report:
    return Report(code="OK", phase=Phase.REPLIED, reply=reply)


def json_payload(**values: object) -> Payload:
    message = json_format.ParseDict(values, struct_pb2.Struct())
    return Payload(JSON_TYPE, message.SerializeToString(deterministic=True))


def plan_of(revision: str = "r1") -> Plan:
    def forward(facts: Facts) -> Payload:
        return facts.input

    def call(method: str) -> Call:
        return Call(
            target="shop",
            method=method,
            reply_type=JSON_TYPE,
            render=forward,
            timeout_s=30.0,
            retry=ONCE,
            idempotent=True,
        )

    work = Step(
        id=WORK,
        kind=StepKind.COMPENSATABLE,
        needs=frozenset(),
        body=call("shop.v1.Shop/Do"),
        compensation=Compensation(call=call("shop.v1.Shop/Undo")),
    )
    return Plan(
        definition="job",
        revision=revision,
        input_type=JSON_TYPE,
        steps={WORK: work},
        forward_s=600.0,
        compensation_s=60.0,
        output=forward,
    )


@dataclass(slots=True)
class Shelf:
    """Revisions without a compiler: `broken` does not compile, every other source is the plan above."""

    kept: list[Revision] = field(default_factory=lambda: [kept("r1", active=True)])

    async def plan(self, definition: str, revision: str = "") -> Plan:
        if definition in PLANS:
            return PLANS[definition]
        return plan_of((await self.get(definition, revision)).revision)

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        if isinstance(given, JsonInput):
            if "nonsense" in given.values:
                raise InputInvalid("input.nonsense", "is not a field of the input")
            return json_payload(**given.values)
        if given.type_name != plan.input_type:
            raise InputInvalid("input", f"is a {given.type_name}, and {plan.definition} takes a {plan.input_type}")
        return given

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        if isinstance(given, JsonInput):
            if "nonsense" in given.values:
                raise InputInvalid(f"{path}.nonsense", f"is not a field of {type_name}")
            return json_payload(**given.values)
        if given.type_name != type_name:
            raise InputInvalid(path, f"is a {given.type_name}, and a {type_name} is wanted")
        return given

    def to_json(self, plan: Plan, payload: Payload) -> Mapping[str, object]:
        found: dict[str, object] = json_format.MessageToDict(struct_pb2.Struct.FromString(payload.data))
        return found

    async def create_revision(
        self, source: str, filename: str, validate_only: bool
    ) -> tuple[Revision | None, Sequence[Diagnostic]]:
        place = Place(filename, 3, 7)
        if source.startswith("broken"):
            count = int(source.partition(" ")[2] or 1)
            message = "shop.v1.Shop serves no method Dou" + "\N{SNOWMAN}" * 40
            found = [
                Diagnostic(
                    code=Code.UNKNOWN_METHOD,
                    place=replace(place, line=3 + number),
                    path="steps.work.call",
                    step="work",
                    saga="job",
                    message=message,
                    fix="did you mean Do?",
                )
                for number in range(count)
            ]
            return None, found
        revision = kept(source, active=not self.kept)
        if not validate_only:
            self.kept.insert(0, revision)
        return revision, []

    async def get(self, definition: str, revision: str = "") -> Revision:
        if not any(one.definition == definition for one in self.kept):
            raise NotFound("definition", definition)
        for one in self.kept:
            if one.definition == definition and (one.revision == revision or (not revision and one.active)):
                return one
        raise NotFound("revision", revision)

    async def definitions(self) -> Sequence[Revision]:
        return [one for one in self.kept if one.active]

    async def revisions(self, definition: str) -> Sequence[Revision]:
        return [one for one in self.kept if one.definition == definition]

    async def activate(self, definition: str, revision: str) -> None:
        await self.get(definition, revision)
        self.kept = [
            replace(one, active=one.revision == revision) if one.definition == definition else one for one in self.kept
        ]


def kept(revision: str, *, definition: str = "job", active: bool = False) -> Revision:
    return Revision(
        definition=definition,
        revision=revision,
        source=f"saga: {definition}",
        descriptors=b"",
        created_at=1_790_000_000.0,
        active=active,
    )


@dataclass(frozen=True, slots=True)
class Listen:
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(slots=True, kw_only=True)
class Rig:
    """A running server and a client of it."""

    api: ApiServer
    port: int
    orchestrator: Orchestrator
    journal: MemoryJournal
    hands: Hands
    shelf: Shelf
    channel: grpc.aio.Channel

    @property
    def sagas(self) -> "SagaServiceAsyncStub":
        return SagaServiceStub(self.channel)

    @property
    def operators(self) -> "OperatorServiceAsyncStub":
        return OperatorServiceStub(self.channel)

    @property
    def definitions(self) -> "DefinitionServiceAsyncStub":
        return DefinitionServiceStub(self.channel)

    @property
    def admin(self) -> "AdminServiceAsyncStub":
        return AdminServiceStub(self.channel)

    @property
    def diagnostics(self) -> "DiagnosticsServiceAsyncStub":
        return DiagnosticsServiceStub(self.channel)


@asynccontextmanager
async def running(
    *,
    bounds: ApiBounds | None = None,
    answer_at_once: bool = True,
    journal: MemoryJournal | None = None,
    wrap: Callable[[Orchestrator], Orchestrator] = lambda real: real,
    cluster: ClusterView | None = None,
    diagnostics: Diagnostics | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Rig]:
    """A server for one test; `wrap` may put something between it and the runtime."""
    clock, hands, shelf = Ticks(), Hands(answer_at_once), Shelf()
    journal = journal or MemoryJournal()
    failures: list[str] = []
    real = Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=shelf,
        invoker=hands,
        clock=clock,
        observer=Silence(),
        on_failed=failures.append,
        baggage=("tenant",),
    )
    itself = LiveProcess(
        name="alone", clock=clock, acting=real, calling=hands, counting=Metrics(), sampler=Sampler(clock)
    )
    async with real.running():
        api = ApiServer(
            wrap(real),
            shelf,  # type: ignore[arg-type]  # the shelf plays it
            Listen(),
            clock=clock,
            bounds=bounds or ApiBounds(),
            cluster=cluster or SoleView(journal, clock, epoch=journal.epoch, name="alone"),
            diagnostics=diagnostics or itself,
            observer=observer,
        )
        port = await api.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                yield Rig(
                    api=api,
                    port=port,
                    orchestrator=real,
                    journal=journal,
                    hands=hands,
                    shelf=shelf,
                    channel=channel,
                )
            finally:
                await api.drain(0.0)
