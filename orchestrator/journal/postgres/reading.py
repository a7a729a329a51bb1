"""Rows as the driver gives them, put into the columns that every store has."""

from collections.abc import Sequence

from orchestrator.ids import SagaId
from orchestrator.journal import reading
from orchestrator.journal.columns import Columns, row_of
from orchestrator.journal.postgres.driver import Row
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import PositionedRecord, Record, SearchRow


def search_row(row: Row) -> SearchRow:
    """Return a saga's row; `JournalCorrupted` where it cannot be read."""
    return row_of(_columns(row))


def search_rows(rows: Sequence[Row]) -> list[SearchRow]:
    """Return the rows of a list, as far as they can be read."""
    return reading.search_rows(map(_columns, rows))


def _columns(row: Row) -> Columns:
    saga_id, uid, *rest = row
    return saga_id, str(uid), *rest


def stream(saga_id: SagaId, rows: Sequence[Row], after_version: int, limit: int) -> list[Record]:
    """Return records after a version; the saga's own version stands beside each, and alone where there is none."""
    if not rows:
        return []
    page = [tuple(row[1:]) for row in rows if row[1] is not None]
    return reading.stream(saga_id, page, rows[0][0], after_version, limit)


def positioned(rows: Sequence[Row], position: int) -> tuple[int, list[PositionedRecord]]:
    """Return the position of a page's last record and what of the page is readable."""
    return reading.positioned(map(tuple, rows), position)


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
