"""The rules about the stream as such: its writers, its row, its revision, its bounds, and who is named in it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import StepId
from orchestrator.limits import ATTEMPTS_MAX, ITEMS_MAX, SIGNALS_MAX
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    OperatorActed,
    SagaCompleted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    SkipReason,
    StepBegan,
    StepSettled,
    StepSkipped,
)
from orchestrator.saga.plan import Operation
from orchestrator.verify import INVARIANTS
from tests.kit.machine import report
from tests.unit.verify.histories import (
    again,
    crashed,
    listed,
    mended,
    waited,
)
from tests.unit.verify.samples import (
    Sample,
    added,
    changed,
    completed,
    removed,
)

UNDO = Operation.COMPENSATE
A, B, C = map(StepId, "abc")
BOOK, PAY, SHIP = map(StepId, ("book", "pay", "ship"))


def an_attempt_has_an_older_epoch_than_its_record() -> Sample:
    sample = crashed()
    return changed_keeping_epochs(sample, sample.find(AttemptOpened, step=PAY), epoch=1)


def changed_keeping_epochs(sample: Sample, at: int, **fields: object) -> Sample:
    event = replace(sample.events[at], **fields)  # type: ignore[arg-type]  # the caller names the event's own fields
    records = list(sample.records)
    records[at] = replace(records[at], event=event)
    return replace(sample, records=tuple(records))


def a_row_was_written_by_an_older_writer() -> Sample:
    sample = crashed()
    return replace(sample, row=replace(sample.row, epoch=2))


def another_writer_says_how_a_call_ended() -> Sample:
    sample = crashed()
    at = sample.find(AttemptSettled, step=PAY, operation=Operation.FORWARD)
    return changed_keeping_epochs(sample, at, report=report("UNAVAILABLE"))


def a_row_tells_another_start() -> Sample:
    sample = completed()
    return replace(sample, row=replace(sample.row, started_at=sample.row.started_at + 1))


def a_row_names_another_request() -> Sample:
    sample = completed()
    return replace(sample, row=replace(sample.row, request_id="r9"))


def its_row_names_another_revision() -> Sample:
    sample = completed()
    return replace(sample, row=replace(sample.row, revision="r2"))


def it_is_read_by_another_revision() -> Sample:
    sample = completed()
    return replace(sample, plan=replace(sample.plan, revision="r2"))


def nobody_is_named_who_left_it() -> Sample:
    sample = mended()
    return removed(sample, sample.find(OperatorActed))


def who_left_it_was_at_another_step() -> Sample:
    sample = mended()
    return changed(sample, sample.find(OperatorActed), step=B)


def nobody_is_named_who_had_it_run_again() -> Sample:
    sample = again()
    return removed(sample, sample.find(OperatorActed))


def nobody_is_named_who_ended_it() -> Sample:
    sample = completed()
    ended = sample.events[-1]
    assert isinstance(ended, SagaCompleted)
    return changed_end(sample, SagaTerminated(at=ended.at, started_at=ended.started_at, left=()))


def changed_end(sample: Sample, end: SagaTerminated) -> Sample:
    return sample.with_events([*sample.events[:-1], end])


def nobody_is_named_who_passed_over_it() -> Sample:
    sample = completed()
    at = sample.find(AttemptOpened, step=SHIP)
    return added(sample, at, StepSkipped(at=sample.events[at].at, step=SHIP, reason=SkipReason.OPERATOR))


def nobody_is_named_who_said_what_is_true() -> Sample:
    sample = completed()
    return changed(sample, sample.find(StepSettled, step=PAY), reason=SettleReason.RESOLVED)


def somebody_gives_no_reason() -> Sample:
    sample = mended()
    return changed(sample, sample.find(OperatorActed), reason="")


def a_call_is_made_for_ever() -> Sample:
    sample = completed()
    return changed(sample, sample.find(AttemptOpened, step=PAY), attempt=ATTEMPTS_MAX + 1)


def a_list_is_without_end() -> Sample:
    sample = listed()
    return changed(sample, sample.find(StepBegan), count=ITEMS_MAX + 1)


def it_is_sent_signals_without_end() -> Sample:
    sample = waited()
    at = sample.find(SignalReceived)
    signal = sample.events[at]
    assert isinstance(signal, SignalReceived)
    return added(sample, at, *(replace(signal, request_id=f"x{number}") for number in range(SIGNALS_MAX)))


PLANTED: list[tuple[str, Callable[[], Sample]]] = [
    ("I3", an_attempt_has_an_older_epoch_than_its_record),
    ("I3", a_row_was_written_by_an_older_writer),
    ("I4", a_row_tells_another_start),
    ("I4", a_row_names_another_request),
    ("I33", another_writer_says_how_a_call_ended),
    ("I41", its_row_names_another_revision),
    ("I41", it_is_read_by_another_revision),
    ("I43", nobody_is_named_who_left_it),
    ("I43", who_left_it_was_at_another_step),
    ("I43", nobody_is_named_who_had_it_run_again),
    ("I43", nobody_is_named_who_ended_it),
    ("I43", nobody_is_named_who_passed_over_it),
    ("I43", nobody_is_named_who_said_what_is_true),
    ("I43", somebody_gives_no_reason),
    ("I44", a_call_is_made_for_ever),
    ("I44", a_list_is_without_end),
    ("I44", it_is_sent_signals_without_end),
]


@pytest.mark.parametrize(("invariant", "spoil"), PLANTED, ids=[f"{name}-{how.__name__}" for name, how in PLANTED])
def test_a_planted_violation_is_found(invariant: str, spoil: Callable[[], Sample]) -> None:
    findings, _ = spoil().check()
    found = [violation for violation in findings.violations if violation.invariant == invariant]
    assert found, f"only {list(map(str, findings.violations))}"
    assert INVARIANTS[invariant] in str(found[0])


def test_a_row_whose_records_are_all_lost_is_found_rather_than_raised() -> None:
    findings, _ = replace(completed(), records=()).check()
    assert findings.by_invariant["I4"] > 0
