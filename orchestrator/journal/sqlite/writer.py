"""The one connection that writes: transactions, one at a time, on the event loop or in a thread, until one fails.

A commit waits for the disk. On a good one that is a fraction of a millisecond, less than handing the work to a thread
and back; on a slow one it would hold up every saga. So the writer measures that wait, and moves: `Pace` decides.

The first error of the storage is the last thing the writer does. What a failed sync left on the disk is not knowable
from inside this process (the kernel may have dropped the pages and will not say so twice), so nothing is tried again:
every later call raises `JournalUnavailable`, and the next start reads what is really there.

SQLite goes on writing to a file that was removed or replaced, and says nothing. What it acknowledges then, nobody finds
again, so every commit looks first whether the path still names the file that was opened: two microseconds. In its
transaction it looks whether another process has opened the file since: the operating system's lock keeps others out,
but anybody may delete a lock file. Whoever was not the last to open the file writes nothing any more (R2, I3).
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeVar

import apsw

from orchestrator.errors import JournalUnavailable
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import (
    JOURNAL_COMMIT_LOOP_S_BACK,
    JOURNAL_COMMIT_LOOP_S_MAX,
    JOURNAL_COMMIT_TRY_S,
    JOURNAL_COMMIT_TRY_S_MAX,
)

_T = TypeVar("_T")

_GONE: Final = "was removed or replaced while it was in use"
_TAKEN: Final = "was opened by another process while it was in use"

WEIGHT_OF_LATEST = 0.1
"""Of the moving average: about twenty commits until a change of the disk's mood is believed."""


@dataclass(slots=True)
class Pace:
    """Where the next commit runs, from how long the disk took for the last ones.

    Beside a busy loop the thread's clock tells little: it counts what it takes to get the interpreter back, five
    milliseconds and more, so that commits that were once in the thread would stay there whatever the disk does. Whether
    they may come back is therefore tried: one commit runs on the loop now and then, at a hundredth of the time at most.
    """

    on_loop: bool = True
    average_s: float = 0.0
    """On the loop of the disk alone; in the thread with what the interpreter took."""
    try_at: float = 0.0
    """When the loop is to be tried again, by the performance counter."""

    def is_for_loop(self, now: float) -> bool:
        """Return whether a commit that begins now runs on the loop."""
        return self.on_loop or (now >= self.try_at and self.average_s <= JOURNAL_COMMIT_TRY_S_MAX)

    def observe(self, seconds: float, now: float, *, in_thread: bool = False) -> None:
        """Take note of one commit that ended now."""
        if self.on_loop or in_thread:
            self.average_s += (seconds - self.average_s) * WEIGHT_OF_LATEST
            if self.on_loop and self.average_s > JOURNAL_COMMIT_LOOP_S_MAX:
                self.on_loop, self.try_at = False, now + JOURNAL_COMMIT_TRY_S
        elif seconds <= JOURNAL_COMMIT_LOOP_S_BACK:
            self.on_loop, self.average_s = True, seconds
        else:
            self.try_at = now + max(JOURNAL_COMMIT_TRY_S, 100 * seconds)


class Writer:
    """Runs work in transactions; owns the connection it is given."""

    def __init__(self, connection: apsw.Connection, file: str, epoch: int) -> None:
        """Take the connection over; `epoch` is that of the opening it belongs to."""
        self.pace = Pace()
        self.failed: str | None = None
        """The storage's own words for why nothing is recorded any more; None while all is well."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._file = file
        self._epoch = epoch
        self._identity = _identity(file)
        self._busy = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-writer")

    async def transact(self, work: Callable[[apsw.Cursor], _T], *, is_long: bool = False) -> _T:
        """Run the work in a transaction and return once it is durable. `JournalUnavailable`: it may or may not be.

        Long work never runs on the event loop, however fast the disk is.
        """
        if not is_long and self.pace.is_for_loop(perf_counter()) and self._busy.acquire(blocking=False):
            try:
                return self._commit(work)
            finally:
                self._busy.release()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit_in_turn, work)

    def check(self) -> None:
        """Raise `JournalUnavailable` where the storage has failed."""
        if self.failed is not None:
            raise self._unavailable()

    def fail(self, exc: apsw.Error) -> JournalUnavailable:
        """Stop for good; return what to raise."""
        if self.failed is None:
            self.failed = f"{type(exc).__name__}: {exc}"
        return self._unavailable()

    async def close(self) -> None:
        """Let a running commit end, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._cursor.close()
        with contextlib.suppress(apsw.Error):  # a disk that failed may fail again; what is durable stays so
            self._connection.close()

    def _commit_in_turn(self, work: Callable[[apsw.Cursor], _T]) -> _T:
        with self._busy:
            return self._commit(work, in_thread=True)

    def _commit(self, work: Callable[[apsw.Cursor], _T], *, in_thread: bool = False) -> _T:
        self.check()
        if _identity(self._file) != self._identity:
            self.failed = _GONE
            raise self._unavailable()
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            self._check_ownership()
            result = work(self._cursor)
            begun = perf_counter()  # measured within one function, recorded nowhere: no need of the clock port
            self._cursor.execute("COMMIT")
        except apsw.Error as exc:
            unavailable = self.fail(exc)
            self._roll_back()
            raise unavailable from exc
        except BaseException:
            self._roll_back()
            raise
        ended = perf_counter()
        self.pace.observe(ended - begun, ended, in_thread=in_thread)
        return result

    def _check_ownership(self) -> None:
        """Raise `JournalUnavailable` where somebody has opened the file after us."""
        if self._cursor.execute(SQL["current_epoch"]).get != self._epoch:
            self.failed = _TAKEN
            raise self._unavailable()

    def _roll_back(self) -> None:
        with contextlib.suppress(apsw.Error):  # SQLite may have rolled back by itself, or be unable to
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")

    def _unavailable(self) -> JournalUnavailable:
        if self.failed is _TAKEN:
            return JournalUnavailable(
                f"the journal {self._file} {_TAKEN}, although this one holds its lock: somebody deleted the lock "
                f"file; nothing is acknowledged here any more, that process has it now; stop this one",
                path=self._file,
            )
        if self.failed is _GONE:
            return JournalUnavailable(
                f"the journal {self._file} {_GONE}: nothing is acknowledged any more, and what was before is in "
                f"the file that was opened; put that one back, or restore a backup, then start again",
                path=self._file,
            )
        return JournalUnavailable(
            f"the journal {self._file} stopped recording ({self.failed}): what was acknowledged before is safe, "
            f"nothing is acknowledged any more; free or mend the disk, then start again",
            path=self._file,
        )


def _identity(file: str) -> tuple[int, int] | None:
    """Return what the path names now, whatever it is called; None where it names nothing."""
    try:
        found = os.stat(file)  # noqa: PTH116  (at every commit, and a Path costs more than the question)
    except OSError:
        return None
    return found.st_dev, found.st_ino
