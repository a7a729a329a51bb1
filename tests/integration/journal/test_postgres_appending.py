"""An append has one end, whatever becomes of its connection, and a stale owner's changes nothing."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import pytest

from orchestrator.errors import Fenced, InvariantViolated, JournalUnavailable, VersionConflict
from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.postgres.driver import Connector, Link, Row
from orchestrator.journal.postgres.sql import SQL
from orchestrator.ports.leases import Member, Shard
from tests.conformance.journal_values import append, cancelled, opened
from tests.kit.figures import keep
from tests.kit.postgres import Server, server, struck_server

KILLS = int(os.environ.get("KILLS", "30"))
LEASE_S = 60.0
Owner = Callable[..., Coroutine[Any, Any, tuple[PostgresJournal, dict[int, Shard]]]]


def member(name: str) -> Member:
    return Member(member=name, name=name, address="127.0.0.1:1")


async def owner(dsn: str, name: str, lease_s: float = LEASE_S) -> tuple[PostgresJournal, dict[int, Shard]]:
    """Open the store as a member that takes every free shard."""
    store = await PostgresJournal.open(dsn, shard_count=4)
    view = await store.join(member(name), lease_s)
    return store, {shard.shard: shard for shard in await store.claim(name, view.shards)}


async def strike(admin: Any, stopped: asyncio.Event, kills: int) -> int:
    """Kill the backend of an append, again and again, while it works; return how many were hit."""
    struck = 0
    while struck < kills and not stopped.is_set():
        hit = await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'active' AND query LIKE 'WITH me AS%' LIMIT 1"
        )
        struck += len(hit)
    stopped.set()
    return struck


async def test_every_acknowledged_group_is_there_once_however_often_its_connection_is_killed(
    dsn: str, admin: Any
) -> None:
    store, shards = await owner(dsn, "one")
    epoch, stopped, acknowledged = shards[0].epoch, asyncio.Event(), 0

    async def write(writer: int) -> int:
        version = 0
        while not stopped.is_set():
            event = opened(version + 1, 20_000)
            (result,) = await store.append(
                [append(f"saga-{writer}", event, cancelled(version + 2), after=version, epoch=epoch, shard=0)]
            )
            assert result is None
            version += 2
        return version

    async with asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(write(number)) for number in range(4)]
        striker = tasks.create_task(strike(admin, stopped, KILLS))
    for number, writer in enumerate(writers):
        versions = [record.version for record in await store.read(SagaId(f"saga-{number}"))]
        assert versions == list(range(1, writer.result() + 1))
        acknowledged += len(versions)
    positions = [entry.position for entry in await store.since(0, acknowledged + 1, 0)]
    assert len(positions) == len(set(positions)) == acknowledged
    assert striker.result() == KILLS
    keep("postgres-appends", kills=striker.result(), acknowledged=acknowledged, lost=0, doubled=0)
    await store.close()


async def test_positions_of_a_shard_are_in_the_order_of_its_commits(dsn: str, admin: Any) -> None:
    store, shards = await owner(dsn, "one")
    stopped = asyncio.Event()

    async def write(shard: int) -> None:
        version = 0
        while not stopped.is_set():
            group = [append(f"{shard}-{n}", after=version, epoch=shards[shard].epoch, shard=shard) for n in range(3)]
            assert not any(await store.append(group))
            version += 1

    async def follow(shard: int) -> int:
        seen = last = 0
        while True:
            is_last_look = written.is_set()
            page = await store.since(last, 10_000, shard)
            seen, last = seen + len(page), page[-1].position if page else last
            if is_last_look:
                return seen

    written = asyncio.Event()
    async with asyncio.TaskGroup() as following:
        readers = [following.create_task(follow(shard)) for shard in (0, 1)]
        async with asyncio.TaskGroup() as tasks:
            for shard in (0, 1):
                tasks.create_task(write(shard))
            tasks.create_task(strike(admin, stopped, 5))
        written.set()
    for shard, reader in enumerate(readers):
        assert reader.result() == len(await store.since(0, 100_000, shard)) > 0, "a reader that goes on misses nothing"
    await store.close()


async def test_two_stores_that_start_with_one_request_id_start_one_saga(dsn: str) -> None:
    one, shards = await owner(dsn, "one")
    two = await PostgresJournal.open(dsn)
    await two.join(member("two"), LEASE_S)
    (given,) = await one.give("one", [shards[1]], "two")
    for number in range(20):
        first = append(f"a{number}", epoch=shards[0].epoch, shard=0, request_id=f"r{number}")
        other = [
            append(f"b{number}", epoch=given.epoch, shard=1, request_id=f"r{number}"),
            append(f"c{number}", epoch=given.epoch, shard=1),
        ]
        (left,), (right, beside) = await asyncio.gather(one.append([first]), two.append(other))
        assert beside is None
        assert [type(result) for result in (left, right)].count(VersionConflict) == 1
        assert (left, right).count(None) == 1
        row = await one.row_by_request(f"r{number}")
        assert row is not None
        assert row.saga_id == (f"b{number}" if left else f"a{number}")
        refused = left or right
        assert refused is not None
        assert refused.metadata["saga_id"] == row.saga_id
    await one.close()
    await two.close()


async def test_a_fence_waits_for_an_append_that_is_on_its_way_and_stops_what_comes_later(dsn: str, admin: Any) -> None:
    one, shards = await owner(dsn, "one", lease_s=0.0)
    two = await PostgresJournal.open(dsn)
    await two.join(member("two"), LEASE_S)
    epoch = shards[0].epoch
    assert not any(await one.append([append("a", epoch=epoch, shard=0)]))
    slow = await asyncpg.connect(dsn)
    turn = slow.transaction()
    await turn.start()
    await slow.execute("SELECT * FROM sagas WHERE saga_id = 'a' FOR UPDATE")  # an append has begun, and stays so
    async with asyncio.TaskGroup() as tasks:
        begun = tasks.create_task(one.append([append("a", after=1, epoch=epoch, shard=0)]))
        while await waiting_for_locks(admin) < 1:
            pass
        fencing = tasks.create_task(two.fence(["one"]))
        while await waiting_for_locks(admin) < 2 and not fencing.done():
            pass
        assert not fencing.done(), "what the old owner has begun may still be recorded"
        await turn.commit()
    await slow.close()
    assert list(begun.result()) == [None]
    assert list(fencing.result()) == ["one"]
    (result,) = await one.append([append("a", after=2, epoch=epoch, shard=0)])
    assert isinstance(result, Fenced)
    await one.close()
    await two.close()


async def waiting_for_locks(admin: Any) -> int:
    return int(await admin.fetchval("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"))


class Deaf:
    """Connections whose answers to the first appends are lost on their way, after the commit."""

    def __init__(self, connector: Connector, losses: int) -> None:
        self._connector = connector
        self.losses = losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)

    async def connect(self, statement_s: float) -> Link:
        link = await self._connector.connect(statement_s)
        fetch = link.fetch

        async def lossy(sql: str, *values: object, timeout_s: float) -> list[Row]:
            rows = await fetch(sql, *values, timeout_s=timeout_s)
            if self.losses and sql in {SQL["append"], SQL["standing"]}:
                self.losses -= 1
                raise ConnectionResetError("the answer is lost")
            return rows

        link.fetch = lossy  # type: ignore[method-assign]
        return link


@pytest.mark.parametrize("losses", [1, 2, 3])
async def test_an_append_whose_answer_is_lost_is_known_again_by_its_record(dsn: str, losses: int) -> None:
    store, shards = await owner(dsn, "one")
    epoch = shards[0].epoch
    assert not any(await store.append([append("old", epoch=epoch), append("moved", cancelled(1), epoch=epoch)]))
    store._writer._main._connector = deaf = Deaf(store._connector, losses)  # type: ignore[assignment]
    store._writer.cut()
    results = await store.append(
        [
            append("a", cancelled(1), cancelled(2), epoch=epoch, request_id="r"),
            append("old", cancelled(2), after=1, epoch=epoch),
            append("moved", cancelled(9), epoch=epoch),  # stands where this would have put it, by another record
            append("b", epoch=epoch, request_id="r"),
        ]
    )
    assert [type(result) for result in results] == [type(None), type(None), VersionConflict, VersionConflict]
    assert deaf.losses == 0
    for saga, versions in (("a", [1, 2]), ("old", [1, 2]), ("moved", [1]), ("b", [])):
        assert [record.version for record in await store.read(SagaId(saga))] == versions
    await store.close()


async def test_a_stale_owner_commits_nothing_after_its_fence_in_any_race(dsn: str, admin: Any) -> None:
    """Whatever is in the stream under the old epoch was there when the new owner took over."""
    for turn in range(15):
        old, new = f"old-{turn}", f"new-{turn}"
        one, shards = await owner(dsn, old, lease_s=0.0)
        two = await PostgresJournal.open(dsn)
        await two.join(member(new), LEASE_S)
        saga, stopped = f"saga-{turn}", asyncio.Event()

        async def write(store: PostgresJournal, epoch: int, saga: str, stopped: asyncio.Event) -> None:
            version = 0
            while not stopped.is_set():
                (result,) = await store.append([append(saga, after=version, epoch=epoch, shard=0)])
                if isinstance(result, Fenced):
                    return
                assert result is None
                version += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(one, shards[0].epoch, saga, stopped))
            while await two.row(SagaId(saga)) is None:
                pass
            assert list(await two.fence([old])) == [old]
            view = await two.view()
            taken = await two.claim(new, view.shards)
            found = await two.row(SagaId(saga))
            assert found is not None
            epoch = next(shard.epoch for shard in taken if shard.shard == 0)
            (result,) = await two.append([append(saga, after=found.version, epoch=epoch, shard=0)])
            assert result is None, "nobody wrote after the new owner had read"
        records = await two.read(SagaId(saga))
        assert [record.epoch for record in records] == [shards[0].epoch] * found.version + [epoch]
        await two.leave(new)
        await one.close()
        await two.close()


async def test_an_append_that_waits_ends_when_its_store_joins_as_another(dsn: str) -> None:
    with struck_server() as own:
        dsn = own.dsn(own.database())
        store, shards = await owner(dsn, "one")
        blocker = await asyncpg.connect(dsn)
        turn = blocker.transaction()
        await turn.start()
        await blocker.execute("SELECT * FROM members WHERE member = 'one' FOR UPDATE")
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(store.append([append("a", epoch=shards[0].epoch, shard=0)]))
            watcher = await asyncpg.connect(dsn)
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
            await store.join(member("one again"), LEASE_S)
            await watcher.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE state = 'active' AND query LIKE 'WITH me AS%'"
            )
        (result,) = waiting.result()
        assert isinstance(result, JournalUnavailable), "nobody knows: what is Fenced is certainly not written"
        await turn.rollback()
        await blocker.close()
        await watcher.close()
        await store.close()


async def test_a_caller_that_goes_leaves_a_running_append_alone(dsn: str, admin: Any) -> None:
    store, shards = await owner(dsn, "one")
    blocker = await asyncpg.connect(dsn)
    turn = blocker.transaction()
    await turn.start()
    await blocker.execute("SELECT * FROM members FOR UPDATE")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(store.append([append("a", epoch=shards[0].epoch, shard=0)]))
        while not await waiting_for_locks(admin):
            pass
        waiting.cancel()
    await turn.rollback()
    await blocker.close()
    (result,) = await store.append([append("b", epoch=shards[0].epoch, shard=0)])
    assert result is None, "the next one has its turn"
    assert await store.row(SagaId("a")) is not None
    await store.close()


async def test_what_cannot_be_recorded_is_refused_alone(dsn: str) -> None:
    store, shards = await owner(dsn, "one")
    epoch = shards[0].epoch
    results = await store.append(
        [
            append("a", epoch=epoch, failure="a\0b"),
            append("b\0", epoch=epoch),
            append("c", epoch=epoch, uid="no uuid"),
            append("d", epoch=epoch),
        ]
    )
    assert [type(result) for result in results] == [type(None), InvariantViolated, InvariantViolated, type(None)]
    row = await store.row(SagaId("a"))
    assert row is not None
    assert row.failure == "a\ufffdb"
    await store.close()


async def test_a_store_that_is_closed_while_an_append_waits_says_so(dsn: str) -> None:
    with struck_server() as own:
        store, shards = await owner(own.dsn(own.database()), "one")
        own.stop("immediate")

        async def closing() -> None:
            with pytest.raises(JournalUnavailable, match="did not answer"):
                await store.row(SagaId("a"))
            await store.close()

        given = store.append([append("a", epoch=shards[0].epoch, shard=0)])
        ended, _ = await asyncio.gather(given, closing(), return_exceptions=True)
        assert isinstance(ended, JournalUnavailable)
        assert "closed" in str(ended)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_database_goes_and_comes_back_and_everything_resumes_by_itself(mode: str) -> None:
    with struck_server() as own:
        store, shards = await owner(own.dsn(own.database()), "one")
        (result,) = await store.append([append("a", epoch=shards[0].epoch, shard=0)])
        assert result is None
        await asyncio.to_thread(own.stop, mode)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(store.append([append("a", after=1, epoch=shards[0].epoch, shard=0)]))
            for ask in (store.row(SagaId("a")), store.renew("one", LEASE_S, is_leaving=False), store.view()):
                with pytest.raises(JournalUnavailable, match="goes on by itself"):
                    await ask
            await asyncio.to_thread(own.start)
        assert list(waiting.result()) == [None]
        assert [record.version for record in await store.read(SagaId("a"))] == [1, 2]
        assert await store.renew("one", LEASE_S, is_leaving=False) is not None
        await store.close()


def test_the_server_of_tests_keeps_what_it_acknowledges() -> None:
    found: Server = server()
    assert found.run("SHOW fsync") == [("on",)]
