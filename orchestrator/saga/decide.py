"""From a command to events: one match, delegating. Nothing here reads a clock, draws luck or does anything.

`decide(state, command, moment)` returns the events to record and the state they lead to; a rejected command has no
events and a reason. A stale report or a timer that is not owed any more decides nothing, silently: it is news from a
past that the journal has already settled (M16).
"""

from dataclasses import replace
from typing import assert_never

from orchestrator.errors import InputInvalid, Rejected, RequestError
from orchestrator.frozen import frozen_tuple
from orchestrator.limits import ATTRIBUTES_MAX, MESSAGE_CHARS_MAX
from orchestrator.saga import backward, calls, forward
from orchestrator.saga.commands import (
    AttemptReported,
    CancelSaga,
    Command,
    Moment,
    Recovered,
    StartSaga,
    TimerFired,
)
from orchestrator.saga.draft import Draft
from orchestrator.saga.effects import Timer, TimerKind
from orchestrator.saga.events import (
    AttentionRaised,
    AttentionReason,
    CancelRequested,
    Cause,
    CauseKind,
    Event,
    Phase,
    Report,
    SagaStarted,
)
from orchestrator.saga.plan import ExpressionFailure, Operation
from orchestrator.saga.state import RecordedFacts, SagaState, operation_of

_LOST = Report(code="UNKNOWN", phase=Phase.LOST, message="the orchestrator stopped before it saw the end of this call")


@frozen_tuple
class Decision:
    """What to record. `state` is the fold of `events` onto the state decided upon (M15)."""

    events: tuple[Event, ...]
    state: SagaState
    rejected: RequestError | None = None


def decide(state: SagaState, command: Command, moment: Moment) -> Decision:
    """Return what follows from a command; total over every command in every state."""
    draft = Draft(state, moment)
    rejected: RequestError | None = None
    if state.is_terminal or (state.version == 0 and not isinstance(command, StartSaga)):
        # Nobody waits for an answer to a report, a timer or a recovery: it is late or early, and decides nothing.
        return Decision((), state, _out_of_place(state) if isinstance(command, StartSaga | CancelSaga) else None)
    match command:
        case StartSaga():
            rejected = _start(draft, command)
        case CancelSaga(reason=reason):
            _cancel(draft, reason)
        case AttemptReported():
            _report(draft, command)
        case TimerFired(timer=timer):
            _fire(draft, timer)
        case Recovered():
            _recover(draft)
        case _:
            assert_never(command)
    if rejected is not None:
        return Decision((), state, rejected)
    if draft.events or isinstance(command, Recovered):
        forward.advance(draft)
        backward.advance(draft)
    return Decision(tuple(draft.events), draft.state)


def _out_of_place(state: SagaState) -> Rejected:
    if state.version == 0:
        return Rejected("NOT_STARTED", "the saga has not started; there is nothing to cancel")
    return Rejected(
        "TERMINAL_STATE",
        f"saga {state.saga_id!r} has ended {state.status.value}; an ended saga is never changed (R4)",
        saga_id=state.saga_id,
        status=state.status.value,
    )


def _start(draft: Draft, command: StartSaga) -> RequestError | None:
    state, at = draft.state, draft.moment.at
    if state.version > 0:
        return Rejected("ALREADY_STARTED", f"saga {state.saga_id!r} has already started")
    plan = state.plan
    attributes = dict(command.attributes)
    if plan.attributes is not None:
        # The definition's attributes may read the input, which is recorded with this very event.
        given = replace(state, saga_id=command.saga_id, uid=command.uid, input=command.input, started_at=at)
        rendered = plan.attributes(RecordedFacts(given))
        if isinstance(rendered, ExpressionFailure):
            return InputInvalid("input", f"the definition's attributes cannot be read from it: {rendered.message}")
        attributes |= rendered
    if len(attributes) > ATTRIBUTES_MAX:
        return InputInvalid("attributes", f"{len(attributes)} attributes, more than {ATTRIBUTES_MAX}")
    forward_s = plan.forward_s if command.forward_s is None else command.forward_s
    draft.record(
        SagaStarted(
            at=at,
            saga_id=command.saga_id,
            uid=command.uid,
            definition=plan.definition,
            revision=plan.revision,
            input=command.input,
            attributes=attributes,
            request_id=command.request_id,
            forward_deadline_at=at + forward_s,
            compensation_s=plan.compensation_s,
            trace=command.trace,
        )
    )
    return None


def _cancel(draft: Draft, reason: str) -> None:
    """R22, R23: cancelling is undoing; a second cancel finds it under way and changes nothing."""
    if draft.state.is_backward:
        return
    reason = calls.clipped(reason)
    draft.record(CancelRequested(at=draft.moment.at, reason=reason))
    backward.begin(draft, Cause(kind=CauseKind.CANCELLED, message=reason or "cancelled by a caller", reason=reason))


def _report(draft: Draft, command: AttemptReported) -> None:
    step = draft.state.steps.get(command.step)
    operation = None if step is None else operation_of(step, command.operation)
    if step is None or operation is None or operation.open is None or operation.open.number != command.attempt:
        return
    if operation.open.epoch != draft.moment.epoch:
        return
    report = command.report
    if len(report.message) > MESSAGE_CHARS_MAX:
        report = replace(report, message=calls.clipped(report.message))
    calls.settle_attempt(draft, step, command.operation, report)


def _fire(draft: Draft, timer: Timer) -> None:
    state, at = draft.state, draft.moment.at
    match timer.kind:
        case TimerKind.RETRY:
            _retry(draft, timer)
        case TimerKind.DRAIN:
            backward.advance(draft)
        case TimerKind.FORWARD_DEADLINE:
            if not state.is_backward and at >= state.forward_deadline_at:
                message = (
                    f"the saga's forward deadline of {state.forward_deadline_at - state.started_at:g} s has passed"
                )
                backward.begin(draft, Cause(kind=CauseKind.DEADLINE_EXCEEDED, message=message))
        case TimerKind.COMPENSATION_DEADLINE:
            if is_overdue_news(state) and at >= (state.compensation_deadline_at or at):
                message = f"not everything is undone after {state.compensation_s:g} s; what is not stuck is tried on"
                reason = AttentionReason.COMPENSATION_OVERDUE
                draft.record(AttentionRaised(at=at, reason=reason, step=None, message=message))
        case _:
            assert_never(timer.kind)


def is_overdue_news(state: SagaState) -> bool:
    """Return whether nobody was told yet that undoing takes too long (R23)."""
    return state.is_backward and AttentionReason.COMPENSATION_OVERDUE not in state.attention


def _retry(draft: Draft, timer: Timer) -> None:
    if draft.moment.is_draining or timer.step is None or timer.operation is None:
        return
    step = draft.state.steps.get(timer.step)
    operation = None if step is None else operation_of(step, timer.operation)
    if operation is None or operation.retry_at is None or operation.attempts + 1 != timer.attempt:
        return
    if draft.moment.at >= operation.retry_at:
        calls.open_next(draft, timer.step, timer.operation)


def _recover(draft: Draft) -> None:
    """R1, R26: what was open belongs to a writer that is gone; it is UNKNOWN, and asked again where that is safe.

    What a draining writer left unstarted is started by the advance that follows every recovery.
    """
    for step_id in draft.state.plan.steps:
        for kind in Operation:
            operation = operation_of(draft.state.steps[step_id], kind)
            if operation is not None and operation.open is not None:
                calls.settle_attempt(draft, draft.state.steps[step_id], kind, _LOST)
