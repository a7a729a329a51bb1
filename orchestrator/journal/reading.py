"""What reads of a store with columns return: rows checked as they are read, and damage told apart from an end."""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.codec import corrupted
from orchestrator.journal.columns import Columns, record_of, row_of
from orchestrator.logscope import of_saga
from orchestrator.ports.journal import PositionedRecord, Record, SearchRow

logger: Final = logging.getLogger(__name__)


def stream(saga_id: SagaId, page: Sequence[Columns], newest: int, after_version: int, limit: int) -> list[Record]:
    """Return the records of (version, ...) after a version; `JournalCorrupted` where one is damaged or missing.

    `newest` is the saga's version, as it was no later than the page: a later append can only make the stream longer.
    """
    for due, columns in enumerate(page, start=after_version + 1):
        if columns[0] != due:
            raise corrupted(saga_id, due, f"it is missing, record {columns[0]} follows")
    if len(page) < limit and after_version + len(page) < newest:
        raise corrupted(saga_id, after_version + len(page) + 1, f"it is missing, the saga is at version {newest}")
    return [record_of(saga_id, columns) for columns in page]


def positioned(page: Iterable[Columns], position: int) -> tuple[int, list[PositionedRecord]]:
    """Return the position of a page's last record and what of the page is readable.

    Columns begin (position, saga id, shard). A record that cannot be trusted is left out: its saga's reader reports it.
    """
    found: list[PositionedRecord] = []
    damaged: list[JournalCorrupted] = []
    last = position
    for last, saga_id, shard, *columns in page:
        try:
            record = record_of(saga_id, tuple(columns))
        except JournalCorrupted as exc:
            damaged.append(exc)
            continue
        found.append(PositionedRecord(position=last, saga_id=saga_id, shard=shard, record=record))
    if damaged:
        logger.warning("%d records beside position %d are left out, the first: %s", len(damaged), position, damaged[0])
    return last, found


def search_rows(page: Iterable[Columns]) -> list[SearchRow]:
    """Return the rows of a list; one that cannot be read is left out, and said so in the log."""
    found: list[SearchRow] = []
    for columns in page:
        try:
            found.append(row_of(columns))
        except JournalCorrupted as exc:
            about = of_saga(exc.metadata.get("saga_id", ""))
            logger.error("left out of a list: %s", exc, extra=about)  # noqa: TRY400  (the message says it all)
    return found
