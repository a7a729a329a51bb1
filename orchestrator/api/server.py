"""The gRPC server: our own services, the standard ones, the edge around them, and how it stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

import grpc.aio

from orchestrator import limits
from orchestrator.api.admin import AdminService
from orchestrator.api.definitions import DefinitionService
from orchestrator.api.diagnostics import DiagnosticsService
from orchestrator.api.door import open_door
from orchestrator.api.edge import Edge, Methods
from orchestrator.api.forwarding import Forwarding
from orchestrator.api.servicers import DIAGNOSTICS, OPERATOR, SAGA, Servicers, room_of
from orchestrator.api.standard import Health, health_pb2_grpc, reflection_handlers
from orchestrator.definition.revisions import Revisions
from orchestrator.errors import ConfigError
from orchestrator.ports.clock import Clock
from orchestrator.ports.cluster import ClusterView
from orchestrator.ports.diagnostics import Diagnostics
from orchestrator.ports.observer import Observer, Silence
from orchestrator.ports.peers import Desk, Letters, Peers
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.tasks import Tasks
from orchestrator.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    definition_service_pb2,
    definition_service_pb2_grpc,
    diagnostics_service_pb2_grpc,
    operator_service_pb2_grpc,
    saga_service_pb2_grpc,
)

_log = logging.getLogger(__name__)

SAGA_SERVICE = SAGA.full_name
_DEFINITION = definition_service_pb2.DESCRIPTOR.services_by_name["DefinitionService"]
OPERATOR_SERVICE = OPERATOR.full_name
_ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
ADMIN_SERVICE = _ADMIN.full_name
DIAGNOSTICS_SERVICE = DIAGNOSTICS.full_name
_SERVED = (SAGA, _DEFINITION, OPERATOR, _ADMIN, DIAGNOSTICS)
SERVICES = tuple(each.full_name for each in _SERVED)


_TURNS_TO_LOOK = 4 * limits.API_CALLS_ASKED_FOR
"""gRPC takes three turns of the event loop to look at a call."""


class Listen(Protocol):
    """Where a server listens: settings that both servers understand."""

    @property
    def host(self) -> str:
        """Return the address to bind."""
        ...

    @property
    def port(self) -> int:
        """Return the port to bind; 0 takes a free one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiBounds:
    """What callers may take."""

    calls: int = limits.API_CALLS_MAX
    waits: int = limits.API_WAITS_MAX
    large_bytes: int = limits.API_LARGE_REQUESTS_BYTES_MAX
    streams_per_connection: int = limits.API_STREAMS_PER_CONNECTION_MAX
    message_bytes: int = limits.API_MESSAGE_BYTES_MAX
    metadata_bytes: int = limits.API_METADATA_BYTES_MAX
    slow_reader_s: float = limits.API_SLOW_READER_S


async def _never(_shard: int, _address: str) -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What joins this server to the other processes of its cluster."""

    peers: Peers
    letters: Letters
    look: Callable[[], None]
    """Have the leases looked at soon: somebody else may own a shard by now."""
    moved: Callable[[int, str], Awaitable[None]] = _never
    """Wait until a shard that was the process's at an address is another's."""
    away: Callable[[], str] = str
    """Why nothing can be recorded now, or nothing."""
    observer: Observer = field(default_factory=Silence)


class ApiServer:
    """`orchestrator.v1` over gRPC. `start`, then `drain`; once each."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        revisions: Revisions,
        listen: Listen,
        *,
        clock: Clock,
        bounds: ApiBounds = ApiBounds(),
        links: Links | None = None,
        cluster: ClusterView | None = None,
        diagnostics: Diagnostics | None = None,
        servicers: Servicers | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Without `links` this process is alone: what it may not do is refused.

        AdminService shows `cluster`, DiagnosticsService `diagnostics`; neither is served without. `servicers` are those
        that the process has already, with their bounds on calls and waits.
        """
        absent = {ADMIN_SERVICE: cluster is None, DIAGNOSTICS_SERVICE: diagnostics is None}
        services = [each for each in SERVICES if not absent.get(each)]
        served = [each for each in _SERVED if each.full_name in services]
        self.methods = [f"{each.full_name}/{method.name}" for each in served for method in each.methods]
        """Its own methods as they are counted: `package.Service/Method`."""
        self.failed = asyncio.Event()
        """Set when gRPC's server has stopped by itself and nobody gets in any more: stop the process."""
        self._orchestrator = orchestrator
        self._listen = listen
        if servicers is None:
            servicers = Servicers(
                orchestrator,
                revisions,
                clock,
                calls_max=bounds.calls,
                waits_max=bounds.waits,
                large_bytes_max=bounds.large_bytes,
            )
        self._admission = servicers.admission
        self._desk = servicers.desk
        self._health = Health(services)
        self._tasks = Tasks()
        methods = self._methods(servicers, revisions, clock, cluster, diagnostics)
        methods.add_generic_rpc_handlers(reflection_handlers(services))
        edge = Edge(
            methods,
            admission=self._admission,
            room_of=room_of,
            clock=clock,
            observer=observer or Silence(),
            slow_reader_s=bounds.slow_reader_s,
            commands=servicers.commands,
            away=str if links is None else links.away,
            forwarding=None if links is None else self._forwarding(links, servicers, clock),
        )
        self._server = open_door(_options(bounds))
        self._server.add_generic_rpc_handlers((edge,))

    def _methods(
        self,
        servicers: Servicers,
        revisions: Revisions,
        clock: Clock,
        cluster: ClusterView | None,
        diagnostics: Diagnostics | None,
    ) -> Methods:
        """Return the methods of all services that are served, bare."""
        methods = Methods()
        server = cast(grpc.aio.Server, methods)
        saga_service_pb2_grpc.add_SagaServiceServicer_to_server(servicers.sagas, server)
        operator_service_pb2_grpc.add_OperatorServiceServicer_to_server(servicers.operators, server)
        definitions = DefinitionService(revisions=revisions)
        definition_service_pb2_grpc.add_DefinitionServiceServicer_to_server(definitions, server)
        if cluster is not None:
            admin_service_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(cluster=cluster), server)
        if diagnostics is not None:
            live = DiagnosticsService(diagnostics=diagnostics, clock=clock)
            diagnostics_service_pb2_grpc.add_DiagnosticsServiceServicer_to_server(live, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return methods

    def _forwarding(self, links: Links, servicers: Servicers, clock: Clock) -> Forwarding:
        return Forwarding(
            peers=links.peers,
            letters=links.letters,
            admission=self._admission,
            clock=clock,
            observer=links.observer,
            look=links.look,
            moved=links.moved,
            away=links.away,
            wait=servicers.sagas.WaitSaga,
        )

    @property
    def desk(self) -> Desk:
        """Return where requests are done that other processes of the cluster took."""
        return self._desk

    @property
    def in_flight(self) -> int:
        """Return the number of calls, long polls and watches that are not over."""
        return self._admission.in_flight

    @property
    def under_way(self) -> Mapping[str, int]:
        """Return the number of `calls` and of `waits` that are not over."""
        return self._admission.under_way

    async def start(self) -> int:
        """Listen and serve; return the port. Raise `ConfigError` where the address cannot be had."""
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        address = f"{host}:{self._listen.port}"
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as exc:
            raise ConfigError(
                f"the gRPC API cannot listen on {address}: the port is taken or the address is not this machine's; "
                "stop the other process, or choose another port with --port (0 takes a free one)",
                address=address,
            ) from exc
        await self._server.start()
        self._tasks.spawn(self._follow_obstacle(), self._fail, name="health")
        return port

    def refuse_new(self) -> None:
        """Begin the drain: health says NOT_SERVING, new calls are turned away, waits end with what is known now."""
        self._health.drain()
        self._admission.close()

    async def drain(self, grace_s: float) -> None:
        """Refuse what is new, let what is in flight be answered within the grace, then close every connection."""
        self.refuse_new()
        if not await self._admission.idle(grace_s):
            self._admission.end()
        await self._tasks.cancel()
        # Whoever is refused asks again at once. Where that comes in the moment in which gRPC leaves, it is cancelled
        # without a word: so refusals go out after gRPC's goodbye, and who reads them comes on this connection no more.
        self._admission.hold()
        try:
            for _ in range(_TURNS_TO_LOOK):
                await asyncio.sleep(0)  # one turn: those who have come are refused, and counted
            await self._admission.lull(limits.API_LULL_S, limits.API_PARTING_S_MAX)
            async with asyncio.TaskGroup() as tasks:
                # gRPC counts a call as over when its last byte is gone, a little after our method has returned.
                tasks.create_task(self._server.stop(limits.API_STOP_S))
                await asyncio.sleep(0)  # one turn: it has said goodbye on every connection
                self._admission.let_go()
        finally:  # also where whoever drains has no more time for it
            self._admission.let_go()

    async def _follow_obstacle(self) -> None:
        """Let health say whether new work is taken: not while the store is away, and again when it is back."""
        is_up = True
        while is_up:
            self._health.show(is_serving=self._orchestrator.obstacle is None)
            # The pause is gRPC's, which raises in it what its own loop has ended by.
            is_up = await self._server.wait_for_termination(limits.OBSTACLE_POLL_S)

    def _fail(self, error: BaseException) -> None:
        _log.error(
            "the API's server stopped by itself (%s) and lets nobody in any more, so the process stops; start it again,"
            " and see who can reach its port: one request whose path is not UTF-8 does this",
            type(error).__name__,
        )
        self.failed.set()


def _options(bounds: ApiBounds) -> tuple[tuple[str, int], ...]:
    return (
        # Nothing compressed is taken in: a few kilobytes that unpack to gigabytes would get past every other bound.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # A second process on one port must fail, not share it.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", bounds.message_bytes),
        ("grpc.max_send_message_length", bounds.message_bytes),
        ("grpc.max_concurrent_streams", bounds.streams_per_connection),
        # Whom we cannot take, admission tells so; gRPC would toss a coin and hang up. So it keeps them all until then.
        ("grpc.server.max_pending_requests", limits.API_CALLS_UNSEEN_MAX),
        ("grpc.server.max_pending_requests_hard_limit", limits.API_CALLS_UNSEEN_MAX),
        ("grpc.server_max_unrequested_time_in_server", int(limits.API_CALL_UNSEEN_S_MAX)),
        # Without the second, the first grows to megabytes for each of them.
        ("grpc.http2.lookahead_bytes", limits.API_UNREAD_BYTES_MAX),
        ("grpc.http2.bdp_probe", 0),
        # Below the first gRPC takes everything, above the second nothing, in between it tosses a coin: no coin here.
        ("grpc.max_metadata_size", bounds.metadata_bytes),
        ("grpc.absolute_max_metadata_size", bounds.metadata_bytes),
        # A client that is gone without a word (a cut cable) is noticed while it waits.
        ("grpc.keepalive_time_ms", int(limits.API_KEEPALIVE_S * 1000)),
        ("grpc.keepalive_timeout_ms", int(limits.API_KEEPALIVE_ACK_S * 1000)),
        # Clients may ping as often as we do without being called abusive.
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.API_PING_S_MIN * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    )
