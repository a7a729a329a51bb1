"""Large requests: let in by their bytes, and before they are read."""

import asyncio
from typing import Any

import grpc
import pytest

from orchestrator import limits
from orchestrator.api import ApiBounds
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.rig import PATIENCE_S, Rig, running
from tests.integration.api.test_edge import failed, reason


def large(saga_id: str) -> rpc.StartSagaRequest:
    """A start that is over when its saga is."""
    request = rpc.StartSagaRequest(saga_id=saga_id, definition="job", wait=rpc.START_WAIT_TERMINAL)
    request.json.update({"much": "x" * limits.API_SMALL_REQUEST_BYTES_MAX})
    return request


async def test_large_requests_in_flight_have_a_bound_in_bytes_and_small_ones_come_in_beside_them() -> None:
    bounds = ApiBounds(large_bytes=3 * limits.API_SMALL_REQUEST_BYTES_MAX)
    async with running(bounds=bounds, answer_at_once=False) as rig:
        first = [asyncio.ensure_future(start(rig, large(f"a-{number}"))) for number in range(2)]  # noqa: TID251  # awaited
        while rig.api.in_flight < len(first):
            await rig.sagas.ListSagas(rpc.ListSagasRequest())
        error = await failed(rig.sagas.StartSaga(large("a-2"), timeout=PATIENCE_S))
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert "bytes of large requests" in str(error.details())
        await rig.sagas.StartSaga(rpc.StartSagaRequest(saga_id="b-1", definition="job"))
        rig.hands.settle()
        await asyncio.gather(*first)
        await rig.sagas.StartSaga(large("a-2"))


async def test_one_large_request_comes_in_however_small_the_bound_is() -> None:
    async with running(bounds=ApiBounds(large_bytes=1)) as rig:
        await rig.sagas.StartSaga(large("a-1"))


@pytest.mark.parametrize("method", ["SagaService/GetSaga", "SagaService/WatchSaga"])
async def test_many_bytes_that_are_no_request_are_refused_and_leave_their_place(method: str) -> None:
    async with running(bounds=ApiBounds(large_bytes=1)) as rig:
        channel: Any = rig.channel
        kind = channel.unary_stream if method.endswith("WatchSaga") else channel.unary_unary
        for _ in range(2):
            call = kind(f"/orchestrator.v1.{method}")(b"\xff" * (limits.API_SMALL_REQUEST_BYTES_MAX + 1))
            error = await failed(call.read() if method.endswith("WatchSaga") else call)
            assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")


async def start(rig: Rig, request: rpc.StartSagaRequest) -> rpc.StartSagaResponse:
    return await rig.sagas.StartSaga(request)
