"""The effect ledger: a service's own account of what it did, for whoever wants to check a claim against the facts.

The orchestrator has its journal and the client its answers; this is the third witness, kept by the service alone.
Anybody may read it while the service runs. The format is published, so that a checker needs no code from here:

    file    DIR/<service>.ledger.jsonl       one JSON object a line, UTF-8, appended and fsynced, never rewritten
    when    before the reply of the call is sent
    what    one line per call that had an effect or repeated one. A call that was refused has no line. An undo that
            reached several things at once has one line for each, so that sums hold.

    seq         int     grows along the file; not dense
    ts          float   Unix seconds, when the service acted
    service     str     "archive"
    method      str     "Store"
    saga_id     str     from the call's metadata; "" when the caller sent none, and so on below
    saga_step   str
    op          str     "forward" or "compensate": from the metadata, else what the method is
    attempt     int     0 when the caller sent none
    key         str     the idempotency key
    report_id   str     the business key; "" when an undo named only an id that is unknown here
    effect      int     1: something changed because of this call. 0: nothing did
    outcome     str     "applied" (effect 1), "replayed" (a known key: the stored reply was given again),
                        "nothing" (an undo that found nothing to undo)

**Why the ledger never disagrees with the database.** Two files cannot be made durable in one step, and a crash between
them would invent or lose an effect. So the line is first a row of the same SQLite transaction as the effect (`outbox`),
then it is appended here. On start, rows that the file does not have yet are appended; a torn last line is cut off.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIX = ".ledger.jsonl"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line; the fields as in the module's text."""

    seq: int
    ts: float
    service: str
    method: str
    saga_id: str
    saga_step: str
    op: str
    attempt: int
    key: str
    report_id: str
    effect: int
    outcome: str

    def to_line(self) -> str:
        """The entry as it stands in the file, newline included."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"), ensure_ascii=False) + "\n"


def read_directory(folder: Path) -> Iterator[Entry]:
    """Every entry of every service's ledger in a folder, service by service, each in its own order."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        yield from read(path)


def read(path: Path) -> Iterator[Entry]:
    """The entries of one ledger. A last line without its newline is not there yet and is left out."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield Entry(**json.loads(line))


def net_effects(entries: Iterable[Entry]) -> collections.Counter[tuple[str, str, str]]:
    """(saga id, step, service) -> effects done minus effects undone.

    A completed saga must stand at 1 for every step it applied, a compensated one at 0 everywhere; 2 is an effect done
    twice, and -1 cannot happen.
    """
    net: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for entry in entries:
        sign = -1 if entry.op == "compensate" else 1
        net[entry.saga_id, entry.saga_step, entry.service] += sign * entry.effect
    return net


class LedgerInUseError(RuntimeError):
    """Another process writes this ledger; two services on one folder would spoil each other's files."""


class Ledger:
    """The writing end: one open file, owned by one process until it closes or dies."""

    def __init__(self, path: Path) -> None:
        """Open or create, take ownership, cut off a torn line. Raises LedgerInUseError, OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._fd)
            if exc.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise LedgerInUseError(f"{path} is in use by another process; give this one its own --data") from exc
            raise
        self.last_seq = self._cut_torn_line(path)
        """The highest sequence number in the file; 0 when it is empty."""

    def append(self, lines: list[str], last_seq: int) -> None:
        """Add whole lines and make them durable. Raises OSError; then nothing is known about the file's tail."""
        view = memoryview("".join(lines).encode())
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)
        self.last_seq = last_seq

    def close(self) -> None:
        os.close(self._fd)

    def _cut_torn_line(self, path: Path) -> int:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._fd, whole)
        lines = content[:whole].splitlines()
        return int(json.loads(lines[-1])["seq"]) if lines else 0
