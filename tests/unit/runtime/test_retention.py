"""Forgetting in the background, on virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import ClassVar, cast

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.journal import MemoryJournal
from orchestrator.limits import (
    RETENTION_BEHIND_S,
    RETENTION_INTERVAL_S,
    RETENTION_SAGAS,
    RETENTION_SHARE,
    RETENTION_SHARE_MAX,
)
from orchestrator.ports.catalogue import Catalogue, Revision
from orchestrator.ports.journal import SearchQuery, Shards
from orchestrator.ports.observer import Observer, Silence
from orchestrator.runtime.retention import Retention, share
from orchestrator.saga.state import SagaStatus
from tests.conformance.journal_values import append
from tests.kit.machine import BEGIN_AT
from tests.kit.runtime import ManualClock, run

ROUND_S = RETENTION_INTERVAL_S + 1.0


class Watched(MemoryJournal):
    """Notes when it was asked to forget what, takes its time for it, and may be away."""

    def watch(self) -> "Watched":
        self.asked: list[tuple[float, str, float, tuple[int, ...]]] = []
        self.takes_s = 0.0
        self.is_away = False
        return self

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        assert shards is not None
        self.asked.append((asyncio.get_running_loop().time(), definition, ended_before_at, tuple(shards)))
        await asyncio.sleep(self.takes_s)  # poll: no fact, a store takes its time
        if self.is_away:
            raise JournalUnavailable("the store is away")
        return await super().forget(definition, ended_before_at, limit, shards)


class Owning:
    """Owns what it is told."""

    shard_count = 8
    obstacle = None

    def __init__(self, *shards: int) -> None:
        self.shards: Sequence[int] = shards

    def owned(self) -> Sequence[int]:
        return self.shards

    def epoch(self, shard: int) -> int:
        return 1


class Ending:
    """A store in which sagas end at a steady rate, for ever, and each removal takes its time."""

    def __init__(self, clock: ManualClock, *, ends_s: float, takes_s: float) -> None:
        self._clock, self._ends_s, self._takes_s = clock, ends_s, takes_s
        self.gone = 0

    def ended(self, before_at: float) -> int:
        return int(max(0.0, before_at - BEGIN_AT) * self._ends_s)

    @property
    def left(self) -> int:
        return self.ended(self._clock.now()) - self.gone

    async def definitions(self) -> Sequence[Revision]:
        return [Revision(definition="epro", revision="r", source="", descriptors=b"", created_at=1.0)]

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        assert (definition, shards) == ("epro", (0,))
        await asyncio.sleep(self._takes_s)  # poll: no fact, a store takes its time
        gone = min(limit, self.ended(ended_before_at) - self.gone)
        self.gone += gone
        return gone


async def filled(count: int = 1, *, ended_at: float = BEGIN_AT, shard: int = 0) -> Watched:
    journal = Watched().watch()
    for name in ("epro", "visit"):
        await journal.put(Revision(definition=name, revision="r", source="", descriptors=b"", created_at=1.0))
        await journal.append(
            [
                append(f"{name}-{n:04}", definition=name, status=SagaStatus.COMPLETED, ended_at=ended_at, shard=shard)
                for n in range(count)
            ]
        )
    return journal


@asynccontextmanager
async def forgetting(
    journal: Watched | Ending,
    keep_s: Callable[[str], float | None],
    owning: Owning | None = None,
    observer: Observer | None = None,
    clock: ManualClock | None = None,
) -> AsyncGenerator[None]:
    retention = Retention(
        pruning=journal,
        catalogue=cast("Catalogue", journal),  # of which one question is asked
        ownership=owning or Owning(0),
        clock=clock or ManualClock(),
        keep_s=keep_s,
        observer=observer or Silence(),
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(retention.run())
        yield
        running.cancel()


async def left(journal: Watched) -> int:
    return (await journal.count(SearchQuery()))[""]


def test_each_definition_is_kept_for_its_own_time() -> None:
    async def story() -> None:
        journal = await filled()
        async with forgetting(journal, {"epro": 100.0, "visit": 1_000.0}.__getitem__):
            await asyncio.sleep(100.0)  # poll: virtual time, and below: to each period's end
            assert await left(journal) == 2
            await asyncio.sleep(ROUND_S)  # poll: virtual time
            assert [row.definition for row in await journal.search(SearchQuery())] == ["visit"]
            await asyncio.sleep(1_000.0)  # poll: virtual time
            assert await left(journal) == 0

    run(story())


def test_what_is_forgotten_is_told_by_definition() -> None:
    class Told(Silence):
        count: ClassVar[Counter[str]] = Counter()

        def forgotten(self, definition: str, count: int) -> None:
            self.count[definition] += count

    async def story() -> None:
        told = Told()
        journal = await filled(3)
        async with forgetting(journal, {"epro": 60.0, "visit": None}.__getitem__, observer=told):
            await asyncio.sleep(1_000.0)  # poll: virtual time
        assert told.count == {"epro": 3}

    run(story())


def test_what_is_kept_for_ever_is_not_even_asked_about() -> None:
    async def story() -> None:
        journal = await filled()
        async with forgetting(journal, {"epro": 60.0, "visit": None}.__getitem__):
            await asyncio.sleep(1e6)  # poll: virtual time
            assert {definition for _, definition, _, _ in journal.asked} == {"epro"}
            assert await left(journal) == 1

    run(story())


def test_forgetting_takes_a_small_share_of_the_time() -> None:
    async def story() -> None:
        journal = await filled(5 * RETENTION_SAGAS)
        journal.takes_s = 0.1
        async with forgetting(journal, lambda _: 1.0):
            await asyncio.sleep(RETENTION_INTERVAL_S + 40.0)  # poll: virtual time
            assert await left(journal) == 0
            times = [at for at, definition, _, _ in journal.asked if definition == "epro"]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert min(gaps) == pytest.approx(journal.takes_s / RETENTION_SHARE)

    run(story())


def test_the_share_doubles_with_each_time_as_long_behind_up_to_a_bound() -> None:
    assert [share(0.0), share(RETENTION_BEHIND_S)] == [RETENTION_SHARE] * 2
    assert share(2 * RETENTION_BEHIND_S) == pytest.approx(2 * RETENTION_SHARE)
    assert share(3 * RETENTION_BEHIND_S) == pytest.approx(4 * RETENTION_SHARE)
    assert share(1e9) == pytest.approx(RETENTION_SHARE_MAX)


class Behind(Silence):
    """Hears how far forgetting is behind."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def retention_behind(self, seconds: float) -> None:
        self.told.append(seconds)


@pytest.mark.parametrize("needed", [0.1, 0.3])
def test_as_much_is_forgotten_as_ends_in_the_long_run(needed: float) -> None:
    """At the share it begins with, a quarter or an eighth of it would be."""

    async def story() -> None:
        takes_s, behind = 0.05, Behind()
        ends_s = needed * RETENTION_SAGAS / takes_s
        clock = ManualClock()
        store = Ending(clock, ends_s=ends_s, takes_s=takes_s)
        async with forgetting(store, lambda _: 60.0, observer=behind, clock=clock):
            most_s = RETENTION_BEHIND_S * 10
            await asyncio.sleep(5 * most_s)  # poll: virtual time
            seen: list[float] = []
            for _ in range(60):
                await asyncio.sleep(RETENTION_INTERVAL_S)  # poll: virtual time, an hour of it
                seen.append(store.left / ends_s)
            assert max(seen[:30]) < 60.0 + most_s
            assert max(seen[30:]) <= max(seen[:30]) + RETENTION_INTERVAL_S, "what is left does not grow"
            assert RETENTION_BEHIND_S < max(behind.told) < most_s

    run(story())


def test_how_far_behind_it_is_is_told_and_that_nothing_is_left() -> None:
    async def story() -> None:
        behind = Behind()
        journal = await filled(2 * RETENTION_SAGAS)
        journal.takes_s = 0.5
        async with forgetting(journal, {"epro": 1.0, "visit": None}.__getitem__, observer=behind):
            await asyncio.sleep(RETENTION_INTERVAL_S + 26.0)  # poll: virtual time
            assert behind.told == pytest.approx([60.5, 73.0, 0.0])
            journal.is_away = True
            await asyncio.sleep(2 * RETENTION_INTERVAL_S)  # poll: virtual time
            assert behind.told[3:] == pytest.approx([60.5, 120.5]), "since the last look that left nothing began"

    run(story())


def test_a_round_that_took_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    async def story() -> None:
        clock = ManualClock()
        store = Ending(clock, ends_s=1.0, takes_s=2 * RETENTION_INTERVAL_S)
        begun: list[float] = []
        definitions = store.definitions

        async def noted() -> Sequence[Revision]:
            begun.append(clock.now() - BEGIN_AT)
            return await definitions()

        store.definitions = noted  # type: ignore[method-assign]  # the store itself, watched
        async with forgetting(store, lambda _: 1e6, clock=clock):
            await asyncio.sleep(6 * RETENTION_INTERVAL_S)  # poll: virtual time
        assert begun == pytest.approx([60.0, 180.0, 300.0])

    run(story())


def test_a_store_that_is_away_is_asked_again() -> None:
    async def story() -> None:
        journal = await filled()
        journal.is_away = True
        async with forgetting(journal, lambda _: 1.0):
            await asyncio.sleep(3 * ROUND_S)  # poll: virtual time
            assert len(journal.asked) == 3
            journal.is_away = False
            await asyncio.sleep(ROUND_S)  # poll: virtual time
            assert await left(journal) == 0

    run(story())


def test_only_shards_of_our_own_are_looked_at_as_they_come_and_go() -> None:
    async def story() -> None:
        journal, owning = await filled(shard=3), Owning()
        async with forgetting(journal, lambda _: 1.0, owning):
            await asyncio.sleep(ROUND_S)  # poll: virtual time
            assert journal.asked == []
            owning.shards = (2, 4)
            await asyncio.sleep(ROUND_S)  # poll: virtual time
            assert await left(journal) == 2
            owning.shards = (3,)
            await asyncio.sleep(ROUND_S)  # poll: virtual time
            assert await left(journal) == 0
            assert {shards for *_, shards in journal.asked} == {(2, 4), (3,)}

    run(story())
