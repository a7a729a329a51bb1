"""A gRPC server that ends a call wherever a script says, frame by frame, and remembers exactly what reached it.

It speaks HTTP/2 by hand, because no gRPC library breaks off in the middle of a message on request. What it does to a
forward call is its `Ending`, found by saga id and attempt; an undo is always answered OK.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, HeadersFrame

Headers = list[tuple[str, str]]
REPLY = b"\x0a\x24" + b"a" * 36
"""A message whose first field is a text of 36 characters."""
_RESPONSE: Headers = [(":status", "200"), ("content-type", "application/grpc")]
_STREAMS_MAX = 100_000
PEERS_GONE_S_MAX = 30.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Point(StrEnum):
    """How much of its answer the server has written when it ends."""

    NOTHING = "nothing"
    HEADERS = "headers"
    HALF = "half the message"
    MESSAGE = "the whole message"


class Cut(StrEnum):
    """How a connection ends, with every call on it."""

    CLOSED = "closed"
    RESET = "TCP reset"
    GOAWAY = "GOAWAY, then closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The end of a proper answer: trailers, or trailers only."""

    code: int
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """An answer of something in between that does not speak gRPC."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is done to a call: so much is written, then this."""

    after: Point
    by: Status | ErrorCodes | Cut | Http
    """A status, a reset of the stream, the connection's end, or an answer that is not gRPC's."""
    late: bool = False
    """All of it is written when the caller has given up."""
    gathering: str = ""
    """Wait until every call that was announced under this name has arrived, then do it to all of them."""


OK = Ending(after=Point.MESSAGE, by=Status(code=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A whole request, as it came."""

    operation: str
    attempt: int
    key: str
    forward_key: str
    not_after: float
    message: bytes
    at: float


@dataclass(slots=True)
class BreakingServer:
    """Scripts going in, arrivals coming out."""

    scripts: dict[str, Sequence[Ending]] = field(default_factory=dict[str, Sequence[Ending]])
    """Saga id -> what happens to attempt 1, 2, ...; the last one stands for all that follow."""
    expected: dict[str, int] = field(default_factory=dict[str, int])
    """Gathering -> how many calls it waits for."""
    arrivals: dict[str, list[Arrival]] = field(default_factory=lambda: defaultdict[str, list[Arrival]](list))
    """Saga id -> every request that reached this server for it."""
    address: str = ""
    _awaited: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict[str, asyncio.Event](asyncio.Event))
    _gathered: dict[str, list["_Call"]] = field(default_factory=lambda: defaultdict[str, list["_Call"]](list))

    async def arrived(self, saga: str) -> None:
        """Wait until some request has reached this server for the saga."""
        await self._awaited[saga].wait()

    def take(self, call: "_Call") -> None:
        """Note a request that has come in whole, and answer it as its script says."""
        told = call.told
        saga, attempt, operation = told["saga-id"], int(told["saga-attempt"]), told["saga-op"]
        self.arrivals[saga].append(
            Arrival(
                operation=operation,
                attempt=attempt,
                key=told["idempotency-key"],
                forward_key=told.get("saga-forward-key", ""),
                not_after=float(told["saga-not-after"]),
                message=bytes(call.body[5:]),
                at=time.time(),  # noqa: TID251  # what a service's own clock would say
            )
        )
        self._awaited[saga].set()
        if operation != "forward":
            call.end(OK)
            return
        script = self.scripts[saga]
        ending = script[min(attempt, len(script)) - 1]
        if ending.late:
            call.on_given_up = ending
        elif ending.gathering:
            self._gather(call, ending)
        else:
            call.end(ending)

    def _gather(self, call: "_Call", ending: Ending) -> None:
        gathered = self._gathered[ending.gathering]
        gathered.append(call)
        if len(gathered) == self.expected[ending.gathering]:
            for each in gathered:
                each.write(ending.after)
            for each in gathered:
                each.finish(ending)


@dataclass(slots=True)
class _Call:
    """One stream."""

    connection: "_Connection"
    stream: int
    told: Mapping[str, str]
    body: bytearray = field(default_factory=bytearray)
    on_given_up: Ending | None = None
    is_given_up: bool = False
    """Its caller has reset the stream, which is nobody's any more."""

    def end(self, ending: Ending) -> None:
        """Write as much as the ending says, then end."""
        self.write(ending.after)
        self.finish(ending)

    def write(self, point: Point) -> None:
        if self.is_given_up:
            return
        http2 = self.connection.http2
        if point is not Point.NOTHING:
            http2.send_headers(self.stream, _RESPONSE)
        if data := _written(point):
            http2.send_data(self.stream, data)
        self.connection.flush()

    def finish(self, ending: Ending) -> None:
        if self.is_given_up:
            return
        http2 = self.connection.http2
        match ending.by:
            case Status() as status:
                http2.send_headers(self.stream, _trailers(status, ending.after), end_stream=True)
            case Http(status=status_):
                http2.send_headers(self.stream, [(":status", str(status_))], end_stream=True)
            case ErrorCodes() as code:
                http2.reset_stream(self.stream, code)
            case Cut() as cut:
                self.connection.cut(cut)
        self.connection.flush()

    def given_up(self) -> None:
        """Write what is late all the same, though the caller has reset the stream; the library would refuse to."""
        self.is_given_up = True
        if (ending := self.on_given_up) is None:
            return
        assert isinstance(ending.by, Status)
        frames: list[Frame] = []
        if ending.after is not Point.NOTHING:
            frames.append(self._headers(_RESPONSE, []))
        if data := _written(ending.after):
            frames.append(DataFrame(self.stream, data))
        frames.append(self._headers(_trailers(ending.by, ending.after), ["END_STREAM"]))
        self.connection.writer.write(b"".join(frame.serialize() for frame in frames))

    def _headers(self, headers: Headers, flags: list[str]) -> HeadersFrame:
        block = self.connection.http2.encoder.encode(headers)
        return HeadersFrame(self.stream, block, flags=["END_HEADERS", *flags])


class _Connection:
    """One connection: frames in, calls out."""

    def __init__(self, server: BreakingServer, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._server = server
        self._calls: dict[int, _Call] = {}
        self._is_cut = False

    async def run(self, reader: asyncio.StreamReader) -> None:
        self.http2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _STREAMS_MAX
        self.http2.initiate_connection()
        self.flush()
        while not self._is_cut and (data := await reader.read(65_536)):
            for event in self.http2.receive_data(data):
                self._take(event)
            self.flush()

    def flush(self) -> None:
        if not self._is_cut:
            self.writer.write(self.http2.data_to_send())

    def cut(self, how: Cut) -> None:
        if self._is_cut:
            return
        if how is Cut.GOAWAY:
            self.http2.close_connection()
            self.flush()
        self._is_cut = True
        if how is Cut.RESET:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        else:
            self.writer.close()

    def _take(self, event: object) -> None:
        if self._is_cut:
            return
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                self._calls[stream] = _Call(self, stream, {str(name): str(value) for name, value in headers or ()})
            case DataReceived(stream_id=int(stream), data=data, flow_controlled_length=int(size)):
                self._calls[stream].body += data or b""
                self.http2.acknowledge_received_data(size, stream)
            case StreamEnded(stream_id=int(stream)):
                call = self._calls[stream]
                if "saga-id" in call.told:
                    self._server.take(call)
                else:  # what gRPC or the invoker asks beside the calls of sagas
                    call.end(Ending(after=Point.NOTHING, by=Status(code=12)))
            case StreamReset(stream_id=int(stream)):
                self._calls[stream].given_up()
            case _:
                pass


def _written(point: Point) -> bytes:
    data = b"\x00" + len(REPLY).to_bytes(4, "big") + REPLY
    return {Point.HALF: data[: len(data) // 2], Point.MESSAGE: data}.get(point, b"")


def _trailers(status: Status, after: Point) -> Headers:
    trailers = [("grpc-status", str(status.code)), ("grpc-message", "as the script says"), *status.more]
    return [*_RESPONSE, *trailers] if after is Point.NOTHING else trailers


@contextlib.asynccontextmanager
async def breaking_server() -> AsyncIterator[BreakingServer]:
    """Serve on a loopback port while the block runs."""
    breaking = BreakingServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(breaking, writer).run(reader)

    async with listening(serve) as address:
        breaking.address = address
        yield breaking


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[str]:
    """Accept and say nothing: a connection comes about, and HTTP/2 does not. Give the address."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    async with listening(serve) as address:
        yield address


@contextlib.asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Give an address that is served until every peer has gone; what went wrong in serving is raised at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(connected(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(PEERS_GONE_S_MAX):
            await asyncio.gather(*tasks)
