"""Behind a pooler that gives each transaction another connection, and beside one who stops in the middle of one."""

import asyncio
import logging
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.postgres.driver import LOST
from orchestrator.limits import POSTGRES_IDLE_S_MAX
from orchestrator.ports.leases import Member
from tests.conformance.journal_values import append
from tests.kit import postgres
from tests.kit.pgbouncer import pgbouncer

LEASE_S = 60.0
KILLS = 10


def member(name: str) -> Member:
    return Member(member=name, name=name, address="127.0.0.1:1")


@pytest.fixture
def dsn() -> Iterator[str]:
    with postgres.database() as dsn:
        yield dsn


@pytest.fixture
def pooled(dsn: str) -> Iterator[Callable[[str], str]]:
    with pgbouncer(dsn) as behind:
        yield behind


async def test_a_pooler_is_found_out_by_itself(
    dsn: str, pooled: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        direct = await PostgresJournal.open(dsn, shard_count=4)
        assert "pooler" not in caplog.text
        behind = await PostgresJournal.open(pooled(dsn), shard_count=4)
    assert "there is a pooler" in caplog.text
    await direct.close()
    await behind.close()


async def test_many_stores_share_two_connections_and_lose_nothing_when_they_are_killed(
    dsn: str, pooled: Callable[[str], str]
) -> None:
    stores = [await PostgresJournal.open(pooled(dsn), shard_count=4) for _ in range(4)]
    admin = await asyncpg.connect(dsn)
    written = asyncio.Event()

    async def write(number: int, epoch: int) -> None:
        for version in range(60):
            (result,) = await stores[number].append([append(f"s{number}", after=version, epoch=epoch, shard=number)])
            assert result is None

    async def strike() -> int:
        kills = 0
        while not written.is_set():
            hit = await admin.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'WITH me AS%' "
                "AND datname = current_database() AND state <> 'idle' LIMIT 1"
            )
            kills += len(hit)
            if kills >= KILLS:
                break
        return kills

    epochs: list[int] = []
    for number, store in enumerate(stores):
        view = await store.join(member(f"m{number}"), LEASE_S)
        (own,) = await store.claim(f"m{number}", [view.shards[number]])
        epochs.append(own.epoch)
    async with asyncio.TaskGroup() as striking:
        striker = striking.create_task(strike())
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(write(number, epochs[number]))
        written.set()
    for number in range(4):
        records = await stores[number].read(SagaId(f"s{number}"))
        assert [record.version for record in records] == list(range(1, 61))
    assert striker.result() > 0
    await admin.close()
    for store in stores:
        await store.close()


async def test_one_who_stops_in_the_middle_of_a_transaction_holds_its_locks_for_a_moment_only(dsn: str) -> None:
    """Behind a pooler a process may be paused between its append and its commit: its fence must not wait for it."""
    one = await PostgresJournal.open(f"{dsn}&pooler=transaction", shard_count=4)
    two = await PostgresJournal.open(dsn)
    await one.join(member("one"), 0.0)
    link = await one._connector.connect(10.0)

    waited_s: list[float] = []

    async def stopped() -> None:
        async with link.transaction(15.0):
            await link.step("SELECT member FROM members WHERE member = 'one' FOR KEY SHARE")
            began_at = (await two.view()).at
            while not await _fenced(two):
                pass  # a try may be over before the other's time is
            waited_s.append((await two.view()).at - began_at)

    with pytest.raises(LOST):
        await stopped()
    link.drop()
    assert waited_s
    assert waited_s[0] < 3 * POSTGRES_IDLE_S_MAX
    await one.close()
    await two.close()


async def _fenced(store: PostgresJournal) -> list[str]:
    try:
        return list(await store.fence(["one"]))
    except JournalUnavailable:
        return []
