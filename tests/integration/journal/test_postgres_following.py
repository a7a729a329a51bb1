"""Who follows a shard passes no record over, however late it is committed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.limits import POSTGRES_APPEND_S
from orchestrator.ports.journal import is_put_off
from orchestrator.ports.leases import Member
from tests.conformance.journal_values import append

LOCK = 4711
HELD = append("held").row.uid


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresJournal]:
    store = await PostgresJournal.open(dsn, shard_count=1)
    view = await store.join(Member(member="one", name="one", address="127.0.0.1:1"), 60.0)
    assert [shard.epoch for shard in await store.claim("one", view.shards)] == [1]
    yield store
    await store.close()


async def hold_back(admin: Any) -> None:
    """Keep one saga's transaction from its end once its record has a position, as a slow replica may."""
    await admin.execute(
        f"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.uid = '{HELD}' THEN PERFORM pg_advisory_xact_lock({LOCK}); END IF; RETURN NULL; END $$"
    )
    await admin.execute("CREATE TRIGGER wait AFTER INSERT ON records FOR EACH ROW EXECUTE FUNCTION wait()")
    await admin.execute(f"SELECT pg_advisory_lock({LOCK})")


async def put_off(store: PostgresJournal, admin: Any) -> None:
    """Have the held saga's append put off, and let its next one wait for as long as it takes."""
    await hold_back(admin)
    store._writer._main.statement_s = 2.0
    (refused,) = await store.append([append("held")])
    assert is_put_off(refused)
    be_patient(store)
    store._writer._aside.statement_s = 50.0


def be_patient(store: PostgresJournal) -> None:
    """Give other sagas' appends their time again."""
    store._writer._main.drop()
    store._writer._main.statement_s = POSTGRES_APPEND_S


async def let_go(admin: Any) -> None:
    await admin.execute(f"SELECT pg_advisory_unlock({LOCK})")


async def until_it_waits(admin: Any) -> None:
    async with asyncio.timeout(30):
        while not await admin.fetchval(
            f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"
        ):
            pass


class Follower:
    """Reads on behind what it has read, as the trace reader does."""

    def __init__(self, store: PostgresJournal) -> None:
        self._store = store
        self._read = {0: 0}
        self.seen: list[str] = []

    async def look(self) -> list[str]:
        for found in await self._store.news(self._read, 100):
            self.seen.append(found.saga_id)
            self._read[0] = found.position
        return sorted(self.seen)


async def test_a_record_that_is_committed_after_later_ones_is_not_passed_over(
    store: PostgresJournal, admin: Any
) -> None:
    follower = Follower(store)
    await put_off(store, admin)
    again = asyncio.ensure_future(store.append([append("held")]))  # noqa: TID251  (awaited below)
    await until_it_waits(admin)
    assert list(await store.append([append("beside")])) == [None]
    await follower.look()
    await let_go(admin)
    assert list(await again) == [None]
    assert await follower.look() == ["beside", "held"]


async def test_a_look_that_began_before_passes_nothing_over_either(store: PostgresJournal, admin: Any) -> None:
    follower = Follower(store)
    await put_off(store, admin)
    fetch, is_first = store._reads.fetch, True

    async def late(sql: str, *values: object) -> Any:
        nonlocal is_first
        if is_first:
            is_first = False
            again = asyncio.ensure_future(store.append([append("held")]))  # noqa: TID251  (awaited below)
            await until_it_waits(admin)
            assert list(await store.append([append("beside")])) == [None]
            rows = await fetch(sql, *values)
            await let_go(admin)
            assert list(await again) == [None]
            return rows
        return await fetch(sql, *values)

    store._reads.fetch = late  # type: ignore[method-assign,assignment]
    await follower.look()
    assert await follower.look() == ["beside", "held"]


async def test_a_run_whose_end_nobody_learned_passes_nothing_over(store: PostgresJournal, admin: Any) -> None:
    follower = Follower(store)
    await hold_back(admin)
    store._writer._main.statement_s = 50.0  # it goes on until it is let go
    first = asyncio.ensure_future(store.append([append("held")]))  # noqa: TID251  (awaited below)
    await until_it_waits(admin)
    link, store._writer._main.statement_s = store._writer._main._link, 2.0
    assert link is not None
    server_side = await admin.fetchval("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    link.drop()
    (refused,) = await first
    assert is_put_off(refused)
    be_patient(store)
    assert list(await store.append([append("beside")])) == [None]
    assert await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", server_side)
    await follower.look()
    await let_go(admin)
    assert list(await store.append([append("held")])) == [None], "it is known for ours, whichever run wrote it"
    assert await follower.look() == ["beside", "held"]


async def test_a_shard_that_was_given_away_and_comes_back_is_read_again(store: PostgresJournal, admin: Any) -> None:
    view = await store.view()
    store._writer.late.begin(SagaId("held"), 0)
    assert list(await store.append([append("beside")])) == [None]
    assert await Follower(store).look() == []
    await store.join(Member(member="two", name="two", address="127.0.0.1:2"), 60.0)
    store._writer.join("one")
    store._writer.late.begin(SagaId("held"), 0)
    assert len(await store.give("one", view.shards, "two")) == 1
    assert await Follower(store).look() == ["beside"]
