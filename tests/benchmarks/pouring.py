"""A filled SQLite store poured into an PostgreSQL: a promotion by COPY, of sagas without families and attributes."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import asyncpg

from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.ownership import shard_of

_TABLES = {
    "revisions": "definition, revision, source, descriptors, created_at",
    "active_revisions": "definition, revision",
    "sagas": "shard, built_on, saga_id, uid, request_id, parent, definition, revision, status, version, epoch, "
    "attributes, started_at, updated_at, ended_at, wake_at, rest, attention, failure",
    "records": "uid, shard, version, position, epoch, at, type, checksum, body",
}
_INDEXES = """
SELECT 'ALTER TABLE records ADD ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'records_pkey'
UNION ALL SELECT pg_get_indexdef('records_by_position'::regclass)
"""
_BARE = "ALTER TABLE records DROP CONSTRAINT records_pkey; DROP INDEX records_by_position"

Rows = Iterator[tuple[Any, ...]]


async def pour(file: Path, dsn: str) -> None:
    """Write all that is in the file, and have the server look at its tables, as it does by and by."""
    store, server = await PostgresJournal.open(dsn), await asyncpg.connect(dsn)
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as origin:
        ((epoch,),) = origin.execute("SELECT epoch FROM boot")
        ((last,),) = origin.execute("SELECT max(position) FROM records")
        await store.begin(file.name, epoch, last)
        indexes = [row[0] for row in await server.fetch(_INDEXES)]
        await server.execute(_BARE)  # built at once, they take a third of the time
        for table, rows in _rows(origin, store.shard_count).items():
            await server.copy_records_to_table(table, columns=_TABLES[table].split(", "), records=rows)
        for index in indexes:
            await server.execute(index)
    await store.finish()
    await store.close()
    await server.execute("VACUUM (ANALYZE)")
    await server.execute("CHECKPOINT")
    await server.close()


def _rows(origin: apsw.Connection, shard_count: int) -> dict[str, Rows]:
    """Return what goes into each table, to be read in this order."""
    known: dict[int, tuple[str, int]] = {}

    def sagas() -> Rows:
        columns = _TABLES["sagas"].removeprefix("shard, ").replace("built_on", "version - 1")
        for number, *values in origin.execute(f"SELECT id, {columns} FROM sagas ORDER BY id"):
            shard = shard_of(SagaId(values[1]), shard_count)
            known[number] = values[2], shard
            yield shard, *values

    def records() -> Rows:
        columns = _TABLES["records"].removeprefix("uid, shard, ")
        for number, *values in origin.execute(f"SELECT saga, {columns} FROM records ORDER BY position"):
            yield *known[number], *values

    def same(table: str) -> Rows:
        yield from origin.execute(f"SELECT {_TABLES[table]} FROM {table}")

    plain = {table: same(table) for table in ("revisions", "active_revisions")}
    return {**plain, "sagas": sagas(), "records": records()}
