"""Fold: what an event of one of its steps means for the saga: what is live, in flight, in doubt, and what it counts.

What it does to the step itself is in `evolve_step.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import StepId, is_traced, item_of
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    Event,
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
from orchestrator.saga.evolve_items import counted, undo_next
from orchestrator.saga.evolve_order import in_doubt_after, live_after, stuck_after
from orchestrator.saga.evolve_step import STEP_FOLDS, StepEvent
from orchestrator.saga.plan import COMPENSATE, FORWARD, Call, Outcome, Sleep, Step, Wait
from orchestrator.saga.state import TO_UNDO, Rollback, SagaState, StepState, StepStatus
from orchestrator.saga.traceparts import TraceParts, step_begins, undo_begins
from orchestrator.saga.transitions import next_step
from orchestrator.values import Payload

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_PENDING, _DONE, _UNKNOWN = StepStatus.PENDING, SettleReason.DONE, Outcome.UNKNOWN
_NOTHING = Payload("", b"")
_BEGINS = (AttemptOpened, StepStuck)
"""What an undo may begin with; as a tuple, which a union would be made into at every call."""


def _step(state: SagaState, event: StepEvent, version: int, _old: StepState, new: StepState) -> SagaState:
    """Fold what concerns a step, and nothing of the saga beside it."""
    steps, live, in_doubt = state.steps.set(new.id, new), live_after(state, new), in_doubt_after(state, new)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, in_doubt=in_doubt)


def _opened(state: SagaState, event: AttemptOpened, version: int, old: StepState, new: StepState) -> SagaState:
    """Fold that a call is open, with which a step's way forward may begin, or its undo."""
    operation = event.operation
    if old.status is _PENDING:
        parts = step_begins(state.trace_parts, event, version, state.started_at)
    else:
        parts = _undo_begins(state, event, old)
    return changed(
        state,
        version=version,
        updated_at=event.at,
        steps=state.steps.set(new.id, new),
        live=live_after(state, new),
        calls_open=state.calls_open + (operation is FORWARD),
        undos_open=state.undos_open + (operation is COMPENSATE),
        epoch=max(state.epoch, event.epoch),
        trace_parts=parts,
    )


def _attempt_settled(
    state: SagaState, event: AttemptSettled, version: int, _old: StepState, new: StepState
) -> SagaState:
    """Fold the end of an attempt, which leaves its step where it is, and in doubt where its outcome is UNKNOWN."""
    operation = event.operation
    return changed(
        state,
        version=version,
        updated_at=event.at,
        steps=state.steps.set(new.id, new),
        calls_open=state.calls_open - (operation is FORWARD),
        undos_open=state.undos_open - (operation is COMPENSATE),
        in_doubt=state.in_doubt if event.outcome is not _UNKNOWN else in_doubt_after(state, new),
    )


def _stuck(state: SagaState, event: StepStuck, version: int, old: StepState, new: StepState) -> SagaState:
    """Fold that a person is asked about a step, whose way forward, or its undo, may begin so."""
    if old.status is _PENDING:
        parts = step_begins(state.trace_parts, event, version, state.started_at)
    else:
        parts = _undo_begins(state, event, old)
    steps, live, stuck = state.steps.set(new.id, new), live_after(state, new), stuck_after(state, new)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, stuck=stuck, trace_parts=parts)


def _undo_begins(state: SagaState, event: AttemptOpened | StepStuck, old: StepState) -> TraceParts:
    """Fold to which part of the trace an undo belongs that begins now, of a path that has a span."""
    if not state.rollbacks or old.status not in TO_UNDO or not is_traced(event.step):
        return state.trace_parts
    return undo_begins(state.trace_parts, event.step, state.rollbacks)


def _began(state: SagaState, event: StepBegan, version: int, _old: StepState, new: StepState) -> SagaState:
    """Fold that a step without a call of its own is under way."""
    if not _can_begin(state.plan.steps[new.id], event):
        told = f"due at {event.due_at}, {event.count} items"
        raise JournalCorrupted(f"step {new.id!r} cannot begin as it did ({told}): its plan has no such step")
    parts = step_begins(state.trace_parts, event, version, state.started_at)
    steps, live = state.steps.set(new.id, new), live_after(state, new)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, trace_parts=parts)


def _settled(state: SagaState, event: StepSettled, version: int, _old: StepState, new: StepState) -> SagaState:
    """Fold the end of a step's way forward: of a wait it takes the signal, of a scope it ends the rollback."""
    path = new.id
    rollbacks, signals, body = state.rollbacks, state.signals, state.plan.steps[path].body
    if path in rollbacks and path not in rollbacks[path].steps:
        rollbacks = without(state, path)
    if event.reason is _DONE and isinstance(body, Wait):
        taken, *left = signals.get(body.signal, ()) or (None,)
        if taken is None:
            raise JournalCorrupted(f"step {path!r} took signal {body.signal!r}, which had not come")
        signals = {**signals, body.signal: tuple(left)}
        new = changed(new, reply=taken.payload)
    return changed(
        state,
        version=version,
        updated_at=event.at,
        steps=state.steps.set(path, new),
        live=live_after(state, new),
        rollbacks=rollbacks,
        signals=signals,
    )


def _can_begin(step: Step, event: StepBegan) -> bool:
    """Return whether a step without a call of its own can be under way so: what comes after rests on it."""
    if step.for_each is not None:
        return event.count is not None and event.due_at is None
    if isinstance(step.body, Call) or event.count is not None:
        return False
    return event.due_at is not None or not isinstance(step.body, Sleep)


def item_after(state: SagaState, event: StepEvent, version: int) -> SagaState:
    """Fold an item's event, and what it means for the step that the item belongs to."""
    path, step_id = event.step, item_of(event.step)[0]
    is_new, old = path not in state.items, known(state, path)
    if type(event) is StepBegan:
        raise JournalCorrupted(f"item {path!r} began as a step without a call, which items never are")
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    if isinstance(event, StepSettled) and new.forward is not None:
        # Of 100,000 items only what undoing them may need is kept.
        slim = changed(new.forward, request=_NOTHING, last=None)
        new = changed(new, forward=slim, awaiting=None, probe=None, stop=None)
    items, step = state.items.set(path, new), state.steps[step_id]
    assert step.items is not None  # an item exists only while its step has begun
    counts = counted(step.items, None if is_new else old, new, is_undoable=state.plan.steps[step_id].is_undoable)
    epoch, parts, operation, opened = state.epoch, state.trace_parts, None, 0
    if isinstance(event, _BEGINS):
        parts = _undo_begins(state, event, old)
        if event.operation is COMPENSATE:
            counts = changed(counts, undo_next=undo_next(items, step_id, counts))
    if type(event) is AttemptOpened:
        epoch, operation, opened = max(state.epoch, event.epoch), event.operation, 1
    elif type(event) is AttemptSettled:
        operation, opened = event.operation, -1
    if counts is not step.items or new.settled_version > step.settled_version:
        step = changed(step, items=counts, settled_version=max(step.settled_version, new.settled_version))
    return changed(
        state,
        version=version,
        updated_at=event.at,
        steps=state.steps.set(step_id, step),
        items=items,
        live=live_after(state, new),
        stuck=stuck_after(state, new),
        calls_open=state.calls_open + (opened if operation is FORWARD else 0),
        undos_open=state.undos_open + (opened if operation is COMPENSATE else 0),
        in_doubt=in_doubt_after(state, new),
        epoch=epoch,
        trace_parts=parts,
    )


def known(state: SagaState, path: StepId) -> StepState:
    """Return a step or an item, which may be the next one to begin; `JournalCorrupted` where there is no such."""
    found = state.find(path)
    if found is not None:
        return found
    step, index = item_of(path)
    items = state.steps[step].items if step in state.steps else None
    if index is None or items is None or index != items.began or index >= items.count:
        raise JournalCorrupted(f"a record names step {path!r}, which the plan does not have, or not yet")
    return StepState(id=path, manual_epoch=state.steps[step].manual_epoch)


def without(state: SagaState, root: StepId) -> dict[StepId, Rollback]:
    """Return the parts that are being undone but one, made anew also where nothing goes.

    `owed_since` takes other rollbacks for a sign that more has changed than the records name.
    """
    return {each: rollback for each, rollback in state.rollbacks.items() if each != root}


FOLDS_WITH_STEP: Mapping[type[Event], Callable[[SagaState, Any, int, StepState, StepState], SagaState]] = {
    StepBegan: _began,
    StepSkipped: _step,
    AttemptOpened: _opened,
    AttemptSettled: _attempt_settled,
    RetryScheduled: _step,
    StepSettled: _settled,
    StepUndone: _step,
    StepStuck: _stuck,
    StepReopened: _step,
    StepLeft: _step,
}
"""What an event of one of its steps does to a saga, given the number of its record and the step before and after."""
