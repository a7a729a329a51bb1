"""The health check of a container, against a real program and against one that drains."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health as servicers
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services import health
from tests.integration.services.running import Running


def test_a_program_that_takes_calls_is_healthy(tmp_path: Path) -> None:
    with Running("validator", tmp_path) as running:
        command = [sys.executable, "-m", "services.health", running.address]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


def test_a_program_that_drains_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    servicer = servicers.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with ThreadPoolExecutor(max_workers=1) as pool:
        listening = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, listening)
        address = f"127.0.0.1:{listening.add_insecure_port('127.0.0.1:0')}"
        listening.start()
        assert health.main([address]) == 1
        listening.stop(0).wait()
    assert capsys.readouterr().err == f"{address}: NOT_SERVING\n"


def test_nobody_there_is_not_healthy_either(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["127.0.0.1:1"]) == 1
    assert "127.0.0.1:1: UNAVAILABLE" in capsys.readouterr().err


def test_a_check_that_names_nobody_is_told_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
