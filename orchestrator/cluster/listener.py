"""Where the other processes of the cluster reach this one: `orchestrator.v1.PeerService` on a port of its own."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc.aio

from orchestrator import limits
from orchestrator.cluster.wire import Tls, exposure, server_credentials
from orchestrator.errors import ConfigError
from orchestrator.ports.peers import Desk, Errand
from orchestrator.tasks import Tasks
from orchestrator.v1 import peer_service_pb2 as rpc
from orchestrator.v1.peer_service_pb2_grpc import PeerServiceServicer, add_PeerServiceServicer_to_server

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

logger = logging.getLogger("orchestrator.cluster")

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.PEER_MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", limits.PEER_MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", limits.API_STREAMS_PER_CONNECTION_MAX),
    # A node that has many callers sends many at once: they wait to be looked at, where gRPC would hang up on some.
    ("grpc.server.max_pending_requests", limits.API_CALLS_UNSEEN_MAX),
    ("grpc.server.max_pending_requests_hard_limit", limits.API_CALLS_UNSEEN_MAX),
    ("grpc.http2.lookahead_bytes", limits.API_UNREAD_BYTES_MAX),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.server_max_unrequested_time_in_server", int(limits.API_CALL_UNSEEN_S_MAX)),
    ("grpc.keepalive_time_ms", int(limits.PEER_KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(limits.PEER_KEEPALIVE_ACK_S * 1000)),
    # Peers ping as often as we do.
    ("grpc.http2.min_ping_interval_without_data_ms", int(limits.PEER_KEEPALIVE_S * 500)),
)


class PeerListener:
    """`start`, `open`, then `stop`; once each. What comes in between waits for the desk, or for its caller's end."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        on_nudge: Callable[[], None],
        tls: Tls | None = None,
        insecure: bool = False,
    ) -> None:
        """`on_nudge` has the leases looked at now; raise `ConfigError` where strangers could reach it."""
        problem = exposure(host, has_tls=tls is not None, insecure=insecure)
        if problem is not None:
            raise ConfigError(f"cluster: {problem}")
        self.failed = asyncio.Event()
        """Set when gRPC's server has stopped by itself and no peer gets in any more: stop the process."""
        self._tasks = Tasks()
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._credentials = None if tls is None else server_credentials(tls)
        self._servicer = _Servicer(on_nudge)
        self._server = grpc.aio.server(options=_OPTIONS)
        add_PeerServiceServicer_to_server(self._servicer, self._server)

    async def start(self) -> int:
        """Listen; return the port. Raise `ConfigError` where the address cannot be had."""
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(self._address)
            else:
                port = self._server.add_secure_port(self._address, self._credentials)
        except RuntimeError as exc:
            raise ConfigError(
                f"the cluster's port cannot be had at {self._address}: it is taken, the address is not this machine's, "
                "or the certificate does not fit its key; stop the other process, or choose another cluster.port (0 "
                "takes a free one)",
                address=self._address,
            ) from exc
        await self._server.start()
        self._tasks.spawn(self._stand(), self._fail, name="peer server")
        return port

    def open(self, desk: Desk) -> None:
        """Do what peers ask from now on, at this desk."""
        self._servicer.open(desk)

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, let what is under way end within the grace, then close every connection."""
        await self._tasks.cancel()
        await self._server.stop(grace_s)

    async def _stand(self) -> None:
        """Look now and then whether gRPC's server still stands: one that fell over a request tells nobody."""
        is_up = True
        while is_up:
            # The pause is gRPC's, which raises in it what its own loop has ended by.
            is_up = await self._server.wait_for_termination(limits.PEER_SERVER_POLL_S)

    def _fail(self, error: BaseException) -> None:
        logger.error(
            "the server for the cluster's other processes stopped by itself (%s) and lets none of them in any more, so"
            " the process stops; start it again, and see who can reach cluster.port: one request whose path is not"
            " UTF-8 does this",
            type(error).__name__,
        )
        self.failed.set()


class _Servicer(PeerServiceServicer):
    def __init__(self, on_nudge: Callable[[], None]) -> None:
        self._on_nudge = on_nudge
        self._desk: Desk | None = None
        self._opened = asyncio.Event()

    def open(self, desk: Desk) -> None:
        self._desk = desk
        self._opened.set()

    async def Forward(self, request: rpc.ForwardRequest, context: Context) -> rpc.ForwardResponse:  # noqa: N802
        await self._opened.wait()
        assert self._desk is not None  # it was opened
        remaining_s = context.time_remaining()
        errand = Errand(
            method=request.method,
            request=request.request,
            facts=tuple((fact.key, fact.value) for fact in request.facts),
        )
        answer = await self._desk.execute(errand, min(remaining_s or limits.FORWARD_S_MAX, limits.FORWARD_S_MAX))
        if answer.status:
            return rpc.ForwardResponse(status=answer.status)
        return rpc.ForwardResponse(response=answer.response)

    async def Nudge(self, request: rpc.NudgeRequest, context: Context) -> rpc.NudgeResponse:  # noqa: N802
        self._on_nudge()
        return rpc.NudgeResponse()
