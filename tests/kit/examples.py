"""The worked examples as they run: their services and the orchestrator as real processes, and the witnesses they leave.

One stage serves all tests of an example. They keep apart by business keys: every saga is named as what it is about (an
order, a trip), faults are aimed at one of them, and the ledgers are read by it.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

from google.protobuf import message

from orchestrator.bootstrap import open_records
from orchestrator.v1.saga_pb2 import SAGA_VIEW_FULL, Saga, SagaStatus, StepStatus
from orchestrator.v1.saga_service_pb2 import (
    WAIT_UNTIL_CHANGE,
    CancelSagaRequest,
    StartSagaRequest,
    WaitSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from orchestrator.verify import Findings, Ledgers, read_ledgers, verify
from services.epro.v1 import admin_service_pb2
from services.ledger import Entry, read_directory
from tests.kit.mesh import ROOT, Program, calls_of, channel, clear_faults, counted, set_fault

DEFINITIONS = ROOT / "compose" / "definitions"
CALL_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A program, and the targets that it is."""

    module: str
    """Below `services`."""
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A definition, those that it starts, and who must be there to run it."""

    definition: str
    children: tuple[str, ...] = ()
    programs: tuple[Served, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Target -> what is configured about it beside its address, the key and the barrier."""

    @property
    def paths(self) -> list[Path]:
        """The files of its definitions, what is started by another first."""
        return [DEFINITIONS / f"{name}.yaml" for name in (*self.children, self.definition)]


def without_key(method: str) -> Mapping[str, Any]:
    """Configuration of a target that keeps keys, but for one method: asked twice, it would act twice."""
    return {"methods": {method: {"idempotent": False}}}


ORDER = Example(
    definition="order",
    programs=(Served(module="shop", targets=("stock", "payments", "shipping")),),
    settings={"payments": without_key("shop.v1.Payments/Capture")},
)
TRAVEL = Example(
    definition="travel",
    children=("book_flight", "book_hotel", "book_car"),
    programs=(
        *(Served(module="travel.reservations", targets=(target,)) for target in ("flights", "hotels", "cars")),
        Served(module="travel.agency", targets=("agency",)),
    ),
)
TRANSFER = Example(
    definition="transfer",
    programs=(Served(module="bank", targets=("accounts", "screening")),),
    settings={"accounts": without_key("bank.v1.Accounts/Credit")},
)
APPROVAL = Example(
    definition="approval",
    programs=(Served(module="expenses", targets=("claims", "payouts")),),
    settings={"payouts": without_key("expenses.v1.Payouts/Pay")},
)
BULK_IMPORT = Example(definition="bulk_import", programs=(Served(module="importer", targets=("catalogue", "search")),))
EXAMPLES = (ORDER, TRAVEL, TRANSFER, APPROVAL, BULK_IMPORT)


class Stage:
    """An example's processes; leaving the context kills what still runs."""

    def __init__(self, folder: Path, example: Example, hurried: Mapping[str, str] | None = None) -> None:
        """`hurried` replaces texts in the definitions: days by moments."""
        self.folder = folder
        self.example = example
        self._hurried = hurried or {}
        self._opened = AsyncExitStack()
        self._programs = {
            served: self._program(served.targets[0], f"services.{served.module}", "--data", served.targets[0])
            for served in example.programs
        }
        self.orchestrator = self._program("orchestrator", "orchestrator", "serve", "--config", "saga.yaml")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()
        for program in (self.orchestrator, *self._programs.values()):
            await program.kill()

    async def open(self) -> None:
        """Start the services, then the orchestrator on them."""
        for program in self._programs.values():
            await program.start()
        self._configure()
        connection = await self._opened.enter_async_context(channel(await self.orchestrator.start()))
        self.sagas = SagaServiceStub(connection)

    async def start(self, saga_id: str, given: message.Message) -> None:
        """Start the example's saga; returns when that is durable."""
        request = StartSagaRequest(saga_id=saga_id, definition=self.example.definition)
        request.typed.Pack(given)
        await self.sagas.StartSaga(request, timeout=CALL_S, wait_for_ready=True)

    async def cancel(self, saga_id: str) -> None:
        await self.sagas.CancelSaga(CancelSagaRequest(saga_id=saga_id, reason="second thoughts"), timeout=CALL_S)

    async def ended(self, saga_id: str) -> "Told":
        """Wait until the saga has ended or needs a person; the test's own time limit bounds it."""
        request = WaitSagaRequest(saga_id=saga_id, view=SAGA_VIEW_FULL)
        while True:
            reply = await self.sagas.WaitSaga(request, timeout=CALL_S + 60, wait_for_ready=True)
            if reply.reached:
                return Told(saga=reply.saga)

    async def until(self, saga_id: str, holds: Callable[["Told"], bool]) -> None:
        """Wait for a fact about a saga that goes on; the test's own time limit bounds it."""
        request = WaitSagaRequest(saga_id=saga_id, until=WAIT_UNTIL_CHANGE, view=SAGA_VIEW_FULL)
        while True:
            reply = await self.sagas.WaitSaga(request, timeout=CALL_S + 60, wait_for_ready=True)
            if holds(Told(saga=reply.saga)):
                return
            request.after_sequence = reply.saga.sequence

    async def run(self, saga_id: str, given: message.Message) -> "Told":
        """Start it and wait for its end."""
        await self.start(saga_id, given)
        return await self.ended(saga_id)

    def program(self, target: str) -> Program:
        return next(program for served, program in self._programs.items() if target in served.targets)

    def address(self, target: str) -> str:
        return self.program(target).address

    async def set_fault(self, target: str, **fault: Any) -> None:
        """Set an epro.v1.Fault, by its JSON names."""
        await set_fault(self.address(target), **fault)

    async def clear_faults(self, target: str) -> None:
        await clear_faults(self.address(target))

    async def counted(self, target: str, method: str, holds: Callable[[admin_service_pb2.MethodStats], bool]) -> None:
        """Wait for a fact in a method's counters."""
        await counted(self.address(target), method, holds)

    async def calls(self, target: str, method: str) -> int:
        """Return how often a method was called."""
        return await calls_of(self.address(target), method)

    def effects(self, name: str) -> list[str]:
        """The methods that changed something for a saga, or about what it is about, in the order of their effects."""
        return [entry.method for entry in self._entries() if entry.effect and name in {entry.saga_id, entry.report_id}]

    def standing(self, name: str) -> Counter[str]:
        """Step -> effects of it that stand: done, and not undone."""
        net: Counter[str] = Counter()
        for entry in self._entries():
            if name in {entry.saga_id, entry.report_id}:
                net[entry.saga_step] += -entry.effect if entry.op == "compensate" else entry.effect
        return +net

    async def judged(self) -> Findings:
        """Stop everything, and hold journal and ledgers against each other."""
        self.orchestrator.signal()
        assert await self.orchestrator.ended(within_s=30) == 0
        assert "Traceback" not in self.orchestrator.log
        lines = chain.from_iterable(read_ledgers(folder) for folder in self._folders())
        async with open_records(self.folder / "saga.sqlite") as (journal, plans):
            return await verify(journal, plans, ledgers=Ledgers(lines))

    def _entries(self) -> list[Entry]:
        entries = chain.from_iterable(read_directory(folder) for folder in self._folders())
        return sorted(entries, key=lambda entry: entry.ts)

    def _folders(self) -> list[Path]:
        return [self.folder / served.targets[0] for served in self._programs]

    def _configure(self) -> None:
        """Write the orchestrator's configuration; JSON is YAML."""
        for path in self.example.paths:
            text = path.read_text(encoding="utf-8")
            for unhurried, hurried in self._hurried.items():
                text = text.replace(unhurried, hurried)
            (self.folder / path.name).write_text(text, encoding="utf-8")
        kept = {"idempotent": True, "barrier": True}
        values = {
            "api": {"port": 0},
            "http": {"port": 0},
            "store": "sqlite:saga.sqlite",
            "definitions": [path.name for path in self.example.paths],
            "targets": {
                target: {"address": program.address, **kept, **self.example.settings.get(target, {})}
                for served, program in self._programs.items()
                for target in served.targets
            },
        }
        (self.folder / "saga.yaml").write_text(json.dumps(values), encoding="utf-8")

    def _program(self, name: str, module: str, *arguments: str) -> Program:
        return Program(name=name, module=module, arguments=arguments, folder=self.folder)


@asynccontextmanager
async def judged_stage(
    folder: Path, example: Example, hurried: Mapping[str, str] | None = None
) -> AsyncGenerator[Stage]:
    """A stage on which, in the end, journal and ledgers have to agree about everything that happened."""
    async with Stage(folder, example, hurried) as stage:
        await stage.open()
        yield stage
        findings = await stage.judged()
        assert not findings.violations, findings.violations
        assert findings.effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A saga as it stands, in words."""

    saga: Saga

    @property
    def status(self) -> str:
        return SagaStatus.Name(self.saga.status).removeprefix("SAGA_STATUS_")

    @property
    def steps(self) -> dict[str, str]:
        """Step -> its status."""
        return {each.step: StepStatus.Name(each.status).removeprefix("STEP_STATUS_") for each in self.saga.steps}

    @property
    def why(self) -> str:
        """Why it went backward, in a sentence."""
        return self.saga.cause.message

    @property
    def output(self) -> dict[str, Any]:
        """What the saga answered: a JSON object."""
        return dict(self.saga.output.json)
