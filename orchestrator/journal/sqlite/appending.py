"""The group append: what is written inside the writer's transaction.

Each stream's row is one statement, and its conditions are the fence; the records of all streams are as few statements
as may be. A row is named by its number, which is remembered while the saga is under way: its name is looked up in an
index of all sagas that ever were.
"""

from collections.abc import Sequence
from typing import Final

import apsw

from orchestrator.errors import InvariantViolated, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.journal.codec import Encoded, encode_append
from orchestrator.journal.refusals import refusal, request_taken
from orchestrator.journal.sqlite import rows
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import JOURNAL_NUMBERS_KEPT_MAX
from orchestrator.ports.journal import Append, AppendResult, Rest

Group = Sequence[tuple[Append, list[Encoded] | InvariantViolated]]


def _add_records(count: int) -> str:
    head, _, values = SQL["add_records"].rstrip().removesuffix(";").partition("VALUES")
    return f"{head} VALUES {', '.join([values] * count)}"


# So many records in one statement: the more, the less each costs, and the more statements are kept prepared.
_AT_ONCE: Final = (64, 16, 4, 1)
_ADD: Final = {count: _add_records(count) for count in _AT_ONCE}
_COLUMNS: Final = SQL["add_records"].count("?")


def encoded(batch: Sequence[Append]) -> Group:
    """Return the appends with their records' columns, or with what is wrong with them."""
    return [(append, _encoded(append)) for append in batch]


def _encoded(append: Append) -> list[Encoded] | InvariantViolated:
    try:
        return encode_append(append)
    except InvariantViolated as wrong:
        return wrong


class Appender:
    """Writes groups, one at a time."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[SagaId, int] = {}
        """The rows of sagas under way; what was rolled back may stand here, and a row's name is tested with it."""

    def write(self, cursor: apsw.Cursor, group: Group) -> tuple[list[AppendResult], int]:
        """Write every stream that may be written; the others get their refusal.

        Return the position of the last record besides. Those of the records before it are the numbers before it.
        """
        results: list[AppendResult] = []
        values: list[object] = []
        for append, records in group:
            if isinstance(records, InvariantViolated):
                results.append(records)
                continue
            number = self._write_row(cursor, append)
            if number is None:
                results.append(_refusal(cursor, append))
                continue
            results.append(None)
            for columns in records:
                values.append(number)
                values += columns
        _add(cursor, values)
        return results, cursor.connection.last_insert_rowid()

    def _write_row(self, cursor: apsw.Cursor, append: Append) -> int | None:
        """Return the number of the row, once it is as the append has it; None where it may not be."""
        if append.expected_version == 0:
            number: int | None = cursor.execute(SQL["create_saga"], rows.columns_of_new(append)).get
        else:
            number = self._advance(cursor, append)
        if number is not None:
            self._keep(append, number)
        return number

    def _advance(self, cursor: apsw.Cursor, append: Append) -> int | None:
        kept = self._numbers.pop(append.saga_id, None)
        number = cursor.execute(SQL["number"], (append.saga_id,)).get if kept is None else kept
        if number is None:
            return None
        changes = cursor.connection.changes
        if append.row.ended_at is None:
            cursor.execute(SQL["stay_saga"], rows.columns_of_stay(append, number))
            if changes():
                return number
        cursor.execute(SQL["advance_saga"], rows.columns_of_advance(append, number))
        if changes():
            return number
        return None if kept is None else self._advance(cursor, append)

    def _keep(self, append: Append, number: int) -> None:
        if append.row.ended_at is None and append.row.rest is not Rest.ASLEEP:  # whoever sleeps costs no memory
            if len(self._numbers) >= JOURNAL_NUMBERS_KEPT_MAX:
                del self._numbers[next(iter(self._numbers))]
            self._numbers[append.saga_id] = number


def _add(cursor: apsw.Cursor, values: list[object]) -> None:
    begin = 0
    for count in _AT_ONCE:
        size = count * _COLUMNS
        while len(values) - begin >= size:
            cursor.execute(_ADD[count], values[begin : begin + size])
            begin += size


def _refusal(cursor: apsw.Cursor, append: Append) -> OrchestratorError:
    """Find out why a conditional write wrote nothing."""
    standing = cursor.execute(SQL["standing"], (append.saga_id,)).fetchone()
    if standing is not None:
        return refusal(append, *standing)
    if append.expected_version == 0:
        return request_taken(append, cursor.execute(SQL["request_owner"], (append.row.request_id,)).get)
    return refusal(append, 0, 0)
