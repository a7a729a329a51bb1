"""The HTTP side: is the process alive, is it ready, and its figures.

uvicorn's own `serve` takes over the process's signals and, where the port is taken, its exit; so its parts are used
one by one: we open the socket, it speaks HTTP on our event loop, and we say when it ends.
"""

import asyncio
import errno
import gzip
import logging
import re
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator import limits
from orchestrator.api.server import Listen
from orchestrator.errors import ConfigError
from orchestrator.runtime import Orchestrator


class HttpServer:
    """`/healthz`, `/readyz`, `/metrics`. `start`, then `stop`; once each."""

    def __init__(self, orchestrator: Orchestrator, metrics: Callable[[str], tuple[str, bytes]], listen: Listen) -> None:
        """Take `metrics`, which renders the page that Prometheus scrapes for its `Accept`: content type and text."""
        self._orchestrator = orchestrator
        self._metrics = metrics
        self._listen = listen
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                Starlette(
                    routes=[
                        Route("/healthz", self._healthz),
                        Route("/readyz", self._readyz),
                        Route("/metrics", self._metrics_page),
                    ]
                ),
                loop="none",
                http=cast(type[asyncio.Protocol], _Connections().protocol),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=int(limits.API_STOP_S),
            )
        )

    async def start(self) -> int:
        """Listen and serve; return the port. Raise `ConfigError` where the address cannot be had."""
        listener = _listener(self._listen.host, self._listen.port)
        # A line for every start and stop of a part is noise; errors stay.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        config = self._uvicorn.config
        config.load()
        self._uvicorn.lifespan = config.lifespan_class(config)
        await self._uvicorn.startup(sockets=[listener])
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, let open requests be answered, close."""
        await self._uvicorn.shutdown()

    async def _healthz(self, request: Request) -> Response:
        """The process lives and its event loop turns."""
        return JSONResponse({"alive": True})

    async def _readyz(self, request: Request) -> Response:
        """New sagas are taken: the journal records, no drain has begun, and the store can be reached."""
        obstacle = self._orchestrator.obstacle
        obstacles = [] if obstacle is None else [obstacle]
        return JSONResponse({"ready": not obstacles, "obstacles": obstacles}, status_code=503 if obstacles else 200)

    async def _metrics_page(self, request: Request) -> Response:
        content_type, page = self._metrics(",".join(request.headers.getlist("accept")))
        headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
        if _takes_gzip(",".join(request.headers.getlist("accept-encoding"))):
            headers["content-encoding"] = "gzip"
            page = gzip.compress(page, limits.HTTP_GZIP_LEVEL, mtime=0)
        return Response(page, headers=headers)


class _Connections:
    """As many as the bound; past it the oldest is cut, so that a probe gets in where others say nothing.

    uvicorn's own bound refuses the newest, and it keeps for ever those on which nothing is said: a hundred of them, and
    a process in good health would be called dead.
    """

    def __init__(self) -> None:
        self._open: dict[H11Protocol, None] = {}
        """The oldest first; with some that are closed."""

    def protocol(self, **given: Any) -> H11Protocol:  # noqa: ANN401  # uvicorn's, and passed on
        """Make room for one more connection, and return who speaks on it."""
        begun = [each for each in self._open if _transport(each) is not None]
        for each in begun:
            if each.transport.is_closing():
                del self._open[each]
            elif len(self._open) >= limits.HTTP_CONNECTIONS_MAX:
                each.transport.abort()
                del self._open[each]
        made = H11Protocol(**given)
        self._open[made] = None
        return made


def _transport(speaker: H11Protocol) -> asyncio.Transport | None:
    """Return what uvicorn says is always there; between its making and its connection it is not."""
    return cast(asyncio.Transport | None, speaker.transport)


def _takes_gzip(accepted: str) -> bool:
    """Return whether an `Accept-Encoding` names gzip, and does not with `q=0` say that it must not be."""
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return False


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(limits.HTTP_BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        why = "the port is taken" if exc.errno == errno.EADDRINUSE else str(exc.strerror or exc)
        raise ConfigError(
            f"the HTTP side cannot listen on {host}:{port}: {why}; "
            "stop the other process, or choose another port with --http-port (0 takes a free one)",
            address=f"{host}:{port}",
        ) from exc
    return listener
