"""How full the pools of connections are, as a scrape shows it."""

import asyncio

import pytest

from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.postgres.driver import Address, Connector, Link
from orchestrator.journal.postgres.pool import Pool, PoolRoom


async def test_a_pool_says_how_many_of_its_connections_work_and_who_waits_for_one(dsn: str) -> None:
    pool = Pool(Connector(Address.of(dsn)), 1, 10.0)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_link: Link) -> None:
        began.set()
        await go_on.wait()

    assert pool.room() == PoolRoom(size=1, in_use=0, waiting=0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(hold, is_repeatable=False))
        await began.wait()
        assert pool.room() == PoolRoom(size=1, in_use=1, waiting=0)
        second = tasks.create_task(pool.run(hold, is_repeatable=False))
        while not pool.room().waiting and not second.done():  # noqa: ASYNC110  # the pool does not tell
            await asyncio.sleep(0)  # one turn: the second one asks
        assert pool.room() == PoolRoom(size=1, in_use=1, waiting=1)
        go_on.set()
    assert pool.room() == PoolRoom(size=1, in_use=0, waiting=0)
    await pool.close()


async def test_whoever_gives_up_waiting_is_counted_no_more(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres.pool.POSTGRES_WAIT_S", 0.01)
    pool = Pool(Connector(Address.of(dsn)), 1, 10.0)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_link: Link) -> None:
        began.set()
        await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(hold, is_repeatable=False))
        await began.wait()
        with pytest.raises(Exception, match="all 1 connections"):
            await pool.run(hold, is_repeatable=False)
        assert pool.room() == PoolRoom(size=1, in_use=1, waiting=0)
        go_on.set()
    assert pool.room() == PoolRoom(size=1, in_use=0, waiting=0)
    await pool.close()


async def test_the_store_names_its_pools_by_what_they_are_for(dsn: str) -> None:
    store = await PostgresJournal.open(dsn, shard_count=4)
    pools = store.pools()
    assert set(pools) == {"reads", "leases"}
    assert all(room.size > 0 and room.in_use == room.waiting == 0 for room in pools.values())
    await store.close()
