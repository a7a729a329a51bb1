"""Two lives of one orchestrator on one SQLite file: the first dies under each saga at its moment, the second goes on.

A death is played saga by saga, so that one process can show all of them: from its moment on nothing of that saga is
sent, heard or written any more, which is what the end of a process looks like from inside. The second life is
`bootstrap.open_node`, as it is.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4  # noqa: TID251  # the clock below deals in them

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.errors import Fenced, OrchestratorError
from orchestrator.invoker import GrpcInvoker
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.invoker import CallRequest, OnReport, OpenCall
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import Orchestrator, StartRequest
from orchestrator.saga.events import AttemptSettled, Report
from orchestrator.v1 import annotations_pb2
from orchestrator.v1.annotations_pb2 import SagaMethod
from orchestrator.v1.annotations_pb2 import saga as annotation
from tests.integration.outcomes.cells import Cell, Crash
from tests.integration.outcomes.rules import Kind
from tests.kit.breaking import BreakingServer
from tests.kit.ports import free

ARRIVES_S_MAX = 60.0
_SOURCE = """
saga: {name}
input: json
deadline: {{forward: 30m}}
targets: [{target}]
steps:
  act:
    call: {target}/cell.v1.Cell/{method}
    request: {{id: "${{saga.id}}"}}
    timeout: {timeout_s}s{retry}
    compensate: {{call: {target}/cell.v1.Cell/Undo, request: {{id: "${{saga.id}}"}}}}
"""
_RETRY = """
    retry: {max_attempts: 4, initial_backoff: 10ms, max_backoff: 40ms}"""


class HurriedClock:
    """The system's clock, with little luck: pauses are short."""

    def now(self) -> float:
        return time.time()  # noqa: TID251  # this is a clock

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return time.monotonic()  # noqa: TID251  # this is a clock

    def entropy(self) -> float:
        return 0.02

    def new_uid(self) -> UUID:
        return uuid4()


class Deaths:
    """Which sagas have yet to lose their orchestrator, and which have."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._moments = {cell.saga_id: cell.crash for cell in cells}
        self._dead: set[str] = set()
        self.all_dead = asyncio.Event()

    def is_dead(self, saga: str) -> bool:
        return saga in self._dead

    def strikes(self, saga: str, moment: Crash) -> bool:
        """Return whether this is the saga's moment; from now on it is dead."""
        if self._moments.get(saga) is not moment:
            return False
        self._dead.add(saga)
        if len(self._dead) == len(self._moments):
            self.all_dead.set()
        return True


class DyingJournal(SqliteJournal):
    """Real appends, whose result a dead saga's owner never learns."""

    deaths: Deaths

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        alive = [append for append in batch if not self.deaths.is_dead(append.saga_id)]
        results = dict(zip((append.saga_id for append in alive), await super().append(alive), strict=True))
        gone: OrchestratorError = Fenced("this owner is dead")
        for append in alive:
            if any(isinstance(record.event, AttemptSettled) for record in append.records):
                self.deaths.strikes(append.saga_id, Crash.RECORDED)
        return [gone if self.deaths.is_dead(one.saga_id) else results[one.saga_id] for one in batch]


class _Nobody:
    """A call of the dead."""

    def abort(self) -> None:
        pass


class DyingInvoker:
    """Real calls, unless their saga is dead; what a dead saga's call brought is never told."""

    def __init__(self, hands: GrpcInvoker, deaths: Deaths) -> None:
        self._hands = hands
        self._deaths = deaths

    def begin(self, call: CallRequest, on_report: OnReport) -> OpenCall:
        if self._deaths.is_dead(call.saga_id) or self._deaths.strikes(call.saga_id, Crash.OPENED):
            return _Nobody()

        def reported(report: Report) -> None:
            if not self._deaths.strikes(call.saga_id, Crash.SENT):
                on_report(report)

        return self._hands.begin(call, reported)

    def in_flight(self) -> Mapping[str, int]:
        return self._hands.in_flight()

    async def close(self, grace_s: float) -> None:
        await self._hands.close(grace_s)


def settings(folder: Path, addresses: Mapping[str, str]) -> Settings:
    """Return what both lives are configured with: facts come from the methods' annotations, none from here."""
    descriptors = folder / "cell.binpb"
    descriptors.write_bytes(described())
    targets = {name: {"address": at, "descriptors": {"set": str(descriptors)}} for name, at in addresses.items()}
    return Settings.model_validate({"store": f"sqlite:{folder / 'saga.sqlite'}", "targets": targets})


def described() -> bytes:
    """Return the service of the cells: one method for each kind, annotated by its owner, and one that undoes."""
    file = FileDescriptorProto(name="cell/v1/cell.proto", package="cell.v1", syntax="proto3")
    file.dependency.append("orchestrator/v1/annotations.proto")
    message = file.message_type.add(name="Named")
    message.field.add(name="id", number=1, type=FieldDescriptorProto.TYPE_STRING)
    service = file.service.add(name="Cell")
    said = {
        Kind.KEYED.value: SagaMethod(idempotent=True),
        Kind.BARRIER.value: SagaMethod(barrier=True),
        Kind.DTM.value: SagaMethod(idempotent=True, outcome_profile=SagaMethod.DTM),
    }
    for name in (*Kind, "undo"):
        method = service.method.add(name=name.capitalize(), input_type=".cell.v1.Named", output_type=".cell.v1.Named")
        if name in said:
            method.options.Extensions[annotation].CopyFrom(said[name])
    files = [file]
    for imported in (annotations_pb2.DESCRIPTOR, descriptor_pb2.DESCRIPTOR):
        copy = FileDescriptorProto()
        imported.CopyToProto(copy)
        files.append(copy)
    return FileDescriptorSet(file=files).SerializeToString()


async def define(revisions: Revisions, cells: Iterable[Cell]) -> None:
    """Keep a definition for every target, kind and timeout."""
    for cell in {cell.definition: cell for cell in cells}.values():
        source = _SOURCE.format(
            name=cell.definition,
            target=cell.target,
            method=cell.kind.value.capitalize(),
            timeout_s=f"{cell.timeout_s:g}",
            retry=_RETRY if cell.kind in {Kind.RETRIED, Kind.KEYED, Kind.DTM} else "",
        )
        revision, findings = await revisions.create_revision(source, cell.definition)
        assert revision is not None, [str(each) for each in findings]


@asynccontextmanager
async def first_life(
    configured: Settings, cells: Sequence[Cell], doomed: Sequence[Cell]
) -> AsyncGenerator[tuple[Orchestrator, Deaths]]:
    """Run the orchestrator that dies under the doomed cells; it keeps the definitions of all."""
    path = configured.sqlite_path
    assert path is not None
    clock, deaths = HurriedClock(), Deaths(doomed)
    journal = DyingJournal.open(path)
    assert isinstance(journal, DyingJournal)
    journal.deaths = deaths
    hands = GrpcInvoker({target.name: target for target in configured.target_configs()}, clock)
    revisions = Revisions(journal, hands.methods, clock)
    await define(revisions, cells)
    failures: list[str] = []
    orchestrator = Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=revisions,
        invoker=DyingInvoker(hands, deaths),
        clock=clock,
        observer=Silence(),
        on_failed=failures.append,
    )
    try:
        async with orchestrator.running():
            yield orchestrator, deaths
    finally:
        await hands.close(0.0)
        await journal.close()
    assert failures == []


async def start_all(orchestrator: Orchestrator, server: BreakingServer, cells: Iterable[Cell], at_once: int) -> None:
    """Start a saga for every cell; no more at a time than get their first call through without being late."""
    room = asyncio.Semaphore(at_once)

    async def start(cell: Cell) -> None:
        async with room:
            request = StartRequest(definition=cell.definition, input=JsonInput({}), saga_id=cell.saga_id)
            await orchestrator.start(request)
            if cell.arrives:
                async with asyncio.timeout(ARRIVES_S_MAX):
                    await server.arrived(cell.saga_id)

    async with asyncio.TaskGroup() as starting:
        for cell in cells:
            starting.create_task(start(cell))


def dead_address() -> str:
    """Return a loopback address where nobody listens."""
    return f"127.0.0.1:{free()}"
