"""From a path to an owned, migrated file with its connections, or to one sentence that says why not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import apsw

from orchestrator.errors import ConfigError
from orchestrator.journal.sqlite import ownership
from orchestrator.journal.sqlite.schema import migrate, refuse_empty, refuse_foreign, refuse_other_schema, shipped
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import JOURNAL_BUSY_S, JOURNAL_CHECKPOINT_PAGES, JOURNAL_WAL_BYTES_MAX

_WHY: Mapping[type[Exception], str] = {
    UnicodeEncodeError: "its name is no UTF-8, and SQLite takes no other; give it another name",
    ValueError: "it is damaged; restore it from a backup",
    TypeError: "it is damaged; restore it from a backup",
    apsw.NotADBError: "it is not a SQLite database; name another file",
    apsw.CorruptError: "it is damaged; restore it from a backup",
    apsw.BusyError: "another program writes to it; close that program",
    apsw.LockedError: "another program has locked it; close that program",
    apsw.ReadOnlyError: "it may not be written to; change its permissions or name another file",
    apsw.CantOpenError: "SQLite may not open it; check the permissions, the folder's too: beside a log it writes",
    apsw.FullError: "the disk is full; free some space",
    apsw.IOError: "the disk reported an error; mend it or name a file on another one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What an open journal holds and must give back."""

    file: str
    held: ownership.Held
    epoch: int
    writer: apsw.Connection
    """One that only reads, where the file was opened to be read."""
    near: apsw.Connection
    """Reads on the event loop."""
    far: apsw.Connection
    """Reads in a thread."""


def open_file(path: Path, *, is_to_move: bool = False) -> Opened:
    """Open or create a journal; `ConfigError` where that cannot be, and then nothing is held.

    `is_to_move`: it has to be one already, and one whose sagas were moved to another store will do.
    """
    file = path.resolve()  # one file has one lock, whatever links lead to it
    with _all_or_nothing(file, ownership.claim(file)) as (held, connections):
        writer = _writer(file, connections, is_to_move=is_to_move)
        if not is_to_move:
            _refuse_retired(writer, file)
        epoch = int(writer.execute(SQL["next_epoch"]).get)
        near, far = _reader(file, connections), _reader(file, connections)
        return Opened(file=str(file), held=held, epoch=epoch, writer=writer, near=near, far=far)


def open_to_read(path: Path) -> Opened:
    """Open a journal that is there and change nothing, not even its schema or its folder; `ConfigError` as above."""
    file = path.resolve()
    with _all_or_nothing(file, ownership.claim_to_read(file)) as (held, connections):
        writer, near, far = (_unwritten(file, connections) for _ in range(3))
        try:
            refuse_foreign(writer, str(file))
            refuse_empty(writer, str(file))
            refuse_other_schema(writer, shipped(), str(file))
            epoch = int(writer.execute(SQL["current_epoch"]).get)
        except apsw.ReadOnlyError as exc:
            raise ConfigError(
                f"the journal {file} was left in the middle of a write ({exc}), and nothing is written here: make the "
                f"backup again; the journal itself is put right by `saga serve`",
                path=str(file),
            ) from exc
        return Opened(file=str(file), held=held, epoch=epoch, writer=writer, near=near, far=far)


@contextmanager
def _all_or_nothing(file: Path, held: ownership.Held) -> Iterator[tuple[ownership.Held, list[apsw.Connection]]]:
    """Give back what was opened and locked where it fails; say why in a sentence."""
    connections: list[apsw.Connection] = []
    try:
        yield held, connections
    except BaseException as exc:
        for connection in reversed(connections):
            connection.close()
        ownership.release(held)
        # the last two: of what stands where numbers and texts should
        if isinstance(exc, apsw.Error | ValueError | TypeError):
            raise ConfigError(_explain(file, exc), path=str(file)) from exc
        raise


def _writer(file: Path, connections: list[apsw.Connection], *, is_to_move: bool) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connections.append(connection)
    connection.set_busy_timeout(int(JOURNAL_BUSY_S * 1000))
    refuse_foreign(connection, str(file))
    if is_to_move:
        refuse_empty(connection, str(file))
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


def _unwritten(file: Path, connections: list[apsw.Connection]) -> apsw.Connection:
    """Return a connection that makes no file either: SQLite needs some beside it only for a log that is not empty."""
    is_whole = not any(_has_bytes(Path(f"{file}{suffix}")) for suffix in ("-wal", "-journal"))
    name = f"file:{quote(bytes(file))}?mode=ro{'&immutable=1' if is_whole else ''}"
    connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connections.append(connection)
    connection.set_busy_timeout(int(JOURNAL_BUSY_S * 1000))
    return connection


def _has_bytes(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _explain(file: Path, exc: Exception) -> str:
    why = next((text for kind, text in _WHY.items() if isinstance(exc, kind)), "see SQLite's words")
    return f"the journal {file} cannot be opened ({exc}): {why}"
