"""Crowds: a burst larger than gRPC keeps by itself, a drain amid callers who ask again, a drain that is given up."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest

from orchestrator.api.admission import Admission
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.api.rig import PATIENCE_S, Rig, running, status_of
from tests.integration.api.test_edge import failed, get, reason, waiting

BURST = 3_600
CROWD = 200
ONCE = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
"""A connection of its own, on which gRPC repeats nothing by itself."""


async def test_a_drain_refuses_what_is_new_and_answers_what_waits() -> None:
    async with running(answer_at_once=False) as rig:
        polls = await waiting(rig, 2)
        start = rpc.StartSagaRequest(saga_id="a-2", definition="job", wait=rpc.START_WAIT_TERMINAL)
        started = asyncio.ensure_future(_start(rig, start))  # noqa: TID251  # awaited below
        while rig.api.in_flight < 3:
            await rig.sagas.GetSaga(get())
        rig.api.refuse_new()
        for answer in await asyncio.gather(*polls):
            assert not answer.reached
            assert answer.saga.status == pb.SAGA_STATUS_RUNNING
        assert (await started).saga.saga_id == "a-2"
        error = await failed(rig.sagas.ListSagas(rpc.ListSagasRequest()))
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        await rig.api.drain(5.0)
        assert rig.api.in_flight == 0


async def test_a_burst_larger_than_grpc_keeps_by_itself_is_answered_to_the_last_call() -> None:
    # Past a thousand that nobody has looked at gRPC hangs up on some, past three thousand on all.
    async with running() as rig, AsyncExitStack() as stack:
        stubs: list[Any] = []
        for _ in range(4):  # one connection has room for a thousand calls
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}", options=ONCE))
            await channel.channel_ready()
            stubs.append(SagaServiceStub(channel))
        calls = [stub.GetSaga(get()) for _ in range(BURST // len(stubs)) for stub in stubs]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    codes = Counter(end.code() for end in ends if isinstance(end, grpc.aio.AioRpcError))
    assert set(codes) <= {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.total() == BURST


async def test_callers_who_ask_again_at_once_are_told_of_the_drain_and_never_hung_up_on() -> None:
    ends: Counter[grpc.StatusCode] = Counter()
    is_known = asyncio.Event()

    async def ask_again(stub: Any) -> None:
        is_told = True
        while is_told:
            error = await failed(stub.GetSaga(get()))
            ends[error.code()] += 1
            is_told = status_of(error) is not None  # by us; where it is gRPC that speaks, nobody listens any more
            if ends[grpc.StatusCode.NOT_FOUND] >= CROWD:
                is_known.set()

    async with (
        running() as rig,
        grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}", options=ONCE) as channel,
        asyncio.timeout(PATIENCE_S),
        asyncio.TaskGroup() as crowd,
    ):
        for _ in range(CROWD):
            crowd.create_task(ask_again(SagaServiceStub(channel)))
        await is_known.wait()
        await rig.api.drain(PATIENCE_S)
    assert set(ends) == {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE}
    assert ends[grpc.StatusCode.UNAVAILABLE] >= 2 * CROWD, "each was told of the drain, and then met nobody"


async def test_who_is_refused_by_a_drain_that_is_given_up_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    is_quiet = asyncio.Event()

    async def never(*_: float) -> None:
        is_quiet.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Admission, "lull", never)
    async with running() as rig:
        draining = asyncio.ensure_future(rig.api.drain(0.0))  # noqa: TID251  # awaited below
        await is_quiet.wait()
        draining.cancel()
        await asyncio.wait([draining])
        monkeypatch.undo()
        assert reason(await failed(rig.sagas.GetSaga(get(), timeout=PATIENCE_S))) == "DRAINING"


async def _start(rig: Rig, request: rpc.StartSagaRequest) -> rpc.StartSagaResponse:
    return await rig.sagas.StartSaga(request)
