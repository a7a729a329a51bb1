"""A client that speaks HTTP/2 by itself, to send what no library sends.

One request whose path is not UTF-8 ends gRPC's server: its loop falls over it, and nobody is let in any more.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc._cython import cygrpc

from orchestrator.api.door import fits

NO_TEXT = b"/\xff"
"""A path that is not UTF-8."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, END_HEADERS = 4, 1, 4

falling = pytest.mark.skipif(
    not fits(grpc.__version__, cygrpc.AioServer), reason=f"grpcio {grpc.__version__} is not known to fall over a path"
)


@asynccontextmanager
async def asked(port: int, path: bytes) -> AsyncGenerator[None]:
    """Hold a connection on which a call of the path has begun."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    block = b"".join(literal(name, value) for name, value in headers.items())
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, block))
    try:
        yield
    finally:
        writer.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK has it that is in no table (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
