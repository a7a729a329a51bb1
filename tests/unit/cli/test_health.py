from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from orchestrator.cli.main import run
from tests.unit.cli.conftest import FakeServer, Saga

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def told() -> Iterator[tuple[str, health.HealthServicer]]:
    """A server that says of its health what it is told to."""
    servicer = health.HealthServicer()
    with ThreadPoolExecutor(max_workers=2) as pool:
        listening = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, listening)
        port = listening.add_insecure_port("127.0.0.1:0")
        listening.start()
        yield f"127.0.0.1:{port}", servicer
        listening.stop(0).wait()


def test_a_server_that_takes_work_is_told_by_exit_code_0(
    told: tuple[str, health.HealthServicer], capsys: pytest.CaptureFixture[str]
) -> None:
    address, servicer = told
    servicer.set("", SERVING)
    assert run(["health", "--server", address]) == 0
    assert capsys.readouterr().out == "SERVING\n"
    assert run(["health", "--server", address, "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["health", "--server", address, "-o", "json"]) == 0
    assert '"status": "SERVING"' in capsys.readouterr().out


def test_a_server_that_drains_is_told_by_exit_code_1(
    told: tuple[str, health.HealthServicer], capsys: pytest.CaptureFixture[str]
) -> None:
    address, servicer = told
    servicer.set("", NOT_SERVING)
    assert run(["health", "--server", address]) == 1
    assert capsys.readouterr().out == "NOT_SERVING\n"


def test_one_service_of_a_server_may_be_asked_for(
    told: tuple[str, health.HealthServicer], capsys: pytest.CaptureFixture[str]
) -> None:
    address, servicer = told
    servicer.set("", SERVING)
    servicer.set("epro.v1.Archive", NOT_SERVING)
    assert run(["health", "--server", address, "--service", "epro.v1.Archive"]) == 1
    assert run(["health", "--server", address, "--service", "epro.v1.Nothing"]) == 1
    assert "does not say that it takes work: NOT_FOUND" in capsys.readouterr().err


def test_nobody_there_is_exit_code_1_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--server", "127.0.0.1:1"]) == 1
    assert "127.0.0.1:1 does not say that it takes work: UNAVAILABLE" in capsys.readouterr().err


def test_a_server_without_a_health_service_does_not_take_work(saga: Saga, server: FakeServer) -> None:
    ended = saga("health")
    assert ended.code == 1
    assert f"{server.address} does not say that it takes work: UNIMPLEMENTED" in ended.err
