"""The rules over a connection: one class for drivers that block, one for drivers that are awaited."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from orchestrator.participant.call import Call
from orchestrator.participant.rules import Asking, Dialect, R, Row, Rules

PRUNED_ROWS_MAX = 1_000
"""Rows of one clean-up transaction: a few milliseconds of holding locks."""


class Cursor(Protocol):
    """The part of DB-API's cursor that is used."""

    @property
    def description(self) -> object:
        """None where the statement has no rows."""
        ...

    def execute(self, statement: str, parameters: tuple[object, ...], /) -> object:
        """Run one statement."""
        ...

    def fetchall(self) -> Sequence[Row]:
        """Return all rows."""
        ...

    def close(self) -> None:
        """Let go of it."""


class Connection(Protocol):
    """A DB-API connection inside a transaction of its owner's."""

    def cursor(self) -> Any:  # noqa: ANN401  (a `Cursor`; drivers' own types differ in what is beside the point)
        """Return a new cursor."""


class Barrier:
    """The rules over a DB-API connection (sqlite3, psycopg, …) inside its owner's transaction."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        table: str = "saga_calls",
        now: Callable[[], float] = time.time,  # noqa: TID251  (a kit that stands alone has no clock port)
    ) -> None:
        """Raise ValueError for a table name that SQL would need quotes for. `now` gives Unix seconds."""
        self._rules = Rules(dialect=dialect, table=table, now=now)

    def ddl(self) -> tuple[str, str]:
        """Return the statements that create the table and its index, for your migrations."""
        return self._rules.ddl()

    def create_table(self, db: Connection) -> None:
        """Create the table and its index where they are not there."""
        for statement in self._rules.ddl():
            self._rows(db, statement, ())

    def forward(self, db: Connection, call: Call, reply_type: type[R], act: Callable[[], R]) -> R:
        """Act, or give the reply that is stored. Raise `Refused`, and whatever `act` raises."""
        return self._drive(db, self._rules.forward(call, reply_type, act))

    def compensate(
        self,
        db: Connection,
        call: Call,
        reply_type: type[R],
        act: Callable[[], R],
        *,
        nothing: Callable[[], R] | None = None,
    ) -> R:
        """Undo by `act`, or answer with `nothing` (an empty reply) where nothing was made or stands. Raise the same."""
        return self._drive(db, self._rules.compensate(call, reply_type, act, nothing or reply_type))

    def prune(self, db: Connection, *, before_at: float, limit: int = PRUNED_ROWS_MAX) -> int:
        """Delete the oldest rows kept before an instant, `limit` at most; return how many. Repeat until it is 0.

        A key must be kept for as long as its saga may live: its forward deadline, and all the time undoing may take.
        """
        return len(self._rows(db, *self._rules.prune(before_at, limit)))

    def _drive(self, db: Connection, rules: Asking[R]) -> R:
        answer: object = None
        while True:
            try:
                asked = rules.send(answer)
            except StopIteration as done:
                reply: R = done.value
                return reply
            answer = asked() if callable(asked) else self._rows(db, *asked)

    def _rows(self, db: Connection, sql: str, parameters: tuple[object, ...]) -> Sequence[Row]:
        cursor: Cursor = db.cursor()
        try:
            cursor.execute(self._rules.written(sql), parameters)
            return cursor.fetchall() if cursor.description is not None else ()
        finally:
            cursor.close()


class AsyncBarrier:
    """The same over an awaited connection: asyncpg's with `ASYNCPG`, psycopg's or aiosqlite's with the others."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        table: str = "saga_calls",
        now: Callable[[], float] = time.time,  # noqa: TID251  (a kit that stands alone has no clock port)
    ) -> None:
        """Raise ValueError for a table name that SQL would need quotes for. `now` gives Unix seconds."""
        self._rules = Rules(dialect=dialect, table=table, now=now)

    def ddl(self) -> tuple[str, str]:
        """Return the statements that create the table and its index, for your migrations."""
        return self._rules.ddl()

    async def create_table(self, db: Any) -> None:  # noqa: ANN401  (three drivers without a common type, here and below)
        """Create the table and its index where they are not there."""
        for statement in self._rules.ddl():
            await self._rows(db, statement, ())

    async def forward(self, db: Any, call: Call, reply_type: type[R], act: Callable[[], Awaitable[R]]) -> R:  # noqa: ANN401
        """Act, or give the reply that is stored. Raise `Refused`, and whatever `act` raises."""
        return await self._drive(db, self._rules.forward(call, reply_type, act))

    async def compensate(
        self,
        db: Any,  # noqa: ANN401
        call: Call,
        reply_type: type[R],
        act: Callable[[], Awaitable[R]],
        *,
        nothing: Callable[[], R] | None = None,
    ) -> R:
        """Undo by `act`, or answer with `nothing` (an empty reply) where nothing was made or stands. Raise the same."""
        return await self._drive(db, self._rules.compensate(call, reply_type, act, nothing or reply_type))

    async def prune(self, db: Any, *, before_at: float, limit: int = PRUNED_ROWS_MAX) -> int:  # noqa: ANN401
        """As `Barrier.prune`."""
        return len(await self._rows(db, *self._rules.prune(before_at, limit)))

    async def _drive(self, db: Any, rules: Asking[R]) -> R:  # noqa: ANN401
        answer: object = None
        while True:
            try:
                asked = rules.send(answer)
            except StopIteration as done:
                reply: R = done.value
                return reply
            answer = await (asked() if callable(asked) else self._rows(db, *asked))

    async def _rows(self, db: Any, sql: str, parameters: tuple[object, ...]) -> Sequence[Row]:  # noqa: ANN401
        statement = self._rules.written(sql)
        if self._rules.dialect.mark == "$":
            found: Sequence[Row] = await db.fetch(statement, *parameters)
            return found
        cursor = await db.execute(statement, parameters)
        try:
            return await cursor.fetchall() if cursor.description is not None else ()
        finally:
            await cursor.close()
