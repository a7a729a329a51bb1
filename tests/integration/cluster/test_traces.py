"""A saga that two processes had a part in is one trace, from a real PostgreSQL to a real collector."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.bootstrap import open_node
from orchestrator.bootstrap.node import Node
from orchestrator.config import Settings
from orchestrator.errors import NotOwner
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaStatus
from tests.integration.telemetry.collector import grpc_collector
from tests.integration.test_bootstrap import validator
from tests.kit.postgres import schema

DEFINITION = """
saga: probe
input: epro.v1.Report
targets: [validator]
steps:
  first:
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
  pause:
    after: [first]
    wait: {signal: go, type: json}
  second:
    after: [pause]
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
"""
SPANS = 7
"""The saga, its start, three steps and two calls."""


async def owning(node: Node, *shards: int) -> None:
    """Wait until a process has these shards."""
    assert node.sharing is not None
    async with asyncio.timeout(10):
        while not set(shards) <= set(node.sharing.membership.owned()):  # noqa: ASYNC110  (a fact of the store)
            await asyncio.sleep(0.01)  # poll: nothing tells it


async def test_a_saga_that_goes_on_at_another_process_is_one_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe.yaml").write_text(DEFINITION)
    with schema() as dsn, grpc_collector() as (endpoint, received):
        async with validator() as address, AsyncExitStack() as stack:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}
            settings = Settings.model_validate(
                {
                    "store": dsn,
                    "targets": {"validator": {"address": address}},
                    "definitions": [str(tmp_path / "probe.yaml")],
                    "cluster": {"port": 0, "shards": 4, "lease_s": 2},
                }
            )
            one = await stack.enter_async_context(open_node(settings, environ=environ))
            await owning(one, 0, 1, 2, 3)
            given = JsonInput({"reportId": "R-1"})
            await one.orchestrator.start(StartRequest(definition="probe", input=given, saga_id="s"))
            await asyncio.to_thread(received.wait_for, 3)
            assert one.tracing is not None
            other = await stack.enter_async_context(open_node(settings, environ=environ))
            await one.drain(5.0)
            await owning(other, 0, 1, 2, 3)
            with pytest.raises(NotOwner):
                one.sharing.membership.epoch(shard_of("s", 4))  # type: ignore[arg-type, union-attr]
            await other.orchestrator.signal("s", "go", JsonInput({}))
            ended = await other.orchestrator.wait("s", Until.TERMINAL, 0, 10.0)
            await asyncio.to_thread(received.wait_for, SPANS)
    assert ended.status is SagaStatus.COMPLETED
    told = received.distinct()
    assert len(told) == SPANS
    assert [span.name for span in told.values() if span.parent_span_id not in told] == ["saga probe"]
    assert len({span.trace_id for span in told.values()}) == 1
