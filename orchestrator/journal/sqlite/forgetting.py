"""Forgetting what ended long ago: choose beside the writer, remove in one short transaction.

What may go stays so: an ended saga moves again only as a child that its parent has undone, and one whose parent is
there is not chosen. Pages that become free are filled by later appends; the file does not shrink.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apsw

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import rows
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import FORGET_RECORDS_MAX
from orchestrator.saga.events import SagaStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one look found; by the table's own number of a saga."""

    sagas: Sequence[int]
    """May go now, earliest first. Meaningless where `found` is not empty."""
    found: Mapping[int, str]
    """Parents that were not in the rows yet, from the first records: write them down, then look again."""


def choose(connection: apsw.Connection, definition: str, before_at: float, limit: int) -> Chosen:
    """Return which sagas of a definition may go, at most `limit`, and with `FORGET_RECORDS_MAX` records at most."""
    sagas: list[int] = []
    found: dict[int, str] = {}
    records = 0
    may_go = json.loads(str(connection.execute(SQL["forgettable"], (definition, before_at, limit)).get))
    for saga, saga_id, version, parent in may_go:
        if parent is None:
            found[saga] = _parent(connection, saga, saga_id)
        records += version
        if not sagas or records <= FORGET_RECORDS_MAX:
            sagas.append(saga)
    return Chosen(sagas=sagas, found=found)


def set_parents(cursor: apsw.Cursor, found: Mapping[int, str]) -> None:
    """Write down what the first records said."""
    cursor.executemany(SQL["set_parent"], [(parent, saga) for saga, parent in found.items()])


def remove(cursor: apsw.Cursor, sagas: Sequence[int]) -> None:
    """Remove sagas with their records and attributes."""
    for statement in ("forget_records", "forget_sagas"):
        cursor.execute(SQL[statement], (json.dumps(sagas),))


def _parent(connection: apsw.Connection, saga: int, saga_id: SagaId) -> str:
    """Return what a saga of before is a child of; nobody's where its first record says nothing that can be trusted."""
    columns = connection.execute(SQL["first_record"], (saga,)).fetchone()
    try:
        first = None if columns is None else rows.record_of(saga_id, columns).event
    except JournalCorrupted:
        return ""  # it can neither be read nor undone any more, so nothing is owed to a parent
    return first.parent.saga_id if isinstance(first, SagaStarted) and first.parent is not None else ""
