"""From a command to events: one match, delegating. Nothing here reads a clock, draws luck or does anything.

`decide(state, command, moment)` returns the events to record and the state they lead to; a rejected command has no
events and a reason. A stale report or a timer that is not owed any more decides nothing, silently: it is news from a
past that the journal has already settled (M16).
"""

from typing import Final, assert_never

from orchestrator.errors import InputInvalid, Rejected, RequestError
from orchestrator.frozen import changed, frozen_tuple
from orchestrator.ids import StepId, item_of
from orchestrator.limits import (
    ALERT_ATTEMPTS,
    ATTRIBUTES_MAX,
    MESSAGE_CHARS_MAX,
    SIGNALS_MAX,
    SIGNALS_WAITING_MAX,
)
from orchestrator.saga import backward, calls, forward, parts, repair
from orchestrator.saga.commands import (
    AttemptReported,
    CancelSaga,
    Command,
    Moment,
    Recovered,
    Repair,
    SignalSaga,
    StartSaga,
    TimerFired,
    UndoChild,
)
from orchestrator.saga.draft import Draft
from orchestrator.saga.effects import Timer, TimerKind
from orchestrator.saga.events import (
    AttentionCleared,
    AttentionRaised,
    AttentionReason,
    CancelRequested,
    Cause,
    CauseKind,
    Event,
    Phase,
    Report,
    SagaStarted,
    SignalReceived,
)
from orchestrator.saga.facts import RecordedFacts
from orchestrator.saga.frontier import nothing_was_held
from orchestrator.saga.plan import CHILD_TARGET, ExpressionFailure, Operation, Scope
from orchestrator.saga.state import (
    TERMINAL,
    OperationState,
    SagaState,
    SagaStatus,
    StepState,
    insists,
    operation_of,
)

_NEWS = frozenset({AttemptReported, TimerFired, Recovered})
"""Commands whose sender waits for no answer."""
_ORDINARY = frozenset({AttemptReported, TimerFired, SignalSaga})
"""Commands that let nothing begin but what follows from what they end.

All others look at every step, because they set free what was held: a repair, `ResumeSaga` above all, what waited for a
person, and `Recovered` what a writer that drained has left. A start and a cancel come once. That a hold never ends with
an ordinary command is what `frontier.nothing_was_held` rests on.
"""
_NEEDS_ATTENTION: Final = SagaStatus.NEEDS_ATTENTION
_LOST = Report(code="UNKNOWN", phase=Phase.LOST, message="the orchestrator stopped before it saw the end of this call")


@frozen_tuple
class Decision:
    """What to record. `state` is the fold of `events` onto the state decided upon (M15)."""

    events: tuple[Event, ...]
    state: SagaState
    rejected: RequestError | None = None


def decide(state: SagaState, command: Command, moment: Moment) -> Decision:
    """Return what follows from a command; total over every command in every state."""
    rejected: RequestError | None = None if type(command) in _NEWS else _out_of_place(state, command)
    if rejected is not None or (state.version == 0 and not isinstance(command, StartSaga)):
        # Nobody waits for an answer to a report, a timer or a recovery: it is late or early, and decides nothing.
        return Decision((), state, rejected)
    if state.status in TERMINAL and not isinstance(command, UndoChild):
        return Decision((), state)
    draft = Draft(state, moment, nothing_was_held=type(command) in _ORDINARY and nothing_was_held(state, moment))
    match command:
        case AttemptReported():
            # First, because nearly every command is one.
            _report(draft, command)
        case StartSaga():
            rejected = _start(draft, command)
        case CancelSaga():
            rejected = _cancel(draft, command)
        case UndoChild():
            rejected = _undo_child(draft, command)
        case SignalSaga():
            rejected = _signal(draft, command)
        case TimerFired(timer=timer):
            _fire(draft, timer)
        case Recovered():
            _recover(draft)
        case _:
            rejected = repair.apply(draft, command)
    if rejected is not None:
        return Decision((), state, rejected)
    if draft.events or isinstance(command, Recovered):
        _advance(draft)
    return Decision(tuple(draft.events), draft.state)


def _advance(draft: Draft) -> None:
    """Go on in both directions until nothing moves: what was undone may free what goes forward."""
    while draft.state.status not in TERMINAL:
        forward.advance(draft)
        state = draft.state
        if not (state.cause is not None or state.rollbacks or state.cancel_reason is not None):
            break
        seen = len(draft.events)
        backward.advance(draft)
        if len(draft.events) == seen or draft.state.is_backward:
            break
    if draft.state.status is _NEEDS_ATTENTION and not asks(draft.state):
        draft.record(AttentionCleared(at=draft.moment.at))


def asks(state: SagaState) -> bool:
    """Return whether anything still asks for a person."""
    if AttentionReason.COMPENSATION_OVERDUE in state.attention and state.is_backward:
        return True
    if state.stuck:
        return True
    return AttentionReason.RETRYING in state.attention and any(_is_wearing(state, path) for path in state.live)


def _is_wearing(state: SagaState, path: StepId) -> bool:
    step = state.step(path)
    return any(of is not None and of.spent >= ALERT_ATTEMPTS for of in _tried_without_limit(step))


def _tried_without_limit(step: StepState) -> tuple[OperationState | None, ...]:
    return step.forward, step.undo, step.probe, step.awaiting


def _out_of_place(state: SagaState, command: Command) -> Rejected | None:
    """Refuse what somebody asks of a saga that has not begun, has ended, or is not the one they looked at."""
    if state.version == 0:
        if isinstance(command, StartSaga):
            return None
        return Rejected("NOT_STARTED", "the saga has not started; there is nothing to do with it")
    if isinstance(command, UndoChild):
        return None  # asked again after a crash, it finds that it was done
    if isinstance(command, SignalSaga) and command.request_id in state.signal_ids:
        return None
    if state.is_terminal:
        return Rejected(
            "TERMINAL_STATE",
            f"saga {state.saga_id!r} has ended {state.status.value}; an ended saga is never changed (R4)",
            saga_id=state.saga_id,
            status=state.status.value,
        )
    if_version = command.audit.if_version if isinstance(command, Repair) else getattr(command, "if_version", None)
    if if_version is not None and if_version != state.version:
        return Rejected(
            "ETAG_MISMATCH",
            f"saga {state.saga_id!r} has changed since you looked at it; look again, then decide",
            saga_id=state.saga_id,
        )
    return None


def _start(draft: Draft, command: StartSaga) -> RequestError | None:
    state, at = draft.state, draft.moment.at
    if state.version > 0:
        return Rejected("ALREADY_STARTED", f"saga {state.saga_id!r} has already started")
    plan = state.plan
    attributes = dict(command.attributes)
    if plan.attributes is not None:
        # The definition's attributes may read the input, which is recorded with this very event.
        given = changed(state, saga_id=command.saga_id, uid=command.uid, input=command.input, started_at=at)
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
            parent=command.parent,
            baggage=command.baggage,
        )
    )
    return None if command.signal is None else _signal(draft, command.signal)


def _cancel(draft: Draft, command: CancelSaga) -> RequestError | None:
    """R22, R23: cancelling is undoing; a second cancel finds it under way and changes nothing."""
    state = draft.state
    if state.is_past_pivot:
        return repair.past_pivot(state, "cancelled")
    if state.is_backward or state.cancel_reason is not None:
        return None
    reason = calls.clipped(command.reason)
    draft.record(CancelRequested(at=draft.moment.at, reason=reason, trace=command.trace))
    pivot = state.plan.pivot
    if pivot is not None:
        backward.stop(draft, pivot)
    if not draft.state.is_at_pivot and not draft.state.is_backward:
        backward.begin(draft, forward.cancelled(reason))
    return None


def _undo_child(draft: Draft, command: UndoChild) -> RequestError | None:
    """R21: a completed child runs its own undo log; one that is on its way is cancelled; one past its pivot is not."""
    state, reason = draft.state, command.reason
    if not state.is_terminal:
        return _cancel(draft, CancelSaga(reason=reason, trace=command.trace))
    if state.status is not SagaStatus.COMPLETED or state.parent is None:
        return None
    if state.is_past_pivot:
        return repair.past_pivot(state, "undone by its parent")
    cause = Cause(kind=CauseKind.PARENT, message=reason or "undone by its parent", reason=reason)
    backward.begin(draft, cause, command.trace)
    return None


def _signal(draft: Draft, command: SignalSaga) -> RequestError | None:
    """M14: what is answered OK is recorded; the same request id again is the same signal."""
    state = draft.state
    if command.request_id in state.signal_ids:
        return None
    if command.signal not in state.plan.signals:
        known = ", ".join(sorted(state.plan.signals)) or "none"
        message = f"saga {state.saga_id!r} waits for no signal {command.signal!r}; its definition names: {known}"
        return Rejected("SIGNAL_UNKNOWN", message, saga_id=state.saga_id, signal=command.signal)
    if state.is_backward:
        message = f"saga {state.saga_id!r} is being undone; nothing in it waits for a signal any more"
        return Rejected("GOING_BACKWARD", message, saga_id=state.saga_id, status=state.status.value)
    waiting = sum(len(each) for each in state.signals.values())
    if waiting >= SIGNALS_WAITING_MAX or len(state.signal_ids) >= SIGNALS_MAX:
        message = f"saga {state.saga_id!r} has had {len(state.signal_ids)} signals, and no saga takes more than that"
        if waiting >= SIGNALS_WAITING_MAX:
            message = f"saga {state.saga_id!r} has {waiting} signals waiting; send again when a step has taken one"
        return Rejected("SIGNALS_FULL", message, saga_id=state.saga_id, signal=command.signal)
    draft.record(
        SignalReceived(
            at=draft.moment.at,
            signal=command.signal,
            request_id=command.request_id,
            payload=command.payload,
            trace=command.trace,
        )
    )
    return None


def _report(draft: Draft, command: AttemptReported) -> None:
    step = draft.state.find(command.step)
    operation = None if step is None else operation_of(step, command.operation)
    if step is None or operation is None or operation.open is None or operation.open.number != command.attempt:
        return
    if operation.open.epoch != draft.moment.epoch:
        return
    report = command.report
    if len(report.message) > MESSAGE_CHARS_MAX:
        report = changed(report, message=calls.clipped(report.message))
    calls.settle_attempt(draft, step, command.operation, operation, report)


def _fire(draft: Draft, timer: Timer) -> None:
    state, at = draft.state, draft.moment.at
    match timer.kind:
        case TimerKind.RETRY:
            _retry(draft, timer)
        case TimerKind.DRAIN:
            backward.advance(draft)
        case TimerKind.STEP:
            if timer.step is not None and timer.step in state.steps and has_step_timer(state, timer.step):
                parts.due(draft, timer.step)
        case TimerKind.FORWARD_DEADLINE:
            if has_forward_deadline(state) and at >= state.forward_deadline_at:
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


def has_step_timer(state: SagaState, step: StepId) -> bool:
    """Return whether what a step waits for counts: not a scope's time once it must succeed, or is being undone."""
    if state.is_paused or step in state.rollbacks:
        return False
    plan_step = state.plan.steps[step]
    return not (isinstance(plan_step.body, Scope) and insists(state, plan_step))


def has_forward_deadline(state: SagaState) -> bool:
    """Return whether the saga stops at its forward deadline: not past its pivot, nor while that is undecided (R16)."""
    if state.cause is not None or state.is_paused:
        return False
    return state.plan.pivot is None or not (state.is_past_pivot or state.is_at_pivot)


def is_overdue_news(state: SagaState) -> bool:
    """Return whether nobody was told yet that undoing takes too long (R23)."""
    return state.is_backward and AttentionReason.COMPENSATION_OVERDUE not in state.attention


def _retry(draft: Draft, timer: Timer) -> None:
    if draft.moment.is_draining or draft.state.is_paused or timer.step is None or timer.operation is None:
        return
    step = draft.state.find(timer.step)
    operation = None if step is None else operation_of(step, timer.operation)
    if operation is None or operation.retry_at is None or operation.attempts + 1 != timer.attempt:
        return
    if draft.moment.at >= operation.retry_at:
        calls.open_next(draft, timer.step, timer.operation)


def _recover(draft: Draft) -> None:
    """R1, R26: what was open belongs to a writer that is gone; it is UNKNOWN, and asked again where that is safe.

    A child of the same epoch goes on: who waits for it comes and goes, and nothing is lost by that. What a draining
    writer left unstarted is started by the advance that follows every recovery.
    """
    for path in in_order(draft.state):
        for kind in Operation:
            step = draft.state.step(path)
            operation = operation_of(step, kind)
            if operation is None or operation.open is None:
                continue
            is_child = draft.state.plan.step_of(path).call_of(kind).target == CHILD_TARGET
            if not is_child or operation.open.epoch != draft.moment.epoch:
                calls.settle_attempt(draft, step, kind, operation, _LOST)


def in_order(state: SagaState) -> list[StepId]:
    """Return what is live in plan order, items by position: the same order in every process."""
    if not state.live:
        return []
    places = state.plan.places
    split = {path: item_of(path) for path in state.live}
    return sorted(state.live, key=lambda path: (places[split[path][0]], split[path][1] or 0, path))
