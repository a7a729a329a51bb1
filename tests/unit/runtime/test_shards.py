"""Shards that come and go under a running runtime, on virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from orchestrator.errors import Fenced, JournalCorrupted, JournalUnavailable, NotFound, NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append, AppendResult, Record, Rest, SearchRow, Shards
from orchestrator.ports.ownership import shard_of
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import named as called
from tests.kit.parts import sleep, wait
from tests.kit.runtime import Process, TappedJournal, run, until
from tests.unit.runtime.families import CHILD, PARENT

SHARDS = 4
PLAN = plan(step("a", idempotent=True))
WAITING = plan(wait("w"))
GO = Payload("Signal", b"now")
NAMES = ["s", "t", "u", "v", "w", "x", "y", "z"]


class Deeds:
    """An ownership that the test writes: what is not in `held` is another's, at `neighbour`."""

    shard_count = SHARDS
    obstacle: str | None = None

    def __init__(self, *shards: int, epoch: int = 1) -> None:
        self.held = dict.fromkeys(shards, epoch)

    def owned(self) -> Sequence[int]:
        return sorted(self.held)

    def epoch(self, shard: int) -> int:
        if shard not in self.held:
            raise NotOwner(f"shard {shard} is the neighbour's", shard=shard, owner="neighbour:1")
        return self.held[shard]


def well(_call: CallRequest) -> Report | None:
    return report()


def hangs(_call: CallRequest) -> Report | None:
    return None


def named(shard: int) -> str:
    return next(name for name in NAMES if shard_of(SagaId(name), SHARDS) == shard)


def test_a_command_at_the_wrong_process_says_whose_it_is_and_changes_nothing() -> None:
    async def story() -> None:
        process = Process(well, PLAN, ownership=Deeds(0))
        async with process.orchestrator.running():
            with pytest.raises(NotOwner) as refused:
                await process.start(named(1))
            assert refused.value.owner == "neighbour:1"
            assert await process.journal.row(SagaId(named(1))) is None
            assert (await process.start(named(0))).created

    run(story())


def test_a_saga_without_a_name_begins_where_it_is_asked_for() -> None:
    async def story() -> None:
        process = Process(well, PLAN, ownership=Deeds(2))
        async with process.orchestrator.running():
            for _ in range(8):
                request = StartRequest(definition="test", input=Payload("Input", b"input"))
                started = await process.orchestrator.start(request)
                row = await process.journal.row(started.saga_id)
                assert row is not None
                assert row.shard == shard_of(started.saga_id, SHARDS) == 2

    run(story())


def test_whoever_does_not_own_a_saga_reads_it_and_waits_for_its_end() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        other = Process(well, PLAN, journal=journal, clock=mine.clock, ownership=Deeds())
        async with AsyncExitStack() as stack:
            for process in (mine, other):
                await stack.enter_async_context(process.orchestrator.running())
            await mine.start()
            assert (await other.orchestrator.get("s")).status is SagaStatus.RUNNING
            waiting = asyncio.create_task(other.orchestrator.wait("s", Until.TERMINAL, 0, 60.0))  # noqa: TID251  # awaited below
            watched: list[int] = []

            async def watch() -> None:
                async for records in other.orchestrator.watch("s", 0):
                    watched.extend(record.version for record in records)

            watching = asyncio.create_task(watch())  # noqa: TID251  # awaited below
            await until(lambda: mine.hands.open and watched)
            mine.hands.open[0].settle(report())
            assert (await waiting).status is SagaStatus.COMPLETED
            await watching
            assert watched == list(range(1, len(watched) + 1))

    run(story())


def test_a_shard_that_is_left_ends_what_is_in_flight_and_the_next_owner_goes_on() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        deeds = Deeds(0, 1, 2, 3)
        two = plan(step("a", idempotent=True), step("b", "a", idempotent=True))
        mine = Process(hangs, two, journal=journal, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            shard = shard_of(SagaId("s"), SHARDS)
            leaving = asyncio.create_task(mine.orchestrator.leave([shard], 10.0))  # noqa: TID251  # awaited below
            await asyncio.sleep(0.05)  # poll: virtual time, in which nothing may happen
            with pytest.raises(NotOwner):
                await mine.start(next(name for name in NAMES[1:] if shard_of(SagaId(name), SHARDS) == shard))
            mine.hands.open[0].settle(report())
            await leaving
            assert [call.step for call in mine.hands.begun] == ["a"], "nothing new is begun in a shard that is left"
            assert mine.orchestrator.stats().active_actors == 0
            row = await journal.row(SagaId("s"))
            assert row is not None
            assert row.rest is Rest.AWAKE
            del deeds.held[shard]
            with pytest.raises(NotOwner):
                await mine.orchestrator.cancel("s", "too late")
            heir = Process(well, mine.plans[0], journal=journal, clock=mine.clock, ownership=Deeds(shard, epoch=2))
            async with heir.orchestrator.running():
                ended = await heir.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert [call.step for call in heir.hands.begun] == ["b"], "what was applied is not asked again"

    run(story())


def test_a_shard_that_is_left_is_left_after_the_grace_though_a_call_hangs() -> None:
    async def story() -> None:
        mine = Process(hangs, PLAN, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            began = mine.clock.monotonic()
            await mine.orchestrator.leave(range(SHARDS), 3.0)
            assert 2.9 <= mine.clock.monotonic() - began < 4.0
            assert not mine.orchestrator.stats().active_actors

    run(story())


def test_a_lost_shard_is_let_go_at_once_and_its_late_report_writes_nothing() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            groups = len(mine.journal.groups)
            mine.hands.answers_aborts = False
            (call,) = mine.hands.open
            deeds.held.clear()
            mine.orchestrator.lost(range(SHARDS))
            assert call.was_aborted
            call.settle(report())
            await asyncio.sleep(1.0)  # poll: virtual time, in which nothing may happen
            assert len(mine.journal.groups) == groups
            assert mine.orchestrator.stats().active_actors == 0

    run(story())


def test_trust_that_ends_unnoticed_ends_the_actor_at_its_next_turn_and_nothing_is_appended() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            groups = len(mine.journal.groups)
            deeds.held.clear()  # nobody has told the runtime
            mine.hands.open[0].settle(report())
            await until(lambda: not mine.orchestrator.stats().active_actors)
            assert len(mine.journal.groups) == groups

    run(story())


def test_what_was_durable_when_trust_ended_is_answered_but_no_call_is_begun() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(well, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            mine.journal.gate.clear()
            starting = asyncio.create_task(mine.start())  # noqa: TID251  # awaited below
            await until(lambda: mine.orchestrator.stats().active_actors)
            deeds.held.clear()
            mine.journal.gate.set()
            assert (await starting).created, "it is in the journal, so it is acknowledged"
            assert mine.hands.begun == []
            assert mine.orchestrator.stats().active_actors == 0

    run(story())


def test_a_command_in_a_shard_that_is_lost_before_it_is_decided_may_be_asked_elsewhere() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, plan(wait("w"), step("a", idempotent=True)), ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            mine.journal.gate.clear()
            first = asyncio.create_task(mine.orchestrator.signal("s", "go", GO, "r1"))  # noqa: TID251  # awaited below
            await asyncio.sleep(0)  # one turn: the signal is on its way
            second = asyncio.create_task(mine.orchestrator.cancel("s", "enough"))  # noqa: TID251  # awaited below
            await until(lambda: mine.orchestrator.stats().active_actors)
            await asyncio.sleep(0.1)  # poll: virtual time, in which nothing may happen
            deeds.held.clear()
            mine.orchestrator.lost(range(SHARDS))
            mine.journal.gate.set()
            assert (await first).signals, "it was on its way to the journal, and has arrived"
            with pytest.raises(NotOwner):
                await second

    run(story())


class FencingJournal(TappedJournal):
    """A journal that another owner has taken the shards of."""

    is_fencing = False

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        if self.is_fencing:
            return [Fenced("epoch 2 has it", saga_id=each.saga_id) for each in batch]
        return await super().append(batch)


def test_a_fenced_append_is_answered_as_somebody_elses_and_ends_the_actor() -> None:
    async def story() -> None:
        journal = FencingJournal().tap()
        mine = Process(hangs, WAITING, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            await mine.start()
            journal.is_fencing = True
            with pytest.raises(NotOwner, match="another owner by now"):
                await mine.orchestrator.cancel("s", "enough")
            assert mine.orchestrator.stats().active_actors == 0

    run(story())


class AwayJournal(TappedJournal):
    """A store that is a server, and is away for a while."""

    is_away = False

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        self._meet()
        return await super().awake(after, limit, shards)

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        self._meet()
        return await super().due(before_at, limit, after, shards)

    def _meet(self) -> None:
        if self.is_away:
            raise JournalUnavailable("the database is away")


def test_a_store_that_is_away_stops_nothing_and_what_was_taken_over_is_walked_when_it_is_back() -> None:
    async def story() -> None:
        journal = AwayJournal().tap()
        before = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with before.orchestrator.running():
            await before.start()
            await until(lambda: before.hands.open)
            before.orchestrator.lost(range(SHARDS))
        deeds = Deeds()
        after = Process(well, PLAN, journal=journal, clock=before.clock, ownership=deeds)
        async with after.orchestrator.running():
            journal.is_away = True
            deeds.held = dict.fromkeys(range(SHARDS), 2)
            after.orchestrator.took(range(SHARDS))
            await asyncio.sleep(5.0)  # poll: virtual time, in which nothing may happen
            assert after.failures == []
            assert after.hands.begun == []
            journal.is_away = False
            assert (await after.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_child_lies_in_its_parents_shard_whatever_its_name() -> None:
    async def story() -> None:
        process = Process(well, PARENT, CHILD, ownership=Deeds(0, 1, 2, 3))
        async with process.orchestrator.running():
            for name in NAMES:
                await process.start(name)
                await process.ended(name)
                row = await process.journal.row(SagaId(f"{name}.c"))
                assert row is not None
                assert row.shard == shard_of(SagaId(name), SHARDS)

    run(story())


def test_sleepers_of_other_shards_are_left_to_their_owners() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        sleepy = plan(sleep("z", for_s=60.0))
        mine = Process(well, sleepy, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            for name in NAMES:
                await mine.start(name)
        other = Process(well, sleepy, journal=journal, clock=mine.clock, ownership=Deeds(0, 1, epoch=2))
        async with other.orchestrator.running():
            await asyncio.sleep(300.0)  # poll: virtual time, in which nothing may happen
            ends = {name: (await other.orchestrator.get(name)).status for name in NAMES}
            owned = {name for name in NAMES if shard_of(SagaId(name), SHARDS) in (0, 1)}
            assert {name for name, status in ends.items() if status is SagaStatus.COMPLETED} == owned

    run(story())


def test_a_saga_that_is_active_is_cancelled_also_while_its_shard_is_handed_over() -> None:
    async def story() -> None:
        mine = Process(hangs, PLAN, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            leaving = asyncio.create_task(mine.orchestrator.leave(range(SHARDS), 60.0))  # noqa: TID251  # awaited below
            await asyncio.sleep(0.05)  # poll: virtual time, in which nothing may happen
            state = await mine.orchestrator.cancel("s", "enough")
            assert state.cause is not None
            await leaving
            assert not mine.orchestrator.stats().active_actors

    run(story())


class PoisonedJournal(TappedJournal):
    """A journal in which some sagas cannot be read any more."""

    poisoned = frozenset[str]()

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        if saga_id in self.poisoned:
            raise JournalCorrupted(f"record 1 of saga {saga_id!r} does not decode", saga_id=saga_id)
        return await super().read(saga_id, after_version, limit)


def test_sagas_that_cannot_be_read_delay_no_other_when_a_shard_is_taken_over() -> None:
    """I40: of two hundred sagas two are poisoned, the first and one in the middle."""
    names = [f"s{number:03}" for number in range(200)]

    async def story(poisoned: frozenset[str]) -> list[float]:
        journal = PoisonedJournal().tap()
        before = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with before.orchestrator.running():
            for name in names:
                await before.start(name)
            before.orchestrator.lost(range(SHARDS))
        journal.poisoned = poisoned
        after = Process(well, PLAN, journal=journal, clock=before.clock, ownership=Deeds(0, 1, 2, 3, epoch=2))
        began = after.clock.monotonic()
        took: list[float] = []
        async with after.orchestrator.running():
            for name in names:
                if name not in poisoned:
                    assert (await after.ended(name)).status is SagaStatus.COMPLETED
                    took.append(after.clock.monotonic() - began)
            assert after.orchestrator.stats().quarantined == len(poisoned)
        return took

    healthy, mixed = sorted(run(story(frozenset()))), sorted(run(story(frozenset({"s000", "s100"}))))
    assert mixed[-1] <= healthy[-1] * 1.2
    assert mixed[len(mixed) // 2] <= healthy[len(healthy) // 2] * 1.2


class BlinkingJournal(TappedJournal):
    """A store that is away for one read."""

    def __init__(self) -> None:
        super().__init__()
        self.blinks_at: Callable[[str], bool] = lambda _saga: False

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        if self.blinks_at(saga_id):
            self.blinks_at = lambda _saga: False
            raise JournalUnavailable("the database is away for a moment")
        return await super().read(saga_id, after_version, limit)


def test_a_parent_is_woken_although_the_store_was_away_as_its_child_ended() -> None:
    async def story() -> None:
        journal = BlinkingJournal().tap()
        slow = called("child", plan(sleep("z", for_s=300.0), forward_s=1_000.0))
        process = Process(well, replace(PARENT, forward_s=1_000.0), slow, journal=journal)
        async with process.orchestrator.running():
            await process.start()
            journal.blinks_at = lambda saga: saga == "s"  # it has left memory by the time its child ends
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_signal_with_a_start_that_names_a_child_goes_to_the_child_from_either_owner() -> None:
    """A child lies with its parent: the owner of the shard that its name says has no say in it."""

    async def story() -> None:
        journal = TappedJournal().tap()
        waiting = called("child", plan(wait("w")))
        parent = next(name for name in NAMES if shard_of(SagaId(name), SHARDS) != shard_of(SagaId(f"{name}.c"), SHARDS))
        home = shard_of(SagaId(parent), SHARDS)
        mine = Process(well, PARENT, waiting, journal=journal, ownership=Deeds(home))
        others = Deeds(*(shard for shard in range(SHARDS) if shard != home))
        other = Process(well, PARENT, waiting, journal=journal, clock=mine.clock, ownership=others)
        request = StartRequest(definition="child", input=Payload("Input", b"input"), saga_id=f"{parent}.c")
        async with mine.orchestrator.running(), other.orchestrator.running():
            await mine.start(parent)
            await until(lambda: f"{parent}.c" in journal._contents.rows)
            with pytest.raises(NotOwner) as refused:
                await other.orchestrator.signal_with_start(request, "go", GO, "r1")
            assert refused.value.shard == home, "it is sent to the owner of the child, not to itself"
            started = await mine.orchestrator.signal_with_start(request, "go", GO, "r1")
            assert not started.created
            assert (await mine.ended(parent)).status is SagaStatus.COMPLETED

    run(story())


def test_who_waits_elsewhere_for_a_saga_that_is_forgotten_is_told() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        other = Process(well, PLAN, journal=journal, clock=mine.clock, ownership=Deeds())
        async with mine.orchestrator.running(), other.orchestrator.running():
            await mine.start()
            waiting = asyncio.create_task(other.orchestrator.wait("s", Until.TERMINAL, 0, 600.0))  # noqa: TID251  # awaited below
            await until(lambda: mine.hands.open)
            await asyncio.sleep(1.0)  # poll: virtual time, in which it is looked at
            del journal._contents.rows[SagaId("s")]
            with pytest.raises(NotFound, match="forgotten"):
                await waiting

    run(story())
