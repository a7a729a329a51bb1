"""A line about a request leads to the caller's own trace, and from the caller's error to the line."""

import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import error_details_pb2

from orchestrator.telemetry.logs import LogFormat, configure_logging
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.rig import Rig, running, status_of

TRACEPARENT = f"00-{0xABC:032x}-{0xDEF:016x}-01"
METHOD = "/orchestrator.v1.SagaService/GetSaga"
WORDS = "what it was dividing"
Line = dict[str, str]


@asynccontextmanager
async def told(level: str) -> AsyncIterator[tuple[Rig, io.StringIO]]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, was = root.handlers[:], root.level
    configure_logging(LogFormat.JSON, level, stream)
    try:
        async with running() as rig:
            yield rig, stream
    finally:
        root.handlers[:] = before
        root.setLevel(was)
        logging.captureWarnings(False)


def about(stream: io.StringIO, method: str) -> list[Line]:
    lines: list[Line] = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line.get("method") == method]


async def broken(*_: object) -> object:
    raise ZeroDivisionError(WORDS)


async def test_a_bug_is_found_by_the_number_that_its_caller_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async with told("INFO") as (rig, stream):
        monkeypatch.setattr(rig.orchestrator, "get", broken)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s"), metadata=(("traceparent", TRACEPARENT),))
    status = status_of(failed.value)
    assert status is not None
    info = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    (line,) = about(stream, METHOD)
    assert line["level"] == "ERROR"
    assert line["request_id"] == info.request_id
    assert (line["trace_id"], line["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert "ZeroDivisionError" in line["exception"]
    assert WORDS not in line["exception"]


async def test_a_caller_who_names_a_request_finds_its_lines_by_that_name() -> None:
    async with told("DEBUG") as (rig, stream):
        with pytest.raises(grpc.aio.AioRpcError):
            await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="nobody"), metadata=(("x-request-id", "mine-7"),))
    (line,) = about(stream, METHOD)
    assert (line["request_id"], line["message"], line["level"]) == ("mine-7", "answered NOT_FOUND", "DEBUG")


async def test_a_request_that_is_refused_is_no_line_above_debug() -> None:
    async with told("INFO") as (rig, stream):
        with pytest.raises(grpc.aio.AioRpcError):
            await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="nobody"))
    assert stream.getvalue() == ""


async def test_a_saga_that_is_started_has_its_first_lines_under_the_request_and_later_ones_under_itself() -> None:
    async with told("DEBUG") as (rig, stream):
        start = rpc.StartSagaRequest(saga_id="s", definition="job", wait=rpc.START_WAIT_TERMINAL)
        start.json.update({"x": 1})
        await rig.sagas.StartSaga(start, metadata=(("x-request-id", "mine-8"), ("traceparent", TRACEPARENT)))
    lines: list[Line] = [json.loads(line) for line in stream.getvalue().splitlines()]
    of_saga = [line for line in lines if line.get("saga_id") == "s" and line["message"].startswith("decided")]
    assert len(of_saga) > 1
    assert [line.get("request_id") for line in of_saga] == ["mine-8", *[None] * (len(of_saga) - 1)]
    assert {line["trace_id"] for line in of_saga} == {f"{0xABC:032x}"}
