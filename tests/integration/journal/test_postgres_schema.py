"""Who may make the store, and what is refused: migrations by several processes at once, strangers, newer releases."""

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import asyncpg
import pytest

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.migrations import Migration
from orchestrator.journal.postgres import PostgresJournal, schema
from orchestrator.journal.postgres.driver import Address, Connector
from orchestrator.ports.leases import Member
from tests.conformance.journal_values import append
from tests.kit import postgres


@pytest.fixture
def dsn() -> Iterator[str]:
    with postgres.database() as dsn:
        yield dsn


async def opened(dsn: str, shard_count: int = 4) -> PostgresJournal:
    store = await PostgresJournal.open(dsn, shard_count=shard_count)
    await store.close()
    return store


async def test_many_processes_make_one_store(dsn: str) -> None:
    stores = await asyncio.gather(*(opened(dsn, count) for count in range(4, 12)))
    assert len({store.shard_count for store in stores}) == 1
    assert postgres.run(dsn, "SELECT count(*) FROM shards") == [(stores[0].shard_count,)]
    versions = [version for (version,) in postgres.run(dsn, "SELECT version FROM schema_version ORDER BY 1")]
    assert versions == [migration.version for migration in schema.shipped()]


async def test_who_meets_another_one_in_the_act_of_making_the_store_looks_again(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A table brings a type of its name, and between the two looks for them the other one's may have come.
    postgres.run(dsn, "CREATE TYPE store AS ENUM ('made')")
    refused: list[str] = []

    def undone(_: Connector, exc: BaseException) -> None:
        refused.append(str(exc).splitlines()[0])
        postgres.run(dsn, "DROP TYPE store")

    monkeypatch.setattr(Connector, "take_note", undone)
    await opened(dsn)
    assert refused == ['type "store" already exists']


async def test_who_loses_the_connection_while_the_store_is_made_ready_begins_anew(dsn: str) -> None:
    await opened(dsn)
    another, admin = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    turn = another.transaction()
    await turn.start()
    await another.execute("SELECT * FROM store FOR UPDATE")
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(opened(dsn))
        while not await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            assert not opening.done()
        await turn.rollback()
    await another.close()
    await admin.close()
    assert opening.result().shard_count == 4


async def test_the_number_of_shards_is_that_of_the_making(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    assert (await opened(dsn, 4)).shard_count == 4
    with caplog.at_level(logging.WARNING):
        assert (await opened(dsn, 8)).shard_count == 4
    assert "4 shards since it was made" in caplog.text


async def test_a_migration_of_a_later_release_is_applied_once_by_many(dsn: str) -> None:
    await opened(dsn)
    more = Migration(version=len(schema.shipped()) + 1, name="more", sql="CREATE TABLE more (id integer)")
    connectors = [Connector(Address.of(dsn)) for _ in range(4)]
    counts = await asyncio.gather(*(schema.prepare(each, [*schema.shipped(), more], 4) for each in connectors))
    assert counts == [4] * 4
    with pytest.raises(ConfigError, match="newer release"):
        await opened(dsn)


async def test_a_migration_that_fails_leaves_nothing_behind(dsn: str) -> None:
    await opened(dsn)
    wrong = Migration(
        version=len(schema.shipped()) + 1, name="wrong", sql="CREATE TABLE half (id integer); SELECT 1 FROM nothing;"
    )
    with pytest.raises(JournalUnavailable, match="nothing"):
        await schema.prepare(Connector(Address.of(dsn)), [*schema.shipped(), wrong], 4)
    assert postgres.run(dsn, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half'") == [(0,)]
    await opened(dsn)


async def test_another_text_of_a_migration_is_refused(dsn: str) -> None:
    await opened(dsn)
    first, *rest = schema.shipped()
    with pytest.raises(ConfigError, match="another text of migration 1"):
        await schema.prepare(Connector(Address.of(dsn)), [replace(first, sql="SELECT 1"), *rest], 4)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE sagas (id integer)",
        "CREATE TABLE store (id integer)",
        "CREATE TABLE store AS SELECT 1 AS id, 'shop' AS application, 3 AS shard_count",
    ],
)
async def test_tables_of_another_program_are_refused_and_left_alone(dsn: str, sql: str) -> None:
    postgres.run(dsn, sql)
    before = postgres.run(dsn, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    with pytest.raises(ConfigError, match="another program"):
        await opened(dsn)
    assert postgres.run(dsn, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'") == before


async def test_a_store_lies_in_the_schema_that_the_connection_names(dsn: str) -> None:
    postgres.run(dsn, "CREATE SCHEMA apart")
    postgres.run(dsn, "CREATE TABLE sagas (id integer)")
    apart = await PostgresJournal.open(f"{dsn}&search_path=apart", shard_count=4)
    await apart.join(Member(member="one", name="one", address="127.0.0.1:1"), 60.0)
    assert await apart.row(SagaId("a")) is None
    assert postgres.run(dsn, "SELECT member FROM apart.members") == [("one",)]
    await apart.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("/test_", "/missing_"), "does not exist"),
        (("postgresql://postgres@", "postgresql://nobody@"), "nobody"),
        (("postgresql:", "mysql:"), "postgres://"),
    ],
)
async def test_what_people_must_mend_is_said_at_the_door(dsn: str, change: tuple[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        await opened(dsn.replace(*change))


async def test_a_pooler_is_one_of_those_that_are_known(dsn: str) -> None:
    with pytest.raises(ConfigError, match="pooler"):
        await opened(f"{dsn}&pooler=perhaps")


async def test_a_password_is_never_shown() -> None:
    with pytest.raises(JournalUnavailable) as refused:
        await opened("postgres://ann:secret@127.0.0.1:1/db")
    assert "127.0.0.1" in str(refused.value)
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError) as wrong:
        await opened("mysql://ann:secret@127.0.0.1:1/db")
    assert "secret" not in str(wrong.value)


async def test_a_user_who_may_not_do_what_the_store_does_is_told_at_the_door(dsn: str) -> None:
    user = f"poor_{os.getpid()}"
    poor = dsn.replace("://postgres@", f"://{user}@")
    postgres.run(dsn, f"CREATE ROLE {user} LOGIN")
    with pytest.raises(ConfigError, match="permission denied"):
        await opened(poor)
    await opened(dsn)
    with pytest.raises(ConfigError, match="SELECT on store"):
        await opened(poor)
    postgres.run(dsn, f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {user}")
    with pytest.raises(ConfigError, match=r"DELETE on members.*DELETE on sagas.*USAGE on positions"):
        await opened(poor)
    postgres.run(dsn, f"GRANT DELETE ON ALL TABLES IN SCHEMA public TO {user}")
    postgres.run(dsn, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}")
    store = await PostgresJournal.open(poor)
    view = await store.join(Member(member="one", name="one", address="127.0.0.1:1"), 60.0)
    (shard, *_) = await store.claim("one", view.shards)
    assert list(await store.append([append("a", epoch=shard.epoch, shard=shard.shard)])) == [None]
    await store.close()


async def test_a_server_that_only_reads_is_refused_at_the_door(dsn: str) -> None:
    await opened(dsn)
    postgres.run(
        dsn,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', "
        "current_database()); END $$",
    )
    with pytest.raises(ConfigError, match="takes writes"):
        await opened(dsn)


async def test_tables_are_tuned_for_this_server_and_a_database_that_knows_no_such_thing_does_without(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [each.name for each in schema.shipped() if re.search(r"fillfactor|autovacuum|WITH \(", _bare(each.sql))]
    tuning = dict(schema.TUNING)
    strange = {name: sql.replace("SET (", "SET (strange = 1, ") for name, sql in tuning.items()}
    options = (
        "SELECT relname FROM pg_class WHERE reloptions IS NOT NULL AND relname = ANY ('{sagas,members}') ORDER BY 1"
    )
    monkeypatch.setattr(schema, "TUNING", strange)
    await opened(dsn)
    assert postgres.run(dsn, options) == []
    monkeypatch.setattr(schema, "TUNING", tuning)
    await opened(dsn)
    assert postgres.run(dsn, options) == [("members",), ("sagas",)]


def _bare(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
