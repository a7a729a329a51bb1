"""In which order what is left is undone (R19): which undo comes before which, and what none holds back.

The order is a partial one. `a` comes before `b` when `a` began after `b` had ended, in fact or by an edge of the plan;
an author's `compensate.after` and `compensate.first` override it pair by pair. 1,000 steps have a million pairs, so
that what is free is found from the latest completion on, and only what an author ordered is looked at in pairs.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Final

from orchestrator.ids import StepId
from orchestrator.saga.evolve_order import is_to_undo
from orchestrator.saga.plan import Compensation, Plan, UndoOrder
from orchestrator.saga.state import TO_UNDO, SagaState, StepState, StepStatus

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_SEQUENTIAL: Final = UndoOrder.SEQUENTIAL


def remaining(state: SagaState, root: StepId | None = None) -> list[StepState]:
    """Return the steps that are still to be undone, stuck ones included (R20), in the saga or in one part of it."""
    inside = None if root is None else state.rollbacks[root].steps
    return [step for step in state.in_plan_order() if (inside is None or step.id in inside) and is_to_undo(state, step)]


def latest_first(state: SagaState, root: StepId | None) -> Iterator[StepState]:
    """Yield the same, latest completion first; of a saga that goes backward without a look at what is undone."""
    if state.cause is None or root is not None:
        yield from sorted(remaining(state, root), key=lambda step: step.settled_version, reverse=True)
        return
    for step_id in reversed(state.to_undo):
        if is_to_undo(state, step := state.steps[step_id]):
            yield step


def free(state: SagaState, root: StepId | None) -> Iterable[StepState]:
    """Return the steps whose undo no other undo holds back, latest completion first."""
    if not state.plan.has_own_order:
        return _latest(state, latest_first(state, root))
    return _by_hand(state, root)


def _is_waiting(step: StepState) -> bool:
    if step.items is not None:
        return step.items.to_undo > step.items.undoing + step.items.stuck
    return step.status in TO_UNDO


def _is_undoing(step: StepState) -> bool:
    return step.items.undoing > 0 if step.items is not None else step.status is StepStatus.UNDOING


def _latest(state: SagaState, left: Iterable[StepState]) -> Iterator[StepState]:
    """Yield what `comes_before` leaves free in a plan without an order of its own: 1,000 steps have a million pairs.

    `left` has the latest completion first. What ended before another one began waits for that one, and so does all that
    comes after it there. Only what was under way at the same time is left to be looked at in pairs.
    """
    began, later = 0, set[StepId]()
    for step in left:
        if step.settled_version < began:
            return
        if _is_waiting(step) and state.plan.dependents[step.id].isdisjoint(later):
            yield step
        if state.plan.undo_order is _SEQUENTIAL:
            return
        began = max(began, step.started_version)
        later.add(step.id)


def _by_hand(state: SagaState, root: StepId | None) -> Iterator[StepState]:
    """Yield the same where the author ordered some undo by hand: what that concerns is held against what is left."""
    inside: Collection[StepId] = state.plan.steps if root is None else state.rollbacks[root].steps
    ids = state.to_undo[::-1] if root is None else [step.id for step in latest_first(state, root)]
    is_any = False
    for step in _may_be_free(state, ids, inside):
        if step.id not in state.plan.undo_by_hand or not _is_held(state, step, ids, inside):
            is_any = True
            yield step
    if not is_any and not any(_is_undoing(step) for step in _left_of(state, ids)):
        yield from _despite_contradiction(state, [*_left_of(state, ids)])


def _may_be_free(state: SagaState, ids: Iterable[StepId], inside: Collection[StepId]) -> Iterator[StepState]:
    """Yield, latest completion first, what the natural order leaves free, and all that is ordered by hand.

    While something is left that is `first`, no other is free but what is ordered by hand.
    """
    plan, began, later = state.plan, 0, set[StepId]()
    first = [each for each in plan.undo_first if each in inside]
    for step in _left_of(state, ids if not any(_left_of(state, first)) else ()):
        if step.settled_version < began or (later and plan.undo_order is _SEQUENTIAL):
            break
        if _is_waiting(step) and (step.id in plan.undo_by_hand or plan.dependents[step.id].isdisjoint(later)):
            yield step
        began = max(began, step.started_version)
        later.add(step.id)
    by_hand = [each for each in plan.undo_by_hand if each in inside and each not in later]
    waiting = [step for step in _left_of(state, by_hand) if _is_waiting(step)]
    yield from sorted(waiting, key=lambda step: step.settled_version, reverse=True)


def _is_held(state: SagaState, step: StepState, ids: Iterable[StepId], inside: Collection[StepId]) -> bool:
    """Return whether some other undo comes before that of a step: by hand, or that of one which ended later."""
    by_hand = [each for each in (*compensation_of(state.plan, step.id).after, *state.plan.undo_first) if each in inside]
    later = takewhile(lambda other: other.settled_version > step.settled_version, _left_of(state, ids))
    return any(comes_before(state, other, step) for other in chain(_left_of(state, by_hand), later))


def _left_of(state: SagaState, steps: Iterable[StepId]) -> Iterator[StepState]:
    return (step for each in steps if is_to_undo(state, step := state.steps[each]))


def _despite_contradiction(state: SagaState, left: Sequence[StepState]) -> Sequence[StepState]:
    """Return one step of a circle, or none where all wait for a stuck one.

    Without an order of the author's own there is no circle, because every edge leads from a later completion to an
    earlier one. Where there is one, the natural order gives way first, and then the author's.
    """
    waiting = [step for step in left if _is_waiting(step)]
    held = [step for step in left if not _is_waiting(step)]
    for stuck in held:  # grows by what waits for it, directly or not
        held += [step for step in waiting if step not in held and comes_before(state, stuck, step)]
    circle = [step for step in waiting if step not in held] if held else waiting
    among = {step.id for step in circle}
    willing = (step for step in circle if not _is_demanded(state.plan, among, step.id))
    return [next(willing, circle[0])] if circle else []


def _is_demanded(plan: Plan, among: Collection[StepId], step: StepId) -> bool:
    """Return whether the author said that another one of some steps is undone before this one."""
    named = {*compensation_of(plan, step).after, *plan.undo_first} - {step}
    return any(other in among and _demanded(plan, other, step) for other in named)


def comes_before(state: SagaState, first: StepState, second: StepState) -> bool:
    """Return whether `first` must be undone before `second` (R19)."""
    if first.id == second.id:
        return False
    if _demanded(state.plan, first.id, second.id):
        return True
    if _demanded(state.plan, second.id, first.id) or first.settled_version < second.settled_version:
        return False
    if state.plan.undo_order is _SEQUENTIAL:
        return True
    return first.id in state.plan.dependents[second.id] or first.started_version > second.settled_version


def _demanded(plan: Plan, first: StepId, second: StepId) -> bool:
    """Return whether the author said that `first` is undone before `second`; a step by name beats `first`."""
    before, after = compensation_of(plan, first), compensation_of(plan, second)
    if first in after.after:
        return True
    return before.first and not after.first and second not in before.after


def compensation_of(plan: Plan, step: StepId) -> Compensation:
    """Return how a step is undone; asked only for steps that are undoable."""
    compensation = plan.steps[step].compensation
    assert compensation is not None  # what is left to undo is undoable
    return compensation
