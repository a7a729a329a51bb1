"""The rules, as one conversation with one table.

Each rule is a generator: it yields a statement and is sent its rows, it yields the service's own work and is sent its
reply. So the rules are written once, and know neither the driver nor whether it is awaited.

    row of a key     reply    undone_at   a call with this key           an undo of this key
    none             -        -           acts, unless late              writes the tombstone, OK
    made             bytes    NULL        gets the reply                 undoes it, OK
    made, undone     bytes    set         gets the reply                 OK
    tombstone        NULL     set         refused                        OK
"""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from orchestrator.participant.call import Call
from orchestrator.participant.refusal import ALREADY_COMPENSATED, ASK_AGAIN, KEY_REUSED, NOT_AFTER_PASSED, Refused

_TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?")

R = TypeVar("R", bound=Message)
Row = Sequence[Any]
Statement = tuple[str, tuple[object, ...]]
Asking = Generator[Any, Any, R]
"""Yields a `Statement` and is sent its rows, or a callable and is sent what it gave; returns the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between databases and their drivers."""

    mark: str
    """How a parameter is written: `?`, `%s`, or `$` for `$1, $2`."""
    bytes_type: str
    instant_type: str


SQLITE = Dialect(mark="?", bytes_type="BLOB", instant_type="REAL")
POSTGRES = Dialect(mark="%s", bytes_type="BYTEA", instant_type="DOUBLE PRECISION")
"""psycopg, pg8000, and whoever else writes `%s`."""
ASYNCPG = Dialect(mark="$", bytes_type="BYTEA", instant_type="DOUBLE PRECISION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Statements and rules of one table."""

    dialect: Dialect
    table: str
    now: Callable[[], float]
    """Unix seconds."""

    def __post_init__(self) -> None:
        """Raise ValueError for a table name that SQL would need quotes for."""
        if _TABLE_NAME.fullmatch(self.table) is None:
            raise ValueError(f"{self.table!r} is not a table name of a-z, 0-9 and _, with a schema before it or not")

    def ddl(self) -> tuple[str, str]:
        """Return the statements that create the table and its index."""
        kind, name = self.dialect, self.table.replace(".", "_")
        return (
            f"""CREATE TABLE IF NOT EXISTS {self.table} (
  idempotency_key TEXT PRIMARY KEY,
  saga_id         TEXT NOT NULL,
  saga_step       TEXT NOT NULL,
  request         {kind.bytes_type},
  reply           {kind.bytes_type},
  undone_at       {kind.instant_type},
  kept_at         {kind.instant_type} NOT NULL
)""",
            f"CREATE INDEX IF NOT EXISTS {name}_by_age ON {self.table} (kept_at)",
        )

    def forward(self, call: Call, reply_type: type[R], act: Callable[[], object]) -> Asking[R]:
        """A duplicate gets its reply, what was undone or comes late is refused, anything else acts."""
        if call.key and not (yield self._claim(call, call.key, call.digest, undone_at=None)):
            return self._stored(call, reply_type, (yield self._find(call.key)))
        late_s = self.now() - call.not_after_at
        if late_s > 0:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                NOT_AFTER_PASSED,
                f"the call came {late_s:.3f} s after saga-not-after; nothing was done",
            )
        reply: R = yield act
        yield from self._store(call, reply)
        return reply

    def compensate(
        self, call: Call, reply_type: type[R], act: Callable[[], object], nothing: Callable[[], R]
    ) -> Asking[R]:
        """A duplicate gets its reply; what was made is undone; what was not is forbidden, and that is a success."""
        if call.key and not (yield self._claim(call, call.key, call.digest, undone_at=None)):
            return self._stored(call, reply_type, (yield self._find(call.key)))
        reply: R = (yield act) if (yield from self._must_act(call)) else nothing()
        yield from self._store(call, reply)
        return reply

    def _must_act(self, call: Call) -> Generator[Statement, Sequence[Row], bool]:
        """Forbid the call that is undone, now and for ever; return whether it was made and still stands."""
        if not call.forward_key:
            return True
        now = self.now()
        if (yield self._claim(call, call.forward_key, None, undone_at=now)):
            return False
        mark = (
            f"UPDATE {self.table} SET undone_at = ?, kept_at = ?"  # noqa: S608  (a checked name)
            " WHERE idempotency_key = ? AND undone_at IS NULL RETURNING 1"
        )
        return bool((yield mark, (now, now, call.forward_key)))

    def _stored(self, call: Call, reply_type: type[R], rows: Sequence[Row]) -> R:
        """Return what a known key is answered; raise `Refused` where that is a no."""
        request, reply, undone_at = rows[0] if rows else (None, None, None)
        if reply is not None and bytes(request or b"") == call.digest:
            return reply_type.FromString(bytes(reply))
        if reply is not None:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                KEY_REUSED,
                f"idempotency-key {call.key} was used for another request; nothing was done: use one key for one"
                " operation",
            )
        if undone_at is not None:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                ALREADY_COMPENSATED,
                f"step {call.step or call.key} of saga {call.saga_id or '(unnamed)'} was compensated already; nothing"
                " was done, and this call can never act again",
            )
        raise Refused(grpc.StatusCode.ABORTED, ASK_AGAIN, "the same call is under way; repeat it with the same key")

    def _claim(self, call: Call, key: str, request: bytes | None, *, undone_at: float | None) -> Statement:
        """Insert a key's row; gives a row where it is new. PostgreSQL waits here for whoever is inserting the same."""
        insert = (
            f"INSERT INTO {self.table} (idempotency_key, saga_id, saga_step, request, undone_at, kept_at)"  # noqa: S608  (a checked name)
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING RETURNING 1"
        )
        return insert, (key, call.saga_id, call.step, request, undone_at, self.now())

    def _find(self, key: str) -> Statement:
        return f"SELECT request, reply, undone_at FROM {self.table} WHERE idempotency_key = ?", (key,)  # noqa: S608  (a checked name)

    def _store(self, call: Call, reply: Message) -> Generator[Statement, Sequence[Row], None]:
        if call.key:
            data = reply.SerializeToString(deterministic=True)
            yield f"UPDATE {self.table} SET reply = ? WHERE idempotency_key = ?", (data, call.key)  # noqa: S608  (a checked name)

    def prune(self, before_at: float, limit: int) -> Statement:
        """Delete the oldest rows; gives a row for each."""
        oldest = f"SELECT idempotency_key FROM {self.table} WHERE kept_at < ? ORDER BY kept_at LIMIT ?"  # noqa: S608  (a checked name)
        return f"DELETE FROM {self.table} WHERE idempotency_key IN ({oldest}) RETURNING 1", (before_at, limit)  # noqa: S608  (a checked name)

    def written(self, sql: str) -> str:
        """Write a statement as the driver wants its parameters."""
        if self.dialect.mark != "$":
            return sql.replace("?", self.dialect.mark)
        head, *rest = sql.split("?")
        return head + "".join(f"${at}{part}" for at, part in enumerate(rest, 1))
