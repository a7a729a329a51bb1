"""The composition root: the only module that introduces adapters to each other.

`open_node` puts a whole orchestrator together inside the running event loop, without surfaces: what a test, a benchmark
or a Python program embeds. `serve` adds the gRPC API and HTTP around it and runs until a signal; `run` is `serve` for
a process, with its exit code.

Starting goes from the inside out, and stopping back again: refuse new work, let calls in flight end, send the last
spans, commit what was decided, close the store. A second signal skips all of that and exits at once, because being
killed is a case the journal is made for.
"""

import asyncio
import gc
import logging
import os
import random  # noqa: TID251  # the one home of luck: the system clock below
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from orchestrator.config import Settings
from orchestrator.definition import Revisions
from orchestrator.errors import ConfigError, DefinitionInvalid
from orchestrator.invoker import GrpcInvoker
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.limits import DRAIN_MARGIN_S, GC_CONTAINERS
from orchestrator.ports.clock import Clock, SteadyTime
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator
from orchestrator.telemetry import Metrics, Observers, Tracing, open_tracing

logger = logging.getLogger("orchestrator.bootstrap")

EXIT_OK = 0
EXIT_STORAGE = 74
"""EX_IOERR: the journal could record no more; start again when the disk is well."""

Store = MemoryJournal | SqliteJournal


_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that counts the time suspended, too; elsewhere `monotonic` has to do."""


def _elapsed() -> float:
    """Return seconds since some instant before the process; they never go back."""
    return time.monotonic() if _SINCE_BOOT is None else time.clock_gettime(_SINCE_BOOT)  # noqa: TID251  # as below


class SystemClock:
    """`ports.clock.Clock` of a real machine: steady wall time, and luck from the operating system."""

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = _elapsed) -> None:  # noqa: TID251  # this is the clock
        """Read the wall clock, and seed from the operating system; tests give both readings."""
        self._time = SteadyTime(wall, elapsed)
        self.now = self._time.now
        # Jitter needs no secrets, and asking the kernel for each draw costs more than the decision it is for.
        self._luck = random.Random(os.urandom(16))  # noqa: S311

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()  # noqa: TID251  # this is the clock

    def entropy(self) -> float:
        """Return a uniform draw from [0, 1)."""
        return self._luck.random()

    def new_uid(self) -> UUID:
        """Return a fresh version-4 UUID."""
        return UUID(bytes=os.urandom(16), version=4)


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


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name; `ConfigError` where it cannot be had."""
    path = settings.sqlite_path
    return MemoryJournal() if path is None else SqliteJournal.open(path)


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


Ready = Callable[[str, str], None]
"""Told the addresses of the gRPC API and of HTTP, as `host:port`."""


async def serve(settings: Settings, on_ready: Ready) -> int:
    """Run with all surfaces until SIGTERM or SIGINT; return the exit code. `on_ready` is told where it listens."""
    from orchestrator.api import ApiServer, HttpServer  # noqa: PLC0415  # embedders need no surfaces

    stop = _stop_on_signals()
    async with open_node(settings) as node:
        api = ApiServer(node.orchestrator, node.revisions, settings.api, clock=node.clock)
        http = HttpServer(node.orchestrator, node.metrics.render, settings.http)
        api_port = await api.start()
        try:
            http_port = await http.start()
        except ConfigError:
            await api.drain(0.0)
            raise
        sampling = asyncio.get_running_loop().create_task(node.metrics.sample(node.store), name="metrics")
        sampling.add_done_callback(_tell_failure)
        _warn_if_open("api", settings.api.host)
        _warn_if_open("http", settings.http.host)
        on_ready(f"{settings.api.host}:{api_port}", f"{settings.http.host}:{http_port}")
        await _first_of(stop.wait(), node.failed.wait())
        logger.info("draining: at most %g s for what is in flight", settings.grace_s)
        _exit_hard_after(settings.grace_s + DRAIN_MARGIN_S, EXIT_STORAGE if node.failed.is_set() else EXIT_OK)
        api.refuse_new()
        await node.drain(0.0 if node.failed.is_set() else settings.grace_s)
        await api.drain(0.0)
        await http.stop()
        sampling.cancel()
        return EXIT_STORAGE if node.failed.is_set() else EXIT_OK


def _warn_if_open(surface: str, host: str) -> None:
    """This version has no authentication: say so where more than this machine can reach a surface."""
    if host not in {"localhost", "::1"} and not host.startswith("127."):
        logger.warning(
            "%s listens on %s: whoever reaches it may read everything%s; let only trusted networks reach it",
            surface,
            host,
            ", start and cancel sagas" if surface == "api" else "",
        )


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the sampler of metrics failed; sagas are not affected", exc_info=error)


def calm_collector() -> None:
    """Let the cyclic collector look rarely: a saga's values are freed by counting, and have no cycles.

    By default it looks after every 700 new containers, several times for one saga, and finds nothing. What is loaded at
    start stays for ever and is never looked at again. The middle generation is looked at often, so that one look is at
    few: with a saga of 100,000 items in memory, ten young generations at once would be half a second of silence.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_CONTAINERS, 2, 50)


def run(settings: Settings, on_ready: Ready) -> int:
    """Run `serve` in this process: one event loop, uvloop where it is installed and not turned off."""
    calm_collector()
    factory = _loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(serve(settings, on_ready))
        except* ConfigError as group:
            raise group.exceptions[0] from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.environ.get("ORCHESTRATOR_LOOP") == "asyncio" or sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  # absent on Windows

    return uvloop.new_event_loop


def _stop_on_signals() -> asyncio.Event:
    """Return an event set by the first SIGTERM or SIGINT; the second one exits at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _exit_hard_after(delay_s: float, code: int) -> None:
    """Leave even if something hangs: the journal has what matters."""
    asyncio.get_running_loop().call_later(delay_s, os._exit, code)


async def _first_of(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # noqa: TID251  # both are awaited right below
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
