"""Who has which of the numbers that are asked for at every scrape."""

import platform
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import orchestrator as package
from orchestrator.bootstrap.stores import Store
from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.invoker import GrpcInvoker
from orchestrator.ports.clock import Clock
from orchestrator.ports.cluster import ClusterView
from orchestrator.runtime import Orchestrator
from orchestrator.telemetry import Metrics, asked, instruments
from orchestrator.telemetry.asked import Fact


class Parts(Protocol):
    """What of a node is asked."""

    metrics: Metrics
    clock: Clock
    store: Store
    cluster: ClusterView
    invoker: GrpcInvoker
    revisions: Revisions
    orchestrator: Orchestrator


class PoolRoom(Protocol):
    """How full a pool of connections is."""

    @property
    def size(self) -> int: ...
    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...


@runtime_checkable
class Pooled(Protocol):
    """A store that is a server's, behind pools of connections."""

    def pools(self) -> Mapping[str, PoolRoom]:
        """Return how full each pool is, by what it is for."""
        ...


def show(node: Parts, settings: Settings) -> None:
    """Have a scrape ask all parts of a process."""
    invoker, cluster = node.invoker, node.cluster
    names = [target.name for target in settings.target_configs()]
    node.metrics.show(
        lambda: asked.standing(cluster.standing()),
        lambda: asked.paused(invoker.paused()),
        lambda: asked.targets(names, invoker.in_flight(), invoker.waiting()),
        partial(_runtime, node.orchestrator, node.revisions),
        partial(_clock, node.clock),
        partial(_build, settings),
    )
    if settings.sqlite_path is not None:
        node.metrics.show(partial(_files, settings.sqlite_path))
    if isinstance(node.store, Pooled):
        node.metrics.show(partial(_pools, node.store))


def _runtime(orchestrator: Orchestrator, revisions: Revisions) -> Iterator[Fact]:
    stats = orchestrator.stats()
    yield instruments.RECOVERED, (), stats.recovered
    yield instruments.ORPHANED, (), stats.orphaned
    yield instruments.REVISIONS_LOADED, (), len(revisions)


def _clock(clock: Clock) -> Iterator[Fact]:
    clock.now()
    yield instruments.CLOCK_OFFSET, (), clock.off_s()


def _build(settings: Settings) -> Iterator[Fact]:
    store = "postgres" if settings.postgres_dsn is not None else "memory" if settings.sqlite_path is None else "sqlite"
    yield instruments.BUILD_INFO, (package.__version__, platform.python_version(), store), 1


def _files(journal: Path) -> Iterator[Fact]:
    """Yield sizes as the file system has them; SQLite is not asked, so nobody waits."""
    yield instruments.JOURNAL_SIZE, (), _size(journal)
    yield instruments.JOURNAL_WAL, (), _size(journal.with_name(f"{journal.name}-wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a log that is folded away, a file that was moved under us
        return 0


def _pools(store: Pooled) -> Iterator[Fact]:
    for name, room in store.pools().items():
        yield instruments.POOL_SIZE, (name,), room.size
        yield instruments.POOL_IN_USE, (name,), room.in_use
        yield instruments.POOL_WAITING, (name,), room.waiting
