"""From a setting to an open store."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from orchestrator.bootstrap.clock import SystemClock
from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.errors import ConfigError
from orchestrator.invoker import GrpcInvoker
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.catalogue import Catalogue
from orchestrator.ports.journal import Cursors, Journal, Pruning

Own = MemoryJournal | SqliteJournal
"""A store that one process has to itself, under the epoch of its opening."""


class Store(Journal, Catalogue, Cursors, Pruning, Protocol):
    """What every store serves."""


def open_store(settings: Settings) -> Own:
    """Open the store that the settings name; `ConfigError` where it cannot be had."""
    path = settings.sqlite_path
    return MemoryJournal() if path is None else SqliteJournal.open(path)


@asynccontextmanager
async def open_records(path: Path, settings: Settings | None = None) -> AsyncGenerator[tuple[SqliteJournal, Revisions]]:
    """Open a store that no orchestrator runs on, to read it; `ConfigError` where there is none or somebody owns it.

    `settings`: what its targets declare of methods is known to the plans.
    """
    store = _existing_store(path)
    clock = SystemClock()
    targets = {} if settings is None else {target.name: target for target in settings.target_configs()}
    invoker = GrpcInvoker(targets, clock)  # plans are compiled from what is stored: no service is asked
    try:
        yield store, Revisions(store, invoker.methods, clock)
    finally:
        await invoker.close(0.0)
        await store.close()


def _existing_store(path: Path) -> SqliteJournal:
    try:
        is_there = path.is_file()
    except OSError as failed:  # too long a name, a folder that may not be entered
        shown = str(path)[:100]
        raise ConfigError(f"the journal {shown} cannot be looked up: {failed.strerror}; give another path") from failed
    if not is_there:
        raise ConfigError(f"there is no journal {path}; give the path that `store: sqlite:PATH` names")
    return SqliteJournal.open(path)
