"""From a setting to an open store."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from orchestrator.bootstrap.clock import SystemClock
from orchestrator.config import Settings, is_postgres
from orchestrator.definition import Revisions
from orchestrator.errors import ConfigError
from orchestrator.invoker import GrpcInvoker
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.catalogue import Catalogue
from orchestrator.ports.journal import Cursors, Journal, Pruning

if TYPE_CHECKING:
    from orchestrator.journal.postgres import PostgresJournal

Records: TypeAlias = "SqliteJournal | PostgresJournal"
"""A store that is read, or moved."""

Own = MemoryJournal | SqliteJournal
"""A store that one process has to itself, under the epoch of its opening."""


class Store(Journal, Catalogue, Cursors, Pruning, Protocol):
    """What every store serves."""


def open_store(settings: Settings) -> Own:
    """Open the store that the settings name; `ConfigError` where it cannot be had."""
    path = settings.sqlite_path
    return MemoryJournal() if path is None else SqliteJournal.open(path)


@asynccontextmanager
async def open_records(
    path: Path | str, settings: Settings | None = None
) -> AsyncGenerator[tuple["Records", Revisions]]:
    """Open a store to read it, by the path of a file or the URL of a PostgreSQL; `ConfigError` where there is none.

    Neither is changed in any way. A file that somebody owns is refused; a PostgreSQL is read whoever runs on it.
    `settings`: what its targets declare of methods is known to the plans.
    """
    store = await _existing_store(path)
    clock = SystemClock()
    targets = {} if settings is None else {target.name: target for target in settings.target_configs()}
    invoker = GrpcInvoker(targets, clock)  # plans are compiled from what is stored: no service is asked
    try:
        yield store, Revisions(store, invoker.methods, clock)
    finally:
        await invoker.close(0.0)
        await store.close()


async def has_company(store: "Records") -> bool:
    """Return whether processes run on a store that is open here."""
    if isinstance(store, SqliteJournal):
        return False
    view = await store.view()
    return any(member.expires_at > view.at for member in view.members)


async def _existing_store(path: Path | str) -> "Records":
    if is_postgres(str(path)):
        from orchestrator.journal.postgres import PostgresJournal  # noqa: PLC0415  # the driver is an extra

        return await PostgresJournal.open(str(path), may_change=False)
    return SqliteJournal.open_to_read(existing(Path(path)))


def existing(path: Path) -> Path:
    """Return the path of a file that is there; `ConfigError` where it is not."""
    try:
        is_there = path.is_file()
    except OSError as failed:  # too long a name, a folder that may not be entered
        shown = str(path)[:100]
        raise ConfigError(f"the journal {shown} cannot be looked up: {failed.strerror}; give another path") from failed
    if not is_there:
        raise ConfigError(f"there is no journal {path}; give the path that `store: sqlite:PATH` names")
    return path
