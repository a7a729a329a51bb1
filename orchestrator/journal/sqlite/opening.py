"""From a path to an owned, migrated file with its connections, or to one sentence that says why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw

from orchestrator.errors import ConfigError
from orchestrator.journal.sqlite import ownership
from orchestrator.journal.sqlite.schema import migrate, refuse_foreign, shipped
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import JOURNAL_BUSY_S, JOURNAL_CHECKPOINT_PAGES, JOURNAL_WAL_BYTES_MAX

_WHY: Mapping[type[Exception], str] = {
    ValueError: "it is damaged; restore it from a backup",
    TypeError: "it is damaged; restore it from a backup",
    apsw.NotADBError: "it is not a SQLite database; name another file",
    apsw.CorruptError: "it is damaged; restore it from a backup",
    apsw.BusyError: "another program writes to it; close that program",
    apsw.LockedError: "another program has locked it; close that program",
    apsw.ReadOnlyError: "it may not be written to; change its permissions or name another file",
    apsw.CantOpenError: "SQLite may not open it; check the folder and its permissions",
    apsw.FullError: "the disk is full; free some space",
    apsw.IOError: "the disk reported an error; mend it or name a file on another one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What an open journal holds and must give back."""

    file: str
    lock: int
    """Descriptor of the ownership lock."""
    epoch: int
    writer: apsw.Connection
    near: apsw.Connection
    """Reads on the event loop."""
    far: apsw.Connection
    """Reads in a thread."""


def open_file(path: Path, *, is_retired_well: bool = False) -> Opened:
    """Open or create a journal; `ConfigError` where that cannot be, and then nothing is held.

    One whose sagas were moved to another store is opened only where `is_retired_well`.
    """
    file = path.resolve()  # one file has one lock, whatever links lead to it
    lock = ownership.claim(file)
    connections: list[apsw.Connection] = []
    try:
        writer = _writer(file, connections)
        if not is_retired_well:
            _refuse_retired(writer, file)
        epoch = int(writer.execute(SQL["next_epoch"]).get)
        near, far = _reader(file, connections), _reader(file, connections)
    except BaseException as exc:
        for connection in reversed(connections):
            connection.close()
        ownership.release(lock)
        if isinstance(
            exc, apsw.Error | ValueError | TypeError
        ):  # the latter of what stands where numbers and texts should
            raise ConfigError(_explain(file, exc), path=str(file)) from exc
        raise
    return Opened(file=str(file), lock=lock, epoch=epoch, writer=writer, near=near, far=far)


def _writer(file: Path, connections: list[apsw.Connection]) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connections.append(connection)
    connection.set_busy_timeout(int(JOURNAL_BUSY_S * 1000))
    refuse_foreign(connection, str(file))
    if connection.pragma("journal_mode", "wal") != "wal":
        raise ConfigError(
            f"the journal {file} cannot have a write-ahead log: its file system has no shared memory; put it on a "
            f"local disk",
            path=str(file),
        )
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", 1)
    connection.pragma("journal_size_limit", JOURNAL_WAL_BYTES_MAX)
    connection.wal_autocheckpoint(JOURNAL_CHECKPOINT_PAGES)
    migrate(connection, shipped(), str(file))
    return connection


def _refuse_retired(connection: apsw.Connection, file: Path) -> None:
    successor = connection.execute(SQL["successor"]).get
    if successor is not None:
        raise ConfigError(
            f"the sagas of the journal {file} were moved to {successor} and run there: nothing was opened, set `store` "
            f"to that one",
            path=str(file),
        )


def _reader(file: Path, connections: list[apsw.Connection]) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connections.append(connection)
    connection.set_busy_timeout(int(JOURNAL_BUSY_S * 1000))
    connection.pragma("query_only", 1)
    connection.wal_autocheckpoint(0)  # copying pages home is the writer's work alone
    return connection


def _explain(file: Path, exc: Exception) -> str:
    why = next((text for kind, text in _WHY.items() if isinstance(exc, kind)), "see SQLite's words")
    return f"the journal {file} cannot be opened ({exc}): {why}"
