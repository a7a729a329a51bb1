"""A store of several processes that is away, refuses, or has sagas that cannot be read, on virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.errors import Fenced, JournalCorrupted, JournalUnavailable, NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Append, AppendResult, Record, SearchRow, Shards
from orchestrator.saga import SagaStatus
from orchestrator.testing.shorthand import plan
from tests.kit.parts import named as called
from tests.kit.parts import sleep
from tests.kit.runtime import Process, TappedJournal, run, until
from tests.unit.runtime.deeds import PLAN, SHARDS, WAITING, Deeds, hangs, well
from tests.unit.runtime.families import PARENT


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
