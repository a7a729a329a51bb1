"""The rules about how calls are repeated, how a saga turns back, what time brings about, and who is named."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import StepId
from orchestrator.limits import ALERT_ATTEMPTS, ATTEMPTS_MAX, ITEMS_MAX, SIGNALS_MAX, UNDO_PARALLEL_MAX
from orchestrator.saga.commands import RerunFromStep, ResolveStep, SkipStep
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    AttentionReason,
    CancelRequested,
    CompensationBegan,
    OperatorActed,
    RetryScheduled,
    RollbackBegan,
    SagaCompleted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    SkipReason,
    StepBegan,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Outcome, Scope
from orchestrator.saga.state import SagaStatus
from orchestrator.testing.shorthand import plan, step
from orchestrator.verify import INVARIANTS
from tests.kit.machine import Machine, report, started
from tests.kit.parts import each, inside, scope, sleep, wait
from tests.unit.verify.samples import (
    PLAN,
    Sample,
    added,
    attempt,
    changed,
    compensated,
    completed,
    moved,
    removed,
    sample_of,
)

UNDO = Operation.COMPENSATE
A, B, C = map(StepId, "abc")
BOOK, PAY, SHIP = map(StepId, ("book", "pay", "ship"))


def shifted(sample: Sample, at: int, seconds: float) -> Sample:
    """Record one event at another instant."""
    events = sample.events
    events[at] = replace(events[at], at=events[at].at + seconds)
    return sample.with_events(events)


# --- sound histories --------------------------------------------------------------------------------------------------


def crashed() -> Sample:
    """The writer died while `book`, which keeps its key, was called, and again while `pay` was."""
    machine = started(PLAN).replies("check")
    epochs = [1] * len(machine.events)
    machine.crash()
    epochs += [2] * (len(machine.events) - len(epochs))
    machine.replies("book")
    epochs += [2] * (len(machine.events) - len(epochs))
    machine.crash()
    machine.pass_time(60)
    machine.reply("pay.undo")
    machine.reply("book.undo")
    epochs += [3] * (len(machine.events) - len(epochs))
    sample = sample_of(machine)
    records = tuple(replace(record, epoch=epoch) for record, epoch in zip(sample.records, epochs, strict=True))
    return replace(sample, records=records, row=replace(sample.row, epoch=epochs[-1]))


WAITING = plan(sleep("nap", for_s=60.0), wait("a", "nap", timeout_s=30.0), step("b", "a"))


def waited() -> Sample:
    machine = started(WAITING)
    machine.pass_time(60)
    machine.signal("go", "r1")
    return sample_of(machine.replies("b"))


def waited_in_vain() -> Sample:
    machine = started(WAITING)
    machine.pass_time(60)
    machine.pass_time(30)
    return sample_of(machine)


def late() -> Sample:
    """The saga's own deadline passes while `b` is called, and its undo takes too long."""
    machine = started(plan(step("a"), step("b", "a", timeout_s=99.0), forward_s=5.0)).replies("a")
    machine.pass_time(5)
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "UNAVAILABLE")
    machine.pass_time(400)
    machine.reply("a.undo")
    return sample_of(machine)


def late_scope() -> Sample:
    """A scope's time is over while its member sleeps; its alternative has its own time, and is over as well."""
    body = Scope(steps=(A,), otherwise=(B,), timeout_s=10.0)
    trip = replace(scope("trip", members=["a"], otherwise=["b"]), body=body)
    machine = started(plan(trip, inside("trip", sleep("a", for_s=99.0)), inside("trip", sleep("b", for_s=99.0))))
    machine.pass_time(10)
    machine.pass_time(10)
    return sample_of(machine)


LIST = plan(each(step("a"), 4, parallel=2), step("b", "a"))


def listed() -> Sample:
    machine = started(LIST)
    for index in range(4):
        machine.reply(f"a[{index}]")
    return sample_of(machine.replies("b"))


def wide() -> Sample:
    """More steps are undone than may be at once."""
    names = [f"s{number}" for number in range(UNDO_PARALLEL_MAX + 4)]
    machine = started(plan(*(step(name) for name in names), step("last", *names))).replies(*names)
    machine.reply("last", "FAILED_PRECONDITION")
    while machine.status is not SagaStatus.COMPENSATED:
        machine.reply(f"{machine.calls[0].step}.undo")
    return sample_of(machine)


def stubborn() -> Sample:
    """An undo fails again and again, and a person is told while it is tried on."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    for _ in range(ALERT_ATTEMPTS + 2):
        machine.reply("a.undo", "UNAVAILABLE")
        machine.pass_time(100)
    machine.reply("a.undo", "NOT_FOUND")
    return sample_of(machine)


def beside() -> Machine:
    return started(plan(step("a"), step("b"), step("c", "a", "b")))


def stopped() -> Sample:
    """`a` fails while `b` is called."""
    machine = beside()
    machine.reply("a", "FAILED_PRECONDITION")
    machine.reply("b")
    machine.reply("b.undo")
    return sample_of(machine)


def cancelled() -> Sample:
    machine = beside().replies("a")
    machine.cancel("enough")
    machine.reply("b", "CANCELLED")
    machine.pass_time(100)
    for name in ("a", "b"):
        machine.reply(f"{name}.undo")
    return sample_of(machine)


PAID = plan(
    step("a"),
    step("pay", "a", pivot=True),
    step("tell", "pay", retriable=True),
)


def cancelled_at_the_pivot() -> Sample:
    machine = started(PAID).replies("a")
    machine.cancel("enough")
    return sample_of(machine.replies("pay", "tell"))


def mended() -> Sample:
    """An undo is refused; a person has it tried again, then leaves it."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    machine.tell(SkipStep(audit=machine.audit(), step=A))
    return sample_of(machine)


def resolved() -> Sample:
    """An undo is refused, and a person says that it was done by hand."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    machine.tell(ResolveStep(audit=machine.audit(), step=A, outcome=Outcome.APPLIED))
    return sample_of(machine)


def again() -> Sample:
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.tell(RerunFromStep(audit=machine.audit(), step=A))
    machine.reply("b", "CANCELLED")
    machine.pass_time(100)
    machine.reply("b.undo")
    machine.reply("a.undo")
    return sample_of(machine.replies("a", "b"))


SOUND = [
    crashed,
    waited,
    waited_in_vain,
    late,
    late_scope,
    listed,
    wide,
    stubborn,
    stopped,
    cancelled,
    cancelled_at_the_pivot,
    mended,
    resolved,
    again,
]


@pytest.mark.parametrize("make", SOUND)
def test_a_sound_history_breaks_no_rule(make: Callable[[], Sample]) -> None:
    findings, stream = make().check()
    assert list(map(str, findings.violations)) == []
    assert stream.state is not None
    assert stream.state.is_terminal


def test_every_rule_that_is_planted_here_is_held_against_something_sound() -> None:
    seen = {name for make in SOUND for name, count in make().check()[0].checked.items() if count}
    assert {invariant for invariant, _ in PLANTED} <= seen


# --- planted ----------------------------------------------------------------------------------------------------------


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


def a_call_that_may_stand_is_repeated() -> Sample:
    sample = completed()
    opened, settled = attempt(sample, "pay", 2)
    at = sample.find(AttemptSettled, step=PAY)
    doubtful = changed(sample, at, outcome=Outcome.UNKNOWN, report=report("UNAVAILABLE"))
    return added(doubtful, at + 1, opened, settled)


def a_lost_call_without_a_key_is_made_again() -> Sample:
    """What a recovery that forgets the open attempt would do."""
    sample = crashed()
    at = sample.find(StepSettled, step=PAY)
    return added(sample, at, *attempt(sample, "pay", 2))


def a_lost_call_is_taken_for_one_never_made() -> Sample:
    """And made again, what was recorded of it notwithstanding."""
    sample = a_lost_call_without_a_key_is_made_again()
    return changed(sample, sample.find(AttemptSettled, step=PAY), outcome=Outcome.NOT_APPLIED)


def a_lost_call_is_not_undone() -> Sample:
    """Its step ends as if it had not been applied, and the saga with nothing of it undone."""
    sample = crashed()
    lost = changed(sample, sample.find(AttemptSettled, step=PAY), outcome=Outcome.NOT_APPLIED)
    ended = changed(lost, lost.find(StepSettled, step=PAY), outcome=Outcome.NOT_APPLIED, undo_request=None)
    undo = [ended.find(kind, step=PAY, operation=UNDO) for kind in (AttemptOpened, AttemptSettled)]
    return removed(ended, *undo, ended.find(StepUndone, step=PAY))


def a_pause_is_cut_short() -> Sample:
    sample = compensated()
    at = sample.find(RetryScheduled, step=BOOK)
    event = sample.events[at]
    assert isinstance(event, RetryScheduled)
    return changed(sample, at, due_at=event.due_at + 60)


def a_list_has_more_items_under_way_than_it_may() -> Sample:
    sample = listed()
    return moved(sample, sample.find(AttemptOpened, step=StepId("a[2]")), sample.find(AttemptSettled))


def more_is_undone_at_once_than_may_be() -> Sample:
    sample = wide()
    last = max(at for at, event in enumerate(sample.events) if isinstance(event, AttemptOpened))
    first = sample.find(AttemptSettled, operation=UNDO)
    return moved(sample, last, first)


def an_undo_does_not_wait_until_its_call_can_arrive_no_more() -> Sample:
    sample = crashed()
    return shifted(sample, sample.find(AttemptOpened, step=PAY, operation=UNDO), -20)


def an_undo_has_less_than_its_time() -> Sample:
    sample = compensated()
    at = sample.find(AttemptOpened, step=PAY, operation=UNDO)
    return changed(sample, at, deadline_at=sample.events[at].at + 0.001)


def a_cancel_comes_while_it_is_being_undone() -> Sample:
    sample = compensated()
    at = sample.find(CompensationBegan) + 1
    return added(sample, at, CancelRequested(at=sample.events[at].at, reason="enough"))


def a_step_is_opened_again_while_it_is_being_undone() -> Sample:
    sample = compensated()
    at = sample.find(CompensationBegan) + 1
    return added(sample, at, StepReopened(at=sample.events[at].at, step=PAY, operation=Operation.FORWARD))


def a_failed_undo_is_forgotten() -> Sample:
    sample = late()
    return sample.with_events(sample.events[: sample.find(RetryScheduled, operation=UNDO)])


def a_failed_undo_is_taken_for_done() -> Sample:
    sample = compensated()
    return changed(
        sample,
        sample.find(AttemptSettled, step=PAY, operation=UNDO),
        outcome=Outcome.UNKNOWN,
        report=report("UNAVAILABLE"),
    )


def an_undo_that_was_done_is_not_recorded() -> Sample:
    sample = compensated()
    return removed(sample, sample.find(StepUndone, step=PAY))


def nobody_said_that_it_was_undone() -> Sample:
    sample = resolved()
    return removed(sample, sample.find(OperatorActed))


def nobody_is_told_of_an_undo_that_fails_for_ever() -> Sample:
    sample = stubborn()
    return removed(sample, sample.find(AttentionRaised, reason=AttentionReason.RETRYING))


def something_begins_after_a_cancel() -> Sample:
    sample = cancelled()
    return moved(sample, sample.find(AttemptOpened, step=B), sample.find(CancelRequested))


def a_cancelled_saga_completes() -> Sample:
    sample = completed()
    at = sample.find(AttemptSettled, step=SHIP)
    return added(sample, at, CancelRequested(at=sample.events[at].at, reason="enough"))


def something_begins_after_the_first_error() -> Sample:
    sample = stopped()
    opened = sample.events[sample.find(AttemptOpened, step=B)]
    assert isinstance(opened, AttemptOpened)
    return added(sample, sample.find(CompensationBegan), replace(opened, step=C))


def it_completes_in_spite_of_an_error() -> Sample:
    sample = completed()
    return changed(sample, sample.find(StepSettled, step=SHIP), outcome=Outcome.NOT_APPLIED)


def a_step_ends_twice() -> Sample:
    sample = completed()
    at = sample.find(StepSettled, step=PAY)
    return added(sample, at, sample.events[at])


def a_sibling_is_under_way_when_undoing_begins() -> Sample:
    """A sleeper, which has no call that could be seen open."""
    machine = started(plan(step("a"), sleep("nap"), step("b", "a")))
    machine.replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo")
    sample = sample_of(machine)
    return removed(sample, sample.find(StepSettled, step=StepId("nap")))


def a_sleeper_wakes_too_early() -> Sample:
    sample = waited()
    return shifted(sample, sample.find(StepSettled, step=StepId("nap")), -1)


def a_wait_is_given_up_too_early() -> Sample:
    sample = waited_in_vain()
    return shifted(sample, sample.find(StepSettled, step=A), -1)


def a_scope_is_given_up_too_early() -> Sample:
    sample = late_scope()
    return shifted(sample, sample.find(RollbackBegan), -1)


def an_alternative_is_given_up_too_early() -> Sample:
    sample = late_scope()
    return shifted(sample, sample.find(RollbackBegan, 1), -1)


def a_saga_is_given_up_too_early() -> Sample:
    sample = late()
    return shifted(sample, sample.find(CompensationBegan), -1)


def undoing_is_called_overdue_too_early() -> Sample:
    sample = late()
    return shifted(sample, sample.find(AttentionRaised, reason=AttentionReason.COMPENSATION_OVERDUE), -200)


def undoing_is_called_overdue_twice() -> Sample:
    sample = late()
    at = sample.find(AttentionRaised, reason=AttentionReason.COMPENSATION_OVERDUE)
    return added(sample, at, sample.events[at])


def a_wait_is_given_up_although_its_signal_has_come() -> Sample:
    sample, came = waited_in_vain(), waited()
    signal = came.events[came.find(SignalReceived)]
    return added(sample, sample.find(StepSettled, step=A), signal)


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
    ("I13", a_call_that_may_stand_is_repeated),
    ("I13", a_lost_call_without_a_key_is_made_again),
    ("I13", a_lost_call_is_taken_for_one_never_made),
    ("I14", a_pause_is_cut_short),
    ("I16", a_list_has_more_items_under_way_than_it_may),
    ("I16", more_is_undone_at_once_than_may_be),
    ("I18", a_lost_call_is_not_undone),
    ("I19", an_undo_does_not_wait_until_its_call_can_arrive_no_more),
    ("I22", an_undo_has_less_than_its_time),
    ("I22", a_cancel_comes_while_it_is_being_undone),
    ("I22", a_step_is_opened_again_while_it_is_being_undone),
    ("I23", a_failed_undo_is_forgotten),
    ("I23", a_failed_undo_is_taken_for_done),
    ("I23", an_undo_that_was_done_is_not_recorded),
    ("I23", nobody_said_that_it_was_undone),
    ("I23", nobody_is_told_of_an_undo_that_fails_for_ever),
    ("I26", something_begins_after_a_cancel),
    ("I26", a_cancelled_saga_completes),
    ("I27", something_begins_after_the_first_error),
    ("I27", it_completes_in_spite_of_an_error),
    ("I27", a_step_ends_twice),
    ("I27", a_sibling_is_under_way_when_undoing_begins),
    ("I30", a_sleeper_wakes_too_early),
    ("I30", a_wait_is_given_up_too_early),
    ("I30", a_scope_is_given_up_too_early),
    ("I30", an_alternative_is_given_up_too_early),
    ("I30", a_saga_is_given_up_too_early),
    ("I30", undoing_is_called_overdue_too_early),
    ("I30", undoing_is_called_overdue_twice),
    ("I31", a_wait_is_given_up_although_its_signal_has_come),
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
