"""Box offices on the participant's kit: one for each kind of connection it serves."""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc

from orchestrator.participant import AsyncBarrier, Barrier, Dialect, Refused, answering
from tests.kit.theatre import SEATS_MAX, ListReply, ReleaseReply, Reservation

RESERVATIONS = "CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, client TEXT, call_key TEXT)"


def refuse_crowds(request: Any) -> None:
    if request.seats > SEATS_MAX:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_SEATS", f"{SEATS_MAX} seats are sold at once")


class BlockingHouse:
    """Over DB-API: each call takes a connection of its own and one transaction. `mark` is how it writes a parameter."""

    def __init__(self, connect: Callable[[], Any], dialect: Dialect) -> None:
        self._connect = connect
        self._mark = dialect.mark
        self.barrier = Barrier(dialect)
        with self._transaction() as db:
            self.barrier.create_table(db)
            self._run(db, RESERVATIONS)

    def reserve(self, request: Any, context: Any) -> Any:
        def act() -> Any:
            made = Reservation(reservation_id=os.urandom(8).hex(), client=request.client)
            self._run(db, "INSERT INTO reservations VALUES (?, ?, ?)", made.reservation_id, made.client, call.key)
            refuse_crowds(request)  # after the effect: the transaction must take it back
            return made

        with answering(context, request) as call, self._transaction() as db:
            return self.barrier.forward(db, call, Reservation, act)

    def release(self, request: Any, context: Any) -> Any:
        def act() -> Any:
            gone = self._run(db, "DELETE FROM reservations WHERE call_key = ? RETURNING id", call.forward_key)
            return ReleaseReply(released=len(gone))

        with answering(context, request) as call, self._transaction() as db:
            return self.barrier.compensate(db, call, ReleaseReply, act)

    def list_(self, request: Any, context: Any) -> Any:
        with self._transaction() as db:
            rows = self._run(db, "SELECT id, client FROM reservations WHERE client = ?", request.client)
        return ListReply(reservations=[Reservation(reservation_id=each[0], client=each[1]) for each in rows])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        db = self._connect()
        try:
            with db:
                yield db
        finally:
            db.close()

    def _run(self, db: Any, sql: str, *parameters: object) -> list[Any]:
        cursor = db.cursor()
        cursor.execute(sql.replace("?", self._mark), parameters)
        return list(cursor.fetchall()) if cursor.description is not None else []


class AwaitingHouse:
    """Over an awaited driver, on an event loop: asyncpg's, or psycopg's."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Any]], dialect: Dialect) -> None:
        self._connect = connect
        self._mark = dialect.mark
        self.barrier = AsyncBarrier(dialect)

    async def create(self) -> None:
        async with self._connect() as db:
            await self.barrier.create_table(db)
            await self._run(db, RESERVATIONS)

    async def reserve(self, request: Any, context: Any) -> Any:
        async def act() -> Any:
            made = Reservation(reservation_id=os.urandom(8).hex(), client=request.client)
            await self._run(db, "INSERT INTO reservations VALUES (?, ?, ?)", made.reservation_id, made.client, call.key)
            refuse_crowds(request)
            return made

        async with answering(context, request) as call, self._connect() as db:
            return await self.barrier.forward(db, call, Reservation, act)

    async def release(self, request: Any, context: Any) -> Any:
        async def act() -> Any:
            gone = await self._run(db, "DELETE FROM reservations WHERE call_key = ? RETURNING id", call.forward_key)
            return ReleaseReply(released=len(gone))

        async with answering(context, request) as call, self._connect() as db:
            return await self.barrier.compensate(db, call, ReleaseReply, act)

    async def list_(self, request: Any, context: Any) -> Any:
        async with self._connect() as db:
            rows = await self._run(db, "SELECT id, client FROM reservations WHERE client = ?", request.client)
        return ListReply(reservations=[Reservation(reservation_id=each[0], client=each[1]) for each in rows])

    async def _run(self, db: Any, sql: str, *parameters: object) -> list[Any]:
        if self._mark == "$":
            return list(await db.fetch(numbered(sql), *parameters))
        cursor = await db.execute(sql.replace("?", self._mark), parameters)
        return list(await cursor.fetchall()) if cursor.description is not None else []


def numbered(sql: str) -> str:
    head, *rest = sql.split("?")
    return head + "".join(f"${at}{part}" for at, part in enumerate(rest, 1))


def sqlite_connection(path: Path) -> sqlite3.Connection:
    """A connection of this thread's, which waits for others."""
    return sqlite3.connect(path, timeout=10)


@contextlib.asynccontextmanager
async def asyncpg_transaction(dsn: str) -> AsyncIterator[Any]:
    import asyncpg

    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction():
            yield db
    finally:
        await db.close()


@contextlib.asynccontextmanager
async def psycopg_transaction(dsn: str) -> AsyncIterator[Any]:
    import psycopg

    async with await psycopg.AsyncConnection.connect(dsn) as db:
        yield db
