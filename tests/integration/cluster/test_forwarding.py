"""Any process answers: what is asked of the wrong one is done by the right one, once; its caller does not notice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2

from orchestrator import limits
from orchestrator.errors import NotOwner
from orchestrator.saga.events import CancelRequested, CompensationBegan, OperatorActed, SagaStarted, SignalReceived
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.refusals import refused, struct
from tests.integration.cluster.rig import Node, Town, id_in, shard, town, until, wire_status

FIRST = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f"
SECOND = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e60"
ANN = (("x-operator", "ann"),)
DONE, MISSED, SILENT, ELSEWHERE = ("peer", "done"), ("peer", "unreachable"), ("peer", "silent"), ("peer", "elsewhere")


def start(saga_id: str = "s-1", definition: str = "job", **more: Any) -> rpc.StartSagaRequest:
    return rpc.StartSagaRequest(saga_id=saga_id, definition=definition, **more)


def approved(saga_id: str = "s-1", request_id: str = FIRST) -> rpc.SignalSagaRequest:
    return rpc.SignalSagaRequest(saga_id=saga_id, signal="approved", request_id=request_id, json=struct(by="ann"))


async def ended(node: Node, saga_id: str = "s-1") -> pb.Saga:
    return (await node.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id=saga_id))).saga


async def step_is(node: Node, step: str, status: int, saga_id: str = "s-1") -> pb.Saga:
    after = 0
    while True:
        request = rpc.WaitSagaRequest(
            saga_id=saga_id, until=rpc.WAIT_UNTIL_CHANGE, after_sequence=after, view=pb.SAGA_VIEW_STEPS
        )
        saga = (await node.sagas.WaitSaga(request)).saga
        if any(each.step == step and each.status == status for each in saga.steps):
            return saga
        after = saga.sequence


def count(events: list[Any], kind: type) -> int:
    return sum(isinstance(each, kind) for each in events)


def task(work: Awaitable[Any]) -> "asyncio.Future[Any]":
    return asyncio.ensure_future(work)  # noqa: TID251  # each test awaits it


def once(node: Node, work: Callable[[], Awaitable[None]]) -> "list[asyncio.Future[Any]]":
    """Let something happen when a node first wants the leases to be looked at."""
    begun: list[asyncio.Future[Any]] = []

    def begin() -> None:
        if not begun:
            begun.append(task(work()))

    node.on_look.append(begin)
    return begun


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


async def test_a_start_that_waits_outlives_its_owner() -> None:
    async with town(3, answer_at_once=False) as here:
        wrong, right, heir = here.nodes
        heir.hands.answer_at_once = True
        waiting = task(wrong.sagas.StartSaga(start(wait=rpc.START_WAIT_TERMINAL)))
        await until(lambda: right.hands.open)
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


async def test_two_processes_that_name_each_other_end_with_the_callers_patience() -> None:
    async with town(3) as here:
        wrong, one, other = here.nodes
        await one.sagas.StartSaga(start(definition="night"))
        for node in (one, other):
            node.deeds.held.clear()
        one.deeds.believed[shard("s-1")] = other.address
        other.deeds.believed[shard("s-1")] = one.address
        code, said = await refused(
            wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look"), timeout=1.0)
        )
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert "nothing was done" in str(said["message"])
        assert 2 <= wrong.tally.forwarded_count[ELSEWHERE] < 40
        assert not one.tally.forwarded_count


# --- an owner that cannot be reached ---------------------------------------------------------------------------------


async def posted(here: Town) -> int:
    return len(await here.nodes[0].leases.posted(range(8), 100))


async def left(here: Town, count: int = 1) -> None:
    while await posted(here) < count:  # noqa: ASYNC110  # a store tells nobody
        await asyncio.sleep(0.005)  # poll: the store's letter box


async def test_a_start_whose_owner_is_dead_is_answered_by_the_heir() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await here.kill(right)
        starting = task(wrong.sagas.StartSaga(start()))
        await left(here)
        assert not starting.done(), "what nobody did is not acknowledged"
        await here.move([shard("s-1")], heir)
        answer = await starting
        assert answer.created
        assert count(await here.events("s-1"), SagaStarted) == 1
        assert wrong.tally.forwarded_count["post", "done"] == 1
        assert wrong.tally.forwarded_count[MISSED] >= 1


async def test_a_signal_and_a_cancellation_whose_owner_is_dead_are_answered_by_the_heir() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        other = id_in((shard("s-1") + 1) % 8)
        for saga_id in ("s-1", other):
            await right.sagas.StartSaga(start(saga_id, "approval"))
            await step_is(right, "w", pb.STEP_STATUS_WAITING, saga_id)
        await here.kill(right)
        signalling = task(wrong.sagas.SignalSaga(approved()))
        cancelling = task(wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id=other)))
        await left(here, 2)
        await here.move(range(8), heir)
        assert (await signalling).saga.saga_id == "s-1"
        assert (await cancelling).saga.cancel_requested
        assert (await ended(heir)).status == pb.SAGA_STATUS_COMPLETED
        assert (await ended(heir, other)).status == pb.SAGA_STATUS_COMPENSATED


async def test_a_refusal_comes_through_the_letter_box_as_it_is() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start())
        await ended(right)
        await here.kill(right)
        cancelling = task(refused(wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1"))))
        await left(here)
        await here.move(range(8), heir)
        code, said = await cancelling
        assert (code, said["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "TERMINAL_STATE")


async def test_an_owner_that_is_silent_is_asked_by_letter_as_well() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        right.door.after = lambda: None  # it does everything, and never says so
        answer = await wrong.sagas.StartSaga(start())
        assert answer.created, "the request id was given here: whoever answers, it is this one's saga"
        assert count(await here.events("s-1"), SagaStarted) == 1
        assert wrong.tally.forwarded_count["post", "done"] == 1


async def test_an_owner_that_is_slow_may_answer_before_its_letter_box() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        right.door.is_open.clear()
        right.deeds.collects = False
        starting = task(wrong.sagas.StartSaga(start()))
        await left(here)
        assert not starting.done()
        right.door.is_open.set()
        assert (await starting).created
        assert wrong.tally.forwarded_count == {DONE: 1}


@pytest.mark.parametrize("request_id", ["", FIRST])
async def test_an_owner_that_dies_after_it_has_done_a_start_has_done_it_once(request_id: str) -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        dying: list[asyncio.Future[Any]] = []
        right.door.after = lambda: dying.append(task(here.kill(right)))
        answer = await wrong.sagas.StartSaga(start(request_id=request_id))
        await asyncio.gather(*dying)
        await here.move(range(8), heir)
        assert (await ended(heir)).status == pb.SAGA_STATUS_COMPLETED
        assert answer.created is not bool(request_id), "with an id of the caller's own it is a repetition, and says so"
        assert count(await here.events("s-1"), SagaStarted) == 1
        assert wrong.tally.forwarded_count[SILENT] == 1


async def test_an_owner_that_dies_after_it_has_taken_a_signal_has_taken_it_once() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start(definition="approval"))
        await step_is(right, "w", pb.STEP_STATUS_WAITING)
        dying: list[asyncio.Future[Any]] = []
        right.door.after = lambda: dying.append(task(here.kill(right)))
        signalling = task(wrong.sagas.SignalSaga(approved()))
        await left(here)
        await asyncio.gather(*dying)
        await here.move(range(8), heir)
        await signalling
        assert (await ended(heir)).status == pb.SAGA_STATUS_COMPLETED
        assert count(await here.events("s-1"), SignalReceived) == 1


async def test_a_cancellation_that_was_done_twice_was_done_once() -> None:
    async with town(3, answer_at_once=False) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start())
        dying: list[asyncio.Future[Any]] = []
        right.door.after = lambda: dying.append(task(here.kill(right)))
        cancelling = task(wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1", reason="enough")))
        await left(here)
        await asyncio.gather(*dying)
        await here.move(range(8), heir)
        assert (await cancelling).saga.cancel_requested
        events = await here.events("s-1")
        assert (count(events, CancelRequested), count(events, CompensationBegan)) == (1, 1)


async def test_whose_patience_ends_first_is_told_that_it_will_be_done_and_how_to_learn_of_it() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await here.kill(right)
        code, said = await refused(wrong.sagas.StartSaga(start(request_id=FIRST), timeout=1.2))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "REQUEST_PENDING")
        assert "the same request id" in str(said["message"])
        await here.move(range(8), heir)
        again = await wrong.sagas.StartSaga(start(request_id=FIRST))
        assert not again.created, "the letter was done before"
        assert count(await here.events("s-1"), SagaStarted) == 1


async def test_patience_that_ends_before_anything_was_left_leaves_nothing() -> None:
    async with town(3) as here:
        wrong, right, _ = here.nodes
        await here.kill(right)
        code, said = await refused(wrong.sagas.StartSaga(start(), timeout=0.3))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert await posted(here) == 0


# --- repairs ---------------------------------------------------------------------------------------------------------


def pause(node: Node, **more: Any) -> Awaitable[Any]:
    return node.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look", **more), timeout=1.0)


async def test_a_repair_is_never_left_for_later() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        await here.kill(right)
        code, said = await refused(pause(wrong))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert "nothing was done" in str(said["message"])
        assert await posted(here) == 0


async def test_a_repair_finds_the_heir_within_its_callers_patience() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        await here.kill(right)
        moves = once(wrong, lambda: here.move(range(8), heir))
        assert (await pause(wrong)).saga.paused
        await asyncio.gather(*moves)


@pytest.mark.parametrize("ends", ["dies", "hangs"])
async def test_a_repair_that_may_have_been_done_is_not_done_again(ends: str) -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        dying: list[asyncio.Future[Any]] = []
        dies: Callable[[], None] = lambda: dying.append(task(here.kill(right)))  # noqa: E731  # as short as it is
        right.door.after = dies if ends == "dies" else (lambda: None)
        code, said = await refused(pause(wrong))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert "look at the saga before you ask again" in str(said["message"])
        await asyncio.gather(*dying)
        assert not heir.door.errands
        assert count(await here.events("s-1"), OperatorActed) == 1


async def test_a_cancellation_with_an_etag_is_as_careful_as_a_repair() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        started = await right.sagas.StartSaga(start(definition="night"))
        saga = await step_is(right, "nap", pb.STEP_STATUS_WAITING)
        assert started.created
        right.door.after = lambda: None
        request = rpc.CancelSagaRequest(saga_id="s-1", etag=saga.etag)
        code, said = await refused(wrong.sagas.CancelSaga(request, timeout=1.0))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, NotOwner.reason)
        assert await posted(here) == 0
