"""A participant that can be trusted: idempotency key, barrier and ledger around the two things a service does.

Archive, Safety, Notifier and the services of the worked examples differ in what they keep and agree in everything else:
one method *makes* a thing for a report (an order, a trip: whatever the business key names), one method *undoes* it.
This file is what makes both safe to repeat, to lose, and to receive in the wrong order. All of it happens in the one
transaction that also writes the thing. What else a service keeps hangs on the thing's id, and counts while it is live.

**The key.** The reply is stored with the thing. The same key again gets the stored reply and changes nothing, whatever
has happened since. The same key with another method or another request is a bug in the caller, and is told so.

**The barrier.** A caller whose call got lost sends the undo, and the call may still be on its way. So an undo of a
saga's step leaves a *tombstone* for that step's call, also when it finds nothing to undo:

    arrives            tombstone?   thing?   answer
    forward            no           -        made
    forward            yes          -        FAILED_PRECONDITION  SAGA_STEP_ALREADY_COMPENSATED
    forward, too late  no           -        FAILED_PRECONDITION  SAGA_NOT_AFTER_PASSED
    undo               -> yes       live     undone, 1
    undo               -> yes       none     OK, 0 (null compensation)

Forward and undo of a step find each other by `saga-id` and `saga-step`, which are known before any reply. What an undo
reaches is exactly what that step made: another saga's record of the same report is not touched. If the undo also names
an id, it must be one of those. An undo without a saga goes by the ids in the request. The tombstone has the
`saga-forward-key` too, where it is sent: a step that a person runs again under a new key is another call, and may act.

**Work that outlives its call** is accepted first and completed later, by the service, in transactions of `ask`. What
was accepted has a key and an answer and is no thing yet: no ledger has it. An undo that comes in between leaves its
tombstone, and the work is not wanted any more.

**Refusals leave nothing behind**, not even an answer under the key: asked again, the service judges again.

**Answers and tombstones only grow**, one row an operation, and nothing here prunes them. A service that lives long
would keep with each row the instant of the call and its `saga-not-after`, and delete what is older than any caller
may still repeat. A tombstone may go when the `saga-not-after` of the call it forbids has passed on every clock: from
then on that refuses the call. So may the answer of a forward call. The answer of an undo goes last, since undoing is
tried without end; without it the undo finds nothing, and says so with OK, 0. Where callers send no `saga-not-after`,
keep both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf import message

from services.caller import Caller, read_caller
from services.ledger import Entry
from services.refusal import Refusal, bad_field
from services.store import Store
from services.tally import Tally

ALREADY_COMPENSATED = "SAGA_STEP_ALREADY_COMPENSATED"
NOT_AFTER_PASSED = "SAGA_NOT_AFTER_PASSED"
KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"

SCHEMA = """
CREATE TABLE IF NOT EXISTS things (
  id         TEXT PRIMARY KEY,
  method     TEXT NOT NULL,   -- that made it
  report_id  TEXT NOT NULL,
  saga_id    TEXT NOT NULL,
  saga_step  TEXT NOT NULL,
  request    BLOB NOT NULL,   -- what was asked for, as that method's protobuf message
  made_at    REAL NOT NULL,   -- Unix seconds
  undone_at  REAL             -- NULL while it is live
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS things_by_step ON things (saga_id, saga_step) WHERE saga_id <> '';
CREATE INDEX IF NOT EXISTS things_by_report ON things (report_id);

CREATE TABLE IF NOT EXISTS accepted (
  thing_id   TEXT PRIMARY KEY,
  method     TEXT NOT NULL,
  report_id  TEXT NOT NULL,
  request    BLOB NOT NULL,
  caller     TEXT NOT NULL    -- who asked for it, as JSON; the ledger's line will name them
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS answers (
  idempotency_key TEXT PRIMARY KEY,
  method          TEXT NOT NULL,
  request_digest  BLOB NOT NULL,
  report_id       TEXT NOT NULL,
  reply           BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tombstones (
  saga_id      TEXT NOT NULL,
  saga_step    TEXT NOT NULL,
  forward_key  TEXT NOT NULL,  -- the key of the one call that is forbidden; '' forbids every call of the step
  PRIMARY KEY (saga_id, saga_step, forward_key)
) WITHOUT ROWID;
"""

Reply = TypeVar("Reply", bound=message.Message)
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Make(Generic[Reply]):
    """A forward call: make one thing for a report."""

    method: str
    request: message.Message
    report_id: str
    reply_type: type[Reply]
    act: Callable[[sqlite3.Connection, str], Reply]
    """The service's own part, given the new thing's id: raises Refusal, or writes its rows and answers.

    Asked only when no earlier answer stands. What it wrote before a Refusal is taken back.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Generic[Reply]):
    """An undo: by saga step, by the thing's id, or by report."""

    method: str
    undoes: str
    """The method whose things this one undoes; a service may have several."""
    request: message.Message
    thing_id: str = ""
    report_id: str
    reply_with: Callable[[int], Reply]
    """Given how many things this call undid."""
    judge: Callable[[sqlite3.Connection], None] = lambda _db: None
    """Raises Refusal where the thing went too far to be taken back."""


class Participant:
    """One stateful service's keeping of things. Belongs to one event loop."""

    def __init__(self, *, folder: Path, service: str, prefix: str, tallies: dict[str, Tally], schema: str = "") -> None:
        """`prefix` begins every id, for example "rec"; `schema` is for the service's own tables. Raises like Store."""
        self._service = service
        self._prefix = prefix
        self._tallies = tallies
        self._store = Store(folder, service, SCHEMA + schema)

    async def make(self, call: Make[Reply], context: grpc.aio.ServicerContext[Any, Any]) -> Reply:
        """Make the thing, or give the answer that stands. Raises Refusal."""
        caller = read_caller(context)
        return await self._store.transact(lambda db: self._make(db, call, caller))

    async def undo(self, call: Undo[Reply], context: grpc.aio.ServicerContext[Any, Any]) -> Reply:
        """Undo what the call reaches, or give the answer that stands. Raises Refusal."""
        caller = read_caller(context)
        if not (caller.undoes_step or call.thing_id or call.report_id):
            raise bad_field("report_id", "is empty, no id is given, and the call is not a saga's compensation")
        return await self._store.transact(lambda db: self._undo(db, call, caller))

    async def accept(self, call: Make[Reply], context: grpc.aio.ServicerContext[Any, Any]) -> Reply:
        """Promise the thing, or give the answer that stands; `complete` makes it. Raises Refusal."""
        caller = read_caller(context)
        return await self._store.transact(lambda db: self._make(db, call, caller, is_later=True))

    def is_wanted(self, db: sqlite3.Connection, thing_id: str) -> bool:
        """Whether what was accepted may still be made: not when its step was compensated meanwhile."""
        (identity,) = db.execute("SELECT caller FROM accepted WHERE thing_id = ?", (thing_id,)).fetchone()
        return not has_tombstone(db, Caller(**json.loads(identity)))

    def complete(self, db: sqlite3.Connection, thing_id: str) -> None:
        """Make what was accepted and is still wanted; from here on it is live."""
        query = "DELETE FROM accepted WHERE thing_id = ? RETURNING method, report_id, request, caller"
        ((method, report_id, request, identity),) = db.execute(query, (thing_id,)).fetchall()
        caller = Caller(**json.loads(identity))
        place(db, thing_id, caller, method=method, report_id=report_id, request=request)
        self._witness(method, caller, "forward", report_id, "applied")

    def abandon(self, db: sqlite3.Connection, thing_id: str) -> None:
        """Forget what was accepted; it will not be made."""
        db.execute("DELETE FROM accepted WHERE thing_id = ?", (thing_id,))

    async def ask(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run what is the service's own affair, in a transaction like any other: reads, work behind the scenes."""
        return await self._store.transact(work)

    def close(self) -> None:
        self._store.close()

    def _make(self, db: sqlite3.Connection, call: Make[Reply], caller: Caller, *, is_later: bool = False) -> Reply:
        known = self._stored_reply(db, call, caller, default_op="forward")
        if known is not None:
            return call.reply_type.FromString(known)
        self._check_barrier(db, caller)
        thing_id = f"{self._prefix}-{secrets.token_hex(8)}"
        reply = call.act(db, thing_id)
        if is_later:
            promise = (
                thing_id,
                call.method,
                call.report_id,
                frozen(call.request),
                json.dumps(dataclasses.asdict(caller)),
            )
            db.execute("INSERT INTO accepted VALUES (?, ?, ?, ?, ?)", promise)
        else:
            place(db, thing_id, caller, method=call.method, report_id=call.report_id, request=frozen(call.request))
            self._witness(call.method, caller, "forward", call.report_id, "applied")
        self._keep_answer(db, call, caller, reply, call.report_id)
        return reply

    def _check_barrier(self, db: sqlite3.Connection, caller: Caller) -> None:
        if has_tombstone(db, caller):
            raise Refusal(
                code=grpc.StatusCode.FAILED_PRECONDITION,
                reason=ALREADY_COMPENSATED,
                message=f"step {caller.saga_step} of saga {caller.saga_id} was compensated already; nothing was done, "
                "and this step can never act here again",
            )
        late_s = time.time() - caller.not_after_at
        if late_s > 0:
            raise Refusal(
                code=grpc.StatusCode.FAILED_PRECONDITION,
                reason=NOT_AFTER_PASSED,
                message=f"the call came {late_s:.3f} s after saga-not-after; nothing was done",
            )

    def _undo(self, db: sqlite3.Connection, call: Undo[Reply], caller: Caller) -> Reply:
        known = self._stored_reply(db, call, caller, default_op="compensate")
        if known is not None:
            return parse_like(call.reply_with(0), known)
        call.judge(db)
        reached = reach(db, call, caller)
        now = time.time()
        live = [(thing_id, report_id) for thing_id, report_id, undone_at in reached if undone_at is None]
        db.executemany("UPDATE things SET undone_at = ? WHERE id = ?", [(now, thing_id) for thing_id, _ in live])
        if caller.undoes_step:
            forbidden = (caller.saga_id, caller.saga_step, caller.forward_key)
            db.execute("INSERT OR IGNORE INTO tombstones (saga_id, saga_step, forward_key) VALUES (?, ?, ?)", forbidden)
        reply = call.reply_with(len(live))
        report_id = reached[0][1] if reached else call.report_id
        self._keep_answer(db, call, caller, reply, report_id)
        for _, each_report_id in live:
            self._witness(call.method, caller, "compensate", each_report_id, "applied")
        if not live:
            self._witness(call.method, caller, "compensate", report_id, "nothing")
        return reply

    def _stored_reply(
        self, db: sqlite3.Connection, call: Make[Reply] | Undo[Reply], caller: Caller, default_op: str
    ) -> bytes | None:
        if not caller.key:
            return None
        row = db.execute(
            "SELECT method, request_digest, report_id, reply FROM answers WHERE idempotency_key = ?", (caller.key,)
        ).fetchone()
        if row is None:
            return None
        method, request_digest, report_id, reply = row
        if (method, request_digest) != (call.method, digest(call.request)):
            raise Refusal(
                code=grpc.StatusCode.INVALID_ARGUMENT,
                reason=KEY_REUSED,
                message=f"idempotency-key {caller.key} was used for another {method} request; nothing was done, "
                "use a key of its own for every operation",
            )
        self._witness(call.method, caller, default_op, report_id, "replayed")
        return bytes(reply)

    def _keep_answer(
        self, db: sqlite3.Connection, call: Make[Reply] | Undo[Reply], caller: Caller, reply: Reply, report_id: str
    ) -> None:
        if not caller.key:
            return
        db.execute(
            "INSERT INTO answers (idempotency_key, method, request_digest, report_id, reply) VALUES (?, ?, ?, ?, ?)",
            (caller.key, call.method, digest(call.request), report_id, frozen(reply)),
        )

    def _witness(self, method: str, caller: Caller, default_op: str, report_id: str, outcome: str) -> None:
        self._tallies[method].count(outcome)
        self._store.record(
            Entry(
                seq=0,  # the store's to give
                ts=time.time(),
                service=self._service,
                method=method,
                saga_id=caller.saga_id,
                saga_step=caller.saga_step,
                op=caller.op or default_op,
                attempt=caller.attempt,
                key=caller.key,
                report_id=report_id,
                effect=int(outcome == "applied"),
                outcome=outcome,
            )
        )


def has_tombstone(db: sqlite3.Connection, caller: Caller) -> bool:
    """Whether the caller's call may never act (again)."""
    query = "SELECT 1 FROM tombstones WHERE saga_id = ? AND saga_step = ? AND forward_key IN (?, '')"
    return db.execute(query, (caller.saga_id, caller.saga_step, caller.key)).fetchone() is not None


def place(
    db: sqlite3.Connection, thing_id: str, caller: Caller, *, method: str, report_id: str, request: bytes
) -> None:
    """From here on the thing is live."""
    db.execute(
        "INSERT INTO things (id, method, report_id, saga_id, saga_step, request, made_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (thing_id, method, report_id, caller.saga_id, caller.saga_step, request, time.time()),
    )


def reach(db: sqlite3.Connection, call: Undo[Reply], caller: Caller) -> list[tuple[str, str, float | None]]:
    """(id, report id, undone at) of everything that an undo is about, live or not."""
    columns = "SELECT id, report_id, undone_at FROM things WHERE"
    thing_id, report_id = call.thing_id, call.report_id
    if caller.undoes_step:
        step = (caller.saga_id, caller.saga_step)
        made = db.execute(f"{columns} saga_id = ? AND saga_step = ?", step).fetchall()
        if made and thing_id and thing_id not in {each[0] for each in made}:
            raise bad_field("id", f"{thing_id} was not made by step {caller.saga_step} of saga {caller.saga_id}")
        return made
    if thing_id:
        return db.execute(f"{columns} id = ? AND method = ?", (thing_id, call.undoes)).fetchall()
    query = f"{columns} report_id = ? AND method = ? AND undone_at IS NULL"
    return db.execute(query, (report_id, call.undoes)).fetchall()


def parse_like(example: Reply, data: bytes) -> Reply:
    """A stored reply, back as a message of the example's type."""
    return type(example).FromString(data)


def frozen(value: message.Message) -> bytes:
    """A message's bytes, the same for equal messages."""
    return value.SerializeToString(deterministic=True)


def digest(request: message.Message) -> bytes:
    """Enough of a request to tell whether a key is used for the same one again."""
    return hashlib.sha256(frozen(request)).digest()
