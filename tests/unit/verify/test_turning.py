"""The rules about how calls are repeated, how a saga turns back, and what time brings about."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import StepId
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
    SettleReason,
    SignalReceived,
    StepReopened,
    StepSettled,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.testing.shorthand import plan, step
from orchestrator.verify import INVARIANTS
from tests.kit.machine import report, started
from tests.kit.parts import sleep
from tests.unit.verify.histories import (
    SOUND,
    cancelled,
    crashed,
    late,
    late_scope,
    listed,
    resolved,
    stopped,
    stubborn,
    waited,
    waited_in_vain,
    wide,
)
from tests.unit.verify.samples import (
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


def an_optional_step_turns_it_back() -> Sample:
    sample = compensated()
    turned = sample.events[sample.find(CompensationBegan)]
    assert isinstance(turned, CompensationBegan)
    assert turned.cause.step is not None
    failed = replace(sample.plan.steps[turned.cause.step], optional=True)
    return replace(sample, plan=replace(sample.plan, steps={**sample.plan.steps, failed.id: failed}))


def a_list_is_done_in_spite_of_its_failures() -> Sample:
    sample = listed()
    at = sample.find(StepSettled, step=StepId("a[1]"))
    return changed(sample, at, outcome=Outcome.NOT_APPLIED)


def a_list_fails_without_failures() -> Sample:
    sample = listed()
    return changed(
        sample, sample.find(StepSettled, step=A), outcome=Outcome.NOT_APPLIED, reason=SettleReason.ITEM_FAILED
    )


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


def a_wait_is_stopped_although_its_signal_has_come() -> Sample:
    sample = a_wait_is_given_up_although_its_signal_has_come()
    return changed(sample, sample.find(StepSettled, step=A), reason=SettleReason.STOPPED)


PLANTED: list[tuple[str, Callable[[], Sample]]] = [
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
    ("I27", an_optional_step_turns_it_back),
    ("I27", a_list_is_done_in_spite_of_its_failures),
    ("I27", a_list_fails_without_failures),
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
    ("I31", a_wait_is_stopped_although_its_signal_has_come),
]


@pytest.mark.parametrize(("invariant", "spoil"), PLANTED, ids=[f"{name}-{how.__name__}" for name, how in PLANTED])
def test_a_planted_violation_is_found(invariant: str, spoil: Callable[[], Sample]) -> None:
    findings, _ = spoil().check()
    found = [violation for violation in findings.violations if violation.invariant == invariant]
    assert found, f"only {list(map(str, findings.violations))}"
    assert INVARIANTS[invariant] in str(found[0])
