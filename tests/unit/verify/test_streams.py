from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from orchestrator.ids import StepId
from orchestrator.ports.journal import Record
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    SagaCompensated,
    SagaCompleted,
    StepSettled,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.state import SagaStatus
from orchestrator.verify import INVARIANTS, Violation
from orchestrator.verify.streams import RULES, RULES_OF_TARGETS, Check
from tests.unit.verify.samples import (
    Sample,
    Spoil,
    added,
    attempt,
    changed,
    compensated,
    completed,
    moved,
    removed,
    running,
)
from tests.unit.verify.test_pauses import PLANTED as PLANTED_IN_PAUSES
from tests.unit.verify.test_sequence import PLANTED as PLANTED_IN_SEQUENCE
from tests.unit.verify.test_shapes import PLANTED as PLANTED_IN_SHAPES
from tests.unit.verify.test_turning import PLANTED as PLANTED_IN_TURNING

ALWAYS = {"I1", "I2", "I3", "I4", "I5", "I11", "I12", "I14", "I15", "I25", "I27", "I33", "I35", "I41", "I44"}
"""Rules that something in every saga bears on."""
BOOK, PAY, SHIP = StepId("book"), StepId("pay"), StepId("ship")
UNDO = Operation.COMPENSATE


@pytest.mark.parametrize("make", [completed, compensated, running])
def test_what_the_machine_does_breaks_no_rule(make: Callable[[], Sample]) -> None:
    findings, stream = make().check()
    assert findings.violations == []
    assert stream.state is not None
    assert {name for name, count in findings.checked.items() if count} >= ALWAYS


def with_records(sample: Sample, *records: Record) -> Sample:
    return replace(sample, records=records)


def a_version_is_missing(_: Sample) -> Sample:
    sample = completed()
    return with_records(sample, *sample.records[:3], *sample.records[4:])


def an_older_writer_came_later(_: Sample) -> Sample:
    sample = completed()
    first, *rest = sample.records
    return with_records(sample, replace(first, epoch=2), *rest)


def the_row_is_behind(_: Sample) -> Sample:
    sample = completed()
    return replace(sample, row=replace(sample.row, version=sample.row.version - 1))


def the_row_has_another_status(_: Sample) -> Sample:
    sample = completed()
    return replace(sample, row=replace(sample.row, status=SagaStatus.RUNNING))


def a_step_settles_twice(_: Sample) -> Sample:
    sample = completed()
    at = sample.find(StepSettled, step=PAY)
    return added(sample, at, sample.events[at])


def the_end_owes_an_undo(sample: Sample) -> Sample:
    """M13 and I18: compensated, and `book` still stands."""
    opened = sample.find(AttemptOpened, step=BOOK, operation=UNDO)
    settled = sample.find(AttemptSettled, step=BOOK, operation=UNDO)
    return removed(sample, opened, settled, sample.find(StepUndone, step=BOOK))


def an_attempt_ends_twice(sample: Sample) -> Sample:
    at = sample.find(AttemptSettled, step=PAY)
    return added(sample, at, sample.events[at])


def an_attempt_never_ends(sample: Sample) -> Sample:
    return removed(sample, sample.find(AttemptSettled, step=PAY))


def a_second_attempt_has_a_key_of_its_own(sample: Sample) -> Sample:
    return changed(sample, sample.find(AttemptOpened, step=BOOK, attempt=2), key="6f1c4a2e-0000-4000-8000-00000000000f")


def an_undo_has_the_key_of_what_it_undoes(sample: Sample) -> Sample:
    forward = sample.events[sample.find(AttemptOpened, step=PAY)]
    assert isinstance(forward, AttemptOpened)
    return changed(sample, sample.find(AttemptOpened, step=PAY, operation=UNDO), key=forward.key)


def a_step_is_tried_once_too_often(sample: Sample) -> Sample:
    return added(sample, sample.find(StepSettled, step=BOOK), *attempt(sample, "book", 3))


def a_step_starts_before_its_predecessor_ends(_: Sample) -> Sample:
    sample = completed()
    return moved(sample, sample.find(AttemptOpened, step=PAY), sample.find(StepSettled, step=BOOK))


def a_step_starts_after_its_predecessor_failed(_: Sample) -> Sample:
    sample = completed()
    return changed(sample, sample.find(StepSettled, step=BOOK), outcome=Outcome.NOT_APPLIED)


def a_step_goes_forward_after_all(sample: Sample) -> Sample:
    return added(sample, sample.find(CompensationBegan) + 1, *attempt(sample, "pay", 2))


def what_was_refused_is_undone(sample: Sample) -> Sample:
    at = sample.find(StepUndone, step=PAY)
    event = sample.events[at]
    assert isinstance(event, StepUndone)
    return added(sample, at, replace(event, step=SHIP))


def an_undo_starts_while_a_call_is_open(sample: Sample) -> Sample:
    at = sample.find(AttemptSettled, step=SHIP)
    return moved(sample, at, sample.find(AttemptOpened, step=PAY, operation=UNDO))


def what_began_first_is_undone_first(sample: Sample) -> Sample:
    at = sample.find(AttemptOpened, step=BOOK, operation=UNDO)
    return moved(sample, at, sample.find(StepUndone, step=PAY))


def what_began_later_is_never_undone(sample: Sample) -> Sample:
    later = [sample.find(kind, step=PAY, operation=UNDO) for kind in (AttemptOpened, AttemptSettled)]
    moved_to_the_end = [sample.events[at] for at in later]
    left = removed(sample, *later, sample.find(StepUndone, step=PAY))
    return left.with_events([*left.events[:-1], moved_to_the_end[0]])


def something_follows_the_end(_: Sample) -> Sample:
    sample = completed()
    return added(sample, sample.find(SagaCompleted) + 1, sample.events[sample.find(StepSettled, step=PAY)])


def it_ends_twice(sample: Sample) -> Sample:
    return added(sample, len(sample.events), sample.events[sample.find(SagaCompensated)])


def nobody_will_wake_it(_: Sample) -> Sample:
    sample = running()
    assert sample.row.wake_at is not None
    return replace(sample, row=replace(sample.row, wake_at=None))


PLANTED: list[tuple[str, Spoil]] = [
    ("I1", a_version_is_missing),
    ("I2", an_older_writer_came_later),
    ("I4", the_row_is_behind),
    ("I4", the_row_has_another_status),
    ("I5", a_step_settles_twice),
    ("I5", the_end_owes_an_undo),
    ("I11", an_attempt_ends_twice),
    ("I11", an_attempt_never_ends),
    ("I12", a_second_attempt_has_a_key_of_its_own),
    ("I12", an_undo_has_the_key_of_what_it_undoes),
    ("I14", a_step_is_tried_once_too_often),
    ("I15", a_step_starts_before_its_predecessor_ends),
    ("I15", a_step_starts_after_its_predecessor_failed),
    ("I17", a_step_goes_forward_after_all),
    ("I18", the_end_owes_an_undo),
    ("I18", what_was_refused_is_undone),
    ("I19", an_undo_starts_while_a_call_is_open),
    ("I20", what_began_first_is_undone_first),
    ("I20", what_began_later_is_never_undone),
    ("I25", something_follows_the_end),
    ("I25", it_ends_twice),
    ("I35", nobody_will_wake_it),
]


@pytest.mark.parametrize(("invariant", "spoil"), PLANTED, ids=[f"{name}-{how.__name__}" for name, how in PLANTED])
def test_a_planted_violation_is_found(invariant: str, spoil: Spoil) -> None:
    findings, _ = spoil(compensated()).check()
    found = [violation for violation in findings.violations if violation.invariant == invariant]
    assert found, f"only {dict(findings.by_invariant)}"
    assert found[0].saga_id == "s"
    assert INVARIANTS[invariant] in str(found[0])


ALL_PLANTED: list[tuple[str, Callable[[], Sample]]] = [
    *((name, partial(how, compensated())) for name, how in PLANTED),
    *PLANTED_IN_SHAPES,
    *PLANTED_IN_TURNING,
    *PLANTED_IN_PAUSES,
    *PLANTED_IN_SEQUENCE,
]


@pytest.mark.parametrize(
    ("invariant", "rule"), RULES + RULES_OF_TARGETS, ids=lambda each: getattr(each, "__name__", each)
)
def test_every_rule_finds_something_that_was_planted(invariant: str, rule: Check) -> None:
    streams = (spoil().check()[1] for name, spoil in ALL_PLANTED if name == invariant)
    assert any(isinstance(found, Violation) for stream in streams for found in rule(stream))


def test_every_invariant_of_streams_has_a_planted_violation() -> None:
    assert {name for name, _ in ALL_PLANTED} == {"I5", *(name for name, _ in RULES + RULES_OF_TARGETS)}


def test_attempts_whose_target_is_to_blame_cost_no_budget() -> None:
    sample = compensated()
    opened, settled = attempt(sample, "book", 3)
    assert isinstance(settled, AttemptSettled)
    blamed = replace(settled, report=replace(settled.report, code="UNIMPLEMENTED"))
    findings, _ = added(sample, sample.find(StepSettled, step=BOOK), opened, blamed).check()
    assert findings.by_invariant["I14"] == 0


def test_a_violation_names_its_records() -> None:
    sample = compensated()
    spoilt = a_step_goes_forward_after_all(sample)
    findings, _ = spoilt.check()
    found = next(violation for violation in findings.violations if violation.invariant == "I17")
    assert found.versions == (sample.find(CompensationBegan) + 2,)
    assert f"(records {found.versions[0]})" in str(found)


def test_a_stream_that_does_not_fold_is_still_held_against_what_needs_no_fold() -> None:
    findings, stream = a_step_goes_forward_after_all(compensated()).check()
    assert stream.state is None
    assert {"I5", "I17"} <= set(findings.by_invariant)
