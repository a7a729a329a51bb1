"""Servers to call: real grpc.aio ones, and peers that speak just enough HTTP/2 by hand to misbehave."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
from grpc import aio

from tests.kit.ports import free

Context: TypeAlias = "aio.ServicerContext[bytes, bytes]"
Handler = Callable[[bytes, Context], Awaitable[bytes]]
SERVICE = "shop.v1.Shop"


@contextlib.asynccontextmanager
async def serving(
    methods: Mapping[str, Handler], *, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve `shop.v1.Shop` with raw bytes; give its address."""
    server = aio.server()
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    async with started(server, address, credentials) as bound:
        yield bound


@contextlib.asynccontextmanager
async def started(
    server: aio.Server, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Start a server on a loopback port and stop it without grace; give its address."""
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)


def dead_address() -> str:
    """Return a loopback address where nobody listens."""
    return f"127.0.0.1:{free()}"


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[int], bytes]
"""From the stream's id to the bytes that answer it."""


@contextlib.asynccontextmanager
async def raw_peer(script: Script) -> AsyncIterator[str]:
    """Listen, run the script on each connection, close it; give the address. All of it ends with the context."""
    loop = asyncio.get_running_loop()
    connections: list[socket.socket] = []
    tasks: list[asyncio.Task[None]] = []

    def accept() -> None:
        connection, _address = listener.accept()
        connections.append(connection)
        tasks.append(loop.create_task(_run(connection, script)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.add_reader(listener, accept)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            loop.remove_reader(listener)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in connections:
                connection.close()


async def _run(connection: socket.socket, script: Script) -> None:
    connection.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        await script(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()


def answering(answer: Answer, *, stay: bool = True) -> Script:
    """Shake hands, read one whole request, write the answer; then stay until the peer goes, or close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS + SETTINGS_ACK)
        writer.write(answer(await whole_request(reader)))
        await writer.drain()
        if stay:
            await reader.read()

    return script


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept and say nothing."""
    while await reader.read(4096):
        pass


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a whole request, then reset the TCP connection."""
    writer.write(SETTINGS + SETTINGS_ACK)
    await whole_request(reader)
    reset = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    writer.transport.abort()


async def speaking_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def hanging_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept and close."""


async def whole_request(reader: asyncio.StreamReader) -> int:
    """Read up to the end of the first request; return its stream's id."""
    await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == 0 and head[4] & 1:  # DATA with END_STREAM
            return int.from_bytes(head[5:], "big") & 0x7FFFFFFF


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def reset_stream(code: int) -> Answer:
    return lambda stream: frame(3, 0, stream, code.to_bytes(4, "big"))


def goaway(code: int, *, disown: bool) -> Answer:
    return lambda stream: frame(7, 0, 0, struct.pack(">II", 0 if disown else stream, code))


def response(*fields: tuple[str, str]) -> Answer:
    """One HEADERS frame that ends the stream, in HPACK literals."""
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields
    )
    return lambda stream: frame(1, 5, stream, block)


SETTINGS = frame(4, 0, 0)
SETTINGS_ACK = frame(4, 1, 0)
