"""One process owns the file: an exclusive lock beside it, on a disk of this machine.

SQLite's own locks let several processes write in turn. Two orchestrators taking turns would both drive the same
sagas, so the whole file has one owner. The lock is the operating system's (`flock` on `<file>.lock`): it goes with
the process however that ends, so a crash leaves nothing to clean up. The lock file stays where it is; only holding
its lock means anything, and the process id in it is for people.
"""

import fcntl
import os
from pathlib import Path

from orchestrator.errors import ConfigError

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of mounts; where it does not exist, the kind of disk is not checked."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3",
     "smbfs", "sshfs"}
)  # fmt: skip
"""Locks and shared memory of these do not hold between machines, and some acknowledge a sync they did not do."""


def claim(file: Path) -> int:
    """Make the file exist and take its lock; return the lock's descriptor for `release`. `ConfigError` says why not."""
    _refuse_network_disk(file)
    lock = Path(f"{file}.lock")
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise ConfigError(_unopened(file, exc), path=str(file)) from exc
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))  # payloads are nobody else's business
    except BlockingIOError as exc:
        owner = os.pread(held, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(held)
        raise ConfigError(
            f"the journal {file} is in use by process {owner}: one process owns a journal, stop that one or give this "
            f"one its own file",
            path=str(file),
            pid=owner,
        ) from exc
    except OSError as exc:
        os.close(held)
        raise ConfigError(_unopened(file, exc), path=str(file)) from exc
    return held


def release(held: int) -> None:
    """Let the next process have the file."""
    os.close(held)


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


def _unopened(file: Path, exc: OSError) -> str:
    return (
        f"the journal {file} cannot be opened for writing ({exc.strerror}): name a file in a folder that exists and "
        f"that this user may write to"
    )
