"""Fold: what is kept so that nothing is looked for: which paths are live, and how far a saga of many steps is.

All of it follows from the steps themselves. It is kept so that a decision finds what comes next without a look at every
step: what owes something is live, what may wait for room is behind those that have begun, and what is undone next
ended last.
"""

from immutables import Map

from orchestrator.frozen import changed
from orchestrator.ids import StepId, item_of
from orchestrator.saga.events import CompensationBegan, Event, StepSettled
from orchestrator.saga.state import SagaState, StepState, StepStatus, is_left

_LIVE = frozenset(
    {
        StepStatus.IN_FLIGHT,
        StepStatus.BACKING_OFF,
        StepStatus.PARKED,
        StepStatus.WAITING,
        StepStatus.PROBING,
        StepStatus.UNDOING,
    }
)


def live_after(state: SagaState, step: StepState) -> Map[StepId, None]:
    """Keep the paths that may owe something."""
    live, path = state.live, step.id
    if step.status in _LIVE:
        return live if path in live else live.set(path, None)
    return live.delete(path) if path in live else live


def live_again(state: SagaState) -> Map[StepId, None]:
    """Return the paths that may owe something, of a saga that had ended: a person may have done so over their heads."""
    return Map({step.id: None for step in state.everything() if step.status in _LIVE})


def stuck_after(state: SagaState, step: StepState) -> Map[StepId, None]:
    """Keep the paths that ask for a person."""
    stuck, path = state.stuck, step.id
    if step.status is StepStatus.STUCK:
        return stuck.set(path, None)
    return stuck.delete(path) if path in stuck else stuck


def in_doubt_after(state: SagaState, step: StepState) -> Map[StepId, None]:
    """Keep the paths whose forward call may still be running."""
    in_doubt, path = state.in_doubt, step.id
    if step.forward is not None and step.forward.unknown:
        return in_doubt if path in in_doubt else in_doubt.set(path, None)
    return in_doubt.delete(path) if path in in_doubt else in_doubt


def with_begun(state: SagaState) -> SagaState:
    """Pass over the steps that have begun, each of them once."""
    order, steps, place = state.plan.order, state.steps, state.first_pending
    while place < len(order) and steps[order[place].id].status is not StepStatus.PENDING:
        place += 1
    return state if place == state.first_pending else changed(state, first_pending=place)


def with_to_undo(state: SagaState, event: Event) -> SagaState:
    """Keep the steps that are left to be undone, of a saga that goes backward."""
    to_undo, steps = state.to_undo, state.steps
    if type(event) is CompensationBegan:
        left = [step for step in steps.values() if is_to_undo(state, step)]
        to_undo = tuple(step.id for step in sorted(left, key=_by_completion))
    elif type(event) is StepSettled:
        step = steps[item_of(event.step)[0]]
        if step.settled_version == state.version and is_to_undo(state, step):
            to_undo = (*(each for each in to_undo if each != step.id), step.id)
    end = len(to_undo)
    while end and not is_to_undo(state, steps[to_undo[end - 1]]):
        end -= 1
    if end == len(state.to_undo) and to_undo is state.to_undo:
        return state
    return changed(state, to_undo=to_undo[:end])


def _by_completion(step: StepState) -> int:
    return step.settled_version


def is_to_undo(state: SagaState, step: StepState) -> bool:
    """Return whether a step is still to be undone, or, of a `for_each` step, some item of it; stuck ones included."""
    if not state.plan.steps[step.id].is_undoable:
        return False
    return is_left(step) if step.items is None else step.items.to_undo > 0
