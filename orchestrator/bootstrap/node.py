"""A whole orchestrator inside the running event loop, without surfaces."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.bootstrap.clock import SystemClock
from orchestrator.bootstrap.stores import Store, open_store
from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.errors import ConfigError, DefinitionInvalid
from orchestrator.invoker import GrpcInvoker
from orchestrator.ports.clock import Clock
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator
from orchestrator.telemetry import Metrics, Observers, Tracing, open_tracing

logger = logging.getLogger("orchestrator.bootstrap")


@dataclass(slots=True, kw_only=True)
class Node:
    """A running orchestrator and the parts that surfaces show."""

    orchestrator: Orchestrator
    revisions: Revisions
    store: Store
    invoker: GrpcInvoker
    metrics: Metrics
    tracing: Tracing | None
    clock: Clock
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the journal can record no more: stop the process."""

    async def drain(self, grace_s: float) -> None:
        """Stop taking work, let what is in flight end, send the last spans."""
        await self.orchestrator.drain(grace_s)
        if self.tracing is not None:
            await self.tracing.drain()


@asynccontextmanager
async def open_node(
    settings: Settings, environ: Mapping[str, str] | None = None, clock: Clock | None = None
) -> AsyncGenerator[Node]:
    """Run an orchestrator without surfaces while the block runs."""
    clock = clock or SystemClock()
    metrics = Metrics()
    tracing = open_tracing(os.environ if environ is None else environ, clock=clock, meter=metrics)
    observer = metrics if tracing is None else Observers(metrics, tracing)
    async with AsyncExitStack() as stack:
        store = open_store(settings)
        stack.push_async_callback(store.close)
        # Calls are told to the observer by the runtime, whatever invoker it has; told twice they would count twice.
        invoker = GrpcInvoker({target.name: target for target in settings.target_configs()}, clock)
        stack.push_async_callback(invoker.close, 0.0)
        metrics.show_paused(invoker.paused)
        revisions = Revisions(store, invoker.methods, clock)
        failed = asyncio.Event()
        orchestrator = Orchestrator(
            journal=store,
            ownership=SoleOwnership(store.epoch),
            plans=revisions,
            invoker=invoker,
            clock=clock,
            observer=observer,
            on_failed=lambda why: _fail(failed, why),
            sampled=tracing is not None,
        )
        await _load(settings, revisions)
        if tracing is not None:
            await tracing.start(store, store, revisions)
            stack.push_async_callback(tracing.drain)
        await stack.enter_async_context(orchestrator.running())
        yield Node(
            orchestrator=orchestrator,
            revisions=revisions,
            store=store,
            invoker=invoker,
            metrics=metrics,
            tracing=tracing,
            clock=clock,
            failed=failed,
        )


def _fail(failed: asyncio.Event, why: str) -> None:
    logger.critical("nothing is acknowledged any more, the process stops: %s", why)
    failed.set()


async def _load(settings: Settings, revisions: Revisions) -> None:
    """Create and activate the definitions that the settings name; every finding of every file at once."""
    findings: list[str] = []
    texts = [(str(path), _source(path)) for path in _definition_files(settings)]
    for revision, diagnostics in await revisions.create_together(texts):
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
