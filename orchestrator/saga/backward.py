"""What can be undone, and in which order (R19 to R24).

The order is a partial one. `a` waits for `b` when `b` began after `a` had ended, in fact or by an edge of the plan;
an author's `compensate.after` and `compensate.first` override it pair by pair. Whatever is not ordered is undone at
the same time, up to a bound. An undo that a service refuses is STUCK: what must follow it waits, the rest goes on.
"""

from orchestrator.ids import StepId
from orchestrator.limits import CLOCK_SKEW_S, UNDO_PARALLEL_MAX
from orchestrator.saga import calls
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    AttentionRaised,
    AttentionReason,
    Cause,
    CompensationBegan,
    Outcome,
    SagaCompensated,
    SettleReason,
    StepStuck,
)
from orchestrator.saga.outcome import Settle
from orchestrator.saga.plan import Compensation, Operation, Plan, UndoOrder
from orchestrator.saga.state import SagaState, StepState, StepStatus

_DONE_FORWARD = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED})
_UNDO_OPEN = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED, StepStatus.UNDOING, StepStatus.STUCK})


def begin(draft: Draft, cause: Cause) -> None:
    """Stop going forward: nothing new starts, waiting operations settle with what is known, the rest is aborted."""
    moment = draft.moment
    draft.record(CompensationBegan(at=moment.at, cause=cause, deadline_at=moment.at + draft.state.compensation_s))
    for step in draft.state.steps.values():
        if step.status in {StepStatus.BACKING_OFF, StepStatus.PARKED, StepStatus.STUCK}:
            forward = step.forward
            assert forward is not None and forward.last is not None  # noqa: PT018  # it was tried
            outcome = Outcome.UNKNOWN if forward.unknown else Outcome.NOT_APPLIED
            stopped = Settle(outcome, SettleReason.STOPPED)
            calls.settle_step(draft, draft.state.plan.steps[step.id], stopped, forward.last)
    advance(draft)


def advance(draft: Draft) -> None:
    """Start every undo that may start; end the saga when nothing is left to undo."""
    if draft.state.is_terminal or draft.moment.is_draining or not _has_room(draft.state):
        return
    for step in startable(draft.state, draft.moment.at):
        _undo(draft, draft.state.steps[step])
        if not _has_room(draft.state):
            return
    if not remaining(draft.state):
        _end(draft)


def _undo(draft: Draft, step: StepState) -> None:
    if step.undo_request is not None:
        calls.open_first(draft, step.id, Operation.COMPENSATE, step.undo_request)
        return
    reason = AttentionReason.UNDO_NOT_RENDERED
    message = calls.clipped(f"step {step.id} may have been applied and has no undo request: {step.message}")
    at = draft.moment.at
    draft.record(StepStuck(at=at, step=step.id, operation=Operation.COMPENSATE, reason=reason, message=message))
    draft.record(AttentionRaised(at=at, reason=reason, step=step.id, message=message))


def _end(draft: Draft) -> None:
    state = draft.state
    assert state.compensation_began_at is not None  # the saga is backward
    draft.record(
        SagaCompensated(
            at=draft.moment.at,
            started_at=state.started_at,
            compensation_began_at=state.compensation_began_at,
            undone_count=sum(1 for step in state.steps.values() if step.status is StepStatus.UNDONE),
        )
    )


def compensation_of(plan: Plan, step: StepId) -> Compensation:
    """Return how a step is undone; asked only for steps that are undoable."""
    compensation = plan.steps[step].compensation
    assert compensation is not None  # what is left to undo is undoable
    return compensation


def remaining(state: SagaState) -> list[StepState]:
    """Return the steps that are still to be undone, stuck ones included (R20)."""
    return [s for s in state.steps.values() if s.status in _UNDO_OPEN and state.plan.steps[s.id].is_undoable]


def drain_at(state: SagaState, step: StepState) -> float | None:
    """Return until when an undo must wait for a forward call that may still run (R12); None where it need not (R12a).

    A step that was applied waits too where an attempt before the one that answered ended UNKNOWN.
    """
    if step.forward is None or not step.forward.unknown or state.plan.steps[step.id].call.barrier:
        return None
    return step.forward.drained_at + CLOCK_SKEW_S


def draining(state: SagaState) -> list[tuple[StepId, float]]:
    """Return the undos that wait for nothing but the end of their drain, with that instant.

    One that waits for another undo as well is looked at again when that one ends, and needs no timer.
    """
    if not _has_room(state):
        return []
    return [(step.id, at) for step in _free(state) if (at := drain_at(state, step)) is not None]


def startable(state: SagaState, now_at: float) -> list[StepId]:
    """Return the undos that may start now, latest completion first."""
    return [step.id for step in _free(state) if (drain_at(state, step) or 0.0) <= now_at]


def _has_room(state: SagaState) -> bool:
    """Return whether an undo may start at all: every forward call is closed, and few enough undo calls are open."""
    if not state.is_backward or calls.open_count(state, Operation.FORWARD) > 0:
        return False
    return calls.open_count(state, Operation.COMPENSATE) < UNDO_PARALLEL_MAX


def _free(state: SagaState) -> list[StepState]:
    """Return the steps whose undo no other undo holds back, latest completion first."""
    left = remaining(state)
    waiting = [step for step in left if step.status in _DONE_FORWARD]
    waiting.sort(key=lambda step: step.settled_version, reverse=True)
    if not has_own_order(state.plan):
        return _latest(state, left, waiting)
    free = [step for step in waiting if not any(comes_before(state, other, step) for other in left)]
    if free or any(step.status is StepStatus.UNDOING for step in left):
        return free
    return _despite_contradiction(state, waiting, [step for step in left if step.status is StepStatus.STUCK])


def _latest(state: SagaState, left: list[StepState], waiting: list[StepState]) -> list[StepState]:
    """Return what `comes_before` leaves free in a plan without an order of its own: 1,000 steps have a million pairs.

    What ended before the latest beginning waits for it. Only what was under way then is left to be looked at in pairs.
    """
    if state.plan.undo_order is UndoOrder.SEQUENTIAL:
        latest = max((step.settled_version for step in left), default=0)
        return [step for step in waiting if step.settled_version == latest]
    began = max((step.started_version for step in left), default=0)
    found: list[StepState] = []
    for step in waiting:  # latest completion first
        if step.settled_version < began:
            break
        dependents = state.plan.dependents[step.id]
        if not any(other.id in dependents and other.settled_version > step.settled_version for other in left):
            found.append(step)
    return found


def _despite_contradiction(state: SagaState, waiting: list[StepState], held: list[StepState]) -> list[StepState]:
    """Return one step of a circle, or none where all wait for a stuck one.

    Without an order of the author's own there is no circle, because every edge leads from a later completion to an
    earlier one. Where there is one, the natural order gives way first, and then the author's.
    """
    held = list(held)
    for stuck in held:  # grows by what waits for it, directly or not
        held += [step for step in waiting if step not in held and comes_before(state, stuck, step)]
    circle = [step for step in waiting if step not in held]
    willing = [s for s in circle if not any(_demanded(state.plan, other.id, s.id) for other in circle if other != s)]
    return (willing or circle)[:1]


def comes_before(state: SagaState, first: StepState, second: StepState) -> bool:
    """Return whether `first` must be undone before `second` (R19)."""
    if first.id == second.id:
        return False
    if _demanded(state.plan, first.id, second.id):
        return True
    if _demanded(state.plan, second.id, first.id) or first.settled_version < second.settled_version:
        return False
    if state.plan.undo_order is UndoOrder.SEQUENTIAL:
        return True
    return first.id in state.plan.dependents[second.id] or first.started_version > second.settled_version


def _demanded(plan: Plan, first: StepId, second: StepId) -> bool:
    """Return whether the author said that `first` is undone before `second`; a step by name beats `first`."""
    before, after = compensation_of(plan, first), compensation_of(plan, second)
    if first in after.after:
        return True
    return before.first and not after.first and second not in before.after


def has_own_order(plan: Plan) -> bool:
    """Return whether the author ordered any undo by hand."""
    own = (step.compensation for step in plan.steps.values() if step.compensation is not None)
    return any(each.after or each.first for each in own)
