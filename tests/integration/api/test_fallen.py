"""What can end gRPC's server from outside, and what becomes of the process: it leaves, rather than stand there deaf."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.bootstrap import EXIT_SERVER, serve
from orchestrator.config import Settings
from tests.integration.api.rig import running
from tests.kit.frames import NO_TEXT, asked, falling
from tests.kit.mesh import Program

PATIENCE_S = 60.0


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
            assert await server.ended(within_s=PATIENCE_S) == EXIT_SERVER
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
