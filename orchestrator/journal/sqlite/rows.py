"""Search rows as the file has them: what is written, and what is read where characters are damaged."""

from collections.abc import Sequence

import apsw

from orchestrator.journal.columns import Columns, attributes_text, record_of, row_of
from orchestrator.ports.journal import Append

__all__ = [
    "Columns",
    "attributes_text",
    "columns_of_advance",
    "columns_of_new",
    "columns_of_stay",
    "fetched",
    "record_of",
    "row_of",
]


def columns_of_new(append: Append) -> Columns:
    """Return the values of `create_saga`."""
    row = append.row
    return (
        row.saga_id,
        row.uid,
        row.request_id,
        row.definition,
        row.revision,
        row.status,
        row.version,
        row.epoch,
        attributes_text(row.attributes),
        row.started_at,
        row.updated_at,
        row.ended_at,
        row.wake_at,
        row.rest,
        row.attention,
        row.failure,
        row.parent,
    )


def columns_of_advance(append: Append, number: int) -> Columns:
    """Return the values of `advance_saga`."""
    row = append.row
    return (
        row.version,
        row.epoch,
        row.updated_at,
        row.attention,
        row.failure,
        row.status,
        row.wake_at,
        row.rest,
        row.ended_at,
        number,
        append.saga_id,
        append.expected_version,
        append.epoch,
    )


def columns_of_stay(append: Append, number: int) -> Columns:
    """Return the values of `stay_saga`."""
    row = append.row
    return (
        row.version,
        row.epoch,
        row.updated_at,
        row.attention,
        row.failure,
        number,
        append.saga_id,
        append.expected_version,
        append.epoch,
        row.status,
        row.wake_at,
        row.rest,
    )


def fetched(connection: apsw.Connection, sql: str, values: Sequence[str | float]) -> list[Columns]:
    """Return all rows of a query that ends in a LIMIT; what is not UTF-8 in a text of them is replaced.

    One damaged character must not hide the rows beside it.
    """
    try:
        return connection.execute(sql, values).fetchall()
    except UnicodeDecodeError:
        names = [column[0] for column in connection.execute(sql, values).getdescription()]
    raw = ", ".join(f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in names)
    is_text = ", ".join(f"typeof({name}) = 'text'" for name in names)
    inside = sql.rstrip().removesuffix(";")
    width = len(names)
    found = connection.execute(f"SELECT {raw}, {is_text} FROM ({inside})", values)  # noqa: S608  (our own statement)
    return [
        tuple(
            value.decode("utf-8", "replace") if told else value
            for value, told in zip(columns[:width], columns[width:], strict=True)
        )
        for columns in found
    ]
