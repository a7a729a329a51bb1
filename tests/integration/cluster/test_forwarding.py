"""Any process answers: what is asked of the wrong one is done by the right one, once; its caller does not notice."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2

from orchestrator import limits
from orchestrator.runtime import lookout
from orchestrator.saga.events import CancelRequested, OperatorActed, SagaStarted
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import TraceContext
from tests.integration.api.refusals import refused, struct
from tests.integration.api.rig import PATIENCE_S
from tests.integration.cluster.asking import FIRST, SECOND, approved, ended, once, start, step_is, task
from tests.integration.cluster.rig import shard, town, until, wire_status

ANN = (("x-operator", "ann"),)
NEVER_S = 3_600.0
DONE, ELSEWHERE = ("peer", "done"), ("peer", "elsewhere")


# --- at the wrong process --------------------------------------------------------------------------------------------


async def test_every_command_may_be_given_to_a_process_that_owns_nothing() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        started = await wrong.sagas.StartSaga(start(definition="approval"))
        assert started.created
        await step_is(wrong, "w", pb.STEP_STATUS_WAITING)
        signalled = await wrong.sagas.SignalSaga(approved())
        assert signalled.saga.saga_id == "s-1"
        assert (await ended(wrong)).status == pb.SAGA_STATUS_COMPLETED
        both = rpc.SignalWithStartRequest(start=start("s-2", "approval"), signal=approved("", SECOND))
        assert (await wrong.sagas.SignalWithStart(both)).created
        await wrong.sagas.StartSaga(start("s-3", "night"))
        await step_is(wrong, "nap", pb.STEP_STATUS_WAITING, "s-3")
        await wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-3", reason="look"), metadata=ANN)
        await wrong.operators.ResumeSaga(op.ResumeSagaRequest(saga_id="s-3", reason="go on"), metadata=ANN)
        await wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-3", reason="enough"))
        assert (await ended(wrong, "s-3")).status == pb.SAGA_STATUS_COMPENSATED
        assert not wrong.hands.open, "everything was done at the owner"
        assert right.hands.open
        assert wrong.tally.forwarded_count == {DONE: 7}


async def test_the_owner_knows_the_caller_by_its_own_name_and_trace() -> None:
    async with town(2) as here:
        wrong, _ = here.nodes
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        await wrong.sagas.StartSaga(start(definition="night"), metadata=(("traceparent", parent),))
        for metadata in (ANN, ()):
            await wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look"), metadata=metadata)
            await wrong.operators.ResumeSaga(op.ResumeSagaRequest(saga_id="s-1", reason="on"), metadata=metadata)
        events = await here.events("s-1")
        assert [each.by for each in events if isinstance(each, OperatorActed)] == [
            "ann",
            "ann",
            *["ipv4:127.0.0.1"] * 2,
        ]
        (began,) = [each for each in events if isinstance(each, SagaStarted)]
        assert f"{began.trace.trace_id:032x}" == parent.split("-")[1]


async def test_who_cancels_or_repairs_at_the_wrong_process_is_linked_to() -> None:
    async with town(2) as here:
        wrong, _ = here.nodes
        await wrong.sagas.StartSaga(start(definition="night"))
        traced = (*ANN, ("traceparent", f"00-{7:032x}-{9:016x}-01"))
        await wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look"), metadata=traced)
        await wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1"), metadata=traced)
        events = await here.events("s-1")
        came = [each.trace for each in events if isinstance(each, OperatorActed | CancelRequested)]
        assert came == [TraceContext(trace_id=7, span_id=9, sampled=True)] * 2


async def test_a_start_that_waits_for_the_end_is_answered_with_it() -> None:
    async with town(2, answer_at_once=False) as here:
        wrong, right = here.nodes
        waiting = task(wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL, view=pb.SAGA_VIEW_FULL)))
        await until(lambda: right.hands.open)
        assert not waiting.done()
        right.hands.settle()
        answer = await waiting
        assert (answer.saga.status, answer.created) == (pb.SAGA_STATUS_COMPLETED, True)
        assert answer.saga.HasField("output"), "the view is the caller's"


async def test_a_start_that_waits_hears_of_the_end_from_the_owner_before_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookout, "WATCH_POLL_S", NEVER_S)
    monkeypatch.setattr(limits, "FORWARD_WAIT_S", NEVER_S)
    async with town(2, answer_at_once=False) as here:
        wrong, right = here.nodes
        waiting = task(wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL, view=pb.SAGA_VIEW_FULL)))
        await until(lambda: right.hands.open and len(right.door.errands) == 2)
        right.hands.settle()
        async with asyncio.timeout(limits.API_WAIT_S_MAX / 2):
            saga = (await waiting).saga
        assert (saga.status, saga.HasField("output")) == (pb.SAGA_STATUS_COMPLETED, True)
        assert wrong.tally.forwarded_count == {DONE: 1}, "a wait is no command"


async def test_a_start_that_waits_does_not_ask_the_owner_where_too_many_do_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Waits share a connection with commands, which come first."""
    monkeypatch.setattr(limits, "FORWARD_WAITS_MAX", 0)
    async with town(2) as here:
        wrong, right = here.nodes
        answer = await wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL))
        assert answer.saga.status == pb.SAGA_STATUS_COMPLETED
        assert len(right.door.errands) == 1


async def test_a_start_that_waits_hears_of_the_end_though_its_owner_says_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FORWARD_WAIT_S", 0.1)
    async with town(2, answer_at_once=False) as here:
        wrong, right = here.nodes
        right.door.silent = "WaitSaga"
        waiting = task(wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL)))
        await until(lambda: right.hands.open)
        right.hands.settle()
        assert (await waiting).saga.status == pb.SAGA_STATUS_COMPLETED


@pytest.mark.usefixtures("early")
async def test_a_start_that_waits_for_longer_than_its_caller_is_answered_with_the_saga_as_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FORWARD_WAIT_S", NEVER_S)
    async with town(2) as here:
        wrong, right = here.nodes
        await wrong.sagas.StartSaga(start("s-0"))  # the way to the owner is there
        sleeper = start(definition="night", wait=rpc.START_WAIT_TERMINAL)
        answer = await wrong.sagas.StartSaga(sleeper, timeout=PATIENCE_S)
        assert (answer.saga.status, answer.created) == (pb.SAGA_STATUS_RUNNING, True)
        assert len(right.door.errands) == 3


async def test_a_start_that_waits_outlives_its_owner() -> None:
    async with town(3, answer_at_once=False) as here:
        wrong, right, heir = here.nodes
        heir.hands.answer_at_once = True
        waiting = task(wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL)))
        await until(lambda: wrong.tally.forwarded_count)
        assert wrong.tally.forwarded_count == {DONE: 1}, "the owner has answered: the wait is not its concern"
        await here.kill(right)
        await here.move([shard("s-1")], heir)
        assert (await waiting).saga.status == pb.SAGA_STATUS_COMPLETED


async def test_a_saga_without_a_name_begins_where_somebody_owns_something() -> None:
    async with town(2) as here:
        wrong, _ = here.nodes
        answer = await wrong.sagas.StartSaga(rpc.StartSagaRequest(definition="job"))
        assert answer.created
        again = await wrong.sagas.StartSaga(rpc.StartSagaRequest(definition="job", request_id=answer.saga.request_id))
        assert (again.saga.saga_id, again.created) == (answer.saga.saga_id, False)


async def test_the_same_request_at_two_processes_is_one_saga() -> None:
    async with town(3) as here:
        answers = await asyncio.gather(
            *(node.sagas.StartSaga(rpc.StartSagaRequest(definition="job", request_id=FIRST)) for node in here.nodes * 3)
        )
        assert len({each.saga.saga_id for each in answers}) == 1
        assert sum(each.created for each in answers) == 1


async def test_a_refusal_is_the_same_wherever_it_was_asked_for() -> None:
    async with town(2) as here:
        await here.nodes[1].sagas.StartSaga(start(json=struct(n=1)))
        statuses = []
        for node in here.nodes:
            refusals: tuple[tuple[Any, Any], ...] = (
                (node.sagas.StartSaga, start(json=struct(n=2))),
                (node.sagas.StartSaga, start("s-9", json=struct(nonsense=1))),
                (node.sagas.CancelSaga, rpc.CancelSagaRequest(saga_id="s-1", etag="1")),
                (node.operators.SkipStep, op.SkipStepRequest(saga_id="s-1", step="work", reason="x")),
            )
            for call, request in refusals:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(request, metadata=(("x-request-id", "r-7"),))
                trailing = dict(caught.value.trailing_metadata())
                statuses.append((wire_status(caught.value), caught.value.code(), trailing["x-request-id"]))
        assert len(statuses) == 8
        assert statuses[:4] == statuses[4:]


async def test_what_only_reads_is_answered_where_it_is_asked() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        await right.sagas.StartSaga(start())
        await ended(right)
        right.door.errands.clear()
        assert (await wrong.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1"))).saga.status == pb.SAGA_STATUS_COMPLETED
        assert (await wrong.sagas.CountSagas(rpc.CountSagasRequest())).total == 1
        assert [each.event async for each in wrong.sagas.WatchSaga(rpc.WatchSagaRequest(saga_id="s-1"))]
        assert right.door.errands == []


async def test_the_largest_request_fits_through() -> None:
    async with town(2) as here:
        wrong, _ = here.nodes
        text = "x" * (limits.API_MESSAGE_BYTES_MAX - 2_000)
        request = start(json=struct_pb2.Struct(fields={"text": struct_pb2.Value(string_value=text)}))
        assert limits.API_MESSAGE_BYTES_MAX - 2_000 < request.ByteSize() <= limits.API_MESSAGE_BYTES_MAX
        assert (await wrong.sagas.StartSaga(request)).created


# --- while the owner changes -----------------------------------------------------------------------------------------


async def test_a_process_that_is_not_the_owner_any_more_says_who_is_and_sends_nothing_on() -> None:
    async with town(3) as here:
        wrong, former, right = here.nodes
        await here.move([shard("s-1")], right)
        wrong.deeds.believed[shard("s-1")] = former.address  # it has not heard yet
        assert (await wrong.sagas.StartSaga(start())).created
        assert wrong.tally.forwarded_count == {ELSEWHERE: 1, DONE: 1}
        assert not former.tally.forwarded_count
        assert [len(node.door.errands) for node in here.nodes] == [0, 1, 1]


async def test_what_becomes_ones_own_meanwhile_is_done_at_once() -> None:
    async with town(2) as here:
        wrong, _ = here.nodes
        here.say([shard("s-1")], None)
        moves = once(wrong, lambda: here.move([shard("s-1")], wrong))
        assert (await wrong.sagas.StartSaga(start())).created
        await asyncio.gather(*moves)
        assert not wrong.tally.forwarded_count
        await until(lambda: wrong.hands.open)


@pytest.mark.usefixtures("early")
async def test_two_processes_that_name_each_other_end_with_the_callers_patience() -> None:
    async with town(3) as here:
        wrong, one, other = here.nodes
        await one.sagas.StartSaga(start(definition="night"))
        for node in (one, other):
            node.deeds.held.clear()
        one.deeds.believed[shard("s-1")] = other.address
        other.deeds.believed[shard("s-1")] = one.address
        code, said = await refused(
            wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look"), timeout=PATIENCE_S)
        )
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert "nothing was done" in str(said["message"])
        assert 2 <= wrong.tally.forwarded_count[ELSEWHERE] < 40
        assert not one.tally.forwarded_count
