"""I28: a child comes to what its parent's step says, and before its parent does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.ids import SagaId, StepId
from orchestrator.saga.commands import CancelSaga, ResolveStep, SkipStep, TerminateSaga, UndoChild
from orchestrator.saga.events import AttentionReason, Parent, Phase, Report
from orchestrator.saga.plan import CHILD_TARGET, OnFailure, Operation, Outcome
from orchestrator.saga.state import SagaStatus
from orchestrator.verify import Findings, Violation, verify
from orchestrator.verify.families import Families
from tests.unit.telemetry.histories import BEGIN_AT, CALLER, uid_of
from tests.unit.telemetry.shapes import AUDIT, Guide, call, guide, items, no, plan_of, replied, run_plain, step
from tests.unit.verify.samples import Sample, running, sample_of_guide
from tests.unit.verify.stores import Plans, kept

TOUR = plan_of("tour", step("book", body=call("hotel/r1", target=CHILD_TARGET)), step("pay", "book"))
HOTEL = plan_of("hotel", step("reserve"))
BOOK = StepId("book")


def parent(*, undone: bool = False) -> Guide:
    """A tour whose hotel is a child saga, paid or not."""
    told = guide(TOUR)
    told.reply("book", replied())
    told.reply("pay", no() if undone else replied())
    return run_plain(told)


def child(number: int = 2, *, of: str = "report-1", path: str = "book") -> Guide:
    whose = Parent(saga_id=SagaId(of), uid=uid_of(1), step=StepId(path), trace_id=1, span_id=2)
    told = Guide(number=number, trace=CALLER, at=BEGIN_AT, plan=HOTEL, parent=whose)
    told.start()
    return told


def completed(told: Guide) -> Guide:
    told.reply("reserve", replied())
    return told


def undone(told: Guide) -> Guide:
    completed(told).tell(UndoChild(reason="the tour is off"))
    return run_plain(told)


def judged(*sagas: Guide) -> list[Violation]:
    return judged_samples([sample_of_guide(each) for each in sagas])


def judged_samples(samples: Sequence[Sample]) -> list[Violation]:
    findings, families = Findings(), Families()
    for sample in samples:
        _, stream = sample.check()
        families.take(stream)
    families.check({sample.row.saga_id for sample in samples}, findings)
    return findings.violations


def test_a_family_that_agrees_breaks_no_rule() -> None:
    assert judged(parent(), completed(child())) == []
    assert judged(undone(child()), parent(undone=True)) == [], "in whatever order they are met"


def test_a_completed_child_of_a_parent_that_was_undone_is_found() -> None:
    (found,) = judged(parent(undone=True), completed(child()))
    assert (found.invariant, found.saga_id) == ("I28", "report-2")
    assert found.message == "book of its parent report-1 is UNDONE, and 1 of its children are COMPLETED"


def test_a_child_that_was_undone_although_its_parent_completed_is_found() -> None:
    (found,) = judged(parent(), undone(child()))
    assert found.message == "book of its parent report-1 is APPLIED, and 0 of its children are COMPLETED"


def test_two_completed_children_of_one_step_are_found() -> None:
    (found,) = judged(parent(), completed(child(2)), completed(child(3)))
    assert "2 of its children are COMPLETED" in found.message


def test_an_earlier_life_of_the_step_may_have_a_child_that_was_undone() -> None:
    assert judged(parent(), undone(child(2)), completed(child(3))) == []


@pytest.mark.parametrize("is_undone", [False, True])
def test_a_child_that_is_still_under_way_after_its_parent_ended_is_found(is_undone: bool) -> None:
    found = judged(parent(undone=is_undone), child())
    assert "it is RUNNING, and its parent report-1 is" in found[0].message


def test_a_child_whose_parent_is_not_in_the_journal_is_found() -> None:
    (found,) = judged(completed(child(of="report-9")))
    assert found.message == "the journal has no saga report-9, its parent"


def test_a_parent_that_was_forgotten_is_not_missed_and_its_children_are_said_not_to_be_checked() -> None:
    findings, families = Findings(), Families()
    _, stream = sample_of_guide(completed(child(of="report-9"))).check()
    families.take(stream)
    families.check({stream.row.saga_id}, findings, has_forgotten=True)
    assert findings.violations == []
    assert "forgotten" in findings.partly["I28"]


@pytest.mark.parametrize("is_undone", [False, True])
def test_a_child_that_the_journal_has_lost_is_found(is_undone: bool) -> None:
    (found,) = judged(parent(undone=is_undone))
    assert (found.invariant, found.saga_id) == ("I28", "report-1")
    assert "and the journal has no child of it" in found.message


def listed(*answers: Report) -> Guide:
    """Two hotels, each a child saga."""
    told = guide(plan_of("tours", step("book", body=call("hotel/r1", target=CHILD_TARGET), for_each=items(2))))
    for number, answer in enumerate(answers):
        told.reply(f"book[{number}]", answer)
    return run_plain(told)


def test_every_applied_item_has_a_child_of_its_own() -> None:
    first, second = (completed(child(number, path=f"book[{number - 2}]")) for number in (2, 3))
    assert judged(listed(replied(), replied()), first, second) == []
    (found,) = judged(listed(replied(), replied()), first)
    assert found.message == "it is COMPLETED, book[1] is APPLIED, and the journal has no child of it"


def test_what_was_never_begun_has_no_child_to_lose() -> None:
    assert judged(listed(no(), no())) == []


def test_a_step_of_which_a_person_said_what_is_true_need_not_have_a_child() -> None:
    told = guide(plan_of("tour", step("book", body=call("hotel/r1", target=CHILD_TARGET), on_failure=OnFailure.ASK)))
    told.reply("book", no())
    told.tell(ResolveStep(audit=AUDIT, step=BOOK, outcome=Outcome.APPLIED))
    assert run_plain(told).state.status is SagaStatus.COMPLETED
    assert judged(told) == []


def test_a_parent_that_was_terminated_need_not_have_its_child() -> None:
    told = guide(TOUR)
    told.reply("book", replied())
    told.tell(TerminateSaga(audit=AUDIT))
    assert judged(told) == []


def test_where_a_saga_cannot_be_read_no_child_is_called_lost() -> None:
    findings, families = Findings(), Families(unread=1)
    families.take(sample_of_guide(parent()).check()[1])
    families.check({SagaId("report-1"), SagaId("report-2")}, findings)
    assert findings.violations == []
    assert findings.partly["I28"] == "1 sagas cannot be read, and may be children that look lost"


async def test_a_store_with_a_saga_that_cannot_be_read_says_so() -> None:
    sample = running()
    journal = await kept(replace(sample, row=replace(sample.row, definition="unknown")))
    assert (await verify(journal, Plans())).partly["I28"].startswith("1 sagas cannot be read")
    assert "I28" not in (await verify(await kept(sample), Plans())).partly


def test_a_child_that_a_person_left_is_no_violation() -> None:
    told = guide(TOUR)
    told.reply("book", replied())
    told.reply("pay", no())
    told.reply("book", Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED), Operation.COMPENSATE)
    assert AttentionReason.UNDO_REFUSED in told.state.attention
    told.tell(SkipStep(audit=AUDIT, step=BOOK))
    assert told.state.is_terminal
    assert judged(told, completed(child())) == []


def test_a_parent_that_has_not_ended_says_nothing_yet() -> None:
    told = guide(TOUR)
    told.reply("book", replied())
    told.tell(CancelSaga(reason=""))
    assert judged(told, completed(child())) == []
