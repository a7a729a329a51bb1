"""The file's schema: numbered migrations, applied once each, in order, all or nothing.

`schema_version` remembers each migration with its checksum. A file from a newer release is refused rather than
half-understood; a migration whose text changed after it was applied is refused rather than trusted.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import apsw

from orchestrator.errors import ConfigError

APPLICATION_ID = 0x53414741
"""ASCII `SAGA`, in the file's header: tells our files from other programs' databases."""

_FILE = re.compile(r"(\d{4})_([a-z_]+)\.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema; `version` is 1, 2, 3, ... without a gap."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> Sequence[Migration]:
    """Return the migrations of this release, in order."""
    folder = resources.files(__package__).joinpath("migrations")
    found = [(match, entry) for entry in folder.iterdir() if (match := _FILE.fullmatch(entry.name))]
    return sorted(
        (
            Migration(version=int(match[1]), name=match[2], sql=entry.read_text(encoding="utf-8"))
            for match, entry in found
        ),
        key=lambda migration: migration.version,
    )


def refuse_foreign(connection: apsw.Connection, file: str) -> None:
    """Raise `ConfigError` where the file is another program's database; look only, change nothing."""
    if connection.pragma("application_id") == APPLICATION_ID:
        return
    if connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise ConfigError(
            f"{file} is a database of another program; nothing was changed, name another file for the journal",
            path=file,
        )


def migrate(connection: apsw.Connection, migrations: Sequence[Migration], file: str) -> None:
    """Bring the file to this release's schema, in one transaction; `ConfigError` where it is not ours to change."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        applied = _applied(connection)
        _check(applied, migrations, file)
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
    return {
        int(version): str(checksum)
        for version, checksum in connection.execute("SELECT version, checksum FROM schema_version ORDER BY version")
    }


def _check(applied: dict[int, str], migrations: Sequence[Migration], file: str) -> None:
    newest = len(migrations)
    if max(applied, default=0) > newest:
        raise ConfigError(
            f"the journal {file} has schema {max(applied)}, this release knows {newest}: it was written by a newer "
            f"release; nothing was changed, run that release or a newer one",
            path=file,
        )
    for version, checksum in applied.items():
        if checksum != migrations[version - 1].checksum:
            raise ConfigError(
                f"the journal {file} was made with another text of migration {version} than this release has; nothing "
                f"was changed, run the release that made it",
                path=file,
            )
