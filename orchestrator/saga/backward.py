"""What stops, and what can be undone (R19 to R24).

The order, which `undoorder.py` has, is a partial one. Whatever is not ordered is undone at the same time, up to a
bound. An undo that a service refuses is STUCK: what must follow it waits, the rest goes on.

The whole saga goes backward, or a part of it does while the rest goes on: a scope that failed (R18), or what is to run
again (R25). Both are the same walk over fewer steps. A `for_each` step has one place in the order; within it the items
are independent of each other, and the last are undone first.
"""

from collections.abc import Collection, Iterator
from typing import Final

from orchestrator.ids import StepId, item_path
from orchestrator.limits import UNDO_PARALLEL_MAX
from orchestrator.saga import calls
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    AttentionRaised,
    AttentionReason,
    Cause,
    CompensationBegan,
    ElseBegan,
    RollbackBegan,
    SagaCompensated,
    SettleReason,
    StepsReset,
)
from orchestrator.saga.facts import RecordedFacts
from orchestrator.saga.plan import (
    COMPENSATE,
    ExpressionFailure,
    Operation,
    Outcome,
    Scope,
    UndoOrder,
)
from orchestrator.saga.state import TO_UNDO, SagaState, StepState, StepStatus, is_stopped, is_undecided
from orchestrator.saga.undoorder import free, remaining
from orchestrator.values import TraceContext

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_SEQUENTIAL: Final = UndoOrder.SEQUENTIAL


def begin(draft: Draft, cause: Cause, trace: TraceContext | None = None) -> None:
    """Stop going forward: nothing new starts, waiting operations settle with what is known, the rest is aborted.

    `trace` is the undo attempt of the parent that has this saga undone.
    """
    moment = draft.moment
    deadline_at = moment.at + draft.state.compensation_s
    draft.record(CompensationBegan(at=moment.at, cause=cause, deadline_at=deadline_at, trace=trace))
    _stop_all(draft, draft.state.plan.steps)
    for step in _stuck(draft.state):
        # What was stuck while only a part of the saga was being undone asks for a person still.
        assert step.stuck is not None  # it is stuck
        draft.record(AttentionRaised(at=moment.at, reason=step.stuck, step=step.id, message=step.message))
    advance(draft)


def _stuck(state: SagaState) -> list[StepState]:
    """Return the steps and items whose undo asks for a person."""
    found = [step for step in state.in_plan_order() if step.status is StepStatus.STUCK]
    for step in state.in_plan_order():
        if step.items is not None and step.items.stuck:
            found += [item for item in state.items_of(step.id) if item.status is StepStatus.STUCK]
    return found


def roll_back(draft: Draft, root: StepId, steps: Collection[StepId], cause: Cause) -> None:
    """Stop and undo a part of the saga; `root` says what follows when it is undone."""
    inside = tuple(step for step in draft.state.plan.steps if step in steps)
    draft.record(RollbackBegan(at=draft.moment.at, step=root, steps=inside, cause=cause))
    _stop_all(draft, inside)
    advance(draft)


def _stop_all(draft: Draft, steps: Collection[StepId]) -> None:
    for step_id in steps:
        stop(draft, step_id)
        stop_items(draft, step_id)


def stop_items(draft: Draft, step_id: StepId) -> None:
    """Stop what is under way of a `for_each` step's items."""
    items = draft.state.steps[step_id].items
    if items is None or items.under_way == 0:
        return
    for item in list(draft.state.items_of(step_id)):
        stop(draft, item.id)


def stop(draft: Draft, path: StepId) -> None:
    """Settle a step that has no forward call open with what is known; an open one is aborted and settles later."""
    step = draft.state.step(path)
    if not is_undecided(step) or step.status in {StepStatus.IN_FLIGHT, StepStatus.PROBING}:
        return
    if step.status is StepStatus.WAITING and step.awaiting is not None:
        _stop_operation(draft, step)
    elif step.forward is None:
        at = step.began_at or draft.moment.at
        calls.settle(draft, path, Outcome.NOT_APPLIED, SettleReason.STOPPED, None, started_at=at)
    else:
        calls.give_up(draft, path, SettleReason.STOPPED)


def _stop_operation(draft: Draft, step: StepState) -> None:
    """Ask for a long-running operation to be cancelled; it is awaited to its end either way."""
    plan_step = draft.state.plan.step_of(step.id)
    awaits = plan_step.awaits
    assert awaits is not None  # the step awaits an operation
    if awaits.stop is None or step.stop is not None or step.forward is None or step.forward.last is None:
        return
    request = calls.bounded(awaits.stop.render(RecordedFacts(draft.state, step.id, step.forward.last.reply)))
    if not isinstance(request, ExpressionFailure):
        calls.open_with(draft, plan_step, step.id, Operation.STOP, request)


def _stop_operations(draft: Draft) -> None:
    """Stop the long-running operations that turned out to be under way after their step had been stopped."""
    for path in sorted(draft.state.live):
        step = draft.state.step(path)
        if step.status is StepStatus.WAITING and step.awaiting is not None and is_stopped(draft.state, path):
            _stop_operation(draft, step)


def advance(draft: Draft) -> None:
    """Start every undo that may start; end the saga, or the part of it, when nothing is left to undo."""
    if draft.state.is_backward or draft.state.rollbacks or draft.state.cancel_reason is not None:
        _stop_operations(draft)
    if draft.state.is_terminal or draft.moment.is_draining or draft.state.is_paused:
        return
    if draft.state.is_backward:
        if _advance(draft, None):
            _end(draft)
        return
    for root in list(draft.state.rollbacks):
        if root in draft.state.rollbacks and _advance(draft, root):
            _rolled_back(draft, root)


def _advance(draft: Draft, root: StepId | None) -> bool:
    """Start what may start; return whether nothing is left to undo."""
    if not _has_room(draft.state, root):
        return False
    for path in startable(draft.state, draft.moment.at, root):
        _undo(draft, draft.state.step(path))
        if not _has_room(draft.state, root):
            return False
    return not (draft.state.to_undo if root is None else remaining(draft.state, root))


def _undo(draft: Draft, step: StepState) -> None:
    if step.undo_request is not None:
        plan_step = draft.state.plan.step_of(step.id)
        calls.open_with(draft, plan_step, step.id, COMPENSATE, step.undo_request)
        return
    message = f"step {step.id} may have been applied and has no undo request: {step.message}"
    calls.stick(draft, step.id, COMPENSATE, AttentionReason.UNDO_NOT_RENDERED, message)


def _end(draft: Draft) -> None:
    state = draft.state
    assert state.compensation_began_at is not None  # the saga is backward
    undone = [step for step in state.everything() if step.status is StepStatus.UNDONE]
    draft.record(
        SagaCompensated(
            at=draft.moment.at,
            started_at=state.started_at,
            compensation_began_at=state.compensation_began_at,
            undone_count=len(undone),
        )
    )


def _rolled_back(draft: Draft, root: StepId) -> None:
    """A part of the saga is undone: its alternative begins, it has failed as a whole, or it begins anew."""
    at, rollback, step = draft.moment.at, draft.state.rollbacks[root], draft.state.steps[root]
    if root in rollback.steps:
        inside = tuple(step for step in draft.state.plan.steps if step in rollback.steps)
        draft.record(StepsReset(at=at, step=root, steps=inside))
        return
    scope, cause = draft.state.plan.steps[root].body, rollback.cause
    assert isinstance(scope, Scope)  # the root of a rollback that it is not part of
    if scope.otherwise and not step.in_else:
        draft.record(ElseBegan(at=at, step=root))
        return
    calls.settle(
        draft,
        root,
        Outcome.NOT_APPLIED,
        SettleReason.SCOPE_FAILED,
        None,
        started_at=step.began_at,
        code=cause.code,
        message=cause.message,
    )


def drain_at(state: SagaState, step: StepState) -> float | None:
    """Return until when an undo must wait for a forward call that may still run (R12); None where it need not (R12a).

    A step that was applied waits too where an attempt before the one that answered ended UNKNOWN.
    """
    if step.forward is None or not step.forward.unknown or state.plan.step_of(step.id).call.barrier:
        return None
    return step.forward.over_at


def draining(state: SagaState) -> list[tuple[StepId, float]]:
    """Return the undos that wait for nothing but the end of their drain, with that instant.

    One that waits for another undo as well is looked at again when that one ends, and needs no timer.
    """
    found: list[tuple[StepId, float]] = []
    for root in [None] if state.is_backward else list(state.rollbacks):
        if _has_room(state, root):
            free = _openable(state, root)
            found += [(step.id, at) for step in free if (at := drain_at(state, step)) is not None]
    return found


def startable(state: SagaState, now_at: float, root: StepId | None = None) -> Iterator[StepId]:
    """Yield the undos that may start now, latest completion first."""
    return (step.id for step in _openable(state, root) if (drain_at(state, step) or 0.0) <= now_at)


def _has_room(state: SagaState, root: StepId | None) -> bool:
    """Return whether an undo may start at all: every forward call is closed, and few enough undo calls are open."""
    if state.undos_open >= UNDO_PARALLEL_MAX:
        return False
    inside = None if root is None else state.rollbacks[root].steps
    for path in state.live:
        if (inside is None or state.plan.step_of(path).id in inside) and is_undecided(state.step(path)):
            return False
    return True


def _openable(state: SagaState, root: StepId | None) -> Iterator[StepState]:
    """Yield the steps and items whose undo no other undo holds back, latest completion first."""
    for step in free(state, root):
        if step.items is None:
            yield step
        else:
            yield from _openable_items(state, step)


def _openable_items(state: SagaState, step: StepState) -> Iterator[StepState]:
    """Yield the items of a `for_each` step that may be undone next, the last first, as its window has room."""
    items, for_each = step.items, state.plan.steps[step.id].for_each
    assert items is not None and for_each is not None  # noqa: PT018  # the caller has looked
    room = (1 if state.plan.undo_order is _SEQUENTIAL else for_each.parallel) - items.undoing
    index = items.began - 1 if items.undo_next is None else items.undo_next
    while index >= 0 and room > 0:
        item = state.items[item_path(step.id, index)]
        if item.status in TO_UNDO:
            yield item
            room -= 1
        index -= 1
