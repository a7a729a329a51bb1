"""The way to the other processes: one gRPC connection each, made when first needed and closed when long unused.

A request is given to gRPC only while its connection is READY, because no error text proves that one was not sent; so
`Missed.is_sent` is False for certain where no connection came about, and True wherever it is not certain. gRPC's own
retries are off, and no service configuration is looked up: who repeats what is decided at the edge.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from grpc import aio

from orchestrator import limits
from orchestrator.cluster.wire import Tls, client_credentials, is_loopback
from orchestrator.ports.peers import Errand, Missed
from orchestrator.ports.posts import Answer
from orchestrator.tasks import Tasks
from orchestrator.v1 import peer_service_pb2 as rpc
from orchestrator.v1.peer_service_pb2_grpc import PeerServiceStub

if TYPE_CHECKING:  # a name of the stubs, for types only
    from orchestrator.v1.peer_service_pb2_grpc import PeerServiceAsyncStub

logger = logging.getLogger("orchestrator.cluster")

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Keeps connecting while nobody asks, so that a peer that is back is found at once.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", int(limits.RECONNECT_INITIAL_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(limits.RECONNECT_MAX_S * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(limits.PEER_CONNECT_S_MAX * 1000)),
    ("grpc.client_idle_timeout_ms", int(limits.PEER_IDLE_S * 1000)),
    ("grpc.keepalive_time_ms", int(limits.PEER_KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(limits.PEER_KEEPALIVE_ACK_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_send_message_length", limits.PEER_MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", limits.PEER_MESSAGE_BYTES_MAX),
    ("grpc.primary_user_agent", "saga-orchestrator"),
)
_READY = grpc.ChannelConnectivity.READY
_HOPELESS = frozenset({grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN})


class GrpcPeers:
    """`ports.peers.Peers` over gRPC."""

    def __init__(self, tls: Tls | None = None, *, insecure: bool = False, channels_max: int = 0) -> None:
        """`insecure` allows plaintext beyond this machine; raise `ConfigError` where a file of `tls` cannot be read."""
        self._credentials = None if tls is None else client_credentials(tls)
        self._insecure = insecure
        self._channels_max = channels_max or limits.PEER_CHANNELS_MAX
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._tasks = Tasks()

    async def ask(self, address: str, errand: Errand, timeout_s: float) -> Answer | Missed:
        """Have the process at an address do it."""
        if self._is_exposed(address):
            return Missed(why=f"{address} is not on this machine, and plaintext is not allowed", is_sent=False)
        request = rpc.ForwardRequest(
            method=errand.method,
            request=errand.request,
            facts=[rpc.CarriedFact(key=key, value=value) for key, value in errand.facts],
        )
        ends_at = asyncio.get_running_loop().time() + timeout_s
        with self._line(address) as line:
            why = await line.connect(min(timeout_s, limits.PEER_CONNECT_S_MAX))
            self._tell(address, line, why)
            if why:
                return Missed(why=f"{address}: {why}", is_sent=False)
            remaining_s = max(0.0, ends_at - asyncio.get_running_loop().time())
            try:
                response = await line.stub.Forward(request, timeout=remaining_s)
            except aio.AioRpcError as error:
                return Missed(why=f"{address}: {error.code().name}: {error.details()}", is_sent=True)
        if response.WhichOneof("answer") == "response":
            return Answer(response=response.response)
        return Answer(status=response.status)

    def nudge(self, addresses: Collection[str]) -> None:
        """Have the processes at these addresses look at the leases now; whether they hear it is not known."""
        for address in addresses:
            self._tasks.spawn(self._nudge(address), name=f"nudge {address}")

    async def _nudge(self, address: str) -> None:
        if self._is_exposed(address):
            return
        with self._line(address) as line:
            if not await line.connect(limits.NUDGE_S_MAX):
                try:
                    await line.stub.Nudge(rpc.NudgeRequest(), timeout=limits.NUDGE_S_MAX)
                except aio.AioRpcError:
                    return

    async def close(self) -> None:
        """Close every connection; a call still on one ends without an answer."""
        await self._tasks.cancel()
        lines, self._lines = tuple(self._lines.values()), OrderedDict()
        for line in lines:
            await line.channel.close()

    def _is_exposed(self, address: str) -> bool:
        return self._credentials is None and not self._insecure and not is_loopback(address.rpartition(":")[0])

    def _tell(self, address: str, line: "_Line", why: str) -> None:
        """Log what changes: one line when a peer cannot be reached any more, and one when it can again."""
        if bool(why) is not line.is_away:
            line.is_away = bool(why)
            if why:
                logger.warning("the process at %s cannot be reached; its requests wait in the store: %s", address, why)
            else:
                logger.info("the process at %s can be reached again", address)

    @contextmanager
    def _line(self, address: str) -> "Iterator[_Line]":
        """Give the connection to an address, and keep it while it is in use."""
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = _Line(self._channel(address))
        self._lines.move_to_end(address)
        line.users += 1
        self._let_go()
        try:
            yield line
        finally:
            line.users -= 1

    def _channel(self, address: str) -> aio.Channel:
        if self._credentials is None:
            return aio.insecure_channel(address, options=_OPTIONS)
        return aio.secure_channel(address, self._credentials, options=_OPTIONS)

    def _let_go(self) -> None:
        """Close the connections that were unused longest while there are too many."""
        unused = [address for address, line in self._lines.items() if line.users == 0]
        for address in unused[: max(0, len(self._lines) - self._channels_max)]:
            self._tasks.spawn(_close(self._lines.pop(address)), name=f"close {address}")


class _Line:
    """A connection and who uses it."""

    __slots__ = ("channel", "is_away", "stub", "users")

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.stub: PeerServiceAsyncStub = PeerServiceStub(channel)
        self.users = 0
        self.is_away = False

    async def connect(self, timeout_s: float) -> str:
        """Wait until a call would be sent; return why it would not, or nothing."""
        try:
            async with asyncio.timeout(timeout_s):
                while (state := self.channel.get_state(try_to_connect=True)) is not _READY:
                    if state in _HOPELESS and (why := await self._why()):
                        return why
                    await self.channel.wait_for_state_change(state)
        except TimeoutError:
            return f"no connection came about within {timeout_s:.1f} s"
        return ""

    async def _why(self) -> str:
        """Ask gRPC what is wrong: a state has no text, a call has one, and this one harms nobody should it arrive."""
        try:
            await self.stub.Nudge(rpc.NudgeRequest(), timeout=limits.NUDGE_S_MAX)
        except aio.AioRpcError as error:
            return error.details() or error.code().name
        return ""


async def _close(line: _Line) -> None:
    await line.channel.close()
