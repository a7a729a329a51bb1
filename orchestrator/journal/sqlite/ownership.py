"""One process owns the file: an exclusive lock beside it, on a disk of this machine.

SQLite's own locks let several processes write in turn. Two orchestrators taking turns would both drive the same
sagas, so the whole file has one owner. The lock is the operating system's (`flock` on `<file>.lock`): it goes with
the process however that ends, so a crash leaves nothing to clean up. The lock file stays where it is; only holding
its lock means anything, and the process id in it is for people.

A hard link is another name, and so has another lock file, and another write-ahead log, which would ruin the database.
The file is therefore locked itself, besides, where the system keeps `flock` apart from SQLite's own locks. How many
names it has says nothing: backups are made of hard links.

Whoever reads holds the same locks together with others, makes no file for that, and keeps owners away meanwhile.
"""

import fcntl
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.errors import ConfigError

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of mounts; where it does not exist, the kind of disk is not checked."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3",
     "smbfs", "sshfs"}
)  # fmt: skip
"""Locks and shared memory of these do not hold between machines, and some acknowledge a sync they did not do."""


Held: TypeAlias = tuple[int, ...]
"""Descriptors of what is locked. That of the database is closed after SQLite's own: closing one drops the locks that
SQLite has by any other."""

_HAS_LOCKS_APART: Final = sys.platform == "linux"
"""Elsewhere `flock` and SQLite's locks may be of one kind, and a file that is locked as a whole shuts SQLite out."""


def claim(file: Path) -> Held:
    """Make the file exist and take its locks; return them for `release`. `ConfigError` says why not."""
    _refuse_network_disk(file)
    held: list[int] = []
    try:
        _refuse_what_is_no_file(file)
        held.append(os.open(_lock_of(file), os.O_RDWR | os.O_CREAT, 0o600))
        fcntl.flock(held[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(held[0], 0)
        os.pwrite(held[0], f"{os.getpid()}\n".encode(), 0)
        held.append(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # payloads are nobody else's business
        if _HAS_LOCKS_APART:
            fcntl.flock(held[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise _taken(file, held) from exc
    except OSError as exc:
        release(held)
        raise ConfigError(_unopened(file, exc), path=str(file)) from exc
    return tuple(held)


def claim_to_read(file: Path) -> Held:
    """Keep owners away from a file that is there, and change nothing; `ConfigError` says why it may not be read."""
    _refuse_network_disk(file)
    held: list[int] = []
    try:
        lock = _lock_of(file)
        for path in (lock, file) if lock.exists() else (file,):  # a backup has none
            held.append(os.open(path, os.O_RDONLY))
            if path == lock or _HAS_LOCKS_APART:
                fcntl.flock(held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise _taken(file, held) from exc
    except OSError as exc:
        release(held)
        raise ConfigError(
            f"the journal {file} cannot be read ({exc.strerror}): name a file that this user may read, with its lock "
            f"file where it has one",
            path=str(file),
        ) from exc
    return tuple(held)


def release(held: Iterable[int]) -> None:
    """Let the next process have the file."""
    for each in held:
        os.close(each)


def _lock_of(file: Path) -> Path:
    return Path(f"{file}.lock")


def _taken(file: Path, held: list[int]) -> ConfigError:
    """Return who has the lock that was asked for last, and give back what was taken."""
    try:
        if _is_only_read(held[-1]):
            return ConfigError(
                f"the journal {file} is being read by another process (`saga verify`): wait until that has ended",
                path=str(file),
            )
        if len(held) > 1:
            return ConfigError(
                f"the journal {file} is in use, under another name (it is a hard link) or by a process whose lock file "
                f"was deleted: one process owns a journal, stop that one or give this one its own file",
                path=str(file),
            )
        owner = os.pread(held[0], 32, 0).decode("ascii", "replace").strip() or "unknown"
        return ConfigError(
            f"the journal {file} is in use by process {owner}: one process owns a journal, stop that one or give this "
            f"one its own file",
            path=str(file),
            pid=owner,
        )
    finally:
        release(held)


def _is_only_read(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def file_system(path: Path, mounts: str) -> str:
    """Return the kind of file system that holds an absolute path, from the text of mountinfo; "" where unknown."""
    best, kind = Path(), ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split(" ")[4].encode("latin-1").decode("unicode_escape"))  # a space is written \040
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):  # the last of two mounts lies on top
            best, kind = point, right.split(" ", 1)[0]
    return kind


def _refuse_network_disk(file: Path) -> None:
    if not MOUNTS.exists():
        return
    kind = file_system(file, MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    if kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"the journal {file} is on a network file system ({kind}): its locks and syncs cannot be relied on, so "
            f"nothing was opened; put the journal on a local disk",
            path=str(file),
        )


def _refuse_what_is_no_file(file: Path) -> None:
    """Nothing is made beside a folder or a device, as a lock file would be."""
    if file.exists() and not file.is_file():
        raise ConfigError(
            f"the journal {file} is a folder or a device, no file: nothing was opened; name a file for it",
            path=str(file),
        )


def _unopened(file: Path, exc: OSError) -> str:
    return (
        f"the journal {file} cannot be opened for writing ({exc.strerror}): name a file in a folder that exists and "
        f"that this user may write to"
    )
