"""The schema: numbered migrations, applied once each, in order, all or nothing, by one process at a time.

`store` has one row: whose tables these are, and how many shards they are cut into. Whoever makes it first makes the
store; the others are refused by its name, look again, and find it made. After that its row is the lock, so that nothing
hangs on a session. `schema_version` remembers each migration with its checksum. A schema of a newer release is refused
rather than half-understood; a migration whose text changed after it was applied is refused rather than trusted.
"""

import logging
import re
from collections.abc import Sequence
from typing import Final

from orchestrator.errors import ConfigError
from orchestrator.journal.migrations import Migration, check_applied, shipped_in
from orchestrator.journal.postgres.driver import (
    LOST,
    Connector,
    Link,
    is_about_connection,
    is_about_turns,
    is_already_there,
)
from orchestrator.journal.sqlfile import load
from orchestrator.limits import POSTGRES_CONNECT_S, POSTGRES_MIGRATE_S, POSTGRES_TURNS_MAX

APPLICATION: Final = "saga-orchestrator"

_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_MAKE = """
CREATE TABLE store (id integer PRIMARY KEY, application text NOT NULL, shard_count integer NOT NULL);
CREATE TABLE schema_version (version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL);
"""

TUNING: Final = load("orchestrator.journal.postgres", "tuning.sql")
_UNTUNED: Final = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = $1 AND c.reloptions IS NULL
"""
_NEEDED: Final = {
    "SELECT": "store schema_version sagas terms records members shards posts revisions active_revisions cursors "
    "promotion",
    "INSERT": "sagas terms records members posts revisions active_revisions cursors",
    "UPDATE": "store sagas members shards posts active_revisions cursors promotion",
    "DELETE": "sagas terms records members posts",
}
"""What the store does to its tables, by the right that it takes."""
_SEQUENCES: Final = ("positions", "post_numbers")
_MISSING = """
SELECT w.privilege, w.name FROM unnest($1::text[], $2::text[]) AS w (privilege, name)
WHERE NOT CASE WHEN w.privilege = 'USAGE' THEN has_sequence_privilege(w.name, w.privilege)
               ELSE has_table_privilege(w.name, w.privilege) END
ORDER BY 1, 2
"""

logger: Final = logging.getLogger(__name__)


def shipped() -> Sequence[Migration]:
    """Return the migrations of this release, in order."""
    return shipped_in("orchestrator.journal.postgres")


async def prepare(
    connector: Connector, migrations: Sequence[Migration], shard_count: int, *, may_change: bool = True
) -> int:
    """Make the store, or bring it to this release's schema; return how many shards it has.

    Where it may not be changed it has to be there, in this release's schema. `ConfigError` where it is not, or is not
    ours to change; `JournalUnavailable` where the database does not answer.
    """
    tries = 0
    while True:
        link: Link | None = None
        try:
            link = await connector.connect(POSTGRES_MIGRATE_S)
            async with link.transaction(POSTGRES_MIGRATE_S):
                shown = connector.address.shown
                found = await _prepare(link, migrations, shard_count, shown, may_change=may_change)
        except LOST as exc:
            connector.take_note(exc)
            tries += 1
            # The server ends a transaction that stands still, as it does where its process is not run for seconds.
            was_cut = link is not None and is_about_connection(exc)
            if tries <= POSTGRES_TURNS_MAX and (was_cut or is_already_there(exc) or is_about_turns(exc)):
                continue  # another process makes the store at this moment, or nothing stands in the way
            raise connector.refused(exc) from exc
        finally:
            if link is not None:
                link.drop()
        if may_change:
            await _tune(connector)
        if found != shard_count and may_change:
            logger.warning(
                "%s has %d shards since it was made, which is how many are used; %d are configured",
                connector.address.shown, found, shard_count,
            )  # fmt: skip
        return found


async def _tune(connector: Connector) -> None:
    """Set what PostgreSQL alone knows, each statement for itself, where it is not set; who refuses it does without."""
    link: Link | None = None
    for table, statement in TUNING.items():
        try:
            link = link or await connector.connect(POSTGRES_CONNECT_S)
            if await link.fetch(_UNTUNED, table, timeout_s=POSTGRES_CONNECT_S):
                await link.fetch(statement, timeout_s=POSTGRES_CONNECT_S)
        except LOST as exc:
            logger.debug("%s does without %s: %s", connector.address.shown, statement, exc)
            if link is not None:
                link.drop()
            link = None
    if link is not None:
        link.drop()


async def _prepare(
    link: Link, migrations: Sequence[Migration], shard_count: int, shown: str, *, may_change: bool
) -> int:
    is_new = await _is_new(link, migrations, shown)
    if is_new and not may_change:
        raise ConfigError(
            f"there is no journal in {shown}; nothing was made, name the database that has it",
            path=shown,
            is_absent="true",
        )
    if is_new:
        await link.script(_MAKE)
        await link.step("INSERT INTO store (id, application, shard_count) VALUES (1, $1, $2)", APPLICATION, shard_count)
    locked = await link.step("SELECT application, shard_count FROM store WHERE id = 1 FOR UPDATE")
    if [row[0] for row in locked] != [APPLICATION]:
        raise _foreign(shown)
    applied = {row[0]: row[1] for row in await link.step("SELECT version, checksum FROM schema_version")}
    check_applied(applied, migrations, shown)
    if len(applied) < len(migrations) and not may_change:
        raise ConfigError(
            f"the journal {shown} has schema {len(applied)}, this release has {len(migrations)}; nothing was changed, "
            f"look at it with the release that runs it, or run this one on it first",
            path=shown,
        )
    for migration in migrations[len(applied) :]:
        await link.script(migration.sql)
        await link.step(
            "INSERT INTO schema_version (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version, migration.name, migration.checksum,
        )  # fmt: skip
    if is_new:
        await link.step(
            "INSERT INTO shards (shard, owner, epoch) SELECT n, '', 0 FROM unnest($1::int[]) AS n",
            list(range(shard_count)),
        )
    if may_change:
        wanted = [(privilege, name) for privilege, names in _NEEDED.items() for name in names.split()]
        await _check_rights(link, [*wanted, *(("USAGE", name) for name in _SEQUENCES)], shown)
    return int(locked[0][1])


async def _check_rights(link: Link, wanted: Sequence[tuple[str, str]], shown: str) -> None:
    """Refuse a user who could not do what the store does: it would only be seen when sagas wait for it."""
    if missing := await link.step(_MISSING, *zip(*wanted, strict=True)):
        told = ", ".join(f"{privilege} on {name}" for privilege, name in missing)
        raise ConfigError(
            f"the user of {shown} lacks rights on the journal's tables: {told}; nothing was changed, grant them, or "
            f"name the user who owns the tables",
            path=shown,
        )


async def _is_new(link: Link, migrations: Sequence[Migration], shown: str) -> bool:
    """Return whether there is nothing of ours here yet; `ConfigError` where tables of our names are somebody else's."""
    # Not from information_schema, which hides what the user has no right to.
    found = await link.step("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
    tables = {row[0] for row in found}
    ours = {name for migration in migrations for name in _TABLE.findall(migration.sql)} | {"store", "schema_version"}
    if not tables & ours:
        return True
    if "store" in tables:
        await _check_rights(link, [("SELECT", "store")], shown)
    columns = await link.step(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = 'store'"
    )
    if {row[0] for row in columns} != {"id", "application", "shard_count"}:
        raise _foreign(shown)
    return False


def _foreign(shown: str) -> ConfigError:
    return ConfigError(
        f"{shown} has tables of another program by the names of this one's; nothing was changed, name another database "
        f"or another schema (?search_path=...) for the journal",
        path=shown,
    )
