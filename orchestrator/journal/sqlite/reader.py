"""Two connections that only read: short reads on the event loop, long ones in a thread.

No cursor outlives the call that opened it, so no reader ever keeps the write-ahead log from being cut back.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from orchestrator.errors import JournalCorrupted
from orchestrator.journal.sqlite.writer import Writer

_T = TypeVar("_T")


class Reader:
    """Runs reading work; a storage error stops the writer too, since a disk that cannot be read cannot be trusted."""

    def __init__(self, near: apsw.Connection, far: apsw.Connection, writer: Writer) -> None:
        self._near = near
        self._far = far
        self._writer = writer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-reader")

    def near(self, work: Callable[[apsw.Connection], _T]) -> _T:
        """Run a short read here and now."""
        return self._run(work, self._near)

    async def far(self, work: Callable[[apsw.Connection], _T]) -> _T:
        """Run a read of any length in the reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, self._far)

    async def close(self) -> None:
        """Let a running read end, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        for connection in (self._near, self._far):
            with contextlib.suppress(apsw.Error):
                connection.close()

    def _run(self, work: Callable[[apsw.Connection], _T], connection: apsw.Connection) -> _T:
        self._writer.check()
        try:
            return work(connection)
        except apsw.Error as exc:
            raise self._writer.fail(exc) from exc
        except UnicodeDecodeError as exc:
            raise JournalCorrupted(
                f"the journal holds a text that is no UTF-8 ({exc}): a page of it is damaged; what does not need it is "
                "not affected, restore the journal from a backup"
            ) from exc
