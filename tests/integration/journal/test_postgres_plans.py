"""How the server runs the statements whose cost must not grow with the store."""

import re

import psycopg
import pytest

from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.postgres.sql import SQL
from tests.kit.postgres import database

GENERIC_PLANS_SINCE = 160_000


async def test_an_append_planned_while_the_store_was_empty_never_walks_all_sagas() -> None:
    with database() as dsn:
        store = await PostgresJournal.open(dsn)
        await store.close()
        with psycopg.connect(dsn, autocommit=True) as connection:
            if connection.info.server_version < GENERIC_PLANS_SINCE:
                pytest.skip("the server cannot show a plan without values: PostgreSQL 16 can")
            found = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN) {SQL['append']}".encode())
        plan = [(found.get_value(row, 0) or b"").decode() for row in range(found.ntuples)]
    assert any("Insert on sagas" in line for line in plan), found.error_message
    walks = [line.strip() for line in plan if re.search(r"hashed SubPlan|(Seq|Bitmap Heap) Scan on sagas", line)]
    assert not walks
