"""The health check of an orchestrator's container: what it says of every answer, and of none."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from threading import Thread

import pytest

from tests.compose.engine import free_port
from tests.compose.reading import FOLDER


def asked(port: int | str) -> "subprocess.CompletedProcess[str]":
    """Run the check as a container does."""
    command = [sys.executable, "-IS", str(FOLDER / "ready.py"), str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


@contextmanager
def telling(status: int, said: object) -> Iterator[int]:
    """An HTTP server that answers `/readyz` alone; gives its port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_an_orchestrator_that_takes_work_is_healthy() -> None:
    with telling(200, {"ready": True}) as port:
        ended = asked(port)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_one_that_does_not_is_not_and_its_reason_is_told(status: int) -> None:
    with telling(status, {"ready": False, "obstacles": ["it drains"]}) as port:
        ended = asked(port)
    assert ended.returncode == 1
    assert "no work is taken" in ended.stderr
    assert "it drains" in ended.stderr


def closed() -> Iterator[str]:
    """A port where nobody listens."""
    yield free_port()


def mute() -> Iterator[int]:
    """A port where somebody listens and nobody answers, as a process that hangs."""
    with create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("opened", [closed, mute])
def test_silence_is_not_health(opened: Callable[[], Iterator[int | str]]) -> None:
    for port in opened():
        ended = asked(port)
        assert ended.returncode == 1
        assert "nobody says that work is taken: " in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_check_loads_next_to_nothing() -> None:
    program = ast.parse((FOLDER / "ready.py").read_text(encoding="utf-8"))
    loaded = {name.name for node in ast.walk(program) if isinstance(node, ast.Import) for name in node.names}
    assert loaded == {"socket", "sys"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(program))
