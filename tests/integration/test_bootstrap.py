"""A whole orchestrator inside this process, over real calls: what the composition root is answerable for."""

import gc
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from orchestrator.bootstrap import Store, calm_collector, node, open_node
from orchestrator.bootstrap.stores import open_store
from orchestrator.config import Settings
from orchestrator.errors import ConfigError
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaStatus
from orchestrator.telemetry import instruments
from services.epro.v1 import validator_service_pb2

DEFINITION = """
saga: probe
input: epro.v1.Report
targets: [validator]
steps:
  first:
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
  second:
    after: [first]
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
"""
CALLS = 2


@asynccontextmanager
async def validator() -> AsyncGenerator[str]:
    """The address of a service that finds everything valid."""

    async def answer(_request: bytes, _context: object) -> bytes:
        return validator_service_pb2.ValidateResponse(valid=True).SerializeToString()

    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Validate": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("epro.v1.Validator", methods),))
    reflection.enable_server_reflection(["epro.v1.Validator", reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_the_loop_is_watched_before_anything_is_opened_and_until_everything_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching: list[int] = []

    def look() -> None:
        watching.append(sum(thread.name == "stalls" for thread in threading.enumerate()))

    def opened(settings: Settings) -> Store:
        look()
        return open_store(settings)

    monkeypatch.setattr(node, "open_store", opened)
    async with open_node(Settings.model_validate({"store": "memory:"})):
        look()
    look()
    assert watching == [1, 1, 0]


async def test_every_call_is_measured_once(tmp_path: Path) -> None:
    (tmp_path / "probe.yaml").write_text(DEFINITION)
    async with validator() as address:
        settings = Settings.model_validate(
            {
                "store": "memory:",
                "targets": {"validator": {"address": address}},
                "definitions": [str(tmp_path / "probe.yaml")],
            }
        )
        async with open_node(settings, environ={}) as node:
            given = JsonInput({"reportId": "R-1"})
            await node.orchestrator.start(StartRequest(definition="probe", input=given, saga_id="s"))
            ended = await node.orchestrator.wait("s", Until.TERMINAL, 0, 30.0)
            page = node.metrics.render()[1].decode()
    assert ended.status is SagaStatus.COMPLETED
    counts = [line for line in page.splitlines() if line.startswith(f"{instruments.CALL_DURATION.name}_count")]
    assert [float(line.rsplit(" ", 1)[1]) for line in counts] == [float(CALLS)]


async def test_a_definition_that_is_no_text_is_a_mistake_of_the_configuration_and_no_bug(tmp_path: Path) -> None:
    (tmp_path / "probe.yaml").write_bytes(b"saga: \xff\xfe")
    settings = Settings.model_validate({"store": "memory:", "definitions": [str(tmp_path)]})
    with pytest.raises(ConfigError, match=r"probe\.yaml: it is not UTF-8 text"):
        async with open_node(settings, environ={}):
            pass


@pytest.mark.parametrize(("section", "is_told"), [({"cluster": {"lease_s": 3}}, True), ({}, False)])
async def test_settings_of_a_cluster_that_there_is_none_of_are_told(
    section: dict[str, object], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(Settings.model_validate({"store": "memory:", **section}), environ={}):
        assert ("on memory: this process is alone" in caplog.text) is is_told


def test_what_is_loaded_is_not_looked_at_and_the_collector_is_on_afterwards() -> None:
    seldom = gc.get_threshold()
    gc.disable()
    try:
        calm_collector()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() > seldom
    finally:
        gc.unfreeze()
        gc.set_threshold(*seldom)
        gc.enable()
