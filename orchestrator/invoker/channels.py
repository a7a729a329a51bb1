"""One channel per target, made when first needed, kept until the end.

The options, and why:

==================================================  ================================================================
option                                              reason
==================================================  ================================================================
`enable_retries` 0                                  every attempt is journaled; a transparent one would not be (R-8)
`service_config_disable_resolution` 1               nor may DNS bring a retry policy (R-8)
`lb_policy_name` round_robin                        uses every address of a name, and reconnects without being asked
`enable_http_proxy` 0                               `http_proxy` in the environment is for the web, not for the mesh:
                                                    with it, gRPC would send even loopback calls to the proxy
`use_local_subchannel_pool` 1                       a target's back-off and connection are its own, not those of
                                                    another target with the same address
`initial_/max_reconnect_backoff_ms`                 a restarted service is seen within a second
`min_reconnect_backoff_ms`                          is in truth the time one connection attempt may take
`keepalive_time_ms` 330 s, only with calls          below 300 s a server that was told nothing closes the connection
                                                    (too_many_pings, R-6); a call's deadline ends it sooner anyway
`max_send_/max_receive_message_length`              the one payload limit of the system
==================================================  ================================================================

**Connect first, send second.** No error text proves that a request was not sent (see `classify.py`), so a call is
given to gRPC only while its channel is READY. Until then it waits here, and whatever ends the wait (no connection,
deadline, abort) is `NOT_SENT` for certain. Reading the state costs 0.1 us. TRANSIENT_FAILURE is sticky: gRPC keeps
trying on its own, and calls are told at once, with the reason.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import grpc
from grpc import aio

from orchestrator.errors import ConfigError
from orchestrator.invoker.targets import TargetConfig, Tls, validate
from orchestrator.limits import (
    CONNECT_S_MAX,
    KEEPALIVE_ACK_S,
    KEEPALIVE_S,
    PAYLOAD_BYTES_MAX,
    RECONNECT_INITIAL_S,
    RECONNECT_MAX_S,
)
from orchestrator.tasks import Tasks

Stub: TypeAlias = "aio.UnaryUnaryMultiCallable[bytes, bytes]"  # a string: not generic at run time in grpcio 1.80
Waiter = Callable[[str | None], None]
"""Told None once connected, or why no connection came about."""

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_INITIAL_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_MAX_S * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_S_MAX * 1000)),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_ACK_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_send_message_length", PAYLOAD_BYTES_MAX),
    ("grpc.max_receive_message_length", PAYLOAD_BYTES_MAX),
    ("grpc.primary_user_agent", "saga-orchestrator"),
)
_READY = grpc.ChannelConnectivity.READY
_HOPELESS = frozenset({grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN})
_HARMLESS = "grpc.health.v1.Health/Check"


class Channel:
    """One target's connection. Belongs to the event loop that first used it."""

    def __init__(self, target: TargetConfig, tasks: Tasks) -> None:
        self.target = target
        self._tasks = tasks
        self._credentials = None if target.tls is None else _credentials(target.name, target.tls)
        self._channel: aio.Channel | None = None
        self._stubs: dict[str, Stub] = {}
        self._waiters: dict[int, Waiter] = {}
        self._tickets = 0
        self._connecting = False

    @property
    def raw(self) -> aio.Channel:
        """Return gRPC's channel, made now if it was not yet."""
        if self._channel is None:
            address = self.target.address
            if self._credentials is None:
                self._channel = aio.insecure_channel(address, options=_OPTIONS)
            else:
                self._channel = aio.secure_channel(address, self._credentials, options=_OPTIONS)
        return self._channel

    def is_ready(self) -> bool:
        """Return whether a call would be sent now."""
        return (self._channel or self.raw).get_state() is _READY

    def stub(self, method: str) -> Stub:
        """Return what calls a method, bytes in and bytes out."""
        stub = self._stubs.get(method)
        if stub is None:
            stub = self._stubs[method] = self.raw.unary_unary(f"/{method}")
        return stub

    def when_settled(self, waiter: Waiter) -> Callable[[], None]:
        """Tell the waiter, later and once, how connecting went; the returned function takes the wish back."""
        self._tickets += 1
        ticket = self._tickets
        self._waiters[ticket] = waiter
        if not self._connecting:
            self._connecting = True
            self._tasks.spawn(self._connect(), name=f"connect {self.target.name}")
        return partial(self._withdraw, ticket)

    async def close(self) -> None:
        """Close the connection; a call still on it is cancelled."""
        if self._channel is not None:
            await self._channel.close()

    def _withdraw(self, ticket: int) -> None:
        self._waiters.pop(ticket, None)

    async def _connect(self) -> None:
        """Follow the channel's state until nobody waits."""
        try:
            while self._waiters:
                state = self.raw.get_state(try_to_connect=True)
                if state is _READY:
                    self._tell(None)
                elif state in _HOPELESS:
                    why = await self._why()
                    if not self.is_ready():
                        self._tell(why)
                else:
                    await self.raw.wait_for_state_change(state)
        finally:
            self._connecting = False

    def _tell(self, why: str | None) -> None:
        told, self._waiters = self._waiters, {}
        for waiter in told.values():
            waiter(why)

    async def _why(self) -> str:
        """Ask gRPC what is wrong: a state has no text, a call has one.

        The call fails at once while there is no connection. Should there be one again, a health check harms nobody.
        """
        try:
            await self.stub(_HARMLESS)(b"", timeout=CONNECT_S_MAX)
        except aio.AioRpcError as error:
            return error.details() or error.code().name
        return "the connection was lost"


class Channels:
    """The channels of all targets, by name."""

    def __init__(self, targets: Mapping[str, TargetConfig]) -> None:
        for name, target in targets.items():
            if name != target.name:
                raise ConfigError(f"target {target.name!r} is configured under the name {name!r}; make them the same")
            validate(target)
        self.tasks = Tasks()
        self._channels = {name: Channel(target, self.tasks) for name, target in targets.items()}

    def get(self, target: str) -> Channel | None:
        """Return a target's channel; None where it is not configured."""
        return self._channels.get(target)

    def targets(self) -> tuple[TargetConfig, ...]:
        """Return all targets, by name."""
        return tuple(self._channels[name].target for name in sorted(self._channels))

    async def close(self) -> None:
        """Stop connecting and close every channel; closing twice is harmless."""
        await self.tasks.cancel()
        for channel in self._channels.values():
            await channel.close()


def _credentials(target: str, tls: Tls) -> grpc.ChannelCredentials:
    try:
        ca, cert, key = (None if path is None else path.read_bytes() for path in (tls.ca, tls.cert, tls.key))
    except OSError as exc:
        raise ConfigError(f"target {target!r}: its TLS files cannot be read: {exc}", target=target) from exc
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
