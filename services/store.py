"""One SQLite file, one writer, many callers: group commit.

A transaction that survives a power cut costs an fsync however little it writes. Calls that arrive together therefore
share one: each hands in a function that reads and writes, all of them run inside a single transaction, and nobody is
answered before that transaction and the ledger's lines are on disk.

    call A --transact(work)--+
    call B --transact(work)--+--> BEGIN; A; B; C; COMMIT (fsync) --> ledger append (fsync) --> A, B, C answered
    call C --transact(work)--+

When is a group complete? gRPC hands over calls one by one, a few turns of the event loop apart, so committing at the
next turn makes groups of one. The group closes when QUIET_TURNS turns in a row brought nobody new: microseconds for a
lonely call, and under load the whole crowd (measured with 64 callers: groups of 10 and more instead of 1, half the
CPU).

It runs on the event loop on purpose. The work is microseconds and the fsync is shorter than two hand-overs of the
interpreter lock; calls that arrive meanwhile wait in the socket and become the next group.

Each piece of work runs inside a savepoint, so a refusal, or a bug, in one takes nothing back from its neighbours. When
the database itself fails (disk full, I/O error) the whole group is taken back and answered UNAVAILABLE, which is the
truth: the outcome is not known here either until the file has been read again. When the *ledger* fails the process
ends: the effects are committed, the account of them is not, and a restart is what brings the two together.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from services.ledger import SUFFIX, Entry, Ledger
from services.refusal import Refusal

EXIT_LEDGER_FAILED = 74
"""EX_IOERR of sysexits.h."""

QUIET_TURNS = 8
"""An arriving call takes about five turns from the socket to here; fewer than that splits the crowd again."""

GROUP_MAX = 256
"""Calls in one transaction: bounds how long the first of them waits for the last."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
  seq  INTEGER PRIMARY KEY,  -- the ledger's sequence number
  line TEXT NOT NULL         -- the ledger's line, newline included; deleted once the ledger is known to have it
);
"""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Queued:
    work: Callable[[sqlite3.Connection], object]
    settled: asyncio.Future[Any]


class Store:
    """The service's database and its ledger. Not thread-safe: it belongs to one event loop."""

    def __init__(self, folder: Path, service: str, schema: str) -> None:
        """Open `<service>.sqlite` and the ledger beside it, and bring the two together.

        Raises LedgerInUseError, OSError, sqlite3.Error.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(folder / f"{service}{SUFFIX}")
        self._db = sqlite3.connect(folder / f"{service}.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA + schema)
        self._catch_up()
        self._queue: list[_Queued] = []

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next group and return what it returned, once that is durable.

        Raises what `work` raised, or Refusal UNAVAILABLE when the database failed. A caller that is cancelled before
        its turn leaves no trace; one cancelled later does not know what became of its work, as in life.
        """
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[T] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._close_group_when_quiet, loop, 0, 0)
        self._queue.append(_Queued(work=work, settled=settled))
        return await settled

    def record(self, entry: Entry) -> None:
        """Put a line into the ledger, as part of the transaction that `work` runs in; its `seq` is given here."""
        self._last_seq += 1
        line = dataclasses.replace(entry, seq=self._last_seq).to_line()
        self._db.execute("INSERT INTO outbox (seq, line) VALUES (?, ?)", (self._last_seq, line))

    def close(self) -> None:
        self._db.close()
        self._ledger.close()

    def _close_group_when_quiet(self, loop: asyncio.AbstractEventLoop, known: int, quiet_turns: int) -> None:
        waiting = len(self._queue)
        quiet_turns = quiet_turns + 1 if waiting == known else 0
        if quiet_turns >= QUIET_TURNS or waiting >= GROUP_MAX:
            self._commit_group()
        else:
            loop.call_soon(self._close_group_when_quiet, loop, waiting, quiet_turns)

    def _commit_group(self) -> None:
        group, self._queue = [each for each in self._queue if not each.settled.cancelled()], []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM outbox WHERE seq <= ?", (self._ledger.last_seq,))
            answers = [self._run(each.work) for each in group]
            lines = self._db.execute("SELECT seq, line FROM outbox ORDER BY seq").fetchall()
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            log.exception("the database refused a group of %d calls; it was taken back", len(group))
            self._take_back()
            answers = [(None, database_failed(exc)) for _ in group]
            lines = []
        if lines:
            self._append_to_ledger(lines)
        for each, (value, error) in zip(group, answers, strict=True):
            if each.settled.cancelled():
                continue
            if error is None:
                each.settled.set_result(value)
            else:
                each.settled.set_exception(error)

    def _run(self, work: Callable[[sqlite3.Connection], object]) -> tuple[object, Exception | None]:
        self._db.execute("SAVEPOINT one_call")
        try:
            value = work(self._db)
        except sqlite3.Error:
            raise
        except Exception as exc:  # noqa: BLE001  (it belongs to one caller, who gets it; the neighbours go on)
            self._db.execute("ROLLBACK TO one_call")
            self._db.execute("RELEASE one_call")
            return None, exc
        self._db.execute("RELEASE one_call")
        return value, None

    def _take_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("rollback failed; the next BEGIN will say whether the database is of any use")

    def _append_to_ledger(self, lines: list[tuple[int, str]]) -> None:
        try:
            self._ledger.append([line for _, line in lines], lines[-1][0])
        except OSError:
            log.exception("effects are committed and the ledger cannot say so: ending, a restart catches up")
            os._exit(EXIT_LEDGER_FAILED)

    def _catch_up(self) -> None:
        """Give the ledger the lines that a crash kept from it."""
        query = "SELECT seq, line FROM outbox WHERE seq > ? ORDER BY seq"
        lines = self._db.execute(query, (self._ledger.last_seq,)).fetchall()
        if lines:
            self._ledger.append([line for _, line in lines], lines[-1][0])
        self._last_seq = self._ledger.last_seq


def database_failed(exc: sqlite3.Error) -> Refusal:
    """Nobody knows now whether the work is on disk; the same call with the same key will find out."""
    return Refusal(
        code=grpc.StatusCode.UNAVAILABLE,
        reason="STORAGE_FAILED",
        message=f"the database failed ({exc}); whether the call had an effect is unknown: repeat it with the same key",
    )
