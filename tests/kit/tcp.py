"""A line between two processes that fails on request, below every protocol: a TCP proxy, switched while it is in use.

Each direction is a `Way` of its own: it may be shut (bytes and ends are held back, connections stay open, as where a
cable is out; opened again, everything arrives, late), slow, or narrow. All connections together are cut, by a reset or
by an end; new ones are refused, or taken again.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Self

from tests.kit.ports import bound

CONNECT_S_MAX = 5.0
PIECE_BYTES = 65_536
PIECES_MAX = 64
"""Held back in one direction of one connection; then the sender finds its window full."""
_AT_ONCE = struct.pack("ii", 1, 0)


class Way:
    """One direction of a line, as it is from now on."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        """0: as fast as it goes."""
        self.passed = 0
        """Bytes."""
        self._is_open = asyncio.Event()
        self._is_open.set()

    def shut(self) -> None:
        """Let nothing arrive, neither bytes nor the end of a connection."""
        self._is_open.clear()

    def open(self) -> None:
        """Let everything arrive, also what was sent meanwhile."""
        self._is_open.set()

    async def arrive(self, piece: bytes, at: float) -> None:
        """Wait until what was sent at an instant of the loop has arrived."""
        await asyncio.sleep(at + self.delay_s - asyncio.get_running_loop().time())  # poll: nothing; it is on its way
        if self.bytes_per_s:
            await asyncio.sleep(len(piece) / self.bytes_per_s)  # poll: the same
        await self._is_open.wait()
        self.passed += len(piece)


class Line:
    """Between whoever connects to `address` and a server; as a context it listens, and resets everything at its end."""

    def __init__(self, upstream: str) -> None:
        """`upstream` is the server's address, asked for at each connection."""
        self.upstream = upstream
        self.there = Way()
        """From the client to the server."""
        self.back = Way()
        self.connections = 0
        """That came."""
        self.address = ""
        self._port = bound()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.address = f"127.0.0.1:{self.port}"
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._port.close()
        if failures := [end for end in ends if isinstance(end, Exception)]:
            raise ExceptionGroup("the line itself failed", failures)

    @property
    def port(self) -> int:
        return int(self._port.getsockname()[1])

    @property
    def ways(self) -> tuple[Way, Way]:
        return self.there, self.back

    async def listen(self) -> None:
        """Take connections; already listening is fine."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=bound(self.port))

    def refuse(self) -> None:
        """Refuse new connections from now on, and reset those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self, *, reset: bool = True) -> int:
        """End every open connection, by a reset or as if both sides had closed it; return how many there were."""
        there_were = tuple(self._open)
        for connection in there_were:
            connection.end(reset=reset)
        return len(there_were)

    def heal(self) -> None:
        """Be a good line in both directions."""
        for way in self.ways:
            way.delay_s = way.bytes_per_s = 0.0
            way.open()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:  # a failure is told at the end
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writers=[writer])
        self._open.add(connection)
        try:
            await self.there.arrive(b"", asyncio.get_running_loop().time())
            host, _, port = self.upstream.rpartition(":")
            async with asyncio.timeout(CONNECT_S_MAX):
                far_reader, far = await asyncio.open_connection(host, int(port))
            connection.writers.append(far)
            if not connection.is_over:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_carry(self.there, reader, far))
                    ways.create_task(_carry(self.back, far_reader, writer))
            connection.end(reset=False)
        except* (OSError, TimeoutError):
            connection.end(reset=True)
        finally:
            self._open.discard(connection)
            connection.end(reset=True)


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    writers: list[asyncio.StreamWriter]
    is_over: bool = False
    ended: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    def end(self, *, reset: bool) -> None:
        """Close both sides, or reset them; a second time is nothing, but for a side that has come since."""
        self.is_over = True
        for writer in self.writers:
            if writer in self.ended:
                continue
            self.ended.append(writer)
            if reset:
                with contextlib.suppress(OSError):  # the peer may have closed it
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                writer.transport.abort()
            else:
                writer.close()


async def _carry(way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction of a connection to its end; a reset is carried as one."""
    pieces: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(PIECES_MAX)

    async def take() -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                piece: bytes | OSError = await reader.read(PIECE_BYTES)
            except OSError as reset:
                piece = reset
            await pieces.put((loop.time(), piece))
            if not piece or isinstance(piece, OSError):
                return

    async def bring() -> None:
        while True:
            at, piece = await pieces.get()
            if isinstance(piece, OSError):
                await way.arrive(b"", at)
                raise piece
            await way.arrive(piece, at)
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    async with asyncio.TaskGroup() as both:
        both.create_task(take())
        both.create_task(bring())
