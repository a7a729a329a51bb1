"""Requests are counted: which, how they ended, how long they took, and why they were turned away."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator import errors, limits
from orchestrator.api import ApiBounds
from orchestrator.ports.observer import Silence, TraceOf
from orchestrator.runtime import Orchestrator
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.rig import Rig, running, status_of

SAGAS = "orchestrator.v1.SagaService"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Told(Silence):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str]] = []
        self.seconds: list[float | None] = []
        self.traces: list[TraceOf] = []
        self.reasons: list[str] = []

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        self.answers.append((method, code))
        self.seconds.append(seconds)
        self.traces.append(trace)

    def refused(self, reason: str) -> None:
        self.reasons.append(reason)


class Raising:
    """Between the server and the runtime: `get` raises what the test says."""

    def __init__(self, real: Orchestrator, error: BaseException) -> None:
        self._real = real
        self._error = error

    async def get(self, name: str) -> None:
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def start(*, and_wait: bool = False) -> rpc.StartSagaRequest:
    wait = rpc.START_WAIT_TERMINAL if and_wait else rpc.START_WAIT_UNSPECIFIED
    return rpc.StartSagaRequest(saga_id="a-1", definition="job", wait=wait)


async def failed(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call


async def test_a_request_is_counted_by_its_method_and_how_it_ended() -> None:
    told = Told()
    async with running(observer=told) as rig:
        await rig.sagas.StartSaga(start())
        await failed(rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="nobody")))
        await failed(rig.sagas.ListSagas(rpc.ListSagasRequest(filter="?")))
    assert told.answers == [
        (f"{SAGAS}/StartSaga", "OK"),
        (f"{SAGAS}/GetSaga", "NOT_FOUND"),
        (f"{SAGAS}/ListSagas", "INVALID_ARGUMENT"),
    ]
    assert all(seconds is not None and seconds >= 0.0 for seconds in told.seconds)
    assert told.reasons == [], "who asks for what is not there is not turned away"


@pytest.mark.parametrize(
    ("error", "code", "reasons"),
    [
        (ZeroDivisionError("a bug"), "INTERNAL", []),
        (errors.Fenced("epoch 4 owns the stream"), "INTERNAL", []),
        (asyncio.CancelledError(), "CANCELLED", []),
        (errors.JournalUnavailable("the database is away"), "UNAVAILABLE", ["JOURNAL_UNAVAILABLE"]),
        (errors.Overloaded("QUEUE_FULL", "full", 1.0), "RESOURCE_EXHAUSTED", ["QUEUE_FULL"]),
    ],
)
async def test_whatever_a_method_raises_has_a_code(error: BaseException, code: str, reasons: list[str]) -> None:
    told = Told()
    async with running(observer=told, wrap=lambda real: Raising(real, error)) as rig:  # type: ignore[arg-type, return-value]  # plays it
        await failed(rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1"), timeout=10))
    assert told.answers == [(f"{SAGAS}/GetSaga", code)]
    assert told.reasons == reasons


async def test_what_is_meant_to_last_is_counted_and_not_timed() -> None:
    told = Told()
    async with running(observer=told) as rig:
        await rig.sagas.StartSaga(start(and_wait=True))
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))
        async for _ in rig.sagas.WatchSaga(rpc.WatchSagaRequest(saga_id="a-1")):
            pass
    assert told.answers == [(f"{SAGAS}/{name}", "OK") for name in ("StartSaga", "WaitSaga", "WatchSaga")]
    assert told.seconds == [None, None, None]


async def test_who_is_turned_away_is_counted_by_reason() -> None:
    told = Told()
    async with running(observer=told, bounds=ApiBounds(waits=0)) as rig:
        await rig.sagas.StartSaga(start())
        await failed(rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1")))
        rig.api.refuse_new()
        await failed(rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1")))
    assert told.reasons == ["QUEUE_FULL", "DRAINING"]
    assert told.answers[1:] == [(f"{SAGAS}/WaitSaga", "RESOURCE_EXHAUSTED"), (f"{SAGAS}/GetSaga", "UNAVAILABLE")]


async def test_a_stream_that_is_old_is_not_taken_for_a_process_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "API_STREAM_S_MAX", 0.05)
    told = Told()
    async with running(observer=told, answer_at_once=False) as rig:
        await rig.sagas.StartSaga(start())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in rig.sagas.WatchSaga(rpc.WatchSagaRequest(saga_id="a-1")):
                pass
        rig.hands.settle()
    info = error_details_pb2.ErrorInfo()
    ended = status_of(caught.value)
    assert ended is not None
    assert ended.details[0].Unpack(info)
    assert (info.reason, info.metadata["stream_age_s"]) == ("DRAINING", "0.05"), "what programs match on stays"
    assert told.answers[1:] == [(f"{SAGAS}/WatchSaga", "UNAVAILABLE")]
    assert told.reasons == ["STREAM_AGED"]


async def test_a_drain_ends_a_stream_for_the_reason_that_it_is() -> None:
    told = Told()
    async with running(observer=told, answer_at_once=False) as rig:
        await rig.sagas.StartSaga(start())
        stream = rig.sagas.WatchSaga(rpc.WatchSagaRequest(saga_id="a-1"))
        messages = aiter(stream)
        await anext(messages)
        rig.api.refuse_new()
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in messages:
                pass
        rig.hands.settle()
    assert told.reasons == ["DRAINING"]


async def test_a_standard_service_is_counted_by_the_status_it_says() -> None:
    told = Told()
    async with running(observer=told) as rig:
        health: Any = health_pb2_grpc.HealthStub(rig.channel)
        await failed(health.Check(health_pb2.HealthCheckRequest(service="nobody")))
        await health.Check(health_pb2.HealthCheckRequest())
    assert told.answers == [("grpc.health.v1.Health/Check", "NOT_FOUND"), ("grpc.health.v1.Health/Check", "OK")]


async def test_a_callers_trace_can_be_asked_for() -> None:
    told = Told()
    async with running(observer=told) as rig:
        await rig.sagas.StartSaga(start(), metadata=(("traceparent", TRACEPARENT),))
        trace = told.traces[0]()
        await rig.sagas.ListSagas(rpc.ListSagasRequest())
        assert told.traces[1]() is None
    assert trace is not None
    assert (f"{trace.trace_id:032x}", f"{trace.span_id:016x}") == tuple(TRACEPARENT.split("-")[1:3])


async def test_what_is_under_way_is_shown_by_what_it_counts_against() -> None:
    async with running(answer_at_once=False) as rig:
        await rig.sagas.StartSaga(start())
        assert rig.api.under_way == {"calls": 0, "waits": 0}
        poll = asyncio.ensure_future(_wait(rig))  # noqa: TID251  # awaited below
        while rig.api.under_way["waits"] < 1:
            await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1"))
        rig.hands.settle()
        await poll
        assert rig.api.under_way == {"calls": 0, "waits": 0}


async def _wait(rig: Rig) -> rpc.WaitSagaResponse:
    return await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))
