"""T1-T10 for every shape of saga: items, scopes, waits, long operations, probes, children, and people who repair."""

import typing
from random import Random  # noqa: TID251  (seeded by hypothesis)

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ids import StepId
from orchestrator.limits import SPAN_MESSAGE_CHARS_MAX
from orchestrator.saga.commands import (
    CancelSaga,
    RerunFromStep,
    UndoChild,
)
from orchestrator.saga.events import Event, Phase, Report, SagaStarted
from orchestrator.saga.plan import Await, Operation, Wait
from orchestrator.saga.state import SagaStatus
from orchestrator.telemetry import names
from orchestrator.telemetry.project import project
from orchestrator.telemetry.spandata import SpanLink
from orchestrator.telemetry.views import shape_of, view_of
from tests.unit.telemetry.histories import CALLER, CANARY, unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    EVERYTHING,
    PARENT,
    SENDER,
    call,
    guide,
    no,
    plan_of,
    read,
    replied,
    roaming,
    run,
    run_plain,
    step,
    until,
)
from tests.unit.telemetry.test_spans import by_name, spans_of
from tests.unit.telemetry.trees import assert_one_tree, attempts, event_names, injected, of, told

FORWARD = Operation.FORWARD
SEEDS = st.integers(min_value=0, max_value=2**32)


@settings(max_examples=120, deadline=None)
@given(seed=SEEDS)
def test_whatever_happens_is_one_tree(seed: int) -> None:
    teller = roaming(Random(seed))
    assert_one_tree(teller, told(teller))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, cut=st.integers(min_value=1, max_value=120))
def test_a_reader_that_crashed_tells_the_same_spans(seed: int, cut: int) -> None:
    teller = roaming(Random(seed))
    events = [record.event for record in teller.records]
    cut = min(cut, len(events))
    started = events[0]
    assert isinstance(started, SagaStarted)
    view = view_of(started, shape_of(EVERYTHING))
    for version, event in enumerate(events[:cut], 1):
        view, _ = project(view, event, version)
    before = spans_of(events[:cut], plan=EVERYTHING)
    assert before + spans_of(events[cut:], view=view, after=cut) == told(teller)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_every_name_is_published_and_no_payload_is_told(seed: int) -> None:
    attributes = {entry.name for entry in names.ATTRIBUTES}
    events = {entry.name for entry in names.EVENTS}
    spans = told(roaming(Random(seed)))
    assert CANARY not in repr(spans)
    for span in spans:
        assert set(span.attributes) <= attributes
        texts = [span.error or "", *map(str, span.attributes.values())]
        for event in span.events:
            assert event.name in events
            assert set(event.attributes) <= attributes
            texts += map(str, event.attributes.values())
        assert max(map(len, texts)) <= SPAN_MESSAGE_CHARS_MAX


def test_random_histories_meet_every_event() -> None:
    seen = {type(record.event).__name__ for seed in range(200) for record in roaming(Random(seed)).records}
    assert seen == {kind.__name__ for kind in typing.get_args(Event)}


def test_a_completed_saga_shows_each_part_where_it_belongs() -> None:
    spans = told(run(guide()))
    root = by_name(spans)["saga everything"]
    reserve, trip = of(spans, "reserve"), of(spans, "trip")
    for item in range(4):
        span = of(spans, f"reserve[{item}]")
        assert (span.name, span.parent_id, span.attributes[names.SAGA_ITEM]) == ("item reserve", reserve.span_id, item)
        (attempt,) = attempts(spans, f"reserve[{item}]")
        assert attempt.parent_id == span.span_id
    counted = [reserve.attributes[key] for key in (names.SAGA_ITEMS_COUNT, names.SAGA_ITEMS_APPLIED)]
    assert counted == [4, 4]
    assert of(spans, "flight").parent_id == of(spans, "hotel").parent_id == trip.span_id
    assert trip.parent_id == reserve.parent_id == root.span_id
    pause = of(spans, "pause")
    assert pause.end_ns - pause.start_ns == 5_000_000_000
    assert trip.start_ns <= of(spans, "flight").start_ns
    assert trip.end_ns >= of(spans, "hotel").end_ns
    assert not [span for span in spans if "bus" in span.name]


def test_a_signal_is_on_the_step_that_waits_and_links_to_its_sender() -> None:
    spans = told(run(guide()))
    approval = of(spans, "approval")
    assert event_names(approval) == [names.SIGNAL_EVENT]
    assert approval.events[0].attributes == {names.SAGA_SIGNAL: "approved"}
    assert approval.links == (SpanLink(SENDER.trace_id, SENDER.span_id),)


def test_a_signal_that_nobody_waits_for_yet_is_on_the_saga() -> None:
    teller = guide()
    teller.signal()
    spans = told(run(teller))
    root = by_name(spans)["saga everything"]
    assert names.SIGNAL_EVENT in event_names(root)
    assert root.links == (SpanLink(SENDER.trace_id, SENDER.span_id),)
    assert of(spans, "approval").events == ()


def test_looking_at_a_long_operation_and_stopping_it_are_attempts_of_the_step() -> None:
    teller = until(guide(), "load")
    teller.reply("load", replied(b"later"))
    teller.reply("load", replied(b"later"), Operation.AWAIT)
    teller.wait()
    teller.tell(CancelSaga(reason=""))
    spans = told(run(teller))
    load = of(spans, "load")
    found = {(str(span.attributes[names.SAGA_OPERATION]), span.parent_id) for span in attempts(spans, "load")}
    assert {(word, load.span_id) for word in ("forward", "await", "stop")} <= found
    assert {span.name for span in attempts(spans, "load")} >= {"shop.v1.Shop/Look", "shop.v1.Shop/Stop"}
    assert_one_tree(teller, spans)


def test_a_probe_is_an_attempt_of_the_step_it_asks_about() -> None:
    teller = until(guide(), "pay")
    teller.reply("pay", unavailable(teller.calls()[0], teller.at))
    teller.reply("pay", replied(b"yes"), Operation.PROBE)
    spans = told(run(teller))
    pay = of(spans, "pay")
    forward, probe = attempts(spans, "pay")
    assert [forward.attributes[names.SAGA_OPERATION], probe.attributes[names.SAGA_OPERATION]] == ["forward", "probe"]
    assert probe.parent_id == pay.span_id
    assert pay.attributes[names.SAGA_REASON] == "PROBED"


def test_what_was_stopped_because_something_else_failed_has_no_red_mark() -> None:
    wait = step("approval", body=Wait(signal="approved", type_name="shop.v1.Approval", timeout_s=60.0))
    teller = guide(plan_of("visit", wait, step("travel"), step("stay")))
    teller.reply("travel", no())
    teller.reply("stay", unavailable(teller.calls()[0], teller.at))
    spans = told(run_plain(teller))
    for name in ("approval", "stay"):
        stopped = of(spans, name)
        assert stopped.attributes[names.SAGA_REASON] == "STOPPED"
        assert stopped.error is None
        assert names.ERROR_TYPE not in stopped.attributes
    assert of(spans, "travel").error
    assert by_name(spans)["saga visit"].error
    (cut_off,) = [span for span in attempts(spans, "stay") if span.attributes[names.SAGA_OPERATION] == "forward"]
    assert cut_off.error, "a call that was not answered is marked, whatever ended it"


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_a_red_mark_says_why_and_what_was_stopped_has_none(seed: int) -> None:
    for span in told(roaming(Random(seed))):
        assert span.error != "", span.name
        assert (span.error is not None) == (names.ERROR_TYPE in span.attributes)
        assert span.error is None or span.attributes.get(names.SAGA_REASON) != "STOPPED"


def test_whoever_failed_without_a_word_is_marked_with_the_type_of_the_error() -> None:
    awaits = Await(read=read, call=call("Look"), stop=None, every_s=1.0)
    silent = Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED)
    for last, report, expected in (
        (step("last", "one", awaits=awaits), replied(b"no"), "NOT_APPLIED"),  # which was answered OK
        (step("last", "one"), silent, "FAILED_PRECONDITION"),
    ):
        teller = guide(plan_of("pair", step("one"), last))
        teller.reply("one", replied())
        teller.reply("last", report)
        spans = told(run_plain(teller))
        failed = of(spans, "last")
        assert failed.attributes[names.SAGA_REASON] == "REPLIED"
        assert (failed.error, failed.attributes[names.ERROR_TYPE]) == (expected, expected)
        assert [span.error for span in attempts(spans, "last")] == [None if report.code == "OK" else expected]
        assert_one_tree(teller, spans)


def test_that_there_was_nothing_to_undo_is_said_only_where_it_is_so() -> None:
    teller = guide(plan_of("pair", step("one"), step("two", "one"), step("three", "two")))
    teller.reply("one", replied())
    teller.reply("two", replied())
    teller.reply("three", no())
    teller.reply("two", Report(code="NOT_FOUND", phase=Phase.REPLIED, error_reason="NOTHING_TO_UNDO"))
    spans = told(run_plain(teller))
    assert of(spans, "two", "compensate").attributes[names.SAGA_NOTHING_TO_UNDO] is True
    assert names.SAGA_NOTHING_TO_UNDO not in of(spans, "one", "compensate").attributes


def test_a_scope_that_fails_is_rolled_back_below_itself_and_goes_on() -> None:
    teller = until(guide(), "hotel")
    teller.reply("hotel", no())
    spans = told(run(teller))
    trip, rollback = of(spans, "trip"), by_name(spans)["rollback trip"]
    assert rollback.parent_id == trip.span_id
    assert rollback.attributes[names.SAGA_CAUSE_STEP] == "hotel"
    assert rollback.attributes[names.SAGA_UNDONE_COUNT] == 1
    assert of(spans, "flight", "compensate").parent_id == rollback.span_id
    assert event_names(trip) == [names.ELSE_EVENT]
    assert of(spans, "bus").parent_id == trip.span_id
    assert by_name(spans)["saga everything"].error is None


def test_two_rollbacks_of_one_scope_are_two_spans() -> None:
    teller = until(guide(), "hotel")
    teller.reply("hotel", no())
    until(teller, "bus").reply("bus", no())
    spans = told(run(teller))
    first, second = [span for span in spans if span.name == "rollback trip"]
    assert first.span_id != second.span_id
    assert first.end_ns <= second.start_ns
    assert of(spans, "trip").attributes[names.ERROR_TYPE] == "SCOPE_FAILED"
    assert_one_tree(teller, spans)


def test_a_step_that_is_run_again_has_spans_of_its_own_under_new_ids() -> None:
    teller = until(guide(), "load")
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("trip")))
    spans = told(run(teller))
    rollback, root = by_name(spans)["rollback trip"], by_name(spans)["saga everything"]
    assert rollback.parent_id == root.span_id
    flights = [span for span in spans if span.name == "step flight"]
    assert [span.attributes.get(names.SAGA_RUN) for span in flights] == [None, 1]
    calls = [span for span in attempts(spans, "flight") if span.attributes[names.SAGA_OPERATION] == "forward"]
    assert [span.attributes[names.SAGA_ATTEMPT] for span in calls] == [1, 1]
    assert [span.attributes.get(names.SAGA_MANUAL_EPOCH) for span in calls] == [None, 1]
    assert [span.parent_id for span in calls] == [span.span_id for span in flights]
    assert of(spans, "flight", "compensate").links == (SpanLink(CALLER.trace_id, calls[0].span_id),)
    assert {names.OPERATOR_EVENT, names.RESET_EVENT} <= set(event_names(root))
    assert_one_tree(teller, spans)


def test_a_child_is_linked_to_the_attempt_that_started_it() -> None:
    spans = told(run(guide(parent=PARENT)))
    link = (SpanLink(PARENT.trace_id, PARENT.span_id),)
    for name in ("saga.start", "saga everything"):
        span = by_name(spans)[name]
        assert span.links == link
        assert span.attributes[names.SAGA_PARENT_ID] == "trip-1"


def test_an_attempt_that_is_a_child_says_so_and_is_no_rpc() -> None:
    (attempt,) = attempts(told(run(guide())), "child")
    assert attempt.name == "child hotel_booking"
    assert attempt.attributes[names.SAGA_CHILD] == "hotel_booking/r7"
    assert not [key for key in attempt.attributes if key in {names.RPC_METHOD, names.SERVER_ADDRESS}]


def test_a_completed_child_that_is_undone_later_has_a_compensation_and_no_second_root() -> None:
    teller = run(guide(parent=PARENT))
    before = told(teller)
    teller.tell(UndoChild(reason="the trip is off"))
    run(teller)
    assert teller.state.status is SagaStatus.COMPENSATED
    after = told(teller)[len(before) :]
    root = by_name(before)["saga everything"]
    assert root.attributes[names.SAGA_STATUS] == "COMPLETED"
    assert "saga everything" not in by_name(after)
    compensation = by_name(after)["saga.compensation"]
    assert (compensation.parent_id, compensation.attributes[names.SAGA_CAUSE]) == (root.span_id, "PARENT")
    assert of(after, "reserve[3]", "compensate").parent_id == compensation.span_id
    assert_one_tree(teller, told(teller))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_runtime_injects_the_ids_that_are_told_afterwards(seed: int) -> None:
    teller = roaming(Random(seed))
    # A call may be opened and given up in one decision, and then it is never sent.
    assert {span_id for _, span_id in teller.injected} <= injected(record.event for record in teller.records)
    assert teller.injected
