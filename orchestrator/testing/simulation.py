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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random  # noqa: TID251  (seeded: the order of turns)

from orchestrator.ids import SagaId
from orchestrator.journal.codec import encode
from orchestrator.limits import READ_RECORDS_MAX, SIMULATED_ROWS_MAX
from orchestrator.ports.journal import Append, Rest, SearchQuery, SearchRow
from orchestrator.ports.observer import Observer, Silence
from orchestrator.ports.plans import Plans
from orchestrator.saga.plan import Plan
from orchestrator.saga.state import TERMINAL, SagaStatus
from orchestrator.testing.callers import Begin, Caller, Remembered
from orchestrator.testing.cluster import Cluster
from orchestrator.testing.fates import Fates, Fault, Faults, Kind
from orchestrator.testing.heed import asked_for_nothing
from orchestrator.testing.loop import SimulatedLoop
from orchestrator.testing.network import Network
from orchestrator.testing.process import Around, Process
from orchestrator.testing.runs import Happening, Run, bugs, told
from orchestrator.testing.services import Replies, Services, shorthand_reply
from orchestrator.testing.sole import Sole
from orchestrator.verify import Ledgers, verify
from orchestrator.verify.witnesses import LedgerLine

CHAOS_S = 40.0
"""How long faults strike."""
HEALING_S = 3_600.0
"""How long a kind world has, beside the deadlines of its definitions, until everything must have ended."""
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
    nodes: int = 1
    """One has a disk of its own; several share a database."""
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
        self._plans = {plan.definition: plan for plan in given.plans}
        self.services = Services(self._plan_of, given.replies, faults)
        self.network = Network(self.services, faults, self.outside)
        self.answers = Remembered()
        self.violations: list[str] = []
        self.running: Sole | Cluster = self._running()
        self._passes: Mapping[str, tuple[int, int, int]] = {}
        self.moments: list[Happening] = []

    def _running(self) -> Sole | Cluster:
        given = self.given
        around = Around(
            network=self.network,
            plans=given.catalogue,
            faults=self.faults,
            observer=given.observer,
            broken=self.violations,
        )
        return Sole(around) if given.nodes == 1 else Cluster(around, given.nodes)

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
        self.running.database.on_landed = landed
        self.services.on_written = written

    def _plan_of(self, saga: SagaId) -> Plan | None:
        return self._plans.get(self.running.database.definitions.get(saga, ""))

    async def live(self, loop: SimulatedLoop, logged: list[str], *, digest: bool) -> Run:
        keeping = loop.create_task(self.running.keep_running(), name="keeper")
        callers = [
            loop.create_task(self._caller(number, begin).run(), name=f"caller of saga s{number}")
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
        await self.running.at_rest()
        for caller in callers:
            if not caller.done():
                self.violations.append(f"{caller.get_name()}: without an answer when all was well again")
            elif (error := caller.exception()) is not None:
                self.violations.append(f"{caller.get_name()}: was told {error!r}")
        for process in self.running.close():
            await self._stopped(process)
        keeping.cancel()
        run = await self._judged(loop, logged)
        run.passes = self._passes
        if digest:
            run.digest = await self._digest()
        return run

    def _caller(self, number: int, begin: Begin) -> Caller:
        plan = self._plans[begin.definition]
        return Caller(
            SagaId(f"s{number}"),
            begin,
            plan,
            ask=self.running.ask,
            answers=self.answers,
            faults=self.faults,
            spread_s=self.running.spread_s,
        )

    def _heal(self) -> None:
        """End the chaos: nothing strikes any more, and what was to strike later does not."""
        if not self.faults.is_over:
            lives = self.running.lives
            self._passes = {each.name: (each.life.turns, each.journal.groups, each.invoker.sends) for each in lives}
        self.faults.is_over = True
        self.running.heal()

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
            under_way = await self.running.database.store.count(SearchQuery(statuses=_UNDER_WAY))
            if not under_way[""] and all(map(_waits_for_a_person, await self._asking())):
                return
            await asyncio.sleep(1.0)

    async def _asking(self) -> Sequence[SearchRow]:
        query = SearchQuery(statuses=frozenset({SagaStatus.NEEDS_ATTENTION}), limit=SIMULATED_ROWS_MAX)
        return await self.running.database.store.search(query)

    # --- the judgement -----------------------------------------------------------------------------------------------

    async def _judged(self, loop: SimulatedLoop, logged: list[str]) -> Run:
        store = self.running.database.store
        findings = await verify(
            store,
            self.given.catalogue,
            ledgers=Ledgers(self.services.ledger),
            answers=self.answers.as_witness(),
            knows_targets=True,
            frontier_is_complete=True,
            # Of several nodes each has epochs of its own; `Oversight` holds every commit against who owned its shard.
            in_order=self.given.nodes == 1 and self.faults.fates.seed % _IN_ORDER_EVERY == 0,
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
            checked=findings.checked
            + (self.running.oversight.checked if isinstance(self.running, Cluster) else Counter()),
            statuses={row.saga_id: row.status for row in rows},
            lives=len(self.running.lives),
            nodes=self.given.nodes,
            moved=self.running.oversight.moved if isinstance(self.running, Cluster) else 0,
            fenced=self.running.oversight.fenced if isinstance(self.running, Cluster) else 0,
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
        while page := await self.running.database.store.since(position, READ_RECORDS_MAX):
            for each in page:
                told.update(
                    repr((each.saga_id, each.record.version, each.record.epoch, *encode(each.record.event))).encode()
                )
            position = page[-1].position
        told.update(repr(self.services.ledger).encode())
        return told.hexdigest()
