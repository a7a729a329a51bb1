"""Fold: one event onto one state. Asks nothing, evaluates nothing, and cannot fail on a legal journal."""

from collections.abc import Iterable
from typing import assert_never

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    Event,
    Outcome,
    Phase,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    StepSettled,
    StepSkipped,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.outcome import is_parked
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import AttemptState, OperationState, SagaState, StepState, StepStatus, operation_of
from orchestrator.saga.transitions import next_saga, next_step

_LIVE = frozenset(
    {StepStatus.IN_FLIGHT, StepStatus.BACKING_OFF, StepStatus.PARKED, StepStatus.UNDOING, StepStatus.UNSETTLED}
)


def fold(state: SagaState, events: Iterable[Event]) -> SagaState:
    """Return the state after the events, in order (M15)."""
    for event in events:
        state = evolve(state, event)
    return state


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event; `JournalCorrupted` where it cannot follow."""
    status = next_saga(state.status, event)
    match event:
        case (
            AttemptOpened()
            | AttemptSettled()
            | RetryScheduled()
            | StepSkipped()
            | StepSettled()
            | StepUndone()
            | StepStuck()
        ):
            # First, because nine of ten events are one of these.
            return _step(state, event)
        case SagaStarted():
            return _started(state, event)
        case CancelRequested():
            return _saga(state, event, cancel_reason=event.reason)
        case CompensationBegan():
            return _saga(
                state,
                event,
                status=status,
                cause=event.cause,
                compensation_began_at=event.at,
                compensation_deadline_at=event.deadline_at,
                attention=(),
            )
        case AttentionRaised():
            return _saga(state, event, status=status, attention=(*state.attention, event.reason))
        case SagaCompleted():
            return _saga(state, event, status=status, ended_at=event.at, output=event.output, live=frozenset[StepId]())
        case SagaCompensated():
            return _saga(state, event, status=status, ended_at=event.at, attention=(), live=frozenset[StepId]())
        case _:
            assert_never(event)


def _started(state: SagaState, event: SagaStarted) -> SagaState:
    return _saga(
        state,
        event,
        status=next_saga(state.status, event),
        saga_id=event.saga_id,
        uid=event.uid,
        input=event.input,
        attributes=event.attributes,
        request_id=event.request_id,
        trace=event.trace,
        started_at=event.at,
        forward_deadline_at=event.forward_deadline_at,
        compensation_s=event.compensation_s,
    )


def _saga(state: SagaState, event: Event, **changes: object) -> SagaState:
    return changed(state, version=state.version + 1, updated_at=event.at, **changes)


StepEvent = AttemptOpened | AttemptSettled | RetryScheduled | StepSkipped | StepSettled | StepUndone | StepStuck


def _step(state: SagaState, event: StepEvent) -> SagaState:
    old = state.steps.get(event.step)
    if old is None:
        raise JournalCorrupted(f"{type(event).__name__} names step {event.step!r}, which the plan does not have")
    new = _changed(old, event, state.version + 1, next_step(old.status, event))
    steps = dict(state.steps)
    steps[event.step] = new
    epoch = max(state.epoch, event.epoch) if isinstance(event, AttemptOpened) else state.epoch
    return _saga(state, event, steps=steps, live=_live(state, new), epoch=epoch)


def _live(state: SagaState, step: StepState) -> frozenset[StepId]:
    """Keep the set of steps that may owe something; an unsettled step owes the end of its drain."""
    if step.status in _LIVE:
        return state.live if step.id in state.live else state.live | {step.id}
    return state.live - {step.id} if step.id in state.live else state.live


def _changed(step: StepState, event: StepEvent, version: int, status: StepStatus) -> StepState:
    match event:
        case AttemptOpened():
            return _opened(step, event, version, status)
        case AttemptSettled():
            return _with_operation(step, event.operation, _closed(_operation(step, event.operation), event), status)
        case RetryScheduled():
            waiting = changed(_operation(step, event.operation), retry_at=event.due_at, parked=event.parked)
            return _with_operation(step, event.operation, waiting, status)
        case StepSettled():
            return _settled(step, event, version, status)
        case StepStuck():
            return changed(step, status=status, stuck=event.reason, message=event.message)
        case StepSkipped() | StepUndone():
            return changed(step, status=status)
        case _:
            assert_never(event)


def _opened(step: StepState, event: AttemptOpened, version: int, status: StepStatus) -> StepState:
    before = operation_of(step, event.operation)
    attempt = AttemptState(number=event.attempt, epoch=event.epoch, opened_at=event.at, deadline_at=event.deadline_at)
    following = 1 if before is None else before.attempts + 1
    if event.attempt != following or (before is not None and before.open is not None):
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is opened, yet {following} must follow")
    if before is not None:
        after = changed(before, attempts=event.attempt, open=attempt, retry_at=None, parked=False)
        return _with_operation(step, event.operation, after, status)
    if event.request is None:
        raise JournalCorrupted(f"the first attempt of {event.operation.value} of step {step.id!r} has no request")
    first = OperationState(
        request=event.request, key=event.key, started_at=event.at, attempts=event.attempt, open=attempt
    )
    if event.operation is Operation.FORWARD:
        return changed(step, status=status, forward=first, started_version=version)
    return changed(step, status=status, undo=first)


def _closed(operation: OperationState, event: AttemptSettled) -> OperationState:
    """Fold one attempt's end: what it may still be doing at the peer, and whether it cost retry budget."""
    if operation.open is None or operation.open.number != event.attempt:
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is settled but not open")
    free = is_parked(event.report) or event.report.phase is Phase.LOST
    unknown = event.outcome is Outcome.UNKNOWN
    return changed(
        operation,
        open=None,
        spent=operation.spent + (0 if free else 1),
        unknown=operation.unknown or unknown,
        drained_at=max(operation.drained_at, operation.open.deadline_at) if unknown else operation.drained_at,
        last=event.report,
    )


def _settled(step: StepState, event: StepSettled, version: int, status: StepStatus) -> StepState:
    reply = None
    if event.outcome is Outcome.APPLIED and step.forward is not None and step.forward.last is not None:
        reply = step.forward.last.reply
    return changed(
        step,
        status=status,
        forward=None if step.forward is None else changed(step.forward, retry_at=None, parked=False),
        outcome=event.outcome,
        settle_reason=event.reason,
        code=event.code,
        message=event.message,
        reply=reply,
        undo_request=event.undo_request,
        settled_version=version,
        stuck=None,
    )


def _operation(step: StepState, operation: Operation) -> OperationState:
    found = operation_of(step, operation)
    if found is None:
        raise JournalCorrupted(f"{operation.value} of step {step.id!r} has an end but no beginning")
    return found


def _with_operation(step: StepState, operation: Operation, state: OperationState, status: StepStatus) -> StepState:
    if operation is Operation.FORWARD:
        return changed(step, status=status, forward=state)
    return changed(step, status=status, undo=state)
