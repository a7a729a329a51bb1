"""Signals, explanations, undo plans and items over loopback: what each method answers, and what it refuses."""

import sys

import grpc
import pytest
from google.protobuf import any_pb2, json_format

from orchestrator.ids import SagaId
from orchestrator.saga.events import CancelRequested, OperatorActed, SignalReceived
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import TraceContext
from tests.integration.api.refusals import refused, struct
from tests.integration.api.rig import Rig, json_payload, running

FIRST = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f"
SECOND = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e60"


def start(definition: str, saga_id: str = "s-1", **more: object) -> rpc.StartSagaRequest:
    return rpc.StartSagaRequest(saga_id=saga_id, definition=definition, **more)  # type: ignore[arg-type]  # the caller names fields


async def until(rig: Rig, saga_id: str, step: str, status: int) -> pb.Saga:
    """Wait until a step is of a status, by the saga's own changes."""
    after = 0
    while True:
        request = rpc.WaitSagaRequest(
            saga_id=saga_id, until=rpc.WAIT_UNTIL_CHANGE, after_sequence=after, view=pb.SAGA_VIEW_FULL
        )
        saga = (await rig.sagas.WaitSaga(request)).saga
        if any(each.step == step and each.status == status for each in saga.steps):
            return saga
        after = saga.sequence


async def approval(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    await rig.sagas.StartSaga(start("approval", saga_id))
    return await until(rig, saga_id, "w", pb.STEP_STATUS_WAITING)


def approved(saga_id: str = "s-1", request_id: str = FIRST, **more: object) -> rpc.SignalSagaRequest:
    return rpc.SignalSagaRequest(saga_id=saga_id, signal="approved", request_id=request_id, **more)  # type: ignore[arg-type]  # the caller names fields


async def signals(rig: Rig, saga_id: str = "s-1") -> int:
    return sum(isinstance(one.event, SignalReceived) for one in await rig.journal.read(SagaId(saga_id)))


async def test_a_signal_is_taken_by_the_step_that_waits_for_it() -> None:
    async with running() as rig:
        waiting = await approval(rig)
        (wait,) = waiting.waiting_for
        assert (wait.kind, wait.signal, wait.step) == (pb.SAGA_WAIT_KIND_SIGNAL, "approved", "w")
        await rig.sagas.SignalSaga(approved(json=struct(by="ann")))
        done = await until(rig, "s-1", "b", pb.STEP_STATUS_APPLIED)
        (step,) = [each for each in done.steps if each.step == "w"]
        assert json_format.MessageToDict(step.reply.json) == {"by": "ann"}


async def test_the_same_request_id_is_the_same_signal_also_when_all_is_over() -> None:
    async with running() as rig:
        await approval(rig)
        typed = json_payload(by="ann")
        message = any_pb2.Any(type_url=f"type.googleapis.com/{typed.type_name}", value=typed.data)
        await rig.sagas.SignalSaga(approved(typed=message))
        await until(rig, "s-1", "b", pb.STEP_STATUS_APPLIED)
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="s-1"))
        again = await rig.sagas.SignalSaga(approved(request_id=FIRST.upper()))
        assert again.saga.status == pb.SAGA_STATUS_COMPLETED
        assert await signals(rig) == 1


async def test_a_signal_is_linked_to_its_senders_trace() -> None:
    async with running() as rig:
        await approval(rig)
        sender = ("traceparent", f"00-{7:032x}-{9:016x}-01")
        await rig.sagas.SignalSaga(approved(json=struct(by="ann")), metadata=[sender])
        (came,) = [
            each.event for each in await rig.journal.read(SagaId("s-1")) if isinstance(each.event, SignalReceived)
        ]
        assert came.trace is not None
        assert (came.trace.trace_id, came.trace.span_id) == (7, 9)


async def test_a_cancel_and_what_a_person_does_are_linked_to_the_callers_trace() -> None:
    async with running() as rig:
        await approval(rig)
        traced = [("traceparent", f"00-{7:032x}-{9:016x}-01"), ("x-operator", "ann")]
        await rig.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="look"), metadata=traced)
        await rig.operators.ResumeSaga(op.ResumeSagaRequest(saga_id="s-1", reason="go on"), metadata=traced[1:])
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1"), metadata=traced)
        events = [each.event for each in await rig.journal.read(SagaId("s-1"))]
        came = [each.trace for each in events if isinstance(each, OperatorActed | CancelRequested)]
        there = TraceContext(trace_id=7, span_id=9, sampled=True)
        assert came == [there, None, there]


async def test_a_signal_that_comes_early_is_kept_and_shown() -> None:
    async with running(answer_at_once=False) as rig:
        await rig.sagas.StartSaga(start("approval"))
        await rig.sagas.SignalSaga(approved(json=struct(by="ann")))
        saga = (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1", view=pb.SAGA_VIEW_FULL))).saga
        (pending,) = saga.pending_signals
        assert (pending.signal, pending.request_id) == ("approved", FIRST)
        assert json_format.MessageToDict(pending.payload.json) == {"by": "ann"}
        steps = (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1", view=pb.SAGA_VIEW_STEPS))).saga
        assert not steps.pending_signals[0].HasField("payload")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (rpc.SignalSagaRequest(saga_id="s-1", signal="approved"), "request_id"),
        (rpc.SignalSagaRequest(saga_id="s-1", request_id=FIRST), "signal"),
        (rpc.SignalSagaRequest(signal="approved", request_id=FIRST), "saga_id"),
        (approved(request_id="7"), "request_id"),
        (approved(view=99), "view"),
        (approved(json=struct(nonsense=1)), "payload.nonsense"),
        (approved(typed=any_pb2.Any(type_url="x/shop.v1.Other")), "payload"),
        (rpc.SignalSagaRequest(saga_id="s-1", signal="x" * 1_000, request_id=FIRST), "signal"),
    ],
)
async def test_a_signal_that_cannot_be_right_names_its_field(request_: rpc.SignalSagaRequest, field: str) -> None:
    async with running() as rig:
        await approval(rig)
        code, found = await refused(rig.sagas.SignalSaga(request_))
        assert (code, found["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")
        assert found["BadRequest"].field_violations[0].field == field  # type: ignore[attr-defined]  # it is one
        assert await signals(rig) == 0


async def test_a_signal_is_refused_by_a_saga_that_does_not_know_it_is_undone_or_has_ended() -> None:
    async with running() as rig:
        await approval(rig)
        unknown = rpc.SignalSagaRequest(saga_id="s-1", signal="paid", request_id=FIRST)
        code, found = await refused(rig.sagas.SignalSaga(unknown))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "SIGNAL_UNKNOWN")
        assert "approved" in str(found["message"])
        rig.hands.held.add("undo_a")
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1"))
        code, found = await refused(rig.sagas.SignalSaga(approved()))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "GOING_BACKWARD")
        rig.hands.settle()
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="s-1"))
        code, found = await refused(rig.sagas.SignalSaga(approved()))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "TERMINAL_STATE")
        code, found = await refused(rig.sagas.SignalSaga(approved("nobody")))
        assert (code, found["reason"]) == (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND")


async def test_a_saga_takes_no_more_signals_than_it_can_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["orchestrator.saga.decide"], "SIGNALS_WAITING_MAX", 1)
    async with running(answer_at_once=False) as rig:
        await rig.sagas.StartSaga(start("approval"))
        await rig.sagas.SignalSaga(approved())
        code, found = await refused(rig.sagas.SignalSaga(approved(request_id=SECOND)))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "SIGNALS_FULL")


async def test_a_signal_with_start_starts_once_and_signals_what_is_there() -> None:
    async with running() as rig:
        request = rpc.SignalWithStartRequest(
            start=start("approval", json=struct(n=1)),
            signal=rpc.SignalSagaRequest(signal="approved", request_id=FIRST, json=struct(by="ann")),
        )
        first = await rig.sagas.SignalWithStart(request)
        again = await rig.sagas.SignalWithStart(request)
        assert (first.created, again.created) == (True, False)
        assert again.saga.uid == first.saga.uid
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="s-1"))
        assert await signals(rig) == 1
        await approval(rig, "s-2")
        request.start.saga_id = "s-2"
        other = await rig.sagas.SignalWithStart(request)
        assert not other.created
        assert await signals(rig, "s-2") == 1


async def test_a_signal_with_start_may_wait_for_the_end() -> None:
    async with running() as rig:
        request = rpc.SignalWithStartRequest(
            start=start("approval", wait=rpc.START_WAIT_TERMINAL),
            signal=rpc.SignalSagaRequest(signal="approved", request_id=FIRST),
        )
        answer = await rig.sagas.SignalWithStart(request)
        assert answer.saga.status == pb.SAGA_STATUS_COMPLETED


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (rpc.SignalWithStartRequest(), "saga_id"),
        (rpc.SignalWithStartRequest(start=start("approval"), signal=approved()), "signal.saga_id"),
        (
            rpc.SignalWithStartRequest(start=start("approval"), signal=rpc.SignalSagaRequest(signal="approved")),
            "signal.request_id",
        ),
        (
            rpc.SignalWithStartRequest(
                start=start("approval", id_conflict_policy=rpc.ID_CONFLICT_POLICY_FAIL),
                signal=rpc.SignalSagaRequest(signal="approved", request_id=FIRST),
            ),
            "start.id_conflict_policy",
        ),
    ],
)
async def test_a_signal_with_start_that_cannot_be_right_starts_nothing(
    request_: rpc.SignalWithStartRequest, field: str
) -> None:
    async with running() as rig:
        code, found = await refused(rig.sagas.SignalWithStart(request_))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert found["BadRequest"].field_violations[0].field == field  # type: ignore[attr-defined]  # it is one
        assert (await rig.sagas.CountSagas(rpc.CountSagasRequest())).total == 0


async def test_a_cancel_for_another_version_is_refused_and_one_on_trial_shows_what_would_be_undone() -> None:
    async with running() as rig:
        saga = await approval(rig)
        code, found = await refused(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1", etag="1")))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "ETAG_MISMATCH")
        trial = rpc.CancelSagaRequest(saga_id="s-1", etag=saga.etag, validate_only=True, view=pb.SAGA_VIEW_FULL)
        tried = await rig.sagas.CancelSaga(trial)
        assert tried.saga.etag == saga.etag
        (call,) = tried.undo_plan.calls
        assert (call.step, call.wave, call.target, call.method) == ("a", 1, "shop", "shop.v1.Shop/undo_a")
        assert call.outcome == pb.STEP_OUTCOME_APPLIED
        assert call.HasField("request")
        assert (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1"))).saga.etag == saga.etag
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1", etag=saga.etag))
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="s-1"))
        assert [one.key for one in rig.hands.called("undo_a")] == [call.idempotency_key]


async def test_an_etag_that_is_none_of_ours_is_no_etag() -> None:
    async with running() as rig:
        await approval(rig)
        code, found = await refused(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1", etag="W/x")))
        assert (code, found["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")


async def test_past_its_pivot_a_saga_is_neither_cancelled_nor_planned_to_be() -> None:
    async with running() as rig:
        rig.hands.held.add("z")
        await rig.sagas.StartSaga(start("payment"))
        await until(rig, "s-1", "z", pb.STEP_STATUS_IN_FLIGHT)
        for call in (
            rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1")),
            rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1", validate_only=True)),
            rig.sagas.PreviewCompensation(rpc.PreviewCompensationRequest(saga_id="s-1")),
            rig.operators.RerunFromStep(op.RerunFromStepRequest(saga_id="s-1", reason="again", step="a")),
        ):
            code, found = await refused(call)
            assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "PAST_PIVOT")
            violation = found["PreconditionFailure"].violations[0]  # type: ignore[attr-defined]  # it is one
            assert (violation.type, violation.subject) == ("PAST_PIVOT", "s-1")


async def test_a_preview_is_in_waves_and_has_requests_only_where_they_are_asked_for() -> None:
    async with running() as rig:
        rig.hands.held.add("c")
        await rig.sagas.StartSaga(start("trip", json=struct(n=1)))
        await until(rig, "s-1", "c", pb.STEP_STATUS_IN_FLIGHT)
        plain = await rig.sagas.PreviewCompensation(rpc.PreviewCompensationRequest(saga_id="s-1"))
        calls = [(call.step, call.wave, call.outcome) for call in plain.undo_plan.calls]
        unknown, applied = pb.STEP_OUTCOME_UNKNOWN, pb.STEP_OUTCOME_APPLIED
        assert calls == [("c", 1, unknown), ("b", 2, applied), ("a", 3, applied)]
        assert not any(call.HasField("request") for call in plain.undo_plan.calls)
        assert plain.undo_plan.conditions
        full = await rig.sagas.PreviewCompensation(
            rpc.PreviewCompensationRequest(saga_id="s-1", view=pb.SAGA_VIEW_FULL)
        )
        assert json_format.MessageToDict(full.undo_plan.calls[1].request.json) == {"n": 1}
        assert not rig.hands.called("undo_a")
        code, found = await refused(rig.sagas.PreviewCompensation(rpc.PreviewCompensationRequest(saga_id="nobody")))
        assert (code, found["reason"]) == (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND")


async def test_an_explanation_says_what_holds_the_saga_and_when_it_moves() -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(start("night"))
        saga = await until(rig, "s-1", "nap", pb.STEP_STATUS_WAITING)
        told = (await rig.sagas.ExplainSaga(rpc.ExplainSagaRequest(saga_id="s-1"))).explanation
        assert told.summary.startswith("step nap sleeps until ")
        assert told.etag == saga.etag
        (step,) = [each for each in saga.steps if each.step == "nap"]
        assert told.next_wake_time == step.due_time == told.waits[0].until
        assert not told.possible


async def test_an_explanation_says_who_paused_the_saga_and_why() -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(start("night"))
        await rig.operators.PauseSaga(
            op.PauseSagaRequest(saga_id="s-1", reason="stocktaking"), metadata=(("x-operator", "ann"),)
        )
        told = (await rig.sagas.ExplainSaga(rpc.ExplainSagaRequest(saga_id="s-1"))).explanation
        assert told.remarks[0].startswith("paused by ann at ")
        assert told.remarks[0].endswith(": stocktaking")
        assert [each.verb for each in told.possible] == ["RESUME"]
        assert not told.HasField("next_wake_time")


async def test_items_are_summed_up_with_the_step_and_paged_by_themselves() -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(start("many", json=struct(n=1)))
        saga = await until(rig, "s-1", "a", pb.STEP_STATUS_APPLIED)
        (step,) = [each for each in saga.steps if each.step == "a"]
        assert (step.items.count, step.items.began, step.items.applied, step.items.to_undo) == (5, 5, 5, 5)
        request = rpc.ListSagaItemsRequest(saga_id="s-1", step="a", page_size=2)
        seen: list[str] = []
        while True:
            page = await rig.sagas.ListSagaItems(request)
            seen += [item.step for item in page.items]
            assert len(page.items) <= 2
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == [f"a[{index}]" for index in range(5)]
        full = await rig.sagas.ListSagaItems(
            rpc.ListSagaItemsRequest(saga_id="s-1", step="a", page_size=1, view=pb.SAGA_VIEW_FULL)
        )
        assert json_format.MessageToDict(full.items[0].reply.json) == {"n": 1}


async def test_items_of_a_status_are_found_and_nonsense_is_named() -> None:
    async with running() as rig:
        rig.hands.refuse("undo_a")
        await rig.sagas.StartSaga(start("many"))
        await until(rig, "s-1", "nap", pb.STEP_STATUS_WAITING)
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="s-1"))
        await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="s-1"))
        request = rpc.ListSagaItemsRequest(saga_id="s-1", step="a", status=pb.STEP_STATUS_STUCK)
        page = await rig.sagas.ListSagaItems(request)
        (stuck,) = [item.step for item in page.items]
        assert stuck in {"a[3]", "a[4]"}, "two are undone at a time, the last first"
        assert not page.next_page_token
        saga = (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1"))).saga
        assert [(entry.reason, entry.step) for entry in saga.attention_entries] == [("UNDO_REFUSED", stuck)]
        for wrong, reason in (
            (rpc.ListSagaItemsRequest(saga_id="s-1", step="x"), "STEP_UNKNOWN"),
            (rpc.ListSagaItemsRequest(saga_id="s-1", step="nap"), "INPUT_INVALID"),
            (rpc.ListSagaItemsRequest(saga_id="s-1", step="a", status=99), "INPUT_INVALID"),  # type: ignore[arg-type]  # no value of ours
            (rpc.ListSagaItemsRequest(saga_id="s-1", step="a", page_token="x"), "INPUT_INVALID"),
            (rpc.ListSagaItemsRequest(saga_id="s-1"), "INPUT_INVALID"),
            (rpc.ListSagaItemsRequest(saga_id="nobody", step="a"), "SAGA_NOT_FOUND"),
        ):
            _, found = await refused(rig.sagas.ListSagaItems(wrong))
            assert found["reason"] == reason, wrong


async def test_a_parent_names_its_children_and_a_child_its_parent() -> None:
    async with running() as rig:
        parent = (await rig.sagas.StartSaga(start("family"))).saga
        await until(rig, "s-1.trip", "nap", pb.STEP_STATUS_WAITING)
        request = rpc.GetSagaRequest(saga_id="s-1", view=pb.SAGA_VIEW_STEPS)
        shown = (await rig.sagas.GetSaga(request)).saga
        (found,) = shown.children
        assert (found.step, found.saga_id, found.definition, found.revision) == ("trip", "s-1.trip", "night", "r1")
        assert shown.steps[0].child_saga_id == "s-1.trip"
        assert [wait.kind for wait in shown.waiting_for] == [pb.SAGA_WAIT_KIND_CHILD]
        child = (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1.trip"))).saga
        assert (child.parent.saga_id, child.parent.uid, child.parent.step) == ("s-1", parent.uid, "trip")
