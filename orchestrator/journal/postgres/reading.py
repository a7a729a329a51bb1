"""What reads return: rows checked as they are read, and damage told apart from an end."""

import logging
from collections.abc import Sequence
from typing import Final

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.codec import corrupted
from orchestrator.journal.columns import record_of, row_of
from orchestrator.journal.postgres.driver import Row
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import PositionedRecord, Record, SearchRow

logger: Final = logging.getLogger(__name__)


def search_row(row: Row) -> SearchRow:
    """Return a saga's row; `JournalCorrupted` where it cannot be read."""
    saga_id, uid, *rest = row
    return row_of((saga_id, str(uid), *rest))


def search_rows(rows: Sequence[Row]) -> list[SearchRow]:
    """Return the rows of a list; one that cannot be read is left out, and said so in the log."""
    found: list[SearchRow] = []
    for row in rows:
        try:
            found.append(search_row(row))
        except JournalCorrupted as exc:
            logger.error("left out of a list: %s", exc)  # noqa: TRY400  (the message says it all)
    return found


def stream(saga_id: SagaId, rows: Sequence[Row], after_version: int, limit: int) -> list[Record]:
    """Return records after a version; `JournalCorrupted` where one is damaged or missing."""
    if not rows:
        return []
    newest = rows[0][0]
    found = [tuple(row[1:]) for row in rows if row[1] is not None]
    for due, columns in enumerate(found, start=after_version + 1):
        if columns[0] != due:
            raise corrupted(saga_id, due, f"it is missing, record {columns[0]} follows")
    if len(found) < limit and after_version + len(found) < newest:
        raise corrupted(saga_id, after_version + len(found) + 1, f"it is missing, the saga is at version {newest}")
    return [record_of(saga_id, columns) for columns in found]


def positioned(rows: Sequence[Row], position: int) -> tuple[int, list[PositionedRecord]]:
    """Return the position of a page's last record and what of the page is readable.

    A record that cannot be trusted is left out here: its saga's own reader reports it.
    """
    found: list[PositionedRecord] = []
    damaged: list[JournalCorrupted] = []
    last = position
    for last, saga_id, shard, *columns in rows:
        try:
            record = record_of(saga_id, tuple(columns))
        except JournalCorrupted as exc:
            damaged.append(exc)
            continue
        found.append(PositionedRecord(position=last, saga_id=saga_id, shard=shard, record=record))
    if damaged:
        logger.warning("%d records beside position %d are left out, the first: %s", len(damaged), position, damaged[0])
    return last, found


def revisions(rows: Sequence[Row]) -> list[Revision]:
    """Return revisions of the columns that every query of them selects."""
    return [
        Revision(
            definition=definition,
            revision=revision,
            source=source,
            descriptors=descriptors,
            created_at=created_at,
            active=active,
        )
        for definition, revision, source, descriptors, created_at, active in rows
    ]
