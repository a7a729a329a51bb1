"""The HTTP side: probes and figures, without touching the process's signals."""

import asyncio
import contextlib
import json
import signal

import pytest

from orchestrator import limits
from orchestrator.api import HttpServer
from orchestrator.errors import ConfigError
from orchestrator.runtime import Orchestrator
from tests.integration.api.rig import Listen, running

PAGE = ("text/plain; version=1.0.0", b"sagas 7\n")


def server(orchestrator: Orchestrator, port: int = 0) -> HttpServer:
    return HttpServer(orchestrator, lambda _accept: PAGE, Listen(port=port))


async def fetch(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
    raw = await reader.read()
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


async def test_probes_and_figures_are_served() -> None:
    async with running() as rig:
        http = server(rig.orchestrator)
        port = await http.start()
        assert (await fetch(port, "/healthz"))[0] == 200
        status, _, body = await fetch(port, "/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "obstacles": []})
        status, headers, body = await fetch(port, "/metrics")
        assert (status, headers["content-type"], body) == (200, *PAGE)
        assert (await fetch(port, "/elsewhere"))[0] == 404
        await http.stop()
        with pytest.raises(OSError, match="Connect call failed"):
            await fetch(port, "/healthz")


async def test_a_draining_process_lives_and_is_not_ready() -> None:
    async with running() as rig:
        http = server(rig.orchestrator)
        port = await http.start()
        await rig.orchestrator.drain(0.0)
        status, _, body = await fetch(port, "/readyz")
        assert (status, json.loads(body)["obstacles"]) == (503, ["the process drains"])
        assert (await fetch(port, "/healthz"))[0] == 200
        await http.stop()


async def test_signals_stay_whose_they_were() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with running() as rig:
        http = server(rig.orchestrator)
        await http.start()
        assert {number: signal.getsignal(number) for number in before} == before
        await http.stop()


async def test_a_taken_port_is_named_with_the_way_out() -> None:
    async with running() as rig:
        http = server(rig.orchestrator)
        port = await http.start()
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: the port is taken.*--http-port"):
            await server(rig.orchestrator, port).start()
        await http.stop()


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nhost"])
async def test_a_probe_gets_in_where_others_say_nothing_or_half_a_request_and_the_oldest_of_them_is_cut(
    said: bytes,
) -> None:
    async with running() as rig:
        http = server(rig.orchestrator)
        port = await http.start()
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(limits.HTTP_CONNECTIONS_MAX)]
        for _, writer in idle:
            writer.write(said)
        assert (await fetch(port, "/healthz"))[0] == 200
        oldest, _ = idle[0]
        with contextlib.suppress(ConnectionResetError):
            assert await oldest.read() == b""
        _, youngest = idle[-1]
        youngest.write(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n"[len(said) :])
        assert (await idle[-1][0].readline()).split()[1] == b"200"
        for _, writer in idle:
            writer.close()
        await http.stop()
