"""How the server runs the statements whose cost must not grow with the store."""

import re

import psycopg
import pytest

from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.postgres.sql import SQL
from tests.kit.postgres import database

GENERIC_PLANS_SINCE = 160_000


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
