"""A file's journal becomes a PostgreSQL's: opens both, and introduces them to each other."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.bootstrap.stores import existing
from orchestrator.config import without_password
from orchestrator.errors import ConfigError
from orchestrator.journal import promoting
from orchestrator.journal.promoting import Progress, Promoted, Survey
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import SearchQuery


async def promote(path: Path, dsn: str, shard_count: int, on_progress: Progress) -> Promoted:
    """Move a file's sagas to a PostgreSQL, or go on where an earlier run ended; `ConfigError` says why it cannot be.

    `shard_count` is for a store that is made now.
    """
    from orchestrator.journal.postgres import PostgresJournal  # noqa: PLC0415  # the driver is an extra

    async with _closing(SqliteJournal.open(existing(path), is_to_move=True)) as origin:
        destination = await PostgresJournal.open(dsn, shard_count=shard_count)
        try:
            return await promoting.promote(
                origin, destination, successor=without_password(dsn), on_progress=on_progress
            )
        finally:
            await destination.close()


async def survey_promotion(path: Path, dsn: str, on_progress: Progress) -> tuple[Survey, int | None]:
    """Return what would be moved, and how many sagas there are already; None where no store is there yet.

    Nothing is changed on either side. `ConfigError` where one of them cannot be opened.
    """
    from orchestrator.journal.postgres import PostgresJournal  # noqa: PLC0415  # the driver is an extra

    async with _closing(SqliteJournal.open_to_read(existing(path))) as origin:
        try:
            destination = await PostgresJournal.open(dsn, may_change=False)
        except ConfigError as refused:
            if "is_absent" not in refused.metadata:
                raise
            return await promoting.survey(origin, on_progress), None
        try:
            there = (await destination.count(SearchQuery())).get("", 0)
            return await promoting.survey(origin, on_progress), there
        finally:
            await destination.close()


@asynccontextmanager
async def _closing(origin: SqliteJournal) -> AsyncGenerator[SqliteJournal]:
    try:
        yield origin
    finally:
        await origin.close()
