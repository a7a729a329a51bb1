"""How an index is built behind the call that asked for it.

    BuildIndex --> accepted, an operation, its name is answered
                        |
                        v
                   a few rows a transaction <--+     GetOperation reads how far it is
                        |    |                 |     CancelOperation ends it, and so does DropIndex of its step
                        |    +-----------------+
                        v
                   all rows: the index is live, the ledger says so

How far it is stands in the database, so a restart goes on where the last transaction ended. Until the last row an index
cannot be found by anybody: an operation that fails or is cancelled leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sqlite3
import time

import grpc
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from services.importer.v1 import importer_pb2 as pb
from services.participant import Participant
from services.refusal import Refusal, pack

BATCH_ROWS = 32
"""Rows a transaction, when nobody asked for patience: short enough that inserts beside it do not wait."""

DATABASE_PAUSE_S = 1.0
"""Before trying again what the database failed to take."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
  name             TEXT PRIMARY KEY,
  index_id         TEXT NOT NULL UNIQUE,  -- the thing's, once there is one
  import_id        TEXT NOT NULL,
  rows_per_second  INTEGER NOT NULL,      -- 0: no limit
  rows_done        INTEGER NOT NULL,
  last_row         TEXT NOT NULL,         -- rows up to this one are in the index
  ended_at         REAL,                  -- Unix seconds; NULL while it runs
  error_code       INTEGER NOT NULL,      -- 0 while it runs and when it went well
  error_message    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS operations_by_import ON operations (import_id);

CREATE TABLE IF NOT EXISTS words (
  index_id  TEXT NOT NULL,
  word      TEXT NOT NULL,
  PRIMARY KEY (index_id, word)
) WITHOUT ROWID;
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A row of `operations`."""

    name: str
    index_id: str
    import_id: str
    rows_per_second: int
    rows_done: int
    last_row: str
    ended_at: float | None
    error_code: int
    error_message: str


class Indexer:
    """Builds indexes, each in a task of its own. Belongs to one event loop."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begin(asyncio.get_running_loop().create_task(self._go_on()), "")

    def build(self, name: str) -> None:
        """Go on with an operation, unless somebody does already."""
        if name not in self._tasks:
            self._begin(asyncio.get_running_loop().create_task(self._build(name)), name)

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _begin(self, task: asyncio.Task[None], name: str) -> None:
        self._tasks[name] = task
        task.add_done_callback(lambda _task: self._tasks.pop(name, None))

    async def _go_on(self) -> None:
        for name in await self._participant.ask(running):
            self.build(name)

    async def _build(self, name: str) -> None:
        while True:
            try:
                pause_s = await self._participant.ask(lambda db: advance(db, name, self._participant))
            except Refusal:
                logging.getLogger(__name__).exception("%s waits for the database", name)
                pause_s = DATABASE_PAUSE_S
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)


def running(db: sqlite3.Connection) -> list[str]:
    """Names of the operations that have not ended."""
    return [name for (name,) in db.execute("SELECT name FROM operations WHERE ended_at IS NULL")]


def begin(db: sqlite3.Connection, index_id: str, request: pb.BuildIndexRequest) -> operations_pb2.Operation:
    """Write down a new operation, and answer with it."""
    name = f"operations/{index_id}"
    row = (name, index_id, request.import_id, request.rows_per_second)
    db.execute("INSERT INTO operations VALUES (?, ?, ?, ?, 0, '', NULL, 0, '')", row)
    return describe(db, name)


def advance(db: sqlite3.Connection, name: str, participant: Participant) -> float | None:
    """Take the next rows into the index; seconds to wait before more of it, None when the operation has ended."""
    operation = read(db, name)
    if operation.ended_at is not None:
        return None
    if not participant.is_wanted(db, operation.index_id):
        cancel(db, name, participant)
        return None
    rows = next_rows(db, operation, 1 if operation.rows_per_second else BATCH_ROWS)
    if not rows:
        participant.complete(db, operation.index_id)
        end(db, name)
        return None
    twice = next((row_name for _, row_name, count in rows if count > 1), None)
    if twice is not None:
        participant.abandon(db, operation.index_id)
        end(db, name, grpc.StatusCode.FAILED_PRECONDITION, f"DUPLICATE_NAME: two rows are called {twice!r}")
        return None
    words = {(operation.index_id, word) for _, row_name, _ in rows for word in row_name.lower().split()}
    db.executemany("INSERT OR IGNORE INTO words VALUES (?, ?)", words)
    db.execute(
        "UPDATE operations SET rows_done = rows_done + ?, last_row = ? WHERE name = ?", (len(rows), rows[-1][0], name)
    )
    return 1 / operation.rows_per_second if operation.rows_per_second else 0.0


def next_rows(db: sqlite3.Connection, operation: Operation, limit: int) -> list[tuple[str, str, int]]:
    """(id, name, how many live rows of the import have that name) of the rows that are not in the index yet."""
    return db.execute(
        "SELECT rows.id, rows.name, (SELECT COUNT(*) FROM rows AS same JOIN things AS live USING (id)"
        "  WHERE same.import_id = rows.import_id AND same.name = rows.name AND live.undone_at IS NULL)"
        " FROM rows JOIN things USING (id)"
        " WHERE rows.import_id = ? AND rows.id > ? AND undone_at IS NULL ORDER BY rows.id LIMIT ?",
        (operation.import_id, operation.last_row, limit),
    ).fetchall()


def cancel(db: sqlite3.Connection, name: str, participant: Participant) -> None:
    """End an operation that still runs; one that has ended stays as it is."""
    operation = read(db, name)
    if operation.ended_at is None:
        participant.abandon(db, operation.index_id)
        end(db, name, grpc.StatusCode.CANCELLED, "cancelled; no index was made")


def end(db: sqlite3.Connection, name: str, code: grpc.StatusCode = grpc.StatusCode.OK, message: str = "") -> None:
    """Write down how an operation ended. Words of an index that was not made are nobody's: they go."""
    ended = (time.time(), code.value[0], message, name)
    db.execute("UPDATE operations SET ended_at = ?, error_code = ?, error_message = ? WHERE name = ?", ended)
    if code is not grpc.StatusCode.OK:
        db.execute("DELETE FROM words WHERE index_id = (SELECT index_id FROM operations WHERE name = ?)", (name,))


def read(db: sqlite3.Connection, name: str) -> Operation:
    """An operation as it stands; raises Refusal when there is none of this name."""
    names = ", ".join(field.name for field in dataclasses.fields(Operation))
    row = db.execute(f"SELECT {names} FROM operations WHERE name = ?", (name,)).fetchone()  # noqa: S608  (own names)
    if row is None:
        raise Refusal(
            code=grpc.StatusCode.NOT_FOUND, reason="OPERATION_UNKNOWN", message=f"there is no operation {name!r}"
        )
    return Operation(**dict(zip(names.split(", "), row, strict=True)))


def describe(db: sqlite3.Connection, name: str) -> operations_pb2.Operation:
    """An operation as its callers see it."""
    operation = read(db, name)
    progress = pb.IndexProgress(import_id=operation.import_id, rows_done=operation.rows_done)
    described = operations_pb2.Operation(name=name, metadata=pack(progress), done=operation.ended_at is not None)
    if operation.error_code:
        described.error.CopyFrom(status_pb2.Status(code=operation.error_code, message=operation.error_message))
    elif operation.ended_at is not None:
        (words,) = db.execute("SELECT COUNT(*) FROM words WHERE index_id = ?", (operation.index_id,)).fetchone()
        index = pb.Index(index_id=operation.index_id, rows=operation.rows_done, words=words)
        described.response.CopyFrom(pack(index))
    return described
