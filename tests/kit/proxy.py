"""A network that fails on request: a TCP proxy that understands just enough HTTP/2 to strike one call at one moment.

Frames pass as they are, in both directions; the headers of requests alone are read, and written anew, so that a request
that is kept back leaves the server's header table in order. What is done to a request is its `Fault` (`faults.py`),
chosen when its headers arrive; what truly became of it is kept in `Proxy.passed`, the witness of what was sent.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import Frame as Parsed
from hyperframe.frame import GoAwayFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

from tests.kit.faults import Fault, Forwarded, Request, What, When
from tests.kit.ports import bound

PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
HEAD_BYTES = 9
CONNECT_S_MAX = 10.0
TRICKLE_BYTES = 31
"""Not a divisor of anything: pieces end anywhere."""
STREAM_MAX = 2**31 - 1
_TABLE_BYTES_MAX = 2**20
_AT_ONCE = struct.pack("ii", 1, 0)
_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0, 1, 3, 9
_END_STREAM, _END_HEADERS = 0x1, 0x4


Choose = Callable[[Request], Fault | None]


class Proxy:
    """Between one address and a server; as a context it listens, and cuts everything at its end."""

    def __init__(self, upstream: Callable[[], str], choose: Choose = lambda _request: None) -> None:
        """`upstream` is asked at each connection: the server may move, or not be there."""
        self.choose = choose
        self.passed: list[Request] = []
        self.connections = 0
        """That were accepted."""
        self.is_mute = False
        """New connections are accepted, and nothing is forwarded or closed."""
        self.address = ""
        self._upstream = upstream
        self._port = bound()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_Connection] = set()
        self._failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        self.address = f"127.0.0.1:{self._port.getsockname()[1]}"
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._port.close()
        if self._failures:
            raise BaseExceptionGroup("the proxy itself failed", self._failures)

    async def listen(self) -> None:
        """Accept connections; already listening is fine."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=bound(self._port.getsockname()[1]))

    async def refuse(self) -> None:
        """Refuse new connections from now on, and reset those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every open connection."""
        for connection in tuple(self._open):
            connection.end(reset=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failed := task.exception()) is not None:
            self._failures.append(failed)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._open.add(connection)
        try:
            if self.is_mute:
                await connection.over.wait()
                return
            host, _, port = self._upstream().rpartition(":")
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    up = await asyncio.open_connection(host, int(port))
            except (OSError, TimeoutError):
                return
            await connection.run(*up)
        finally:
            self._open.discard(connection)
            connection.end(reset=True)
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: int
    flags: int
    stream: int
    raw: bytes

    @property
    def ends_stream(self) -> bool:
        return self.kind in {_DATA, _HEADERS} and bool(self.flags & _END_STREAM)

    @property
    def size(self) -> int:
        return len(self.raw) - HEAD_BYTES


@dataclass(slots=True)
class _Side:
    """One direction: whole frames are written at a time, whoever writes them."""

    writer: asyncio.StreamWriter
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Connection:
    """One connection and its continuation to the server: frames in, most of them out again."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.over = asyncio.Event()
        self._proxy = proxy
        self._down_reader, self._down = reader, _Side(writer)
        self._up: _Side | None = None
        self._decoder, self._encoder = Decoder(), Encoder()
        self._decoder.max_allowed_table_size = _TABLE_BYTES_MAX
        self._encoder.header_table_size = 0
        self._calls: dict[int, Request] = {}
        self._block = b""
        self._is_stalled = False
        self._disowned: set[int] = set()
        self._last_stream = STREAM_MAX
        """Streams beyond it came after a GOAWAY and are nobody's."""

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward until either side ends, or a fault does."""
        if self.over.is_set():
            writer.close()
            return
        self._up = up = _Side(writer)
        try:
            async with asyncio.TaskGroup() as pumps:
                tasks = [pumps.create_task(self._requests(up)), pumps.create_task(self._replies(reader))]
                await self.over.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self.end(reset=True)
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def end(self, *, reset: bool) -> None:
        """Close both sides, or reset them; a second time is nothing."""
        if self.over.is_set():
            return
        self.over.set()
        for side in (self._down, self._up):
            if side is None:
                continue
            if reset:
                with contextlib.suppress(OSError):  # the peer may have closed it
                    side.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                side.writer.transport.abort()
            else:
                side.writer.close()

    async def _requests(self, up: _Side) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            up.writer.write(await self._down_reader.readexactly(PREFACE_BYTES))
            while True:
                frame = await _read(self._down_reader)
                if self._is_stalled:
                    if frame.kind == _RST_STREAM:
                        break
                elif frame.kind in {_HEADERS, _CONTINUATION}:
                    await self._take_headers(up, frame)
                elif frame.stream in self._disowned:
                    await self._swallow(frame)
                elif frame.kind == _DATA:
                    await self._take_data(up, frame)
                else:
                    await self._write(up, frame.raw)
        self.end(reset=self._is_stalled)

    async def _take_headers(self, up: _Side, frame: _Frame) -> None:
        if frame.kind == _HEADERS:
            parsed, _ = Parsed.parse_frame_header(memoryview(frame.raw[:HEAD_BYTES]))
            assert isinstance(parsed, HeadersFrame)
            parsed.parse_body(memoryview(frame.raw[HEAD_BYTES:]))
            self._block = parsed.data
        else:
            self._block += frame.raw[HEAD_BYTES:]
        if not frame.flags & _END_HEADERS:
            return
        headers = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(self._block, raw=True)]
        told = {name.decode(): value.decode() for name, value in headers if name.startswith((b":path", b"saga-"))}
        call = Request(path=told.pop(":path"), told=told, stream=frame.stream)
        if frame.stream > self._last_stream:
            self._disowned.add(frame.stream)
            return
        self._calls[frame.stream] = call
        self._proxy.passed.append(call)
        call.fault = self._proxy.choose(call)
        if await self._passes(call, When.BEFORE):
            call.forwarded = Forwarded.PART
            ended = ["END_STREAM"] if frame.ends_stream else []
            begun = HeadersFrame(frame.stream, self._encoder.encode(headers), flags=["END_HEADERS", *ended])
            await self._write(up, begun.serialize(), call.trickle_s(When.BEFORE))

    async def _take_data(self, up: _Side, frame: _Frame) -> None:
        call = self._calls.get(frame.stream)
        if call is None:  # the server has answered already
            await self._write(up, frame.raw)
            return
        if call.is_due(When.REQUEST) and frame.size:
            sent = HEAD_BYTES + frame.size // 2
            async with up.lock:  # nobody may write between the halves
                up.writer.write(frame.raw[:sent])
                await up.writer.drain()
                if not await self._passes(call, When.REQUEST):
                    return
                up.writer.write(frame.raw[sent:])
        else:
            await self._write(up, frame.raw, call.trickle_s(When.BEFORE))
        if frame.ends_stream:
            call.forwarded = Forwarded.WHOLE
            await self._passes(call, When.SENT)

    async def _swallow(self, frame: _Frame) -> None:
        """Keep a frame back, and give its room in the connection's window back to the caller."""
        if frame.kind == _DATA and frame.size:
            await self._write(self._down, WindowUpdateFrame(0, window_increment=frame.size).serialize())

    async def _replies(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _read(reader)
                if not self._is_stalled and await self._take_reply(frame):
                    await self._write(self._down, frame.raw, self._pause_of_reply(frame.stream))
                    await self._note_reply(frame)
        if not self._is_stalled:
            self.end(reset=False)

    def _pause_of_reply(self, stream: int) -> float:
        call = self._calls.get(stream)
        return 0.0 if call is None else call.trickle_s(When.LOST)

    async def _take_reply(self, frame: _Frame) -> bool:
        """Return whether a frame of the server's is still to be written."""
        call = self._calls.get(frame.stream)
        if call is None or frame.kind not in {_DATA, _HEADERS}:
            return True
        if not await self._passes(call, When.LOST):
            return False
        fault = call.fault
        is_middle = frame.kind == _DATA or frame.ends_stream
        if fault is None or not is_middle or not call.is_due(When.REPLY) or call.messages < fault.messages:
            return True
        half = HEAD_BYTES + frame.size // 2
        async with self._down.lock:
            self._down.writer.write(frame.raw[:half])
            await self._down.writer.drain()
            if await self._passes(call, When.REPLY):
                self._down.writer.write(frame.raw[half:])
                await self._note_reply(frame)
        return False

    async def _note_reply(self, frame: _Frame) -> None:
        call = self._calls.get(frame.stream)
        if call is None:
            return
        call.messages += frame.kind == _DATA and frame.size > 0
        if frame.ends_stream:
            call.is_answered = frame.stream not in self._disowned
            del self._calls[frame.stream]
            await self._passes(call, When.ANSWERED)

    async def _passes(self, call: Request, when: When) -> bool:
        """Strike where it is the moment; return whether the frame at hand is to be forwarded."""
        fault = call.fault
        if fault is None or self.over.is_set() or not call.is_due(when):
            return not self.over.is_set()
        call.is_struck = True
        match fault.what:
            case What.CLOSE | What.RESET:
                self.end(reset=fault.what is What.RESET)
                return False
            case What.STALL:
                self._is_stalled = True
                return False
            case What.PAUSE:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(fault.pause_s):
                        await self.over.wait()
                return not self.over.is_set()
            case What.TRICKLE:
                return True
            case What.REFUSE:
                refused = RstStreamFrame(call.stream, error_code=ErrorCodes.REFUSED_STREAM)
                await self._write(self._down, refused.serialize())
            case What.DISOWN:
                self._last_stream = max((each for each in self._calls if each < call.stream), default=0)
                await self._go_away(self._last_stream)
            case What.AGE:
                self._last_stream = call.stream
                await self._go_away(STREAM_MAX)
                await self._go_away(call.stream)
                return True
        self._disowned.add(call.stream)
        return when is not When.BEFORE  # what the server has begun must pass: header tables are shared

    async def _go_away(self, last_stream: int) -> None:
        frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=ErrorCodes.NO_ERROR)
        await self._write(self._down, frame.serialize())

    async def _write(self, side: _Side, data: bytes, pause_s: float = 0.0) -> None:
        async with side.lock:
            if not pause_s:
                side.writer.write(data)
            for at in range(0, len(data) if pause_s else 0, TRICKLE_BYTES):
                side.writer.write(data[at : at + TRICKLE_BYTES])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self.over.wait()
                        break
            await side.writer.drain()


async def _read(reader: asyncio.StreamReader) -> _Frame:
    head = await reader.readexactly(HEAD_BYTES)
    body = await reader.readexactly(int.from_bytes(head[:3], "big"))
    return _Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & STREAM_MAX, head + body)
