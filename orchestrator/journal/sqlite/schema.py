"""The file's schema: numbered migrations, applied once each, in order, all or nothing.

`schema_version` remembers each migration with its checksum. A file from a newer release is refused rather than
half-understood; a migration whose text changed after it was applied is refused rather than trusted.
"""

from collections.abc import Sequence

import apsw

from orchestrator.errors import ConfigError
from orchestrator.journal.migrations import Migration, check_applied, shipped_in

APPLICATION_ID = 0x53414741
"""ASCII `SAGA`, in the file's header: tells our files from other programs' databases."""


def shipped() -> Sequence[Migration]:
    """Return the migrations of this release, in order."""
    return shipped_in("orchestrator.journal.sqlite")


def refuse_foreign(connection: apsw.Connection, file: str) -> None:
    """Raise `ConfigError` where the file is another program's database; look only, change nothing."""
    if connection.pragma("application_id") == APPLICATION_ID:
        return
    if connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise ConfigError(
            f"{file} is a database of another program; nothing was changed, name another file for the journal",
            path=file,
        )


def refuse_empty(connection: apsw.Connection, file: str) -> None:
    """Raise `ConfigError` where a file that is not foreign holds no journal at all; look only, change nothing."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise ConfigError(
            f"{file} is empty, no journal: where it should be a backup, that failed, so make it again; else give the "
            f"path that `store: sqlite:PATH` names",
            path=file,
        )


def refuse_other_schema(connection: apsw.Connection, migrations: Sequence[Migration], file: str) -> None:
    """Raise `ConfigError` where a journal has not the schema of these migrations; look only, change nothing."""
    applied = _read_applied(connection)
    check_applied(applied, migrations, file)
    if len(applied) < len(migrations):
        raise ConfigError(
            f"the journal {file} has schema {max(applied, default=0)}, this release reads {len(migrations)}: it was "
            f"written by an older release; nothing was changed, read it with that release, or once `saga serve` of "
            f"this one has brought it up to date",
            path=file,
        )


def migrate(connection: apsw.Connection, migrations: Sequence[Migration], file: str) -> None:
    """Bring the file to this release's schema, in one transaction; `ConfigError` where it is not ours to change."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        applied = _applied(connection)
        check_applied(applied, migrations, file)
        for migration in migrations[len(applied) :]:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO schema_version (version, name, checksum) VALUES (?, ?, ?)",
                (migration.version, migration.name, migration.checksum),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _applied(connection: apsw.Connection) -> dict[int, str]:
    """Return version -> checksum of what was applied; an empty file is made ours first."""
    if connection.pragma("application_id") != APPLICATION_ID:
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) "
            "STRICT"
        )
    return _read_applied(connection)


def _read_applied(connection: apsw.Connection) -> dict[int, str]:
    return {
        int(version): str(checksum)
        for version, checksum in connection.execute("SELECT version, checksum FROM schema_version ORDER BY version")
    }
