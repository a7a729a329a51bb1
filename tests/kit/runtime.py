"""The real runtime over scripted hands, a journal in memory and virtual time.

A process is played by `Process`. It dies at an append (`journal.die_at`): nothing is performed, answered or reported
any more. Its `heir` opens the same journal under a higher epoch.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Self, TypeVar
from uuid import UUID

from orchestrator.errors import JournalUnavailable, PlanMissing
from orchestrator.ids import SagaId
from orchestrator.journal import MemoryJournal
from orchestrator.ports.invoker import CallRequest, OnReport
from orchestrator.ports.journal import Append, AppendResult, Record
from orchestrator.ports.observer import Observer, Silence
from orchestrator.ports.ownership import Ownership, SoleOwnership
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import Orchestrator, Started, StartRequest, Until
from orchestrator.saga import SagaState
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Plan
from orchestrator.testing import FixedPlans
from orchestrator.values import Payload
from tests.kit.machine import BEGIN_AT, report

T = TypeVar("T")

Answer = Callable[[CallRequest], Report | None]
"""What a service says to a call; None: nothing yet."""
TURNS_MAX = 2_000
TURN_S = 0.000_1
"""Virtual: by then everything that was ready has run."""


class JumpingSelector(selectors.SelectSelector):
    """Where a loop would sleep, time jumps instead: a test of an hour takes a moment, and is the same every time."""

    jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing is left that could ever happen")
        self.jumped_s += max(timeout, 0.0)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on the time of its selector."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.jumped_s


def run(story: Coroutine[object, object, T]) -> T:
    """Run a story on virtual time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(story)


class ManualClock:
    """Wall time in step with the jumping loop."""

    def __init__(self) -> None:
        self._luck = Random(11)
        self.step_s = 0.0
        """Added to the wall clock, and not to the loop's: as when a clock is set."""

    def now(self) -> float:
        return BEGIN_AT + self.step_s + asyncio.get_running_loop().time()

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        return UUID(int=self._luck.getrandbits(128))


class ForgetfulPlans(FixedPlans):
    """A catalogue that puts plans aside, as the real one does with those that were not asked for lately."""

    def __init__(self, *plans: Plan) -> None:
        super().__init__(*plans)
        self._kept: set[str] = set()

    def put_aside(self) -> None:
        """Forget every compiled plan."""
        self._kept.clear()

    async def plan(self, definition: str, revision: str = "") -> Plan:
        found = await super().plan(definition, revision)
        self._kept.add(definition)
        return found

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        if plan.definition not in self._kept:
            raise PlanMissing(f"definition {plan.definition} was put aside: ask for it again")
        return super().payload(plan, type_name, given, path)


class ScriptedCall:
    """A call that is open until somebody answers it; an abort is answered CANCELLED, one turn later."""

    def __init__(self, hands: "ScriptedInvoker", request: CallRequest, on_report: OnReport) -> None:
        self.request = request
        self._hands = hands
        self._on_report = on_report
        self.is_over = False
        self.was_aborted = False

    def abort(self) -> None:
        self.was_aborted = True
        if self._hands.answers_aborts:
            asyncio.get_running_loop().call_soon(self.settle, report("CANCELLED"))

    def settle(self, said: Report) -> None:
        """Report, once."""
        if not self.is_over:
            self.is_over = True
            self._hands.open.remove(self)
            if not self._hands.is_dead:
                self._on_report(said)


class ScriptedInvoker:
    """Hands that ask a function for the answer, one turn after the call was begun."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.open: list[ScriptedCall] = []
        self.begun: list[CallRequest] = []
        self.answers_aborts = True
        self.is_dead = False

    def begin(self, call: CallRequest, on_report: OnReport) -> ScriptedCall:
        opened = ScriptedCall(self, call, on_report)
        self.open.append(opened)
        self.begun.append(call)
        said = self.answer(call)
        if said is not None:
            asyncio.get_running_loop().call_soon(opened.settle, said)
        return opened

    def in_flight(self) -> Mapping[str, int]:
        return {"service": len(self.open)} if self.open else {}

    async def close(self, grace_s: float) -> None:
        for call in list(self.open):
            call.settle(report("CANCELLED"))


class TappedJournal(MemoryJournal):
    """The memory journal, with a gate, a fault and a count.

    `die_at` is the append at which the process dies: the group is durable, or (`loses`) it is not, and in either case
    nobody hears of it. Appends that never return and hands that never report are what SIGKILL looks like from inside.
    """

    gate: asyncio.Event
    groups: list[int]
    reads: int
    die_at: int | None
    loses: bool
    on_death: Callable[[], None]

    def reopen(self) -> "TappedJournal":
        fresh = TappedJournal.__new__(TappedJournal)
        fresh._open(self._contents)
        return fresh.tap()

    def tap(self) -> Self:
        """Begin with the gate open and no fault."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.groups, self.reads, self.die_at, self.loses = [], 0, None, False
        self.on_death = lambda: None
        return self

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        await self.gate.wait()
        self.groups.append(len(batch))
        dies = self.die_at is not None and len(self.groups) >= self.die_at
        results = await super().append(batch) if not (dies and self.loses) else []
        if dies:
            self.on_death()
            raise JournalUnavailable("the disk is gone; nothing is acknowledged until a restart")
        return results

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        self.reads += 1
        await asyncio.sleep(TURN_S)  # poll: no fact, a store that reads a disk takes its time
        return await super().read(saga_id, after_version, limit)


class Process:
    """One life of the orchestrator: use it inside `async with process.orchestrator.running()`."""

    def __init__(
        self,
        answer: Answer,
        *plans: Plan,
        journal: TappedJournal | None = None,
        clock: ManualClock | None = None,
        observer: Observer | None = None,
        ownership: Ownership | None = None,
        baggage: Sequence[str] = (),
    ) -> None:
        self.journal = journal or TappedJournal().tap()
        self.clock = clock or ManualClock()
        self.plans = plans
        self.catalogue = ForgetfulPlans(*plans)
        self.hands = ScriptedInvoker(answer)
        self.journal.on_death = self._die
        self.failures: list[str] = []
        self.orchestrator = Orchestrator(
            journal=self.journal,
            ownership=ownership or SoleOwnership(self.journal.epoch),
            plans=self.catalogue,
            invoker=self.hands,
            clock=self.clock,
            observer=observer or Silence(),
            on_failed=self.failures.append,
            baggage=baggage,
        )

    def _die(self) -> None:
        self.hands.is_dead = True

    def heir(self) -> "Process":
        """Return the next process on the same journal."""
        return Process(self.hands.answer, *self.plans, journal=self.journal.reopen(), clock=self.clock)

    async def start(self, name: str = "s", *, data: bytes = b"input", **more: Any) -> Started:
        request = StartRequest(definition="test", input=Payload("Input", data), saga_id=name, **more)
        return await self.orchestrator.start(request)

    async def ended(self, name: str = "s", timeout_s: float = 600.0) -> SagaState:
        return await self.orchestrator.wait(name, Until.TERMINAL, 0, timeout_s)


async def until(fact: Callable[[], object]) -> None:
    """Turn the event loop until something is so."""
    for _ in range(TURNS_MAX):
        if fact():
            return
        await asyncio.sleep(TURN_S)  # poll: the fact, on virtual time
    raise AssertionError(f"{TURNS_MAX} turns, and still not so")
