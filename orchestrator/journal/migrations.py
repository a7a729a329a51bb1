"""A schema as numbered steps, in `migrations/NNNN_name.sql` of a store's package; how they are applied is the store's.

A step is applied once and remembered with its checksum. A store that a newer release made is refused rather than
half-understood; a step whose text changed after it was applied is refused rather than trusted.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from orchestrator.errors import ConfigError
from orchestrator.frozen import frozen

_FILE = re.compile(r"(\d{4})_([a-z_]+)\.sql")


@frozen
class Migration:
    """One step of the schema; `version` is 1, 2, 3, ... without a gap."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped_in(package: str) -> Sequence[Migration]:
    """Return the migrations that this release has for a store, in order."""
    folder = resources.files(package).joinpath("migrations")
    found = [(match, entry) for entry in folder.iterdir() if (match := _FILE.fullmatch(entry.name))]
    return sorted(
        (
            Migration(version=int(match[1]), name=match[2], sql=entry.read_text(encoding="utf-8"))
            for match, entry in found
        ),
        key=lambda migration: migration.version,
    )


def check_applied(applied: Mapping[int, str], migrations: Sequence[Migration], shown: str) -> None:
    """Raise `ConfigError` where what was applied, version -> checksum, is not what this release knows."""
    newest = len(migrations)
    if max(applied, default=0) > newest:
        raise ConfigError(
            f"the journal {shown} has schema {max(applied)}, this release knows {newest}: it was written by a newer "
            f"release; nothing was changed, run that release or a newer one",
            path=shown,
        )
    for version, checksum in applied.items():
        if checksum != migrations[version - 1].checksum:
            raise ConfigError(
                f"the journal {shown} was made with another text of migration {version} than this release has; nothing "
                f"was changed, run the release that made it",
                path=shown,
            )
