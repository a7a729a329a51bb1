"""SagaService over loopback and the real runtime: what each method answers, in words and in errors."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, json_format, struct_pb2
from google.rpc import error_details_pb2

from orchestrator import limits
from orchestrator.ids import SagaId
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.refusals import refused, struct
from tests.integration.api.rig import PATIENCE_S, json_payload, running

REQUEST_ID = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f"


def job(saga_id: str = "", **more: Any) -> rpc.StartSagaRequest:
    return rpc.StartSagaRequest(saga_id=saga_id, definition="job", **more)


async def test_a_start_is_answered_with_the_saga_and_is_in_the_journal() -> None:
    async with running(answer_at_once=False) as rig:
        answer = await rig.sagas.StartSaga(
            job("a-1", json=struct(n=1), attributes={"patient": struct_pb2.Value(string_value="p")})
        )
        assert answer.created
        assert answer.saga.saga_id == "a-1"
        assert answer.saga.status == pb.SAGA_STATUS_RUNNING
        assert answer.saga.attributes["patient"].string_value == "p"
        assert await rig.journal.read(SagaId("a-1"))


async def test_the_same_start_is_the_same_saga_and_another_input_is_refused() -> None:
    async with running(answer_at_once=False) as rig:
        first = await rig.sagas.StartSaga(job("a-1", json=struct(n=1)))
        again = await rig.sagas.StartSaga(job("a-1", json=struct(n=1)))
        assert not again.created
        assert again.saga.uid == first.saga.uid
        code, found = await refused(rig.sagas.StartSaga(job("a-1", json=struct(n=2))))
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert found["reason"] == "SAGA_ALREADY_EXISTS"
        resource = found["ResourceInfo"]
        assert isinstance(resource, error_details_pb2.ResourceInfo)
        assert (resource.resource_type, resource.resource_name) == ("saga", "a-1")
        existing = await rig.sagas.StartSaga(
            job("a-1", json=struct(n=2), id_conflict_policy=rpc.ID_CONFLICT_POLICY_USE_EXISTING)
        )
        assert existing.saga.uid == first.saga.uid


async def test_one_request_id_is_one_saga() -> None:
    async with running() as rig:
        first = await rig.sagas.StartSaga(job(request_id=REQUEST_ID))
        again = await rig.sagas.StartSaga(job(request_id=REQUEST_ID.upper()))
        assert (first.created, again.created) == (True, False)
        assert again.saga.saga_id == first.saga.saga_id


async def test_typed_input_is_taken_as_it_is_and_another_type_is_refused() -> None:
    payload = json_payload(n=3)
    async with running() as rig:
        typed = any_pb2.Any(type_url=f"type.googleapis.com/{payload.type_name}", value=payload.data)
        await rig.sagas.StartSaga(job("a-1", typed=typed))
        shown = await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1", view=pb.SAGA_VIEW_FULL))
        assert shown.saga.input.typed == typed
        assert json_format.MessageToDict(shown.saga.input.json) == {"n": 3}
        wrong = any_pb2.Any(type_url="type.googleapis.com/shop.v1.Other")
        code, found = await refused(rig.sagas.StartSaga(job("a-2", typed=wrong)))
        assert (code, found["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (rpc.StartSagaRequest(), "definition"),
        (job("no spaces"), "saga_id"),
        (job(request_id="7"), "request_id"),
        (job(id_conflict_policy=99), "id_conflict_policy"),
        (job(wait=99), "wait"),
        (job(view=99), "view"),
        (job(typed=any_pb2.Any()), "input"),
        (job(json=struct(nonsense=1)), "input.nonsense"),
        (job(attributes={"a": struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)}), "attributes.a"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_field_of_a_start_is_named(request_: rpc.StartSagaRequest, field: str) -> None:
    async with running() as rig:
        code, found = await refused(rig.sagas.StartSaga(request_))
        assert (code, found["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")
        bad = found["BadRequest"]
        assert isinstance(bad, error_details_pb2.BadRequest)
        assert [violation.field for violation in bad.field_violations] == [field]


async def test_unknown_names_are_not_found() -> None:
    async with running() as rig:
        unknown = rpc.StartSagaRequest(definition="nobody")
        for call, reason, kind in (
            (rig.sagas.StartSaga(unknown), "DEFINITION_NOT_FOUND", "definition"),
            (rig.sagas.StartSaga(job(revision="r9")), "REVISION_NOT_FOUND", "revision"),
            (rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="x")), "SAGA_NOT_FOUND", "saga"),
            (rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="x")), "SAGA_NOT_FOUND", "saga"),
            (rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="x")), "SAGA_NOT_FOUND", "saga"),
            (rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="x")), "SAGA_NOT_FOUND", "saga"),
        ):
            code, found = await refused(call)
            assert (code, found["reason"]) == (grpc.StatusCode.NOT_FOUND, reason)
            resource = found["ResourceInfo"]
            assert isinstance(resource, error_details_pb2.ResourceInfo)
            assert resource.resource_type == kind


async def test_a_waiting_start_answers_when_the_saga_has_ended() -> None:
    async with running() as rig:
        request = job("a-1", json=struct(n=1), wait=rpc.START_WAIT_TERMINAL, view=pb.SAGA_VIEW_FULL)
        answer = await rig.sagas.StartSaga(request)
        assert answer.saga.status == pb.SAGA_STATUS_COMPLETED
        assert json_format.MessageToDict(answer.saga.output.json) == {"n": 1}
        (step,) = answer.saga.steps
        assert (step.status, step.outcome) == (pb.STEP_STATUS_APPLIED, pb.STEP_OUTCOME_APPLIED)
        assert step.forward.method == "shop.v1.Shop/Do"


@pytest.mark.usefixtures("early")
async def test_a_wait_answers_with_the_saga_as_it_stands_before_its_caller_gives_up() -> None:
    async with running(answer_at_once=False) as rig:
        started = await rig.sagas.StartSaga(job("a-1", wait=rpc.START_WAIT_TERMINAL), timeout=PATIENCE_S)
        assert started.saga.status == pb.SAGA_STATUS_RUNNING
        waited = await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"), timeout=PATIENCE_S)
        assert not waited.reached
        rig.hands.settle()
        waited = await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))
        assert waited.reached
        assert waited.saga.status == pb.SAGA_STATUS_COMPLETED


async def test_a_wait_for_change_answers_at_the_next_event() -> None:
    async with running(answer_at_once=False) as rig:
        started = await rig.sagas.StartSaga(job("a-1"))
        known = started.saga.sequence
        request = rpc.WaitSagaRequest(saga_id="a-1", until=rpc.WAIT_UNTIL_CHANGE, after_sequence=known)
        waiting = rig.sagas.WaitSaga(request)
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1", reason="no longer wanted"))
        waited = await waiting
        assert waited.reached
        assert waited.saga.sequence > known


async def test_a_cancelled_saga_is_undone_and_says_why() -> None:
    async with running() as rig:
        rig.hands.answer_at_once = False
        await rig.sagas.StartSaga(job("a-1"))
        await rig.hands.began.wait()
        cancelled = await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1", reason="no longer wanted"))
        assert cancelled.saga.status == pb.SAGA_STATUS_COMPENSATING
        again = await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1", reason="twice"))
        assert again.saga.cause == cancelled.saga.cause
        rig.hands.settle()
        ended = (await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))).saga
        assert ended.status == pb.SAGA_STATUS_COMPENSATED
        assert ended.cause.kind == pb.SAGA_CAUSE_KIND_CANCELLED
        code, found = await refused(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1")))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "TERMINAL_STATE")
        assert isinstance(found["PreconditionFailure"], error_details_pb2.PreconditionFailure)


async def test_a_reason_to_cancel_has_a_bound() -> None:
    async with running(answer_at_once=False) as rig:
        await rig.sagas.StartSaga(job("a-1"))
        too_long = "x" * (limits.MESSAGE_CHARS_MAX + 1)
        code, _ = await refused(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1", reason=too_long)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        await rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1", reason=too_long[:-1]))


async def test_payloads_are_shown_in_view_full_only() -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(job("a-1", json=struct(secret="s3cret"), wait=rpc.START_WAIT_TERMINAL))
        for view in (pb.SAGA_VIEW_BASIC, pb.SAGA_VIEW_STEPS):
            shown = await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1", view=view))
            history = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1", view=view))
            assert b"s3cret" not in shown.SerializeToString() + history.SerializeToString()
            assert bool(shown.saga.steps) == (view == pb.SAGA_VIEW_STEPS)
        history = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1", view=pb.SAGA_VIEW_FULL))
        details = json_format.MessageToDict(history.events[0].details)
        assert details["input"]["value"] == {"secret": "s3cret"}


async def test_the_callers_trace_is_the_sagas_trace() -> None:
    async with running() as rig:
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        answer = await rig.sagas.StartSaga(job("a-1"), metadata=(("traceparent", parent), ("tracestate", "x=1")))
        assert answer.saga.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
        state = await rig.orchestrator.get("a-1")
        assert (state.trace.span_id, state.trace.sampled, state.trace.state) == (0x00F067AA0BA902B7, True, "x=1")
        other = await rig.sagas.StartSaga(job("a-2"), metadata=(("traceparent", "nonsense"),))
        assert other.saga.trace_id != answer.saga.trace_id


async def test_the_callers_baggage_goes_along_as_far_as_it_is_named() -> None:
    async with running() as rig:
        # A list may come in several headers, and no trace context need come with it.
        await rig.sagas.StartSaga(job("a-1"), metadata=(("baggage", "user=ada"), ("baggage", "tenant=acme")))
        assert rig.hands.open[0].call.baggage == "tenant=acme"
        signal = rpc.SignalSagaRequest(signal="approved", request_id=REQUEST_ID)
        start = rpc.StartSagaRequest(definition="approval", saga_id="a-2")
        both = rpc.SignalWithStartRequest(start=start, signal=signal)
        await rig.sagas.SignalWithStart(both, metadata=(("baggage", "tenant=other"),))
        assert (await rig.orchestrator.get("a-2")).baggage == "tenant=other"
        history = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1"))
        assert json_format.MessageToDict(history.events[0].details)["baggage"] == "tenant=acme"


async def test_events_come_in_pages_without_a_gap() -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(job("a-1", wait=rpc.START_WAIT_TERMINAL))
        whole = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1"))
        assert not whole.next_page_token
        assert [event.sequence for event in whole.events] == list(range(1, len(whole.events) + 1))
        assert whole.events[-1].type == "SagaCompleted"
        paged: list[pb.SagaEvent] = []
        token = ""
        while True:
            page = await rig.sagas.ListSagaEvents(
                rpc.ListSagaEventsRequest(saga_id="a-1", page_size=2, page_token=token)
            )
            assert len(page.events) <= 2
            paged += page.events
            token = page.next_page_token
            if not token:
                break
        assert paged == list(whole.events)


async def test_pages_neither_miss_nor_repeat_under_concurrent_starts() -> None:
    async with running(answer_at_once=False) as rig:
        before = {f"old-{number:03}" for number in range(60)}
        await asyncio.gather(*(rig.sagas.StartSaga(job(name)) for name in before))
        for order_by in ("", "start_time", "saga_id", "saga_id desc"):
            seen: list[str] = []
            token, page_number = "", 0
            while True:
                request = rpc.ListSagasRequest(page_size=7, page_token=token, order_by=order_by)
                page, _ = await asyncio.gather(
                    rig.sagas.ListSagas(request),
                    rig.sagas.StartSaga(job(f"new-{order_by.replace(' ', '-')}-{page_number}")),
                )
                seen += [saga.saga_id for saga in page.sagas]
                token, page_number = page.next_page_token, page_number + 1
                if not token:
                    break
            assert len(seen) == len(set(seen)), f"a saga came twice in order {order_by!r}"
            assert before <= set(seen), f"a saga was missed in order {order_by!r}"


async def test_lists_and_counts_are_filtered() -> None:
    async with running() as rig:
        for number in range(4):
            attributes = {"even": struct_pb2.Value(bool_value=number % 2 == 0)}
            await rig.sagas.StartSaga(job(f"a-{number}", attributes=attributes, wait=rpc.START_WAIT_TERMINAL))
        rig.hands.answer_at_once = False
        await rig.sagas.StartSaga(job("b-1"))
        even = await rig.sagas.ListSagas(rpc.ListSagasRequest(filter="attributes.even = true", order_by="saga_id"))
        assert [saga.saga_id for saga in even.sagas] == ["a-0", "a-2"]
        running_ = await rig.sagas.ListSagas(rpc.ListSagasRequest(filter="status = RUNNING"))
        assert [saga.saga_id for saga in running_.sagas] == ["b-1"]
        counted = await rig.sagas.CountSagas(rpc.CountSagasRequest(group_by="status"))
        assert (counted.total, dict(counted.counts)) == (5, {"COMPLETED": 4, "RUNNING": 1})
        alone = await rig.sagas.CountSagas(rpc.CountSagasRequest(filter="status = COMPLETED"))
        assert (alone.total, dict(alone.counts)) == (4, {})
        for call in (
            rig.sagas.ListSagas(rpc.ListSagasRequest(filter="colour = red")),
            rig.sagas.ListSagas(rpc.ListSagasRequest(order_by="colour")),
            rig.sagas.ListSagas(rpc.ListSagasRequest(page_size=limits.API_PAGE_SIZE_MAX + 1)),
            rig.sagas.ListSagas(rpc.ListSagasRequest(page_token="x")),
            rig.sagas.CountSagas(rpc.CountSagasRequest(group_by="colour")),
        ):
            code, found = await refused(call)
            assert (code, found["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")
        await rig.sagas.ListSagas(rpc.ListSagasRequest(page_size=limits.API_PAGE_SIZE_MAX))
