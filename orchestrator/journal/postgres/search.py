"""List's SQL: the only statements that are put together at run time, from fixed pieces and bound values."""

from orchestrator.journal.postgres.rows import term_of
from orchestrator.journal.postgres.sql import SQL
from orchestrator.ports.journal import SearchQuery

Statement = tuple[str, list[object]]

_COLUMNS = SQL["row"].partition("FROM")[0]


class _Values(list[object]):
    """Bound values, and their names in the statement."""

    def bind(self, value: object) -> str:
        self.append(value)
        return f"${len(self)}"


def page(query: SearchQuery) -> Statement:
    """Return the statement for one page of rows; the order's name was checked before."""
    values = _Values()
    conditions = _conditions(query, values)
    seen = None if query.after is None else ", ".join(values.bind(value) for value in query.after)
    size = values.bind(query.limit)

    def by(column: str, *more: str, source: str = "") -> str:
        """Return what is read in the order of a column: from the table, or from what was read so."""
        sign, direction = ("<", "DESC") if query.descending else (">", "ASC")
        keyset = [] if seen is None or source else [f"({column}, saga_id) {sign} ({seen})"]
        order = f"ORDER BY {column} {direction}, saga_id {direction} LIMIT {size}"
        if source:
            return f"SELECT * FROM ({source}) AS found {order}"  # noqa: S608  (fixed pieces)
        return f"{_COLUMNS} FROM sagas {_where([*conditions, *keyset, *more])} {order}"

    if query.order_by != "updated_at":
        return by(query.order_by), values
    # in an index of those that are over; the others are few (0001_journal.sql)
    over, under_way = by("over_at", "over_at IS NOT NULL"), by("updated_at", "ended_at IS NULL")
    return by("updated_at", source=f"({over}) UNION ALL ({under_way})"), values


def tally(query: SearchQuery, group_by: str) -> Statement:
    """Return the statement for counts; the group's name was checked before."""
    values = _Values()
    where = _where(_conditions(query, values))
    if not group_by:
        return f"SELECT '', count(*) FROM sagas {where}", values  # noqa: S608  (checked)
    return f"SELECT {group_by}, count(*) FROM sagas {where} GROUP BY {group_by}", values  # noqa: S608  (checked)


def _conditions(query: SearchQuery, values: _Values) -> list[str]:
    conditions: list[str] = []
    if len(query.statuses) == 1:
        conditions.append(f"status = {values.bind(next(iter(query.statuses)).value)}")
    elif query.statuses:
        conditions.append(f"status = ANY ({values.bind(sorted(query.statuses))}::text[])")
    for condition, value in (
        ("definition =", query.definition or None),
        ("revision =", query.revision or None),
        ("started_at >=", query.started_from_at),
        ("started_at <", query.started_before_at),
    ):
        if value is not None:
            conditions.append(f"{condition} {values.bind(value)}")
    for name, attribute in query.attributes.items():
        term = values.bind(term_of(name, attribute))
        conditions.append(f"saga_id IN (SELECT t.saga_id FROM terms t WHERE t.term = {term})")  # noqa: S608  (a place)
    return conditions


def _where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
