"""A disk that dies at a chosen operation: SQLite's default file system, with every write and every sync counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import apsw

_REAL = "unix"


class Operation(StrEnum):
    """What can fail; once it has, every later one fails, too."""

    WRITE = "write"
    SYNC = "sync"


class Disk(apsw.VFS):
    """The default file system of every connection that is opened while it is registered."""

    def __init__(self) -> None:
        self.done = dict.fromkeys(Operation, 0)
        self.fails: tuple[Operation, int] | None = None
        """From the n-th of these, counted since `arm`, on."""
        self.error: type[apsw.Error] = apsw.IOError
        self.struck = False
        super().__init__("dying", _REAL, makedefault=True)

    def arm(self, operation: Operation, n: int, error: type[apsw.Error]) -> None:
        self.done = dict.fromkeys(Operation, 0)
        self.fails, self.error, self.struck = (operation, n), error, False

    def mend(self) -> None:
        self.fails = None

    def count(self, operation: Operation) -> None:
        """Count one; raise where the disk is dead."""
        self.done[operation] += 1
        if self.fails is not None and self.fails[0] is operation and self.done[operation] >= self.fails[1]:
            self.struck = True
            raise self.error(f"{operation} {self.done[operation]} fails, as it was told to")

    def xOpen(self, name: Any, flags: Any) -> "_File":  # noqa: N802  (SQLite's)
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__(_REAL, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802  (SQLite's)
        self._disk.count(Operation.WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  (SQLite's)
        self._disk.count(Operation.SYNC)
        super().xSync(flags)


@contextmanager
def dying_disk() -> Iterator[Disk]:
    """Give the disk while it is the default."""
    disk = Disk()
    try:
        yield disk
    finally:
        disk.unregister()
