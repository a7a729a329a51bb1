"""Forgetting in the background, on virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import ClassVar

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.journal import MemoryJournal
from orchestrator.limits import RETENTION_INTERVAL_S, RETENTION_SAGAS, RETENTION_SHARE
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import SearchQuery, Shards
from orchestrator.ports.observer import Observer, Silence
from orchestrator.runtime.retention import Retention
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
    journal: Watched,
    keep_s: Callable[[str], float | None],
    owning: Owning | None = None,
    observer: Observer | None = None,
) -> AsyncGenerator[None]:
    retention = Retention(
        pruning=journal,
        catalogue=journal,
        ownership=owning or Owning(0),
        clock=ManualClock(),
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
        journal.takes_s = 0.5
        async with forgetting(journal, lambda _: 1.0):
            await asyncio.sleep(RETENTION_INTERVAL_S + 200.0)  # poll: virtual time
            assert await left(journal) == 0
            times = [at for at, definition, _, _ in journal.asked if definition == "epro"]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert min(gaps) == pytest.approx(journal.takes_s / RETENTION_SHARE)

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
