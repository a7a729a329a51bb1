"""A whole orchestrator inside the running event loop, without surfaces."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bootstrap import figures
from orchestrator.bootstrap.clock import SystemClock, tell_when_set
from orchestrator.bootstrap.stores import Store, open_store
from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.diagnostics import LiveProcess, Sampler, StallDetector
from orchestrator.errors import ConfigError, DefinitionInvalid
from orchestrator.frozen import frozen
from orchestrator.invoker import GrpcInvoker
from orchestrator.ports.clock import Clock
from orchestrator.ports.cluster import ClusterView, SoleView
from orchestrator.ports.diagnostics import Diagnostics
from orchestrator.ports.observer import Observer
from orchestrator.ports.ownership import Ownership, SoleOwnership
from orchestrator.runtime import Orchestrator
from orchestrator.runtime.retention import Retention
from orchestrator.tasks import Tasks
from orchestrator.telemetry import Metrics, Observers, Tracing, open_tracing

if TYPE_CHECKING:
    from orchestrator.api import Servicers
    from orchestrator.bootstrap.sharing import Sharing

logger = logging.getLogger("orchestrator.bootstrap")


@dataclass(slots=True, kw_only=True)
class Node:
    """A running orchestrator and the parts that surfaces show."""

    orchestrator: Orchestrator
    revisions: Revisions
    store: Store
    invoker: GrpcInvoker
    observer: Observer
    metrics: Metrics
    tracing: Tracing | None
    clock: Clock
    cluster: ClusterView
    """What is shown of the processes over the store."""
    diagnostics: Diagnostics
    """What is shown of this process alone."""
    sharing: "Sharing | None" = None
    """This process's part in a cluster; None where it has its store to itself."""
    servicers: "Servicers | None" = None
    """What other processes of the cluster ask of this one; a server of its own has to share it. None as above."""
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the journal can record no more: stop the process."""
    deaf: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no other process of the cluster can reach this one any more: stop the process."""

    async def drain(self, grace_s: float) -> None:
        """Stop taking work, let what is in flight end, hand over what others may go on with, send the last spans."""
        if self.sharing is None:
            await self.orchestrator.drain(grace_s)
        else:
            self.orchestrator.refuse_new()
            await self.sharing.membership.drain(grace_s)
        if self.tracing is not None:
            await self.tracing.drain()


@asynccontextmanager
async def open_node(
    settings: Settings, environ: Mapping[str, str] | None = None, clock: Clock | None = None
) -> AsyncGenerator[Node]:
    """Run an orchestrator without surfaces while the block runs.

    On PostgreSQL it is one process among others: it owns its share of the sagas, listens for the other processes, and
    does what they forward to it or have left for it.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        # Before anything else: opening a store, definitions and recovery are the longest turns there are.
        stalls = StallDetector(clock=clock or SystemClock(), observer=metrics, stall_s=settings.diagnostics.stall_s)
        await stack.enter_async_context(stalls.running())
        place = await _take_place(settings, clock, stack)
        store, clock = place.store, place.clock
        stalls.tell_time_by(clock)
        tracing = open_tracing(os.environ if environ is None else environ, clock=clock, meter=metrics)
        observer = metrics if tracing is None else Observers(metrics, tracing)
        # Calls are told to the observer by the runtime, whatever invoker it has; told twice they would count twice.
        invoker = GrpcInvoker({target.name: target for target in settings.target_configs()}, clock)
        stack.push_async_callback(invoker.close, 0.0)
        revisions = Revisions(store, invoker.methods, clock, is_shared=place.sharing is not None)
        failed = asyncio.Event()
        orchestrator = Orchestrator(
            journal=store,
            ownership=place.ownership,
            plans=revisions,
            invoker=invoker,
            clock=clock,
            observer=observer,
            on_failed=lambda why: _fail(failed, why),
            sampled=tracing is not None,
            baggage=settings.tracing.baggage,
        )
        await _load(settings, revisions)
        if tracing is not None:
            await tracing.start(store, store, revisions, place.ownership)
            stack.push_async_callback(tracing.drain)
        await stack.enter_async_context(orchestrator.running())
        servicers = await _join(place, orchestrator, revisions, stack)
        await stack.enter_async_context(_standing(settings, store, clock, place.ownership, observer))
        node = Node(
            orchestrator=orchestrator,
            revisions=revisions,
            store=store,
            invoker=invoker,
            observer=observer,
            metrics=metrics,
            tracing=tracing,
            clock=clock,
            cluster=place.cluster,
            diagnostics=LiveProcess(
                name=settings.cluster.shown_name(),
                clock=clock,
                acting=orchestrator,
                calling=invoker,
                counting=metrics,
                sampler=Sampler(clock),
                stalls=stalls,
            ),
            sharing=place.sharing,
            servicers=servicers,
            failed=failed,
            deaf=asyncio.Event() if place.sharing is None else place.sharing.listener.failed,
        )
        figures.show(node, settings)
        yield node


@frozen
class _Place:
    """Where the process's records are, and what of them it may write."""

    store: Store
    clock: Clock
    ownership: Ownership
    cluster: ClusterView
    sharing: "Sharing | None" = None


async def _take_place(settings: Settings, clock: Clock | None, stack: AsyncExitStack) -> _Place:
    """Open the store. A process that shares it tells the time by the store's clock, as all of them do."""
    if settings.postgres_dsn is None:
        if settings.has_idle_cluster:
            logger.warning(
                "what is set of `cluster` counts on PostgreSQL alone: on %s this process is alone", settings.store
            )
        store = open_store(settings)
        stack.push_async_callback(store.close)
        clock = clock or SystemClock()
        view = SoleView(store, clock, epoch=store.epoch, name=settings.cluster.shown_name())
        return _Place(store=store, clock=clock, ownership=SoleOwnership(store.epoch), cluster=view)
    from orchestrator.bootstrap.sharing import open_shared, share  # noqa: PLC0415  # the driver is an extra

    shared, time = await open_shared(settings, stack)
    clock = clock or SystemClock(time.wall, time.elapsed)
    sharing = await share(settings, shared, clock, time, stack)
    return _Place(store=shared, clock=clock, ownership=sharing.membership, cluster=sharing.showing, sharing=sharing)


async def _join(
    place: _Place, orchestrator: Orchestrator, revisions: Revisions, stack: AsyncExitStack
) -> "Servicers | None":
    """Become one of those that share the store, where it is shared, and answer what they ask."""
    if place.sharing is None:
        return None
    from orchestrator.api import Servicers  # noqa: PLC0415  # who is alone needs no surfaces

    servicers = Servicers(orchestrator, revisions, place.clock)
    # Before the first shard comes: what was left for it is done before its timers.
    await stack.enter_async_context(place.sharing.answering(orchestrator, servicers.desk))
    await stack.enter_async_context(place.sharing.membership.running(orchestrator))
    return servicers


@asynccontextmanager
async def _standing(
    settings: Settings, store: Store, clock: Clock, ownership: Ownership, observer: Observer
) -> AsyncGenerator[None]:
    """While the block runs, see whether the clock is set, and forget what ended long ago where the settings say so."""
    tasks = Tasks()
    tasks.spawn(tell_when_set(clock), name="clock")
    if settings.retention.is_on:
        keep_s = settings.retention.keep_s
        retention = Retention(
            pruning=store, catalogue=store, ownership=ownership, clock=clock, keep_s=keep_s, observer=observer
        )
        tasks.spawn(retention.run(), name="retention")
    try:
        yield
    finally:
        await tasks.cancel()


def _fail(failed: asyncio.Event, why: str) -> None:
    logger.critical("nothing is acknowledged any more, the process stops: %s", why)
    failed.set()


async def _load(settings: Settings, revisions: Revisions) -> None:
    """Create and activate the definitions that the settings name; every finding of every file at once.

    A service that is away does not keep a process from starting whose store has these definitions already.
    """
    findings: list[str] = []
    texts = [(str(path), _source(path)) for path in _definition_files(settings)]
    for revision, diagnostics in await revisions.create_together(texts, may_be_known=True):
        if revision is None:
            findings += [str(diagnostic) for diagnostic in diagnostics]
        else:
            await revisions.activate(revision.definition, revision.revision)
            logger.info("definition %s is active in revision %s", revision.definition, revision.revision)
    if findings:
        raise DefinitionInvalid(f"{len(findings)} findings in the definitions of the configuration", findings)


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the definition {path}: {why}; mend the file or leave it out") from failed


def _definition_files(settings: Settings) -> list[Path]:
    files: list[Path] = []
    for path in settings.definitions:
        files += sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    return files
