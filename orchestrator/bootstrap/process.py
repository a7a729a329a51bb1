"""A process: the node with its surfaces around it, from start to signal to exit code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator.bootstrap.collecting import calm_collector, collect_in_quiet
from orchestrator.bootstrap.node import Node, open_node
from orchestrator.config import Settings
from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.limits import DRAIN_MARGIN_S
from orchestrator.stacks import show_on_signal
from orchestrator.tasks import Tasks
from orchestrator.telemetry import asked

if TYPE_CHECKING:
    from orchestrator.api import ApiServer

logger = logging.getLogger("orchestrator.bootstrap")

EXIT_OK = 0
EXIT_SERVER = 70
"""EX_SOFTWARE: the API's server, or the one for peers, stopped by itself; start again."""
EXIT_STORAGE = 74
"""EX_IOERR: the journal could record no more, or was not there; start again when it is well."""

Ready = Callable[[str, str], None]
"""Told the addresses of the gRPC API and of HTTP, as `host:port`."""


async def serve(settings: Settings, on_ready: Ready) -> int:
    """Run with all surfaces until SIGTERM or SIGINT; return the exit code. `on_ready` is told where it listens."""
    from orchestrator.api import ApiServer, HttpServer, Links  # noqa: PLC0415  # embedders need no surfaces

    stop = _stop_on_signals()
    async with open_node(settings) as node:
        sharing = node.sharing
        links = None
        if sharing is not None:
            membership = sharing.membership
            links = Links(
                peers=sharing.peers,
                letters=sharing.letters,
                look=membership.nudge,
                moved=membership.moved,
                away=lambda: membership.store_away,
                observer=node.observer,
            )
        api = ApiServer(
            node.orchestrator,
            node.revisions,
            settings.api,
            clock=node.clock,
            links=links,
            cluster=node.cluster,
            diagnostics=node.diagnostics,
            servicers=node.servicers,
            observer=node.observer,
        )
        node.metrics.show(lambda: asked.under_way(api.under_way))
        node.metrics.expect_methods(api.methods)
        http = HttpServer(node.orchestrator, node.metrics.render, settings.http)
        api_port = await api.start()
        try:
            http_port = await http.start()
        except BaseException:
            await api.drain(0.0)
            raise
        try:
            _tell_ready(settings, api_port, http_port, on_ready)
            return await _stand(settings, node, api, stop)
        finally:  # on every way out, or gRPC would go on beside a process that has left
            await api.drain(0.0)
            await http.stop()


async def _stand(settings: Settings, node: Node, api: "ApiServer", stop: asyncio.Event) -> int:
    """Serve until told to stop or something has failed, then drain; return the exit code."""
    measuring = node.metrics.sample(node.store, node.orchestrator.backlog)
    sampling = asyncio.get_running_loop().create_task(measuring, name="metrics")
    sampling.add_done_callback(_tell_failure)
    standing = Tasks()
    standing.spawn(collect_in_quiet(lambda: node.orchestrator.stats().active_actors), name="collector")
    try:
        await _first_of(stop.wait(), node.failed.wait(), node.deaf.wait(), api.failed.wait())
        logger.info("draining: at most %g s for what is in flight", settings.grace_s)
        _exit_hard_after(settings.grace_s + DRAIN_MARGIN_S, _code(node, api))
        api.refuse_new()
        await node.drain(0.0 if node.failed.is_set() else settings.grace_s)
        return _code(node, api)
    finally:
        sampling.cancel()
        await standing.cancel()


def _code(node: Node, api: "ApiServer") -> int:
    if node.failed.is_set():
        return EXIT_STORAGE
    return EXIT_SERVER if node.deaf.is_set() or api.failed.is_set() else EXIT_OK


def _tell_ready(settings: Settings, api_port: int, http_port: int, on_ready: Ready) -> None:
    _warn_if_open("api", settings.api.host)
    _warn_if_open("http", settings.http.host)
    api_address, http_address = f"{settings.api.host}:{api_port}", f"{settings.http.host}:{http_port}"
    logger.info("ready: the API listens on %s, health and metrics on %s", api_address, http_address)
    on_ready(api_address, http_address)


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
        logger.error("the sampler of metrics failed; sagas are not affected; please report this", exc_info=error)


def run(settings: Settings, on_ready: Ready) -> int:
    """Run `serve` in this process: one event loop, uvloop where it is installed and not turned off."""
    show_on_signal()
    calm_collector()
    factory = _loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            code = runner.run(serve(settings, on_ready))
            logger.info("stopped, exit code %d", code)
            return code
        except* ConfigError as group:
            raise group.exceptions[0] from None
        except* JournalUnavailable as group:
            logger.critical("not started, for the store is away; start again when it is there: %s", group.exceptions[0])
    return EXIT_STORAGE


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
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # noqa: TID251  # all are awaited right below
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
