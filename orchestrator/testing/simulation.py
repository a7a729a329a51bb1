"""One run: a store, some services, some callers, and processes that come and go, all out of one seed.

::

    chaos: faults strike                              healing: everybody is kind
    |-------------------------------------------------|------------------------------->  judged
    life-1 ---X   life-2 ------X  life-3 ...             life-n: all that is left to do

X is a kill, a stop, a broken disk. When the world has become kind every saga must come to its end or ask a person,
within a bound (I36); then the three witnesses are held against each other by the checker that production uses.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random  # noqa: TID251  (seeded: the order of turns)
from typing import TypeVar

from orchestrator.ids import SagaId
from orchestrator.journal.codec import encode
from orchestrator.limits import READ_RECORDS_MAX, SIMULATED_ROWS_MAX
from orchestrator.ports.journal import Append, Rest, SearchQuery, SearchRow
from orchestrator.ports.observer import Observer, Silence
from orchestrator.ports.plans import Plans
from orchestrator.runtime import Orchestrator
from orchestrator.saga.plan import Plan
from orchestrator.saga.state import TERMINAL, SagaStatus
from orchestrator.testing.callers import Begin, Caller, Remembered
from orchestrator.testing.disk import Disk
from orchestrator.testing.fates import Fates, Fault, Faults, Kind
from orchestrator.testing.heed import asked_for_nothing
from orchestrator.testing.loop import SimulatedLoop
from orchestrator.testing.network import Network
from orchestrator.testing.process import ConnectionLost, Process, WallClock
from orchestrator.testing.runs import Happening, Run, bugs, told
from orchestrator.testing.services import Replies, Services, shorthand_reply
from orchestrator.verify import Ledgers, verify
from orchestrator.verify.witnesses import LedgerLine

T = TypeVar("T")

CHAOS_S = 40.0
"""How long faults strike."""
HEALING_S = 3_600.0
"""How long a kind world has, beside the deadlines of its definitions, until everything must have ended."""
_DOWN_S = 2.0
_FROZEN_S = 20.0
_LATER_S = 15.0
_STEP_S = 1_200.0
"""A clock set back over a restart holds timers up for so long, twice at most: less than the healing takes."""
_GRACE_S = 15.0
_UNDER_WAY = frozenset(SagaStatus) - TERMINAL - {SagaStatus.NEEDS_ATTENTION}
_IN_ORDER_EVERY = 10
"""Each so-many-th seed is read once more in the order of its commits, which costs a fifth of a run."""


@dataclass(slots=True, kw_only=True)
class Simulation:
    """What is to be run: plans, who starts which, and what may go wrong."""

    plans: Sequence[Plan]
    begins: Sequence[Begin]
    catalogue: Plans
    replies: Replies = shorthand_reply
    chaos_s: float = CHAOS_S
    observer: Observer = field(default_factory=Silence)

    def run(
        self,
        seed: int,
        *,
        rates: Mapping[Kind, float] | None = None,
        tape: Iterable[Fault] | None = None,
        digest: bool = False,
        story: bool = False,
    ) -> Run:
        """Run it once: with faults drawn by rates, or those of a tape, or none.

        `digest` and `story` are for one run among many: a hash of all that was recorded and done, and the tale of it.
        """
        fates = Fates(seed)
        # Every other seed runs first come first served, as a loop with nothing to disturb it does.
        loop = SimulatedLoop(Random(seed) if fates.coin("order") else None)  # type: ignore[abstract]  # noqa: S311  (see there)
        with bugs() as logged:
            world = _World(self, Faults(fates, rates, tape))
            if story:
                world.tell()
            run = loop.run(world.live(loop, logged, digest=digest))
            run.story = tuple(world.moments)
            return run


def _waits_for_a_person(row: SearchRow) -> bool:
    """Return whether nothing more happens by itself: what is tried again may yet go well."""
    return row.rest is Rest.ASLEEP and row.wake_at is None


class _World:
    """What outlives processes, and starts them."""

    def __init__(self, given: Simulation, faults: Faults) -> None:
        self.given = given
        self.faults = faults
        self.outside = contextvars.copy_context()
        self.disk = Disk()
        self.wall = WallClock()
        self._plans = {plan.definition: plan for plan in given.plans}
        self.services = Services(self._plan_of, given.replies, faults)
        self.network = Network(self.services, faults, self.outside)
        self.answers = Remembered()
        self.process: Process | None = None
        self.lives: list[Process] = []
        self._is_over = False
        self.violations: list[str] = []
        self._passes: Mapping[str, tuple[int, int, int]] = {}
        self.moments: list[Happening] = []

    def tell(self) -> None:
        """Write down everything that happens, as it happens."""

        def moment(who: str, what: str) -> None:
            self.moments.append(Happening(asyncio.get_running_loop().time(), who, what))

        def landed(append: Append) -> None:
            for each in append.records:
                moment(append.saga_id, f"{each.version} {told(each.event)}")

        def written(line: LedgerLine) -> None:
            moment(line.service, f"{line.operation} of {line.saga_id}/{line.step} took effect {line.count} times")

        self.faults.on_struck = lambda fault: moment("*", str(fault))
        self.disk.on_landed = landed
        self.services.on_written = written

    def _plan_of(self, saga: SagaId) -> Plan | None:
        return self._plans.get(self.disk.definitions.get(saga, ""))

    async def live(self, loop: SimulatedLoop, logged: list[str], *, digest: bool) -> Run:
        keeping = loop.create_task(self._keep_running(), name="keeper")
        callers = [
            loop.create_task(self._caller(number, begin).run(), name=f"caller {number}")
            for number, begin in enumerate(self.given.begins, 1)
        ]
        loop.call_later(self.given.chaos_s, self._heal)
        deadlines_s = max(plan.forward_s + plan.compensation_s for plan in self.given.plans)
        try:
            async with asyncio.timeout(self.given.chaos_s + HEALING_S + deadlines_s):
                await asyncio.wait(callers)
                await self._everything_at_rest()
        except TimeoutError:
            pass
        self._heal()
        for caller in callers:
            if not caller.done():
                self.violations.append(f"caller: without an answer when all was well again: {caller.get_name()}")
            elif (error := caller.exception()) is not None:
                self.violations.append(f"caller: was told {error!r}")
        self._is_over = True
        for process in self.lives:
            await self._stopped(process)
        keeping.cancel()
        run = await self._judged(loop, logged)
        run.passes = self._passes
        if digest:
            run.digest = await self._digest()
        return run

    def _caller(self, number: int, begin: Begin) -> Caller:
        plan = self._plans[begin.definition]
        return Caller(SagaId(f"s{number}"), begin, plan, ask=self.ask, answers=self.answers, faults=self.faults)

    async def ask(self, work: Callable[[Orchestrator], Coroutine[None, None, T]]) -> T:
        """Ask whichever process is there."""
        if self.process is None:
            raise ConnectionLost("nobody is there")
        return await self.process.ask(work)

    # --- processes ---------------------------------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        """Start a process whenever there is none, as a supervisor does."""
        draw = self.faults.fates.draw
        process = self._begun()
        while not self._is_over:
            await process.ended
            if self.process is process:
                self.process = None
                await asyncio.sleep(_DOWN_S * draw(f"down/{process.name}") ** 2)
                self._begun()
            assert self.process is not None  # the one just begun, or one that took the store over
            process = self.process

    def _begun(self) -> Process:
        name = f"life-{len(self.lives) + 1}"
        process = Process(
            name,
            disk=self.disk,
            network=self.network,
            wall=self.wall,
            plans=self.given.catalogue,
            faults=self.faults,
            observer=self.given.observer,
            broken=self.violations,
        )
        self.lives.append(process)
        self.process = process
        process.start()
        self._plan_its_troubles(process)
        return process

    def _plan_its_troubles(self, process: Process) -> None:
        """Draw when it is stopped, frozen, usurped, and when its clock is set; nothing of that but in chaos."""
        loop, draw = asyncio.get_running_loop(), self.faults.fates.draw
        troubles: Mapping[Kind, Callable[[Process], None]] = {
            Kind.STOP: Process.stop,
            Kind.FREEZE: self._freeze,
            Kind.USURP: self._usurp,
            Kind.CLOCK: self._set_clock,
        }
        for kind, happens in troubles.items():
            at_s = _LATER_S * draw(f"when/{kind}/{process.name}")
            loop.call_later(at_s, self._trouble, kind, process, happens)

    def _trouble(self, kind: Kind, process: Process, happens: Callable[[Process], None]) -> None:
        if not process.life.is_over and self.faults.strike(kind, process.name):
            happens(process)

    def _freeze(self, process: Process) -> None:
        process.life.is_frozen = True
        for_s = _FROZEN_S * self.faults.fates.draw(f"frozen/{process.name}")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.call_later(for_s, loop.thaw, process.life)

    def _usurp(self, process: Process) -> None:
        """Start another one; this one lives on for a while, and believes that the store is its own."""
        process.life.is_usurped = True
        for_s = _FROZEN_S * self.faults.fates.draw(f"usurped/{process.name}")
        asyncio.get_running_loop().call_later(for_s, process.life.kill)
        self._begun()

    def _set_clock(self, process: Process) -> None:
        self.wall.step_s = _STEP_S * (2 * self.faults.fates.draw(f"clock/{process.name}") - 1)

    def _heal(self) -> None:
        """End the chaos: nothing strikes any more, and what was to strike later does not."""
        if not self.faults.is_over:
            lives = self.lives
            self._passes = {each.name: (each.life.turns, each.journal.groups, each.invoker.sends) for each in lives}
        self.faults.is_over = True
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        for process in self.lives:
            process.life.dies_at_turn = None
            if process.life.is_frozen:
                loop.thaw(process.life)

    async def _stopped(self, process: Process) -> None:
        """I48: a process that is told to stop is gone within its grace, and nothing that it knew is lost."""
        if process.life.is_over:
            return
        process.stop()
        try:
            async with asyncio.timeout(_GRACE_S):
                await asyncio.shield(process.ended)
        except TimeoutError:
            self.violations.append(f"I48 {process.name}: told to stop, and not gone after {_GRACE_S} s")
            process.life.kill()

    async def _everything_at_rest(self) -> None:
        """Wait until every saga has ended or needs a person, children too (I36)."""
        while True:
            under_way = await self.disk.store.count(SearchQuery(statuses=_UNDER_WAY))
            if not under_way[""] and all(map(_waits_for_a_person, await self._asking())):
                return
            await asyncio.sleep(1.0)

    async def _asking(self) -> Sequence[SearchRow]:
        query = SearchQuery(statuses=frozenset({SagaStatus.NEEDS_ATTENTION}), limit=SIMULATED_ROWS_MAX)
        return await self.disk.store.search(query)

    # --- the judgement -----------------------------------------------------------------------------------------------

    async def _judged(self, loop: SimulatedLoop, logged: list[str]) -> Run:
        store = self.disk.store
        findings = await verify(
            store,
            self.given.catalogue,
            ledgers=Ledgers(self.services.ledger),
            answers=self.answers.as_witness(),
            knows_targets=True,
            is_at_rest=True,
            in_order=self.faults.fates.seed % _IN_ORDER_EVERY == 0,
        )
        rows = await store.search(SearchQuery(limit=SIMULATED_ROWS_MAX, order_by="saga_id", descending=False))
        self.violations += map(str, findings.violations)
        self.violations += [f"I9 {each}" for each in self.answers.contradictions]
        self.violations += [f"bug: {each}" for each in [*logged, *loop.errors]]
        self.violations += await asked_for_nothing(store, self.faults.struck, self._plan_of)
        return Run(
            seed=self.faults.fates.seed,
            tape=tuple(self.faults.struck),
            violations=tuple(self.violations),
            checked=findings.checked,
            statuses={row.saga_id: row.status for row in rows},
            lives=len(self.lives),
            turns=loop.turns,
            virtual_s=loop.time(),
            records=findings.records,
            effects=len(self.services.ledger),
            asked_again=self.answers.asked_again,
        )

    async def _digest(self) -> str:
        """Return a hash of all that was recorded, in order, and of all that was done."""
        told = blake2b(digest_size=16)
        position = 0
        while page := await self.disk.store.since(position, READ_RECORDS_MAX):
            for each in page:
                told.update(
                    repr((each.saga_id, each.record.version, each.record.epoch, *encode(each.record.event))).encode()
                )
            position = page[-1].position
        told.update(repr(self.services.ledger).encode())
        return told.hexdigest()
