"""What the server refuses: it is known not to be done, one saga's hinders no other's, and all of it is told."""

import asyncio
from typing import Any

import asyncpg
import pytest

from orchestrator.errors import ConfigError, InvariantViolated, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal, writer
from orchestrator.journal.postgres.driver import Address, Connector, Link
from orchestrator.journal.postgres.pool import Pool
from orchestrator.limits import POSTGRES_APPEND_S, POSTGRES_CONNECT_S
from orchestrator.ports.journal import is_put_off
from orchestrator.ports.leases import Member
from tests.conformance.journal_values import append
from tests.kit.postgres import struck_server

LEASE_S = 60.0


def member(name: str) -> Member:
    return Member(member=name, name=name, address="127.0.0.1:1")


async def owner(dsn: str, name: str = "one") -> tuple[PostgresJournal, int]:
    """Open the store as the member that takes all of it; return it with the epoch."""
    store = await PostgresJournal.open(dsn, shard_count=4)
    view = await store.join(member(name), LEASE_S)
    return store, (await store.claim(name, view.shards))[0].epoch


async def refuse(admin: Any, state: str, saga: str = "poison") -> None:
    """Let the server refuse one saga's row, as a user's trigger or a damaged index does."""
    await admin.execute(
        f"CREATE OR REPLACE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.saga_id LIKE '{saga}' THEN RAISE EXCEPTION 'refused' USING ERRCODE='{state}'; END IF; "
        f"RETURN NEW; END $$"
    )
    await admin.execute("CREATE TRIGGER boom BEFORE INSERT ON sagas FOR EACH ROW EXECUTE FUNCTION boom()")


@pytest.mark.parametrize("state", ["XX002", "P0001", "22023"])
async def test_one_saga_that_is_refused_for_good_ends_alone(dsn: str, admin: Any, state: str) -> None:
    store, epoch = await owner(dsn)
    await refuse(admin, state)
    names = [*(f"good{number}" for number in range(9)), "poison", *(f"fine{number}" for number in range(9))]
    async with asyncio.timeout(20):
        results = await store.append([append(name, epoch=epoch) for name in names])
    refused = {name: result for name, result in zip(names, results, strict=True) if result is not None}
    assert list(refused) == ["poison"]
    assert isinstance(refused["poison"], InvariantViolated)
    assert await store.versions([SagaId(name) for name in names]) == {name: 1 for name in names if name != "poison"}
    await store.close()


@pytest.mark.parametrize("state", ["53100", "25006", "42501", "55P03"])
async def test_one_saga_that_is_refused_for_now_is_put_off_and_taken_when_it_is_given_again(
    dsn: str, admin: Any, state: str
) -> None:
    store, epoch = await owner(dsn)
    await refuse(admin, state)
    poison = append("poison", epoch=epoch)
    async with asyncio.timeout(20):
        (good, refused) = await store.append([append("good", epoch=epoch), poison])
        assert good is None
        assert is_put_off(refused)
        (again,) = await store.append([poison])
        assert is_put_off(again)
        assert list(await store.append([append("next", epoch=epoch)])) == [None]
    await admin.execute("DROP TRIGGER boom ON sagas")
    assert list(await store.append([poison])) == [None]
    await store.close()


async def test_what_is_put_off_waits_beside_the_others(dsn: str, admin: Any) -> None:
    """Somebody holds a lock on one saga's row, for as long as they like."""
    store, epoch = await owner(dsn)
    assert list(await store.append([append("held", epoch=epoch)])) == [None]
    turn = admin.transaction()
    await turn.start()
    await admin.execute("SELECT * FROM sagas WHERE saga_id = 'held' FOR UPDATE")
    held = append("held", after=1, epoch=epoch)
    store._writer._main.drop()
    store._writer._main.statement_s = 2.0
    (refused, beside) = await store.append([held, append("beside", epoch=epoch)])
    assert is_put_off(refused)
    assert beside is None
    store._writer._main.drop()
    store._writer._main.statement_s, store._writer._aside.statement_s = POSTGRES_APPEND_S, 50.0
    again = asyncio.ensure_future(store.append([held]))  # noqa: TID251  (awaited below)
    for number in range(5):
        assert list(await store.append([append(f"more{number}", epoch=epoch)])) == [None]
        assert not again.done()
    await turn.rollback()
    (result,) = await again
    assert result is None or is_put_off(result)
    await store.close()


async def test_a_saga_that_was_recorded_before_its_answer_was_lost_is_known_though_it_is_refused_now(
    dsn: str, admin: Any
) -> None:
    store, epoch = await owner(dsn)
    given = append("poison", epoch=epoch)
    assert list(await store.append([given])) == [None]
    await refuse(admin, "XX002")
    link = store._writer._main.link
    is_lost = False

    async def lossy() -> Link:
        nonlocal is_lost
        if not is_lost:
            is_lost = True
            found = await link()

            async def lost(*_: object, **__: object) -> Any:
                raise ConnectionResetError("the answer is lost")

            found.fetch = lost  # type: ignore[method-assign]
            return found
        return await link()

    store._writer._main.link = lossy  # type: ignore[method-assign]
    assert list(await store.append([given])) == [None]
    await store.close()


async def test_a_store_that_takes_nothing_says_so_until_it_does(
    dsn: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "POSTGRES_STALL_S", 0.0)
    store, epoch = await owner(dsn)
    assert not store.obstacle
    await refuse(admin, "53100", "%")
    given = [append(f"a{number}", epoch=epoch) for number in range(20)]
    async with asyncio.timeout(20):
        assert all(is_put_off(result) for result in await store.append(given))
    assert "refused" in str(store.obstacle)
    await admin.execute("DROP TRIGGER boom ON sagas")
    assert list(await store.append(given[:1])) == [None]
    assert not store.obstacle
    await refuse(admin, "XX002", "%")
    assert isinstance((await store.append([append("b", epoch=epoch)]))[0], InvariantViolated)
    assert not store.obstacle, "one saga's trouble is not the store's"
    await store.close()


@pytest.mark.parametrize("is_linked", [True, False])
async def test_an_append_that_is_not_sure_ends_when_its_member_leaves(is_linked: bool) -> None:
    with struck_server() as own:
        store, epoch = await owner(own.dsn(own.database()))
        assert list(await store.append([append("before", epoch=epoch)])) == [None]
        await asyncio.to_thread(own.pause)
        if not is_linked:
            store._writer.cut()
        running = asyncio.ensure_future(store.append([append("a", epoch=epoch)]))  # noqa: TID251  (awaited below)
        while store._writer._unheard_since is None:  # noqa: ASYNC110  (no event tells it)
            await asyncio.sleep(0)  # one turn: of the append under way
        with pytest.raises(JournalUnavailable):
            await store.leave("one")
        async with asyncio.timeout(POSTGRES_CONNECT_S - 1.0):  # less than one try, or one connection, takes
            (result,) = await running
            assert isinstance(result, JournalUnavailable)
            (after,) = await store.append([append("b", epoch=epoch)])
            assert after is not None, "nobody's"
        await store.close()


async def test_a_driver_that_cannot_read_its_files_any_more_is_an_outage(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, epoch = await owner(dsn)
    connect = asyncpg.connect

    async def misled(*_: object, **__: object) -> Any:
        raise asyncpg.ClientConfigurationError("root certificate file does not exist")

    monkeypatch.setattr(asyncpg, "connect", misled)
    with pytest.raises(ConfigError):
        await PostgresJournal.open(dsn)
    store._writer.cut()
    with pytest.raises(JournalUnavailable, match="certificate"):
        await store.row(SagaId("a"))
    waiting = asyncio.ensure_future(store.append([append("a", epoch=epoch)]))  # noqa: TID251  (awaited below)
    while "the end of an append" not in caplog.text:  # noqa: ASYNC110  (no event tells it)
        await asyncio.sleep(0)  # one turn: of the append under way
    assert "mend that" in caplog.text
    monkeypatch.setattr(asyncpg, "connect", connect)
    assert list(await waiting) == [None]
    await store.close()


async def test_a_read_is_bounded_once_however_many_connections_are_idle(dsn: str) -> None:
    connector = Connector(Address.of(dsn))
    pool = Pool(connector, 4, 2.0)
    await asyncio.gather(*(pool.fetch("SELECT pg_sleep(0.1)") for _ in range(4)))
    began = asyncio.get_running_loop().time()
    tries = 0

    async def slow(link: Link) -> None:
        nonlocal tries
        tries += 1
        await link.fetch("SELECT pg_sleep(30)", timeout_s=2.0)

    with pytest.raises(JournalUnavailable):
        await pool.run(slow, is_repeatable=True)
    assert tries == 1
    assert asyncio.get_running_loop().time() - began < 4.0
    await pool.close()
