"""T7: who cancels, signals or repairs a saga, and the parent that undoes it, are linked to, each where it shows."""

from collections import Counter
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded by hypothesis)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ids import StepId
from orchestrator.limits import SPAN_EVENTS_MAX
from orchestrator.saga.commands import (
    CancelSaga,
    PauseSaga,
    RerunFromStep,
    ResumeSaga,
    RetryStep,
    SkipStep,
    TerminateSaga,
    UndoChild,
)
from orchestrator.saga.events import CancelRequested, CompensationBegan, OperatorActed, Phase, Report, SignalReceived
from orchestrator.saga.plan import OnFailure, Operation
from orchestrator.telemetry import names
from orchestrator.telemetry.spandata import SpanData, SpanLink
from orchestrator.values import TraceContext
from tests.unit.telemetry.shapes import (
    AUDIT,
    PARENT,
    SENDER,
    UNDOER,
    Guide,
    guide,
    items,
    no,
    plan_of,
    replied,
    roaming,
    run,
    run_plain,
    step,
    until,
)
from tests.unit.telemetry.test_rollover import DAY_S, LONG, days
from tests.unit.telemetry.test_rollover_at_random import BOUNDS, SEEDS
from tests.unit.telemetry.test_spans import by_name
from tests.unit.telemetry.trees import assert_one_tree, attempts, event_names, of, roots, told

TRACED = replace(AUDIT, trace=SENDER)
TO_SENDER, TO_UNDOER = SpanLink(SENDER.trace_id, SENDER.span_id), SpanLink(UNDOER.trace_id, UNDOER.span_id)
PAIR = plan_of("pair", step("one", on_failure=OnFailure.ASK), step("two", "one"))


def links_out(spans: list[SpanData]) -> Counter[tuple[int, int]]:
    """What lies in nobody's trace but the sender's or the parent's."""
    outside = {SENDER.trace_id, PARENT.trace_id}
    return Counter((link.trace_id, link.span_id) for s in spans for link in s.links if link.trace_id in outside)


def senders(teller: Guide) -> Counter[tuple[int, int]]:
    traces = [
        record.event.trace
        for record in teller.records
        if isinstance(record.event, SignalReceived | CancelRequested | OperatorActed | CompensationBegan)
    ]
    return Counter((trace.trace_id, trace.span_id) for trace in traces if trace is not None)


@settings(max_examples=120, deadline=None)
@given(seed=SEEDS, bounds=BOUNDS | st.none())
def test_everybody_who_was_traced_is_linked_to_once(seed: int, bounds: object) -> None:
    teller = roaming(Random(seed)) if bounds is None else roaming(Random(seed), bounds=bounds)  # type: ignore[arg-type]  # of the strategy's own type
    if not teller.state.is_terminal:
        return
    expected = senders(teller)
    if teller.parent is not None:
        expected[PARENT.trace_id, PARENT.span_id] += 2  # the child's root and its start
    assert links_out(told(teller)) == expected


def test_random_histories_have_traced_senders_of_every_kind() -> None:
    seen: Counter[str] = Counter()
    for seed in range(100):
        for record in roaming(Random(seed)).records:
            event = record.event
            if isinstance(event, SignalReceived | CancelRequested | OperatorActed | CompensationBegan):
                seen[f"{type(event).__name__} {'traced' if event.trace else 'untraced'}"] += 1
    kinds = ("SignalReceived", "CancelRequested", "OperatorActed", "CompensationBegan")
    assert all(seen[f"{kind} {word}"] > 1 for kind in kinds for word in ("traced", "untraced")), seen


def test_a_cancelled_saga_links_to_who_cancelled_it() -> None:
    teller = guide(PAIR)
    teller.tell(CancelSaga(reason="no longer wanted", trace=SENDER))
    spans = told(run_plain(teller))
    root = by_name(spans)["saga pair"]
    assert root.links == (TO_SENDER,)
    assert event_names(root) == [names.CANCEL_EVENT]
    assert [span.name for span in spans if TO_SENDER in span.links] == ["saga pair"], "once, where its event is"


@pytest.mark.parametrize("trace", [None, TraceContext(trace_id=7, span_id=0, sampled=True)])
def test_nobody_is_linked_to_who_has_no_span(trace: TraceContext | None) -> None:
    teller = guide(PAIR)
    teller.tell(CancelSaga(reason="", trace=trace))
    assert not any(span.links for span in told(run_plain(teller)) if not span.name.startswith("undo "))


def test_a_cancel_that_finds_it_cancelled_already_is_not_linked_to() -> None:
    teller = guide(PAIR)
    teller.tell(CancelSaga(reason="", trace=SENDER))
    teller.tell(CancelSaga(reason="", trace=UNDOER))
    assert by_name(told(run_plain(teller)))["saga pair"].links == (TO_SENDER,)


def test_a_step_that_a_person_retries_links_the_saga_to_the_person() -> None:
    teller = guide(PAIR)
    teller.reply("one", no())
    teller.tell(RetryStep(audit=TRACED, step=StepId("one")))
    spans = told(run_plain(teller))
    root = by_name(spans)["saga pair"]
    assert root.links == (TO_SENDER,)
    assert names.OPERATOR_EVENT in event_names(root)
    assert event_names(of(spans, "one")) == [names.REOPENED_EVENT]
    assert_one_tree(teller, spans)


def test_every_verb_of_a_person_is_linked_to() -> None:
    teller = guide(plan_of("asked", step("reserve", for_each=items(2), on_failure=OnFailure.ASK), step("last")))
    teller.reply("reserve[1]", no())
    moves = (
        PauseSaga(audit=TRACED),
        ResumeSaga(audit=TRACED),
        SkipStep(audit=TRACED, step=StepId("reserve[1]")),
        RerunFromStep(audit=TRACED, step=StepId("reserve")),
        TerminateSaga(audit=TRACED),
    )
    for move in moves:
        teller.tell(move)
    root = by_name(told(teller))["saga asked"]
    assert event_names(root).count(names.OPERATOR_EVENT) == len(root.links) == len(moves)


def test_who_acts_in_a_later_part_of_the_trace_is_linked_to_from_that_part() -> None:
    teller = days(guide(LONG), "one")
    teller.tell(CancelSaga(reason="changed our mind", trace=SENDER))
    first, second = roots(told(run_plain(teller)))
    assert TO_SENDER in second.links
    assert TO_SENDER not in first.links


def test_a_completed_childs_compensation_links_to_the_attempt_of_its_parent_that_undoes_it() -> None:
    teller = run(guide(parent=PARENT))
    before = told(teller)
    teller.tell(UndoChild(reason="the trip is off", trace=UNDOER))
    teller.tell(UndoChild(reason="the trip is off", trace=SENDER))  # asked again after a crash, it is under way
    after = told(run(teller))[len(before) :]
    assert by_name(after)["saga.compensation"].links == (TO_UNDOER,)
    assert [span.name for span in after if TO_UNDOER in span.links] == ["saga.compensation"]


def test_a_child_that_is_undone_days_after_its_end_has_the_link_in_its_new_part() -> None:
    teller = run_plain(guide(PAIR, parent=PARENT))
    before = told(teller)
    teller.at += 2 * DAY_S
    teller.tell(UndoChild(reason="the trip is off", trace=UNDOER))
    after = told(run_plain(teller))[len(before) :]
    compensation = by_name(after)["saga.compensation"]
    assert compensation.links == (TO_UNDOER,)
    assert compensation.trace_id != before[0].trace_id


def test_a_child_that_is_undone_on_its_way_is_a_cancelled_one() -> None:
    teller = until(guide(parent=PARENT), "load")
    teller.tell(UndoChild(reason="the trip is off", trace=UNDOER))
    spans = told(run(teller))
    root = by_name(spans)["saga everything"]
    assert TO_UNDOER in root.links
    assert root.attributes[names.SAGA_CAUSE] == "CANCELLED"


def test_who_repairs_a_child_that_is_being_undone_is_linked_to_from_its_compensation() -> None:
    teller = run_plain(guide(PAIR, parent=PARENT))
    teller.tell(UndoChild(reason="the trip is off", trace=UNDOER))
    undo = next(call for call in teller.calls() if call.operation is Operation.COMPENSATE)
    teller.report(undo, no())
    teller.tell(RetryStep(audit=TRACED, step=undo.step))
    spans = told(run_plain(teller))
    assert by_name(spans)["saga.compensation"].links == (TO_UNDOER, TO_SENDER)


def test_links_of_a_span_are_as_many_as_its_events() -> None:
    teller = guide(PAIR)
    for number in range(SPAN_EVENTS_MAX):
        audit = replace(AUDIT, trace=replace(SENDER, span_id=number + 1))
        teller.tell(PauseSaga(audit=audit))
        teller.tell(ResumeSaga(audit=audit))
    root = by_name(told(run_plain(teller)))["saga pair"]
    assert len(root.links) == len(root.events) == SPAN_EVENTS_MAX
    assert root.attributes[names.SAGA_EVENTS_UNTOLD] == SPAN_EVENTS_MAX


@pytest.mark.parametrize("tried_count", [1, 2])
def test_an_undo_that_the_end_of_the_saga_cuts_off_links_to_what_it_undoes_all_the_same(tried_count: int) -> None:
    teller = guide(plan_of("pair", step("one"), step("two", "one")))
    if tried_count == 2:
        teller.reply("one", Report(code="UNAVAILABLE", phase=Phase.NOT_SENT))
        teller.wait()
    teller.reply("one", replied())
    teller.reply("two", no())
    teller.tell(TerminateSaga(audit=AUDIT))
    spans = told(teller)
    undo = of(spans, "one", "compensate")
    assert undo.attributes[names.SAGA_REASON] == "SAGA_ENDED"
    last = [span for span in attempts(spans, "one") if span.attributes[names.SAGA_OPERATION] == "forward"][-1]
    assert last.attributes[names.SAGA_ATTEMPT] == tried_count
    assert undo.links == (SpanLink(last.trace_id, last.span_id),)
