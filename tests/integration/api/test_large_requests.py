"""Large requests: let in by their bytes, and before they are read."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from orchestrator import limits
from orchestrator.api import ApiBounds
from orchestrator.journal import MemoryJournal
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.rig import PATIENCE_S, Rig, running
from tests.integration.api.test_edge import failed, reason


class Gated(MemoryJournal):
    """A journal that records nothing until its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        await self.gate.wait()
        return await super().append(batch)


def large(saga_id: str) -> rpc.StartSagaRequest:
    """A start that is over when its saga is."""
    request = rpc.StartSagaRequest(saga_id=saga_id, definition="job", wait=rpc.START_WAIT_TERMINAL)
    request.json.update({"much": "x" * limits.API_SMALL_REQUEST_BYTES_MAX})
    return request


async def test_large_requests_that_are_not_recorded_yet_have_a_bound_in_bytes_and_small_ones_come_in() -> None:
    journal, bounds = Gated(), ApiBounds(large_bytes=3 * limits.API_SMALL_REQUEST_BYTES_MAX)
    async with running(journal=journal, bounds=bounds) as rig:
        first = [asyncio.ensure_future(start(rig, large(f"a-{number}"))) for number in range(2)]  # noqa: TID251  # awaited
        while rig.api.in_flight < len(first):
            await rig.sagas.ListSagas(rpc.ListSagasRequest())
        error = await failed(rig.sagas.StartSaga(large("a-2"), timeout=PATIENCE_S))
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert "bytes of large requests" in str(error.details())
        small = asyncio.ensure_future(start(rig, rpc.StartSagaRequest(saga_id="b-1", definition="job")))  # noqa: TID251  # awaited
        journal.gate.set()
        await asyncio.gather(*first, small)
        await rig.sagas.StartSaga(large("a-2"))


async def test_large_requests_whose_sagas_are_waited_for_make_room_for_the_next() -> None:
    async with running(bounds=ApiBounds(large_bytes=1), answer_at_once=False) as rig:
        first = asyncio.ensure_future(start(rig, large("a-0")))  # noqa: TID251  # awaited
        while not (await rig.sagas.ListSagas(rpc.ListSagasRequest())).sagas:
            pass
        brief = large("a-1")
        brief.ClearField("wait")
        await rig.sagas.StartSaga(brief)
        rig.hands.settle()
        await first


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
