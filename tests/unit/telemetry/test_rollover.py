"""T9: the trace of a very long saga goes on in another one, linked to it; T1-T8 and T10 hold in each and between."""

from dataclasses import replace

import pytest

from orchestrator import ids
from orchestrator.ids import StepId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import SPAN_ITEMS_MAX, TRACE_PART_RECORDS_MAX, TRACE_PART_S_MAX
from orchestrator.saga.commands import CancelSaga, RerunFromStep, TerminateSaga, UndoChild
from orchestrator.saga.plan import ExpressionFailure, Operation, Plan, Scope, Step, Wait
from orchestrator.saga.traceparts import TraceBounds
from orchestrator.telemetry import names
from orchestrator.telemetry.reader import Reader
from orchestrator.telemetry.spandata import SpanData, SpanLink
from tests.unit.telemetry.doubles import FakePlans
from tests.unit.telemetry.histories import CALLER, UNSAMPLED, unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    EVERYTHING,
    PARENT,
    Guide,
    call,
    guide,
    items,
    no,
    plan_of,
    replied,
    run,
    run_plain,
    step,
    until,
)
from tests.unit.telemetry.test_spans import by_name, spans_of
from tests.unit.telemetry.trees import assert_one_tree, attempts, event_names, link_to_root, of, roots, told

DAY_S = 86_400.0
UID = guide().state.uid
SECOND = ids.part_trace_id(UID, 2)


# --- each way --------------------------------------------------------------------------------------------------------


def days(teller: Guide, path: str, count: float = 2) -> Guide:
    """Let the open call of a path take days."""
    teller.at += count * DAY_S
    teller.reply(path, replied())
    return teller


def long_plan(definition: str, *steps: Step) -> Plan:
    return replace(plan_of(definition, *steps), forward_s=100 * DAY_S)


LONG = long_plan("long", step("one"), step("two", "one"), step("three", "two"))


def test_a_step_that_begins_after_a_day_begins_in_a_second_trace() -> None:
    teller = days(guide(LONG), "one")
    spans = told(run_plain(teller))
    first, second = roots(spans)
    assert (first.trace_id, first.parent_id) == (CALLER.trace_id, CALLER.span_id)
    assert (second.trace_id, second.parent_id, second.parent_is_remote) == (SECOND, 0, False)
    assert first.name == second.name == "saga long"
    assert (first.attributes[names.SAGA_PART], second.attributes[names.SAGA_PART]) == (1, 2)
    assert first.attributes[names.SAGA_CONTINUED] is True
    assert second.attributes[names.SAGA_STATUS] == "COMPLETED"
    assert first.links == (link_to_root(2),)
    assert second.links == (link_to_root(1),)
    assert first.end_ns == second.start_ns
    assert of(spans, "one").trace_id == CALLER.trace_id
    assert of(spans, "two").trace_id == of(spans, "three").trace_id == SECOND
    assert attempts(spans, "two")[0].trace_id == SECOND
    assert {span.trace_state for span in spans} == {CALLER.state}
    assert_one_tree(teller, spans)


def test_a_second_part_is_findable_at_once() -> None:
    teller = days(guide(LONG), "one")
    start = by_name(told(teller))["saga.start"]
    assert (start.trace_id, start.span_id) == (SECOND, ids.start_span_id(UID, 2))
    assert start.parent_id == ids.root_span_id(UID, 2)
    assert start.start_ns == start.end_ns == roots(told(run_plain(teller)))[1].start_ns
    assert start.attributes[names.SAGA_PART] == 2
    assert start.attributes[names.SAGA_UID] == str(UID)
    assert start.links == (link_to_root(1),)


def test_a_service_is_told_the_trace_that_its_span_will_be_in() -> None:
    teller = guide(LONG)
    before = set(teller.injected)
    days(teller, "one")
    (after,) = teller.injected - before
    assert after == (SECOND, attempts(told(run_plain(teller)), "two")[0].span_id)


def test_a_saga_that_takes_a_day_or_less_says_nothing_of_parts() -> None:
    teller = guide(LONG)
    teller.at += TRACE_PART_S_MAX - 1
    teller.reply("one", replied())
    spans = told(run_plain(teller))
    assert {span.trace_id for span in spans} == {CALLER.trace_id}
    assert not [span for span in spans if names.SAGA_PART in span.attributes]


@pytest.fixture(scope="module")
def many() -> Guide:
    """More records than one part takes: a list whose items past the first 1,000 are counted, then another step."""
    reserve = step("reserve", for_each=items(MANY, parallel=50))
    teller = guide(plan_of("many", reserve, step("last", "reserve")))
    while not any(each.step == "last" for each in teller.calls()):
        teller.report(teller.calls()[0], replied())
    return run_plain(teller)


MANY = TRACE_PART_RECORDS_MAX // 3 + 5


def test_many_records_roll_a_trace_over_as_well(many: Guide) -> None:
    spans = told(many)
    assert of(spans, "reserve").trace_id == CALLER.trace_id
    assert of(spans, "last").trace_id == SECOND
    first, second = roots(spans)
    assert first.attributes[names.SAGA_SPANS_UNTOLD] == 2 * (MANY - SPAN_ITEMS_MAX)
    assert names.SAGA_SPANS_UNTOLD not in second.attributes
    assert_one_tree(many, spans)


async def test_the_reader_counts_records_as_the_machine_does(many: Guide) -> None:
    journal = MemoryJournal()
    for append in many.appends:
        await journal.append([append])
    spans, after, reader = list[SpanData](), 0, Reader(journal, FakePlans(many.plan))
    while after < len(many.records):
        read, entries = await reader.page({0: after}, 3_000)
        after, spans = read[0], spans + [span for entry in entries for span in entry.spans]
        reader.forget([0])  # and folds what was before from the stream
    assert spans == told(many)


def test_what_is_left_out_is_counted_in_the_part_where_it_would_have_been() -> None:
    reserve = step("reserve", for_each=items(SPAN_ITEMS_MAX + 3, parallel=50))
    teller = days(guide(long_plan("late", step("one"), reserve, step("two", "one"))), "one")
    assert teller.state.trace_parts.number == 2
    first, second = roots(told(run_plain(teller)))
    assert first.attributes[names.SAGA_SPANS_UNTOLD] == 2 * 3
    assert names.SAGA_SPANS_UNTOLD not in second.attributes


def test_undos_that_have_no_span_are_not_kept_in_mind() -> None:
    trip = step("trip", body=Scope(steps=(StepId("reserve"), StepId("hotel")), otherwise=()), undo=False)
    reserve = replace(step("reserve", for_each=items(SPAN_ITEMS_MAX + 3, parallel=50)), scope=StepId("trip"))
    hotel = replace(step("hotel", "reserve"), scope=StepId("trip"))
    teller = guide(long_plan("scoped", trip, reserve, hotel))
    while not any(each.step == "hotel" for each in teller.calls()):
        for each in teller.calls():
            teller.report(each, replied())
    teller.reply("hotel", no())
    assert len(teller.state.trace_parts.undos) <= SPAN_ITEMS_MAX
    run_plain(teller)
    assert len(teller.state.trace_parts.undos) == SPAN_ITEMS_MAX
    assert_one_tree(teller, told(teller))


def test_what_ends_with_the_record_that_it_begins_with_begins_no_part() -> None:
    skipped = step("two", "one", when=lambda _facts: False)
    teller = run_plain(days(guide(long_plan("short", step("one"), skipped)), "one"))
    assert teller.state.trace_parts.number == 1
    (root,) = roots(told(teller))
    assert event_names(root) == [names.SKIPPED_EVENT]
    broken = replace(call("broken"), render=lambda _facts: ExpressionFailure("no such field"))
    failing = run_plain(days(guide(long_plan("short", step("one"), step("two", "one", body=broken))), "one"))
    assert failing.state.trace_parts.number == 2, "the compensation, which begins with a later record"
    spans = told(failing)
    assert of(spans, "two").trace_id == CALLER.trace_id
    for each in (teller, failing):
        assert_one_tree(each, told(each))


def test_a_call_to_stop_that_outlives_its_step_holds_the_part_open() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=1.0)), "load")
    teller.reply("load", replied(b"later"))
    part = teller.state.trace_parts.part_of(StepId("load"), Operation.FORWARD)
    teller.at += 2
    teller.tell(CancelSaga(reason=""))
    assert teller.state.trace_parts.number == part + 1
    teller.reply("load", replied(), Operation.AWAIT)
    root_id = ids.root_span_id(UID, part)
    assert root_id not in {span.span_id for span in told(teller)}, "the call is not over, though its step is"
    spans = told(run(teller))
    root = next(span for span in spans if span.span_id == root_id)
    stop = next(span for span in attempts(spans, "load") if span.attributes[names.SAGA_OPERATION] == "stop")
    assert stop.trace_id == root.trace_id
    assert stop.end_ns == root.end_ns
    assert_one_tree(teller, spans)


def test_a_rollback_that_waits_for_a_call_to_stop_holds_its_part_open() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=1.0)), "hotel")
    teller.at += 2
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("trip")))
    part = teller.state.trace_parts.number
    teller.at += 2
    teller.wait()  # the pause of another branch is over, and what comes after it begins
    assert teller.state.trace_parts.number == part + 1
    assert ids.root_span_id(UID, part) not in {span.span_id for span in told(teller)}
    spans = told(run(teller))
    assert by_name(spans)["rollback trip"].parent_id == ids.root_span_id(UID, part)
    assert_one_tree(teller, spans)


def test_what_belongs_to_something_under_way_stays_with_it() -> None:
    wait = step("approval", body=Wait(signal="approved", type_name="shop.v1.Approval", timeout_s=90 * DAY_S))
    reserve = step("reserve", for_each=items(3, parallel=1))
    plan = long_plan("mixed", step("one"), reserve, wait, step("two", "one"))
    teller = days(guide(plan), "one")
    assert [span.name for span in roots(told(teller))] == [], "items and a wait are still under way in the first part"
    for item in range(3):
        teller.reply(f"reserve[{item}]", replied())
    teller.reply("two", replied())
    assert roots(told(teller)) == []
    teller.at += DAY_S
    teller.signal()
    spans = told(teller)
    assert {of(spans, f"reserve[{item}]").trace_id for item in range(3)} == {CALLER.trace_id}
    assert of(spans, "approval").trace_id == CALLER.trace_id
    assert of(spans, "two").trace_id == SECOND
    first, second = roots(spans)
    assert first.end_ns == second.end_ns == of(spans, "approval").end_ns
    assert first.end_ns > second.start_ns, "a part goes on beside the next as long as something of it is under way"
    assert_one_tree(teller, spans)


def test_a_part_is_told_as_soon_as_nothing_of_it_is_under_way() -> None:
    plan = long_plan("pair", step("one"), step("slow"), step("two", "one"), step("three", "two", "slow"))
    teller = days(guide(plan), "one")
    assert roots(told(teller)) == []
    teller.reply("slow", replied())
    (first,) = roots(told(teller))
    assert (first.span_id, first.end_ns) == (ids.root_span_id(UID), of(told(teller), "slow").end_ns)
    assert not teller.state.is_terminal


def test_a_member_that_begins_in_another_part_than_its_scope_links_to_it() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=1.0)), "flight")
    teller.at += 2
    teller.reply("flight", replied())
    spans = told(run(teller))
    trip, flight, hotel = of(spans, "trip"), of(spans, "flight"), of(spans, "hotel")
    assert flight.parent_id == trip.span_id
    assert flight.trace_id == trip.trace_id
    assert hotel.trace_id != trip.trace_id
    assert hotel.parent_id == ids.root_span_id(UID, 2)
    assert hotel.links == (SpanLink(trip.trace_id, trip.span_id),)
    assert_one_tree(teller, spans)


def test_a_scopes_rollback_stays_with_the_scope_and_links_to_what_it_undoes() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=1.0)), "flight")
    for path in ("flight", "hotel"):
        teller.at += 2
        teller.reply(path, no() if path == "hotel" else replied())
    spans = told(run(teller))
    trip, rollback, hotel = of(spans, "trip"), by_name(spans)["rollback trip"], of(spans, "hotel")
    assert hotel.trace_id != trip.trace_id
    assert rollback.trace_id == of(spans, "flight", "compensate").trace_id == trip.trace_id
    assert rollback.parent_id == trip.span_id
    assert_one_tree(teller, spans)


def test_what_is_run_again_is_undone_in_a_part_of_its_own_when_it_is_late() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=1.0)), "load")
    teller.at += 2
    before = teller.state.trace_parts.number
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("trip")))
    assert teller.state.trace_parts.number == before + 1
    spans = told(run(teller))
    rollback = by_name(spans)["rollback trip"]
    assert rollback.parent_id == ids.root_span_id(UID, before + 1)
    flights = [span for span in spans if span.name == "step flight"]
    assert flights[0].trace_id != rollback.trace_id
    undo = of(spans, "flight", "compensate")
    assert undo.trace_id == rollback.trace_id
    (link,) = undo.links
    assert link.trace_id == flights[0].trace_id
    assert_one_tree(teller, spans)


def test_a_late_compensation_is_in_a_part_of_its_own_and_links_to_each_part_that_it_undoes() -> None:
    teller = days(days(guide(LONG), "one"), "two")
    teller.at += 2 * DAY_S
    teller.tell(CancelSaga(reason="too late"))
    spans = told(run_plain(teller))
    compensation = by_name(spans)["saga.compensation"]
    fourth = ids.part_trace_id(UID, 4)
    assert (compensation.trace_id, compensation.parent_id) == (fourth, ids.root_span_id(UID, 4))
    for path, trace in (("one", CALLER.trace_id), ("two", SECOND)):
        undo = of(spans, path, "compensate")
        forward = next(span for span in attempts(spans, path) if span.attributes[names.SAGA_OPERATION] == "forward")
        assert (undo.trace_id, undo.parent_id) == (fourth, compensation.span_id)
        assert undo.links == (SpanLink(trace, forward.span_id),)
    assert [root.attributes.get(names.SAGA_STATUS) for root in roots(spans)] == [None, None, None, "COMPENSATED"]
    assert [root.error is not None for root in roots(spans)] == [False, False, False, True]
    assert_one_tree(teller, spans)


def test_an_undo_that_a_rollback_has_begun_stays_in_its_part_when_the_whole_saga_turns_back_later() -> None:
    teller = until(guide(bounds=TraceBounds(part_s_max=5.0)), "hotel")
    teller.reply("hotel", no())
    teller.at += 6
    teller.tell(CancelSaga(reason=""))
    undoing = next(call for call in teller.calls() if call.operation is Operation.COMPENSATE)
    assert undoing.step == "flight"
    teller.report(undoing, unavailable(undoing, teller.at))
    teller.wait()
    spans = told(run(teller))
    flight, compensation = of(spans, "flight", "compensate"), by_name(spans)["saga.compensation"]
    tries = [span for span in attempts(spans, "flight") if span.attributes[names.SAGA_OPERATION] == "compensate"]
    assert len(tries) == 2
    assert {span.trace_id for span in tries} == {flight.trace_id}
    assert compensation.trace_id != flight.trace_id
    assert flight.trace_id == by_name(spans)["rollback trip"].trace_id
    assert_one_tree(teller, spans)


def test_a_terminated_saga_leaves_no_part_without_its_span() -> None:
    plan = long_plan("pair", step("one"), step("slow"), step("two", "one"))
    teller = days(guide(plan), "one")
    teller.tell(TerminateSaga(audit=AUDIT))
    spans = told(teller)
    first, second = roots(spans)
    assert of(spans, "slow").trace_id == first.trace_id
    assert (
        of(spans, "slow").attributes[names.ERROR_TYPE] == of(spans, "two").attributes[names.ERROR_TYPE] == "SAGA_ENDED"
    )
    assert names.SAGA_STATUS not in first.attributes
    assert second.attributes[names.SAGA_STATUS] == "TERMINATED"
    assert_one_tree(teller, spans)


def test_events_are_on_the_part_in_which_they_happened() -> None:
    teller = guide(LONG)
    teller.try_(RerunFromStep(audit=AUDIT, step=StepId("nothing")))
    days(teller, "one")
    teller.tell(CancelSaga(reason="changed our mind"))
    spans = told(run_plain(teller))
    first, second = roots(spans)
    assert names.CANCEL_EVENT not in event_names(first)
    assert names.CANCEL_EVENT in event_names(second)


def test_a_child_links_to_its_parent_from_the_first_part_and_a_grandchild_to_the_part_that_began_it() -> None:
    teller = guide(EVERYTHING, parent=PARENT, bounds=TraceBounds(part_s_max=1.0))
    until(teller, "child")
    spans = told(run(teller))
    first, *later = roots(spans)
    assert SpanLink(PARENT.trace_id, PARENT.span_id) in first.links
    assert later
    assert not [span for span in later if SpanLink(PARENT.trace_id, PARENT.span_id) in span.links]
    assert all(span.attributes[names.SAGA_PARENT_ID] == "trip-1" for span in later)
    (attempt,) = attempts(spans, "child")
    assert (attempt.trace_id, attempt.span_id) in teller.injected, "what the child's parent link is made of"
    assert attempt.trace_id != CALLER.trace_id


def test_a_child_that_is_undone_days_after_its_end_has_a_part_for_it() -> None:
    teller = run_plain(guide(LONG, parent=PARENT))
    before = told(teller)
    teller.at += 2 * DAY_S
    teller.tell(UndoChild(reason="the trip is off"))
    run_plain(teller)
    after = told(teller)[len(before) :]
    (root,) = roots(after)
    assert (root.trace_id, root.links) == (SECOND, (link_to_root(1),))
    assert root.attributes[names.SAGA_STATUS] == "COMPENSATED"
    assert by_name(after)["saga.compensation"].parent_id == root.span_id
    assert by_name(before)["saga long"].attributes[names.SAGA_STATUS] == "COMPLETED"
    assert_one_tree(teller, told(teller))


def test_no_part_of_an_unsampled_saga_is_told_and_every_call_says_so() -> None:
    teller = Guide(number=1, trace=UNSAMPLED, plan=LONG)
    teller.start()
    days(teller, "one")
    run_plain(teller)
    assert teller.state.trace_parts.number == 2
    assert spans_of((record.event for record in teller.records), plan=LONG) == []
    assert teller.injected == set()
