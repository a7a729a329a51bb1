"""What people do to a saga, in its trace: repairs, runs from a step, terminations."""

from dataclasses import replace

from orchestrator.ids import StepId
from orchestrator.saga.commands import (
    RerunFromStep,
    ResolveStep,
    RetryStep,
    SkipStep,
    TerminateSaga,
)
from orchestrator.saga.events import AttemptOpened, AttemptSettled
from orchestrator.saga.plan import OnFailure, Operation, Outcome, StepKind
from orchestrator.saga.state import StepStatus
from orchestrator.telemetry import names
from tests.unit.telemetry.histories import unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    EVERYTHING,
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
from tests.unit.telemetry.trees import assert_one_tree, attempts, event_names, of, told

FORWARD = Operation.FORWARD
ASKED = plan_of("asked", step("reserve", for_each=items(2), on_failure=OnFailure.ASK), step("last", "reserve"))


def test_an_item_that_was_run_as_new_and_is_reset_later_takes_up_no_key_and_no_span_again() -> None:
    teller = guide(ASKED)
    teller.reply("reserve[0]", no())
    teller.tell(RetryStep(audit=AUDIT, step=StepId("reserve[0]"), as_new=True))
    for path in ("reserve[0]", "reserve[1]"):
        teller.reply(path, replied())
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("reserve")))
    run_plain(teller)
    opened = [r.event for r in teller.records if isinstance(r.event, AttemptOpened)]
    of_item = [each for each in opened if each.step == "reserve[0]" and each.operation is FORWARD]
    assert [(each.attempt, each.manual_epoch) for each in of_item] == [(1, 0), (2, 1), (1, 2)]
    assert len({each.key for each in of_item}) == 3
    assert_one_tree(teller, told(teller))


def test_a_person_who_repairs_is_told_with_verb_name_and_reason() -> None:
    teller = guide(ASKED)
    teller.reply("reserve[1]", no())
    teller.tell(SkipStep(audit=AUDIT, step=StepId("reserve[1]")))
    spans = told(run_plain(teller))
    root = by_name(spans)["saga asked"]
    acted = next(event for event in root.events if event.name == names.OPERATOR_EVENT)
    assert dict(acted.attributes) == {
        names.SAGA_VERB: "SKIP",
        names.SAGA_BY: "ada",
        names.SAGA_REASON: "looked into it",
        names.SAGA_STEP: "reserve[1]",
        names.SAGA_OPERATION: "forward",
    }
    assert names.CLEARED_EVENT in event_names(root)
    assert of(spans, "reserve[1]").attributes[names.SAGA_REASON] == "OPERATOR"
    assert_one_tree(teller, spans)


def test_what_a_person_resolves_after_it_was_told_is_not_told_twice() -> None:
    plan = plan_of("late", replace(step("one", undo=False, optional=True), kind=StepKind.COMPENSATABLE), step("two"))
    teller = guide(plan)
    teller.reply("one", unavailable(teller.calls()[0], teller.at))
    assert teller.state.steps[StepId("one")].status is StepStatus.UNSETTLED
    teller.tell(ResolveStep(audit=AUDIT, step=StepId("one"), outcome=Outcome.APPLIED))
    spans = told(run_plain(teller))
    assert of(spans, "one").attributes[names.SAGA_OUTCOME] == "UNKNOWN", "what was known when it was told"
    acted = next(e for e in by_name(spans)["saga late"].events if e.name == names.OPERATOR_EVENT)
    assert acted.attributes[names.SAGA_OUTCOME] == "APPLIED"
    assert_one_tree(teller, spans)


def test_what_is_run_again_while_it_runs_is_rolled_back_until_its_reset() -> None:
    teller = until(guide(), "hotel")
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("trip")))
    teller.reply("hotel", replied())
    spans = told(run(teller))
    rollback = by_name(spans)["rollback trip"]
    undos = [span for span in spans if span.attributes.get(names.SAGA_OPERATION) == "compensate"]
    mine = [span for span in undos if span.parent_id == rollback.span_id]
    assert {span.name for span in mine} == {"undo flight", "undo hotel"}
    assert all(rollback.start_ns <= span.start_ns <= span.end_ns <= rollback.end_ns for span in mine)
    assert rollback.attributes[names.SAGA_UNDONE_COUNT] == 2


def test_a_terminated_saga_leaves_no_span_without_its_parent() -> None:
    teller = until(guide(), "pay")
    teller.tell(TerminateSaga(audit=AUDIT))
    spans = told(teller)
    root = by_name(spans)["saga everything"]
    assert root.attributes[names.SAGA_STATUS] == root.attributes[names.ERROR_TYPE] == "TERMINATED"
    assert root.attributes[names.SAGA_LEFT_COUNT] == len(teller.records[-1].event.left)  # type: ignore[union-attr]
    assert of(spans, "pay").attributes[names.ERROR_TYPE] == "SAGA_ENDED"
    (attempt,) = attempts(spans, "pay")
    assert attempt.error is not None
    assert_one_tree(teller, spans)


def test_an_attempt_is_told_once_although_its_end_comes_after_the_sagas() -> None:
    teller = until(guide(), "load")
    teller.reply("load", replied(b"later"))
    teller.tell(TerminateSaga(audit=AUDIT))
    events = [record.event for record in teller.records]
    opened = next(e for e in reversed(events) if isinstance(e, AttemptOpened) and e.operation is Operation.AWAIT)
    late = AttemptSettled(
        at=teller.at + 1,
        step=opened.step,
        operation=opened.operation,
        attempt=opened.attempt,
        opened_at=opened.at,
        outcome=Outcome.APPLIED,
        report=replied(),
    )
    assert spans_of([*events, late], plan=EVERYTHING) == told(teller)


def test_a_request_to_stop_that_outlives_its_step_is_told_before_the_step_begins_anew() -> None:
    teller = until(guide(), "load")
    teller.reply("load", replied(b"later"))
    teller.tell(RerunFromStep(audit=AUDIT, step=StepId("load")))
    teller.reply("load", replied(), Operation.AWAIT)
    spans = told(run(teller))
    stop = next(span for span in attempts(spans, "load") if span.attributes[names.SAGA_OPERATION] == "stop")
    assert stop.attributes[names.ERROR_TYPE] == "RESET"
    first = next(span for span in spans if span.name == "step load")
    assert stop.parent_id == first.span_id
    assert_one_tree(teller, spans)
