"""List's SQL: the only statements that are put together at run time, from fixed pieces and bound values."""

import json

from orchestrator.journal.sqlite.sql import SQL
from orchestrator.ports.journal import SearchQuery

Statement = tuple[str, list[str | float]]

_COLUMNS = SQL["row"].partition("FROM")[0]
_ATTRIBUTE = "id IN (SELECT saga FROM attributes WHERE name = ? AND value = json_extract(?, '$'))"
"""The value goes through SQLite's JSON like the stored one did, so that both are the same number."""


def page(query: SearchQuery) -> Statement:
    """Return the statement for one page of rows; the order's name was checked before."""
    conditions, values = _conditions(query)
    column, direction = query.order_by, "DESC" if query.descending else "ASC"
    if query.after is not None:
        conditions.append(f"({column}, saga_id) {'<' if query.descending else '>'} (?, ?)")
        values += query.after
    values.append(query.limit)
    order = f"ORDER BY {column} {direction}, saga_id {direction} LIMIT ?"

    def found(*more: str) -> str:
        return f"{_COLUMNS} FROM sagas {_where([*conditions, *more])} {order}"

    if column != "updated_at":
        return found(), values
    # in an index of those that rest; the others are few (0006_still.sql)
    resting, moving = found("rest = 'asleep'"), found("rest <> 'asleep'")
    both = f"SELECT * FROM ({resting}) UNION ALL SELECT * FROM ({moving})"  # noqa: S608  (fixed pieces)
    return f"SELECT * FROM ({both}) {order}", [*values, *values, query.limit]  # noqa: S608


def tally(query: SearchQuery, group_by: str) -> Statement:
    """Return the statement for counts; the group's name was checked before."""
    conditions, values = _conditions(query)
    group = group_by or "''"
    return f"SELECT {group}, count(*) FROM sagas {_where(conditions)} GROUP BY {group}", values  # noqa: S608  (checked)


def _conditions(query: SearchQuery) -> tuple[list[str], list[str | float]]:
    conditions: list[str] = []
    values: list[str | float] = []
    if query.statuses:
        conditions.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        values += sorted(query.statuses)
    for condition, value in (
        ("definition = ?", query.definition or None),
        ("revision = ?", query.revision or None),
        ("started_at >= ?", query.started_from_at),
        ("started_at < ?", query.started_before_at),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    for name, attribute in query.attributes.items():
        conditions.append(_ATTRIBUTE)
        values += (name, json.dumps(attribute))
    return conditions, values


def _where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
