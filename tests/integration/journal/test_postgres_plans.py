"""How the server runs the statements whose cost must not grow with the store."""

import asyncio
import re

import psycopg
import pytest

from orchestrator.journal.postgres import PostgresJournal, driver
from orchestrator.journal.postgres.driver import Address, Connector
from orchestrator.journal.postgres.sql import SQL
from tests.kit.postgres import database

GENERIC_PLANS_SINCE = 160_000
ENDED = """
INSERT INTO sagas (saga_id, uid, request_id, parent, shard, definition, revision, status, version, built_on, epoch,
                   attributes, started_at, updated_at, ended_at, rest, attention, failure)
SELECT 'saga-' || n, md5(n::text)::uuid, '', '', n % 256, 'nap', 'r1', 'COMPLETED', 17, 16, 1, '{}', n, n, n, 'asleep',
       '', ''
FROM generate_series(1, 20000) AS n
"""


@pytest.mark.parametrize("name", ["append", "versions", "standing", "since", "since_of_shard", "news", "forget"])
async def test_a_statement_planned_while_the_store_was_empty_never_walks_all_sagas(name: str) -> None:
    with database() as dsn:
        store = await PostgresJournal.open(dsn)
        await store.close()
        with psycopg.connect(dsn, autocommit=True) as connection:
            if connection.info.server_version < GENERIC_PLANS_SINCE:
                pytest.skip("the server cannot show a plan without values: PostgreSQL 16 can")
            found = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN) {SQL[name]}".encode())
        plan = [(found.get_value(row, 0) or b"").decode() for row in range(found.ntuples)]
    assert any(re.search("sagas_(pkey|uid_key)", line) for line in plan), found.error_message
    walks = [line.strip() for line in plan if re.search(r"hashed SubPlan|Seq Scan on (sagas|records)", line)]
    assert not walks


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
async def test_forgetting_reads_those_that_go_and_not_all_that_have_ended(plan: str) -> None:
    with database() as dsn:
        store = await PostgresJournal.open(dsn)
        await store.close()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(ENDED)
            connection.execute("ANALYZE sagas")
            connection.execute(f"SET plan_cache_mode = {plan}")
            connection.execute(f"PREPARE forget (text, float8, bigint, int[], bigint) AS {SQL['forget']}")
            found = connection.execute("EXPLAIN (ANALYZE) EXECUTE forget ('nap', 15000, 100, NULL, 2000)").fetchall()
    read = [re.search(r"Scan .*on sagas s .*rows=(\d+)(\.\d+)? loops=1", line) for (line,) in found]
    assert [int(of[1]) for of in read if of] == [100], found


async def test_a_plan_is_not_kept_for_long_so_that_none_outlives_the_store_it_was_made_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = "SELECT prepare_time FROM pg_prepared_statements WHERE statement = $1"
    monkeypatch.setattr(driver, "POSTGRES_PLAN_S", 0.01)
    with database() as dsn:
        await (await PostgresJournal.open(dsn)).close()
        link = await Connector(Address.of(dsn)).connect(10.0)
        made: set[object] = set()
        async with asyncio.timeout(10.0):
            while len(made) < 2:
                await link.fetch(SQL["row"], "any", timeout_s=10.0)
                made |= {at for (at,) in await link.fetch(kept, SQL["row"], timeout_s=10.0)}
        await link.close()
