"""Every shape of saga is told in words and drawn, from the events that the API gives of real histories."""

from random import Random  # noqa: TID251  (seeded)

import pytest

from orchestrator.api.events import event as api_event
from orchestrator.cli.lines import ITEMS, EventLine, told
from orchestrator.cli.output import width_of
from orchestrator.cli.story import MARKS_MAX, Row, Waterfall, fold
from orchestrator.cli.waterfall import draw
from orchestrator.ids import StepId
from orchestrator.saga.commands import CancelSaga, RerunFromStep, RetryStep, SkipStep, TerminateSaga, UndoChild
from orchestrator.saga.plan import OnFailure, Operation
from orchestrator.v1 import saga_pb2 as pb
from tests.unit.cli.test_waterfall import BEGAN_S, to_text
from tests.unit.telemetry.histories import unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    PARENT,
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


def events_of(told_: Guide) -> list[pb.SagaEvent]:
    return [api_event(record, told_.plan, None) for record in told_.records]


def drawn(told_: Guide) -> Waterfall:
    return fold("R-1", events_of(told_))


def shown(told_: Guide, width: int = 100) -> list[str]:
    return [to_text(line) for line in draw(drawn(told_), width)]


def lines(told_: Guide, *, is_live: bool = False) -> list[EventLine]:
    return list(told(events_of(told_), is_live=is_live))


def row(told_: Guide, label: str) -> Row:
    (found,) = [each for each in drawn(told_).rows if each.label == label]
    return found


LISTED = plan_of("listed", step("reserve", for_each=items(12, parallel=3)), step("last", "reserve"))
TOLERANT = plan_of("tolerant", step("reserve", for_each=items(5, parallel=3, tolerate=4)))
ASKED = plan_of("asked", step("reserve", for_each=items(4), on_failure=OnFailure.ASK))


def listed(count: int, last: str = "") -> Guide:
    made = guide(LISTED)
    for _ in range(count):
        made.report(made.calls()[0], replied())
    if last:
        made.reply("last", no())
        run_plain(made)
    return made


# --- lines -----------------------------------------------------------------------------------------------------------


def test_the_items_of_a_list_are_one_line_until_something_else_happens() -> None:
    found = lines(listed(5))
    assert [line.kind for line in found] == ["SagaStarted", "StepBegan", ITEMS]
    assert found[1].text == "reserve began, 12 items"
    assert found[2].text == "reserve: 5 of 12 items done, 3 under way"
    assert found[2].sequence == f"3-{len(listed(5).records)}"


def test_the_undo_of_items_is_a_line_of_its_own() -> None:
    texts = [line.text for line in lines(listed(12, last="refused"))]
    assert "reserve: 12 of 12 items done" in texts
    assert "reserve: 12 of 12 items undone" in texts
    assert len(texts) < 15


def test_items_that_failed_are_counted_and_the_first_is_named() -> None:
    made = guide(TOLERANT)
    made.reply("reserve[1]", no())
    while made.calls():
        made.report(made.calls()[0], replied())
    (line,) = [each for each in lines(made) if each.kind == ITEMS]
    assert line.text.startswith("reserve: 4 of 5 items done, 1 failed (reserve[1] NOT_APPLIED: no: xxx")


def test_what_needs_a_person_and_what_a_person_did_is_never_folded() -> None:
    made = guide(ASKED)
    made.reply("reserve[1]", no())
    made.tell(RetryStep(audit=AUDIT, step=StepId("reserve[1]")))
    texts = [line.text for line in lines(run_plain(made))]
    assert any(text.startswith("reserve[1] stuck: FAILED") for text in texts)
    assert "ada retried reserve[1]: looked into it" in texts
    assert "reserve[1] call is tried again" in texts
    assert texts[-2:] == ["reserve APPLIED", "completed"]
    assert "reserve: 4 of 4 items done" in texts


def test_while_it_is_watched_a_list_tells_of_itself_at_each_tenth() -> None:
    made = listed(12)
    found = [line for line in lines(made, is_live=True) if line.kind == ITEMS]
    assert len(found) == 10
    assert found[0].text == "reserve: 2 of 12 items done, 2 under way"
    assert len([line for line in lines(made) if line.kind == ITEMS]) == 1
    sequences = [line.first for line in found], [line.last for line in found]
    assert all(last + 1 == first for last, first in zip(sequences[1], sequences[0][1:], strict=False))


def test_no_event_is_in_two_lines_and_none_in_no_line() -> None:
    for seed in range(60):
        made = roaming(Random(seed))
        for is_live in (False, True):
            numbers = [n for line in lines(made, is_live=is_live) for n in range(line.first, line.last + 1)]
            assert numbers == list(range(1, len(made.records) + 1))


def test_a_step_that_sleeps_says_how_long() -> None:
    made = until(guide(), "pay")
    assert "pause began, for 5.0 s at most" in [line.text for line in lines(made)]


# --- the waterfall ---------------------------------------------------------------------------------------------------


def test_a_list_is_one_row_with_its_counts() -> None:
    found = shown(listed(12, last="refused"))
    assert len([line for line in found if line.startswith("reserve")]) == 1
    assert any(line.strip() == "12 of 12 items done" for line in found)
    undo = next(line for line in found if line.startswith("undo reserve"))
    assert undo.endswith("UNDONE")
    assert any(line.strip() == "12 of 12 items undone" for line in found)
    assert not [line for line in found if "reserve[" in line]


def test_a_list_under_way_is_drawn_open() -> None:
    found = shown(listed(5))
    assert ">" in next(line for line in found if line.startswith("reserve"))
    assert any(line.strip() == "5 of 12 items done, 3 under way" for line in found)


def test_an_item_that_is_stuck_is_named() -> None:
    made = guide(ASKED)
    made.reply("reserve[1]", no())
    found = row(made, "reserve")
    assert (found.ending, found.note) == ("STUCK", "reserve[1] FAILED")


def test_sleeping_and_waiting_are_dots_and_a_signal_is_told() -> None:
    found = shown(run(guide()))
    for name in ("pause", "approval", "trip"):
        assert "·" in next(line for line in found if line.startswith(name))
    assert any(line.startswith("after 5.0 s: signal approved") for line in found)
    assert found[-1].endswith("· waiting")


def test_other_operations_of_a_step_are_listed_by_name() -> None:
    made = until(guide(), "pay")
    made.reply("pay", unavailable(made.calls()[0], made.at))
    made.reply("pay", replied(), Operation.PROBE)
    found = row(made, "pay")
    assert [(one.operation, one.number) for one in found.attempts] == [("", 1), ("probe", 1)]
    assert any("attempt 1 UNAVAILABLE 3 ms, probe 1 OK 3 ms" in line for line in shown(made))


def test_a_scope_that_was_rolled_back_has_a_row_for_it() -> None:
    made = until(guide(), "hotel")
    made.reply("hotel", no())
    run(made)
    found = row(made, "rollback trip")
    assert found.ending == "UNDONE"
    assert found.note.startswith("no: xxx")
    assert row(made, "trip").ending == "APPLIED"
    assert drawn(made).status == "COMPLETED"


def test_a_step_that_is_run_again_has_two_rows() -> None:
    made = until(guide(), "load")
    made.tell(RerunFromStep(audit=AUDIT, step=StepId("trip")))
    run(made)
    flights = [each for each in drawn(made).rows if each.label == "flight"]
    assert [each.ending for each in flights] == ["APPLIED", "APPLIED"]
    assert any("ada ran again from trip: looked into it" in line for line in shown(made))


def test_a_saga_that_a_person_ended_says_so() -> None:
    made = until(guide(), "pay")
    made.tell(TerminateSaga(audit=AUDIT))
    assert shown(made)[0].startswith("R-1  everything  TERMINATED in ")
    assert any("ada terminated the saga: looked into it" in line for line in shown(made))


def test_attention_that_is_cleared_is_gone() -> None:
    made = guide(ASKED)
    made.reply("reserve[1]", no())
    assert drawn(made).status == "NEEDS_ATTENTION"
    made.tell(SkipStep(audit=AUDIT, step=StepId("reserve[1]")))
    assert drawn(made).status == "RUNNING"


def test_a_child_names_its_parent_and_may_be_undone_after_its_end() -> None:
    made = run(guide(parent=PARENT))
    assert drawn(made).status == "COMPLETED"
    made.tell(UndoChild(reason="the trip is off"))
    assert (drawn(made).status, drawn(made).is_ended) == ("COMPENSATING", False)
    run(made)
    assert drawn(made).status == "COMPENSATED"
    assert "child of trip-1, step book" in shown(made)


def test_many_signals_are_counted_and_not_all_drawn() -> None:
    story = [pb.SagaEvent(sequence=1, type="SagaStarted", epoch=1)]
    for number in range(MARKS_MAX + 5):
        event = pb.SagaEvent(sequence=number + 2, type="SignalReceived", epoch=1, summary="signal tick")
        event.event_time.seconds = BEGAN_S
        story.append(event)
    found = [to_text(line) for line in draw(fold("R-1", story), 80)]
    assert "and 997 signals and verbs more" in found
    assert len(found) < 12


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_is_drawn_and_fits(seed: int) -> None:
    made = roaming(Random(seed))
    found = drawn(made)
    assert found.status == made.state.status.value
    assert found.is_ended == made.state.is_terminal
    for width in (60, 80, 140):
        assert all(width_of(to_text(line)) <= width for line in draw(found, width))
    assert not [each for each in found.rows if "[" in each.step]
    cancelled = until(guide(), "load")
    cancelled.tell(CancelSaga(reason=""))
    assert drawn(cancelled).status == "COMPENSATING"
