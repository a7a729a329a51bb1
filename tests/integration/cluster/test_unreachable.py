"""An owner that hangs, dies or is gone: what was asked of it is done once, or its caller is told what is known."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from orchestrator import limits
from orchestrator.errors import NotOwner
from orchestrator.saga.events import CancelRequested, CompensationBegan, OperatorActed, SagaStarted, SignalReceived
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import TraceContext
from tests.integration.api.refusals import refused
from tests.integration.api.rig import PATIENCE_S
from tests.integration.cluster.asking import (
    FIRST,
    approved,
    count,
    ended,
    left,
    once,
    posted,
    start,
    step_is,
    task,
)
from tests.integration.cluster.rig import Node, id_in, shard, town, until

pytestmark = pytest.mark.usefixtures("early")

DONE, MISSED, SILENT = ("peer", "done"), ("peer", "unreachable"), ("peer", "silent")


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
        traced = (("traceparent", f"00-{7:032x}-{9:016x}-01"),)
        cancelling = task(wrong.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id=other), metadata=traced))
        await left(here, 2)
        await here.move(range(8), heir)
        assert (await signalling).saga.saga_id == "s-1"
        assert (await cancelling).saga.cancel_requested
        assert (await ended(heir)).status == pb.SAGA_STATUS_COMPLETED
        assert (await ended(heir, other)).status == pb.SAGA_STATUS_COMPENSATED
        (came,) = [each for each in await here.events(other) if isinstance(each, CancelRequested)]
        assert came.trace == TraceContext(trace_id=7, span_id=9, sampled=True), "a letter has its sender's trace"


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
        code, said = await refused(wrong.sagas.StartSaga(start(request_id=FIRST), timeout=PATIENCE_S))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "REQUEST_PENDING")
        assert "the same request id" in str(said["message"])
        await here.move(range(8), heir)
        again = await wrong.sagas.StartSaga(start(request_id=FIRST))
        assert not again.created, "the letter was done before"
        assert count(await here.events("s-1"), SagaStarted) == 1


async def test_patience_that_ends_before_anything_was_left_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORWARD_POST_AFTER_S", 60.0)
    async with town(3) as here:
        wrong, right, _ = here.nodes
        await here.kill(right)
        code, said = await refused(wrong.sagas.StartSaga(start(), timeout=PATIENCE_S))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_OWNER")
        assert await posted(here) == 0


# --- repairs ---------------------------------------------------------------------------------------------------------


def pause(node: Node, **more: Any) -> Awaitable[Any]:
    return node.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look", **more), timeout=PATIENCE_S)


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
        code, said = await refused(wrong.sagas.CancelSaga(request, timeout=PATIENCE_S))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, NotOwner.reason)
        assert await posted(here) == 0


@pytest.mark.parametrize("verb", ["repair", "cancellation with an etag"])
async def test_whose_owner_hangs_and_is_replaced_is_told_so_long_before_the_end_of_its_patience(verb: str) -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        saga = await step_is(right, "nap", pb.STEP_STATUS_WAITING)
        right.door.is_open.clear()
        request = rpc.CancelSagaRequest(saga_id="s-1", etag=saga.etag)
        repair = op.PauseSagaRequest(saga_id="s-1", reason="look")
        asked = wrong.operators.PauseSaga(repair) if verb == "repair" else wrong.sagas.CancelSaga(request)
        waiting = task(refused(asked))
        await until(lambda: right.door.errands)
        here.say(range(8), right)
        assert not waiting.done()
        here.say(range(8), heir)
        async with asyncio.timeout(15.0):  # a caller without a deadline waits for 30 s otherwise
            code, said = await waiting
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, NotOwner.reason)
        assert "may have been done" in str(said["message"])
        assert not heir.door.errands
        assert await posted(here) == 0


async def test_an_answer_that_comes_as_the_shard_moves_counts() -> None:
    async with town(3) as here:
        wrong, right, heir = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        right.door.is_open.clear()
        waiting = task(wrong.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look")))
        await until(lambda: right.door.errands)
        here.say(range(8), heir)
        right.door.is_open.set()
        assert (await waiting).saga.paused


# --- while the store is away -----------------------------------------------------------------------------------------


async def test_while_the_store_is_away_commands_are_refused_at_once_with_its_words() -> None:
    async with town(2) as here:
        _, right = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        right.deeds.away = "the database sleeps"
        for asked in (
            right.sagas.StartSaga(start("s-9")),
            right.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1")),
        ):
            code, said = await refused(asked)
            assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")
            assert "the database sleeps" in str(said["message"])
            assert "nothing was done" in str(said["message"])
        assert (await right.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1"))).saga.saga_id == "s-1", "reads are tried"
        right.deeds.away = ""
        assert (await right.sagas.StartSaga(start("s-9"))).created


async def test_a_search_for_an_owner_ends_where_the_store_goes_away() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        await here.kill(right)

        def goes_away() -> None:
            wrong.deeds.away = "the database sleeps"

        wrong.on_look.append(goes_away)
        request = op.PauseSagaRequest(saga_id="s-1", reason="look")
        code, said = await refused(wrong.operators.PauseSaga(request))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")


# --- while the process that was asked drains -------------------------------------------------------------------------


async def test_a_drain_waits_for_no_owner() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        await right.sagas.StartSaga(start(definition="night"))
        await here.kill(right)
        wrong.on_look.append(wrong.api.refuse_new)
        request = op.PauseSagaRequest(saga_id="s-1", reason="look")
        code, said = await refused(wrong.operators.PauseSaga(request))
        assert (code, said["reason"]) == (grpc.StatusCode.UNAVAILABLE, NotOwner.reason)
        assert wrong.api.in_flight == 0


async def test_a_drain_waits_for_no_letter() -> None:
    async with town(2) as here:
        wrong, right = here.nodes
        await here.kill(right)
        starting = task(refused(wrong.sagas.StartSaga(start())))
        await left(here)
        wrong.api.refuse_new()
        assert (await starting)[1]["reason"] == "REQUEST_PENDING"
        assert wrong.api.in_flight == 0
