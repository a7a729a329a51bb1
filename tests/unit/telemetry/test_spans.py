"""T1-T8, T10: a saga's records become one tree, whatever happened to it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded by hypothesis)

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import ids
from orchestrator.ids import StepId
from orchestrator.limits import SPAN_EVENTS_MAX, SPAN_MESSAGE_CHARS_MAX
from orchestrator.ports.journal import Append
from orchestrator.saga.commands import CancelSaga
from orchestrator.saga.effects import SendCall
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    Event,
    Phase,
    Report,
    RetryScheduled,
    SagaStarted,
    SkipReason,
    StepSkipped,
)
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.traceparts import TraceBounds
from orchestrator.telemetry import names
from orchestrator.telemetry.project import project
from orchestrator.telemetry.spandata import SpanData, SpanLink
from orchestrator.telemetry.views import BOUNDS, SagaView, shape_of, view_of
from orchestrator.values import TraceContext
from tests.unit.telemetry.histories import (
    BEGIN_AT,
    CALLER,
    CANARY,
    PLAN,
    UNSAMPLED,
    Teller,
    attempt_id,
    compensated,
    flaky,
    happy,
    refused,
    uid_of,
    wandering,
)

FORWARD, UNDO = Operation.FORWARD, Operation.COMPENSATE


def events_of(appends: Iterable[Append]) -> list[Event]:
    return [record.event for append in appends for record in append.records]


def spans_of(
    events: Iterable[Event],
    plan: Plan = PLAN,
    bounds: TraceBounds = BOUNDS,
    *,
    view: SagaView | None = None,
    after: int = 0,
) -> list[SpanData]:
    """What a history is told as, from its beginning or on from a view of its first `after` records."""
    spans: list[SpanData] = []
    for version, event in enumerate(events, after + 1):
        if isinstance(event, SagaStarted):
            view = view_of(event, shape_of(plan), bounds)
        assert view is not None
        view, closed = project(view, event, version)
        spans.extend(closed)
    return spans


def by_name(spans: Iterable[SpanData]) -> dict[str, SpanData]:
    return {span.name: span for span in spans}


def test_a_happy_saga_is_one_tree_under_its_caller() -> None:
    spans = spans_of(events_of(happy()))
    found = by_name(spans)
    root = found["saga epro"]
    assert (root.trace_id, root.parent_id, root.parent_is_remote) == (CALLER.trace_id, CALLER.span_id, True)
    assert root.span_id == ids.root_span_id(uid_of(1))
    assert found["saga.start"].parent_id == root.span_id
    for step in PLAN.steps.values():
        span = found[f"step {step.id}"]
        attempt = found[step.call.method] if step.id != "record" else found["epro.v1.Safety/Do"]
        assert span.parent_id == root.span_id
        assert attempt.parent_id == span.span_id
        assert attempt.kind == "client"
        assert attempt.span_id == attempt_id(1, step.id, FORWARD, 1)
    assert len(spans) == 2 + 2 * len(PLAN.steps)
    assert all(span.error is None for span in spans)
    assert {span.trace_state for span in spans} == {"v=1"}


def test_a_saga_without_a_traced_caller_has_its_own_trace() -> None:
    spans = spans_of(events_of(happy(trace=TraceContext(trace_id=0, span_id=0, sampled=True))))
    root = by_name(spans)["saga epro"]
    assert (root.parent_id, root.parent_is_remote) == (0, False)
    assert {span.trace_id for span in spans} == {ids.trace_id(uid_of(1))}


def test_the_start_is_told_at_once_and_the_root_last() -> None:
    appends = happy()
    first = spans_of(events_of(appends[:1]))
    assert [span.name for span in first] == ["saga.start"]
    assert first[0].start_ns == first[0].end_ns
    assert spans_of(events_of(appends))[-1].name == "saga epro"


def test_an_undo_is_under_the_compensation_and_links_to_what_it_undoes() -> None:
    found = by_name(spans_of(events_of(compensated())))
    compensation = found["saga.compensation"]
    assert compensation.parent_id == found["saga epro"].span_id
    undo = found["undo archive"]
    assert undo.parent_id == compensation.span_id
    assert undo.links == (SpanLink(CALLER.trace_id, attempt_id(1, "archive", FORWARD, 1)),)
    assert found["epro.v1.Archive/Undo"].parent_id == undo.span_id
    assert found["epro.v1.Archive/Undo"].span_id == attempt_id(1, "archive", UNDO, 1)
    root = found["saga epro"]
    assert root.error is not None
    assert root.attributes[names.SAGA_STATUS] == "COMPENSATED"
    assert root.attributes[names.SAGA_CAUSE_STEP] == "notify"
    assert root.attributes[names.SAGA_UNDONE_COUNT] == 2
    refused = found["step notify"].attributes
    assert refused[names.SAGA_OUTCOME] == "NOT_APPLIED"
    assert refused[names.ERROR_TYPE] == refused[names.RPC_STATUS], "REPLIED would not say what was wrong"


def test_an_undo_links_to_the_last_attempt() -> None:
    found = spans_of(events_of(Teller().run(flaky("archive"))))
    undo = by_name(found)["undo archive"]
    assert undo.links == (SpanLink(CALLER.trace_id, attempt_id(1, "archive", FORWARD, 2)),)
    attempts = [span for span in found if span.name == "epro.v1.Archive/Do"]
    assert [span.error for span in attempts] == ["gone", None]
    (retry,) = by_name(found)["step archive"].events
    assert retry.name == names.RETRY_EVENT
    assert names.SAGA_PARKED not in retry.attributes, "said only of what was held back"


def test_an_attempt_lost_in_a_crash_is_a_failed_span() -> None:
    teller = Teller()
    appends = [teller.start(), teller.crash(), *teller.run()]
    attempts = [span for span in spans_of(events_of(appends)) if span.name == "epro.v1.Validator/Do"]
    lost = attempts[0]
    assert lost.attributes[names.SAGA_LOST] is True
    assert lost.attributes[names.ERROR_TYPE] == "LOST"
    assert lost.error is not None
    assert names.RPC_STATUS not in lost.attributes
    assert [span.attributes[names.SAGA_ATTEMPT] for span in attempts] == [1, 2]


def test_a_cancel_and_what_was_skipped_are_events_of_the_saga() -> None:
    teller = Teller()
    appends = [teller.start(), teller.tell(CancelSaga(reason="y" * 999)), *teller.run()]
    root = by_name(spans_of(events_of(appends)))["saga epro"]
    cancel = root.events[0]
    assert cancel.name == names.CANCEL_EVENT
    assert len(str(cancel.attributes[names.SAGA_REASON])) == SPAN_MESSAGE_CHARS_MAX


def test_a_skipped_step_is_an_event_of_the_saga() -> None:
    events = events_of(happy())
    skipped = StepSkipped(at=events[-1].at, step=StepId("notify"), reason=SkipReason.GUARD_FALSE)
    (event,) = by_name(spans_of([*events[:-1], skipped, events[-1]]))["saga epro"].events
    assert event.name == names.SKIPPED_EVENT
    assert dict(event.attributes) == {names.SAGA_STEP: "notify", names.SAGA_REASON: "GUARD_FALSE"}


def first_attempt(change: Callable[[AttemptSettled], AttemptSettled]) -> SpanData:
    """The span of the first attempt of a happy saga, its end changed."""
    events = events_of(happy())
    until = next(at for at, event in enumerate(events) if isinstance(event, AttemptSettled))
    settled = events[until]
    assert isinstance(settled, AttemptSettled)
    return spans_of([*events[:until], change(settled)])[-1]


def test_an_attempt_held_back_says_so() -> None:
    parked = Report(code="UNIMPLEMENTED", phase=Phase.NOT_SENT, parked=True)
    span = first_attempt(lambda settled: replace(settled, report=parked))
    assert span.attributes[names.SAGA_PARKED] is True
    assert span.attributes[names.ERROR_TYPE] == "UNIMPLEMENTED"


def test_a_call_that_failed_says_its_status_as_the_error_and_the_services_reason_beside_it() -> None:
    refusal = replace(refused(SendCall(StepId("x"), FORWARD, 1), BEGIN_AT), error_reason="SITE_CLOSED" + "!" * 500)
    span = first_attempt(lambda settled: replace(settled, report=refusal))
    assert span.attributes[names.ERROR_TYPE] == span.attributes[names.RPC_STATUS] == "FAILED_PRECONDITION"
    assert str(span.attributes[names.SAGA_REASON]).startswith("SITE_CLOSED")
    assert len(str(span.attributes[names.SAGA_REASON])) == SPAN_MESSAGE_CHARS_MAX


def test_a_call_is_named_by_the_conventions_for_grpc() -> None:
    span = first_attempt(lambda settled: settled)
    assert (span.name, span.kind) == ("epro.v1.Validator/Do", "client")
    said = {name: value for name, value in span.attributes.items() if not name.startswith("saga.")}
    assert said == {
        "rpc.system.name": "grpc",
        "rpc.method": "epro.v1.Validator/Do",
        "rpc.response.status_code": "OK",
        "server.address": "validator",
    }


def test_an_unsampled_saga_has_no_spans() -> None:
    assert spans_of(events_of(happy(trace=UNSAMPLED))) == []


def test_a_step_that_is_retried_for_days_keeps_its_events_bounded_and_counts_the_rest() -> None:
    events = events_of(happy())
    step = StepId("validate")
    until = next(at for at, event in enumerate(events) if isinstance(event, AttemptSettled))
    retries = [
        RetryScheduled(at=BEGIN_AT, step=step, operation=FORWARD, due_at=BEGIN_AT + 1, parked=True, reason="r")
        for _ in range(SPAN_EVENTS_MAX + 50)
    ]
    span = by_name(spans_of([*events[:until], *retries, *events[until:]]))["step validate"]
    assert len(span.events) == SPAN_EVENTS_MAX
    assert span.attributes[names.SAGA_EVENTS_UNTOLD] == 50


@settings(max_examples=40)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_no_two_spans_share_an_id_and_every_parent_is_there(seed: int) -> None:
    teller = wandering(Random(seed))
    events = [record.event for record in teller.records]
    spans = spans_of(events)
    own = {span.span_id: span for span in spans}
    assert len(own) == len(spans)
    assert CALLER.span_id not in own
    assert {span.trace_id for span in spans} == {CALLER.trace_id}
    opened = {
        ids.attempt_span_id(uid_of(1), event.step, event.operation, event.attempt)
        for event in events
        if isinstance(event, AttemptOpened)
    }
    told = {span.span_id for span in spans if span.kind == "client"}
    assert told <= opened
    if teller.state.is_terminal:
        assert told == opened
        for span in spans:
            parent = own.get(span.parent_id)
            if parent is None:
                assert span.parent_id == CALLER.span_id
            else:
                assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns
            assert all(link.span_id in own for link in span.links)


@settings(max_examples=40)
@given(seed=st.integers(min_value=0, max_value=2**32), cut=st.integers(min_value=1, max_value=60))
def test_a_reader_that_crashed_tells_the_same_spans(seed: int, cut: int) -> None:
    events = [record.event for record in wandering(Random(seed)).records]
    cut = min(cut, len(events))
    started = events[0]
    assert isinstance(started, SagaStarted)
    view = view_of(started, shape_of(PLAN))
    for version, event in enumerate(events[:cut], 1):
        view, _ = project(view, event, version)
    assert spans_of(events[:cut]) + spans_of(events[cut:], view=view, after=cut) == spans_of(events)


@settings(max_examples=40)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_nothing_that_was_sent_or_received_is_in_a_span(seed: int) -> None:
    spans = spans_of(record.event for record in wandering(Random(seed)).records)
    assert CANARY not in repr(spans)
    for span in spans:
        texts = [span.error or "", *map(str, span.attributes.values())]
        texts += [str(value) for event in span.events for value in event.attributes.values()]
        assert max(map(len, texts)) <= SPAN_MESSAGE_CHARS_MAX


@settings(max_examples=40)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_every_name_in_a_span_is_published(seed: int) -> None:
    attributes = {entry.name for entry in names.ATTRIBUTES}
    events = {entry.name for entry in names.EVENTS}
    for span in spans_of(record.event for record in wandering(Random(seed)).records):
        assert set(span.attributes) <= attributes
        for event in span.events:
            assert event.name in events
            assert set(event.attributes) <= attributes


def test_a_clock_set_back_does_not_bend_the_tree() -> None:
    ends: list[AttemptSettled] = []

    def odd(settled: AttemptSettled) -> AttemptSettled:
        ends.append(settled)
        report = replace(settled.report, sent_at=settled.at + 9, ended_at=settled.opened_at - 9)
        return replace(settled, report=report)

    span = first_attempt(odd)
    assert ends[0].opened_at * 1e9 <= span.start_ns + 1_000
    assert span.start_ns <= span.end_ns <= ends[0].at * 1e9 + 1_000
