"""Fold: how far a saga of many steps is, in the order of the plan and, backward, in the order of completion.

Both follow from the steps themselves. They are kept so that a decision finds what comes next without a look at every
step: what may wait for room is behind those that have begun, and what is undone next ended last.
"""

from orchestrator.frozen import changed
from orchestrator.ids import item_of
from orchestrator.saga.events import CompensationBegan, Event, StepSettled
from orchestrator.saga.state import SagaState, StepState, StepStatus

_UNDO_OPEN = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED, StepStatus.UNDOING})


def with_begun(state: SagaState) -> SagaState:
    """Pass over the steps that have begun, each of them once."""
    order, steps, place = state.plan.order, state.steps, state.begun
    while place < len(order) and steps[order[place].id].status is not StepStatus.PENDING:
        place += 1
    return state if place == state.begun else changed(state, begun=place)


def with_to_undo(state: SagaState, event: Event) -> SagaState:
    """Keep the steps that are left to be undone, of a saga that goes backward."""
    to_undo, steps = state.to_undo, state.steps
    if isinstance(event, CompensationBegan):
        left = [step for step in steps.values() if is_left(state, step)]
        to_undo = tuple(step.id for step in sorted(left, key=_by_completion))
    elif isinstance(event, StepSettled):
        step = steps[item_of(event.step)[0]]
        if step.settled_version == state.version and is_left(state, step):
            to_undo = (*(each for each in to_undo if each != step.id), step.id)
    end = len(to_undo)
    while end and not is_left(state, steps[to_undo[end - 1]]):
        end -= 1
    if end == len(state.to_undo) and to_undo is state.to_undo:
        return state
    return changed(state, to_undo=to_undo[:end])


def _by_completion(step: StepState) -> int:
    return step.settled_version


def is_left(state: SagaState, step: StepState) -> bool:
    """Return whether a step is still to be undone, or, of a `for_each` step, some item of it; stuck ones included."""
    if not state.plan.steps[step.id].is_undoable:
        return False
    if step.items is not None:
        return step.items.to_undo > 0
    return step.status in _UNDO_OPEN or (step.status is StepStatus.STUCK and step.outcome is not None)
