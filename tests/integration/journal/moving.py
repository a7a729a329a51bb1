"""Stores that are moved, for the tests of promotion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from orchestrator.bootstrap import promote
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.promoting import Promoted
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import SearchQuery, SearchRow
from orchestrator.ports.promotion import Entry
from orchestrator.saga.state import SagaStatus
from tests.conformance.journal_values import append, cancelled, opened

SHARDS = 8


async def moved(file: Path, dsn: str) -> Promoted:
    return await promote(file, dsn, SHARDS, lambda *_: None)


async def rows_of(store: SqliteJournal | PostgresJournal) -> Sequence[SearchRow]:
    return await store.search(SearchQuery(order_by="saga_id", descending=False, limit=999))


async def everything(store: SqliteJournal | PostgresJournal) -> Sequence[Entry]:
    return await store.entries(("", 0), "~", 99_999)


async def filled(file: Path, count: int) -> SqliteJournal:
    """Return a file of sagas whose records lie between each other's."""
    origin = SqliteJournal.open(file)
    await origin.save("otlp-traces", 4)
    for turn in range(3):
        for n in range(count):
            event = opened(turn) if n % 2 else cancelled(turn)
            row: dict[str, Any] = {"uid": str(UUID(int=n + 1)), "request_id": f"r{n}", "attributes": {"n": n}}
            status = SagaStatus.COMPLETED if turn == 2 and n % 3 == 0 else SagaStatus.RUNNING
            taken = await origin.append([append(f"s{n:05}", event, after=turn, status=status, wake_at=9.0, **row)])
            assert list(taken) == [None]
    return origin
