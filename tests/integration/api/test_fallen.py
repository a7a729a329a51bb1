"""What can end gRPC's server from outside, and what becomes of the process: it leaves, rather than stand there deaf.

No library sends a path that is not UTF-8, so the client here speaks HTTP/2 by itself.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.api.door import fits
from orchestrator.bootstrap import EXIT_API, serve
from orchestrator.config import Settings
from tests.integration.api.rig import running
from tests.kit.mesh import Program

NO_TEXT = b"/\xff"
PATIENCE_S = 10.0
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


@falling
@pytest.mark.parametrize("release", [grpc.__version__, "1.86.0"])
async def test_a_server_that_grpc_has_given_up_is_noticed_and_can_still_be_drained(
    release: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grpc, "__version__", release)  # gRPC's own server falls the same way
    async with asyncio.timeout(PATIENCE_S), running() as rig, asked(rig.port, NO_TEXT):
        await rig.api.failed.wait()
        await rig.api.drain(0.0)
    (line,) = [each for each in caplog.records if each.name == "orchestrator.api.server"]
    assert line.levelname == "ERROR"
    assert "stopped by itself (UnicodeDecodeError)" in line.getMessage()


async def test_a_server_that_was_drained_has_not_failed() -> None:
    async with running() as rig:
        await rig.api.drain(0.0)
    assert not rig.api.failed.is_set()


async def test_an_unknown_path_and_one_in_letters_of_other_alphabets_do_it_no_harm() -> None:
    async with running() as rig, asked(rig.port, "/käse".encode()), asked(rig.port, b""):
        stub = health_pb2_grpc.HealthStub(rig.channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)  # type: ignore[attr-defined]
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert not rig.api.failed.is_set()


@falling
async def test_a_process_whose_api_has_fallen_leaves_with_a_code_of_its_own_and_says_why(tmp_path: Path) -> None:
    arguments = ("serve", "--store", "memory:", "--http-port", "0")
    server = Program(name="orchestrator", module="orchestrator", arguments=arguments, folder=tmp_path)
    try:
        address = await server.start()
        async with asked(int(address.rpartition(":")[2]), NO_TEXT):
            assert await server.ended(within_s=PATIENCE_S) == EXIT_API
        assert "the API's server stopped by itself (UnicodeDecodeError)" in server.log
        assert "stopped, exit code 70" in server.log
    finally:
        await server.kill()


async def test_a_process_that_cannot_say_it_is_ready_leaves_nobody_listening() -> None:
    ports: list[int] = []

    def on_ready(api: str, http: str) -> None:
        ports.extend(int(each.rpartition(":")[2]) for each in (api, http))
        raise OSError("nobody reads")

    quiet = {"store": "memory:", "api": {"port": 0}, "http": {"port": 0}}
    with pytest.raises(ExceptionGroup) as failed:
        await serve(Settings.model_validate(quiet), on_ready)
    assert failed.group_contains(OSError, match="nobody reads")
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
