"""Fold: one event onto one step. What it means for the saga is in `evolve.py`."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.saga.events import (
    FOUND,
    POLL,
    AttemptOpened,
    AttemptSettled,
    Event,
    Phase,
    RetryScheduled,
    SettleReason,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.outcome import NEVER_FROM_THE_LIBRARY, is_parked
from orchestrator.saga.plan import FORWARD, PROBE, Operation, Outcome
from orchestrator.saga.state import (
    FIELD_OF,
    AttemptState,
    ItemsState,
    OperationState,
    StepState,
    StepStatus,
    operation_of,
)
from orchestrator.saga.wanted import IN_DOUBT

StepEvent = (
    AttemptOpened
    | AttemptSettled
    | RetryScheduled
    | StepSkipped
    | StepSettled
    | StepUndone
    | StepStuck
    | StepBegan
    | StepReopened
    | StepLeft
)

_FOUND = frozenset(FOUND.values())
_UNKNOWN, _APPLIED, _LOST = Outcome.UNKNOWN, Outcome.APPLIED, Phase.LOST
_NOT_BY_ITS_REPLY = frozenset({SettleReason.PROBED, SettleReason.RESOLVED})


def _opened(step: StepState, event: AttemptOpened, version: int, status: StepStatus) -> StepState:
    operation, before = event.operation, operation_of(step, event.operation)
    following = 1 if before is None else before.attempts + 1
    if event.attempt != following or (before is not None and before.open is not None):
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is opened, yet {following} must follow")
    if before is not None:
        return _opened_again(step, event, before, version, status)
    if event.request is None:
        raise JournalCorrupted(f"the first attempt of {operation.value} of step {step.id!r} has no request")
    first = OperationState(
        request=event.request,
        key=event.key,
        manual_epoch=event.manual_epoch,
        started_at=event.at,
        budget_at=event.at,
        attempts=event.attempt,
        open=_attempt(event),
        opened_at=event.at,
    )
    if operation is FORWARD:
        return changed(step, status=status, forward=first, started_version=version, began_at=event.at)
    if operation is PROBE:
        step = changed(step, stop=_called_off(step.stop))
    return _with_operation(_asked_no_more(step), operation, first, status)


def _opened_again(
    step: StepState, event: AttemptOpened, before: OperationState, version: int, status: StepStatus
) -> StepState:
    if event.operation is FORWARD and step.started_version == 0:
        # It never got so far before a person changed its request.
        step = changed(step, started_version=version, began_at=event.at)
    after = changed(
        before,
        request=before.request if event.request is None else event.request,
        key=event.key,
        manual_epoch=event.manual_epoch,
        attempts=event.attempt,
        open=_attempt(event),
        opened_at=event.at,
        retry_at=None,
        parked=False,
    )
    if event.operation is not FORWARD:
        step = _asked_no_more(step)
    if event.operation is PROBE:
        step = changed(step, stop=_called_off(step.stop))
    return _with_operation(step, event.operation, after, status)


def _attempt(event: AttemptOpened) -> AttemptState:
    return AttemptState(number=event.attempt, epoch=event.epoch, opened_at=event.at, deadline_at=event.deadline_at)


def _began(step: StepState, event: StepBegan, version: int, status: StepStatus) -> StepState:
    items = None if event.count is None else ItemsState(count=event.count)
    return changed(step, status=status, started_version=version, began_at=event.at, due_at=event.due_at, items=items)


def _stuck(step: StepState, event: StepStuck, _version: int, status: StepStatus) -> StepState:
    return changed(step, status=status, stuck=event.reason, message=event.message, stop=_called_off(step.stop))


def _over(step: StepState, _event: StepSkipped | StepUndone | StepLeft, _version: int, status: StepStatus) -> StepState:
    return changed(step, status=status, stuck=None)


def _asked_no_more(step: StepState) -> StepState:
    """Call off the next forward attempt: what became of the last ones is found out another way, or undone."""
    if step.forward is None or step.forward.retry_at is None:
        return step
    return changed(step, forward=changed(step.forward, retry_at=None, parked=False))


def _called_off(operation: OperationState | None) -> OperationState | None:
    """Call an operation off that nobody need answer any more: what it was for is awaited no more, or known."""
    return None if operation is None else changed(operation, open=None, retry_at=None)


def _attempt_settled(step: StepState, event: AttemptSettled, _version: int, status: StepStatus) -> StepState:
    """Fold one attempt's end: what it may still be doing at the peer, and whether it cost retry budget."""
    report, operation = event.report, _operation(step, event.operation)
    if operation.open is None or operation.open.number != event.attempt:
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is settled but not open")
    free = is_parked(report) or report.phase is _LOST
    after = changed(operation, open=None, spent=operation.spent + (0 if free else 1), last=report)
    if event.outcome is _UNKNOWN:
        deadline_at = operation.open.deadline_at
        answered = report.phase is Phase.REPLIED and report.code in NEVER_FROM_THE_LIBRARY
        after = changed(
            after,
            unknown=True,
            drained_at=max(operation.drained_at, deadline_at),
            late_at=operation.late_at if answered else max(operation.late_at, deadline_at),
        )
    return _with_operation(step, event.operation, after, status)


def _scheduled(step: StepState, event: RetryScheduled, _version: int, status: StepStatus) -> StepState:
    waiting = changed(_operation(step, event.operation), retry_at=event.due_at, parked=event.parked)
    if event.reason == POLL:
        # An answer that says "not yet" is no failure: only failures in a row count.
        waiting = changed(waiting, spent=0, polled=event.operation is FORWARD)
    if event.reason in _FOUND:
        # What was sent so far was asked after; the next time it is asked with a fresh budget.
        asked = (step.probe, step.awaiting)
        probe, awaiting = (None if of is None else changed(of, spent=0, retry_at=None) for of in asked)
        step = changed(step, probe=probe, awaiting=awaiting)
        unknown = waiting.unknown or event.reason == FOUND[Outcome.UNKNOWN]
        unknown = unknown and event.reason != FOUND[Outcome.NOT_APPLIED]
        polled = waiting.polled or event.reason == FOUND[Outcome.APPLIED]
        waiting = changed(waiting, unknown=unknown, polled=polled)
    return _with_operation(step, event.operation, waiting, status)


def _reopened(step: StepState, event: StepReopened, _version: int, status: StepStatus) -> StepState:
    before = operation_of(step, event.operation)
    again: OperationState
    if before is None:
        if event.request is None:
            raise JournalCorrupted(f"{event.operation.value} of step {step.id!r} is tried again, and was never tried")
        again = OperationState(request=event.request, key="", started_at=event.at, manual_epoch=step.manual_epoch)
    else:
        again = changed(
            before,
            request=before.request if event.request is None else event.request,
            # A new key is made with the next attempt.
            key="" if event.as_new else before.key,
            manual_epoch=before.manual_epoch + 1 if event.as_new else before.manual_epoch,
            unknown=(before.unknown or _is_in_doubt(step, event.operation)) and not event.as_new,
        )
    again = changed(again, retry_at=event.at, spent=0, budget_at=event.at, parked=False)
    return changed(_with_operation(step, event.operation, again, status), stuck=None, message="")


def _is_in_doubt(step: StepState, operation: Operation) -> bool:
    return operation is FORWARD and step.stuck in IN_DOUBT


def _settled(step: StepState, event: StepSettled, version: int, status: StepStatus) -> StepState:
    reply, forward = event.reply, step.forward
    if forward is not None:
        told = event.reason not in _NOT_BY_ITS_REPLY and step.awaiting is None
        if reply is None and told and event.outcome is _APPLIED and forward.last is not None:
            reply = forward.last.reply
        if forward.retry_at is not None or forward.parked:
            forward = changed(forward, retry_at=None, parked=False)
    if step.awaiting is not None or step.probe is not None or step.stop is not None:
        # Settled by a person, it is not asked about any more.
        awaiting, probe, stop = _called_off(step.awaiting), _called_off(step.probe), _called_off(step.stop)
        step = changed(step, awaiting=awaiting, probe=probe, stop=stop)
    return changed(
        step,
        status=status,
        forward=forward,
        outcome=event.outcome,
        settle_reason=event.reason,
        code=event.code,
        message=event.message,
        reply=reply,
        undo_request=event.undo_request,
        # Settled anew by a person, it keeps its place in the order of completion.
        settled_version=version if step.outcome is None else step.settled_version,
        due_at=None,
        stuck=None,
    )


def _operation(step: StepState, operation: Operation) -> OperationState:
    found = operation_of(step, operation)
    if found is None:
        raise JournalCorrupted(f"{operation.value} of step {step.id!r} has an end but no beginning")
    return found


def _with_operation(step: StepState, operation: Operation, state: OperationState, status: StepStatus) -> StepState:
    if operation is FORWARD:
        return changed(step, status=status, forward=state)  # as nearly all are
    return changed(step, status=status, **{FIELD_OF[operation]: state})


STEP_FOLDS: Mapping[type[Event], Callable[[StepState, Any, int, StepStatus], StepState]] = {
    AttemptOpened: _opened,
    AttemptSettled: _attempt_settled,
    RetryScheduled: _scheduled,
    StepSettled: _settled,
    StepBegan: _began,
    StepStuck: _stuck,
    StepReopened: _reopened,
    StepSkipped: _over,
    StepUndone: _over,
    StepLeft: _over,
}
"""What an event does to a step, given the number of its record and the status that the table says.

Why no `match`: `evolve.FOLDS`.
"""
