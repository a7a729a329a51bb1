"""Fold: one event onto one state. Asks nothing, evaluates nothing, and cannot fail on a legal journal."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

from immutables import Map

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import StepId, is_traced, item_of, item_path
from orchestrator.limits import FORWARD_PARALLEL_MAX
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionCleared,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    RetryScheduled,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepStuck,
    StepUndone,
    Verb,
)
from orchestrator.saga.evolve_items import counted, undo_next
from orchestrator.saga.evolve_order import in_doubt_after, live_after, with_begun, with_to_undo
from orchestrator.saga.evolve_step import STEP_FOLDS, StepEvent
from orchestrator.saga.plan import COMPENSATE, FORWARD, Call, Outcome, Scope, Sleep, Step, Wait
from orchestrator.saga.state import (
    TO_UNDO,
    Rollback,
    SagaState,
    SagaStatus,
    Signal,
    StepState,
    StepStatus,
    operations_of,
)
from orchestrator.saga.traceparts import (
    TraceParts,
    compensation_begins,
    rollback_begins,
    step_begins,
    steps_begin_anew,
    undo_begins,
)
from orchestrator.saga.transitions import next_saga, next_step
from orchestrator.values import Payload

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_PENDING, _DONE, _UNKNOWN = StepStatus.PENDING, SettleReason.DONE, Outcome.UNKNOWN
_NOTHING = Payload("", b"")
_OVER: Mapping[str, object] = {"attention": (), "live": Map[StepId, None](), "is_paused": False, "rollbacks": {}}
_BEGINS = (AttemptOpened, StepStuck)
"""What an undo may begin with; as a tuple, which a union would be made into at every call."""
_PAUSED = {Verb.PAUSE: True, Verb.RESUME: False}


def fold(state: SagaState, events: Iterable[Event]) -> SagaState:
    """Return the state after the events, in order (M15)."""
    return reduce(evolve, events, state)


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event; `JournalCorrupted` where it cannot follow."""
    status = next_saga(state.status, event, is_backward=state.cause is not None)
    after = FOLDS[type(event)](state, event, status)
    if after.cause is not None:
        return with_to_undo(after, event)
    return after if len(after.live) < FORWARD_PARALLEL_MAX else with_begun(after)


def _started(state: SagaState, event: SagaStarted, status: SagaStatus) -> SagaState:
    return _saga(
        state,
        event,
        status=status,
        saga_id=event.saga_id,
        uid=event.uid,
        input=event.input,
        attributes=event.attributes,
        request_id=event.request_id,
        trace=event.trace,
        baggage=event.baggage,
        started_at=event.at,
        forward_deadline_at=event.forward_deadline_at,
        compensation_s=event.compensation_s,
        parent=event.parent,
    )


def _saga(state: SagaState, event: Event, **changes: object) -> SagaState:
    return changed(state, version=state.version + 1, updated_at=event.at, **changes)


def _cancel_requested(state: SagaState, event: CancelRequested, _status: SagaStatus) -> SagaState:
    return _saga(state, event, cancel_reason=event.reason)


def _compensation_began(state: SagaState, event: CompensationBegan, status: SagaStatus) -> SagaState:
    return _saga(
        state,
        event,
        status=status,
        cause=event.cause,
        compensation_began_at=event.at,
        compensation_deadline_at=event.deadline_at,
        ended_at=None,
        attention=(),
        rollbacks={},
        ahead=_ahead(state) if state.rollbacks else state.ahead,
        trace_parts=compensation_begins(state.trace_parts, event, state.version + 1, state.started_at),
    )


def _attention_raised(state: SagaState, event: AttentionRaised, status: SagaStatus) -> SagaState:
    return _saga(state, event, status=status, attention=(*state.attention, event.reason))


def _attention_cleared(state: SagaState, event: AttentionCleared, status: SagaStatus) -> SagaState:
    return _saga(state, event, status=status, attention=())


def _completed(state: SagaState, event: SagaCompleted, status: SagaStatus) -> SagaState:
    return changed(_ended(state, event, status), output=event.output)


def _ended(state: SagaState, event: SagaCompleted | SagaCompensated | SagaTerminated, status: SagaStatus) -> SagaState:
    return _saga(state, event, status=status, ended_at=event.at, **_OVER)


def _ahead(state: SagaState) -> frozenset[StepId]:
    """Add what is being undone now: more is to be undone from here on, some of which would have come before."""
    return state.ahead.union(step.id for step in state.steps.values() if step.undo is not None)


def _acted(state: SagaState, event: OperatorActed, _status: SagaStatus) -> SagaState:
    if event.verb in _PAUSED:
        return _saga(state, event, is_paused=_PAUSED[event.verb])
    if event.outcome is not Outcome.NOT_APPLIED or event.step is None or event.operation is not FORWARD:
        return _saga(state, event)
    old = _known(state, event.step)
    if old.forward is None:
        return _saga(state, event)
    # A person's word settles what the wire left in doubt.
    new = changed(old, forward=changed(old.forward, unknown=False, polled=False), stuck=None)
    in_doubt = in_doubt_after(state, new)
    if event.step in state.steps:
        return _saga(state, event, steps=state.steps.set(event.step, new), in_doubt=in_doubt)
    return _saga(state, event, items=state.items.set(event.step, new), in_doubt=in_doubt)


def _signalled(state: SagaState, event: SignalReceived, _status: SagaStatus) -> SagaState:
    waiting = (*state.signals.get(event.signal, ()), Signal(request_id=event.request_id, payload=event.payload))
    signals = {**state.signals, event.signal: waiting}
    return _saga(state, event, signals=signals, signal_ids=state.signal_ids.set(event.request_id, None))


def _without(state: SagaState, root: StepId) -> dict[StepId, Rollback]:
    """Return the parts that are being undone but one, made anew also where nothing goes.

    `owed_since` takes other rollbacks for a sign that more has changed than the records name.
    """
    return {each: rollback for each, rollback in state.rollbacks.items() if each != root}


def _rollback_began(state: SagaState, event: RollbackBegan, _status: SagaStatus) -> SagaState:
    _known(state, event.step)
    # Where it was begun before it takes its place anew, behind the others.
    rollbacks = _without(state, event.step)
    rollbacks[event.step] = Rollback(steps=frozenset(event.steps), cause=event.cause)
    ahead = _ahead(state) if state.rollbacks else state.ahead
    parts = rollback_begins(state.trace_parts, event, state.version + 1, state.started_at)
    return _saga(state, event, rollbacks=rollbacks, ahead=ahead, trace_parts=parts)


def _else_began(state: SagaState, event: ElseBegan, _status: SagaStatus) -> SagaState:
    scope, body = _known(state, event.step), state.plan.steps[event.step].body
    timeout_s = body.timeout_s if isinstance(body, Scope) else None
    due_at = None if timeout_s is None else event.at + timeout_s
    steps = state.steps.set(event.step, changed(scope, in_else=True, due_at=due_at))
    return _saga(state, event, rollbacks=_without(state, event.step), steps=steps)


def _reset(state: SagaState, event: StepsReset, _status: SagaStatus) -> SagaState:
    """Fold that a part of the saga begins anew."""
    steps, items = state.steps, state.items
    for step_id in event.steps:
        old = _known(state, step_id)
        lives = [old]
        for index in range(old.items.began if old.items is not None else 0):
            # An item may have been run as new by itself: its next life must not take up a key that it has had.
            lives.append(items[item_path(step_id, index)])
            items = items.delete(item_path(step_id, index))
        again = max(max([each.manual_epoch, *(of.manual_epoch for _, of in operations_of(each))]) for each in lives) + 1
        anew = StepState(id=step_id, status=next_step(old.status, event), manual_epoch=again)
        steps = steps.set(step_id, anew)
    return _saga(
        state,
        event,
        steps=steps,
        items=items,
        live=_outside(state.live, event),
        in_doubt=_outside(state.in_doubt, event),
        ahead=frozenset(path for path in state.ahead if item_of(path)[0] not in event.steps),
        rollbacks=_without(state, event.step),
        trace_parts=steps_begin_anew(state.trace_parts, event.steps),
        first_pending=0,
    )


def _outside(paths: Map[StepId, None], event: StepsReset) -> Map[StepId, None]:
    """Return those that do not begin anew."""
    return Map({path: None for path in paths if item_of(path)[0] not in event.steps})


def _known(state: SagaState, path: StepId) -> StepState:
    found = state.find(path)
    if found is not None:
        return found
    step, index = item_of(path)
    items = state.steps[step].items if step in state.steps else None
    if index is None or items is None or index != items.began or index >= items.count:
        raise JournalCorrupted(f"a record names step {path!r}, which the plan does not have, or not yet")
    return StepState(id=path, manual_epoch=state.steps[step].manual_epoch)


def _step(state: SagaState, event: StepEvent, _status: SagaStatus) -> SagaState:
    """Fold what concerns a step or an item, and nothing of the saga beside it."""
    path, version = event.step, state.version + 1
    if path not in state.steps:
        return _item(state, event)
    old = state.steps[path]
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    steps, live, in_doubt = state.steps.set(path, new), live_after(state, new), in_doubt_after(state, new)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, in_doubt=in_doubt)


def _attempt_settled(state: SagaState, event: AttemptSettled, _status: SagaStatus) -> SagaState:
    """Fold the end of an attempt, which leaves its step where it is, and in doubt where its outcome is UNKNOWN."""
    path, version = event.step, state.version + 1
    if path not in state.steps:
        return _item(state, event)
    old = state.steps[path]
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    in_doubt = state.in_doubt if event.outcome is not _UNKNOWN else in_doubt_after(state, new)
    return changed(state, version=version, updated_at=event.at, steps=state.steps.set(path, new), in_doubt=in_doubt)


def _begins(state: SagaState, event: AttemptOpened | StepStuck, _status: SagaStatus) -> SagaState:
    """Fold a record with which a step's way forward may begin, or its undo, in a part of the trace."""
    path, version = event.step, state.version + 1
    if path not in state.steps:
        return _item(state, event)
    old = state.steps[path]
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    if old.status is _PENDING:
        parts = step_begins(state.trace_parts, event, version, state.started_at)
    else:
        parts = _undo_begins(state, event, old)
    steps, live, epoch = state.steps.set(path, new), live_after(state, new), _epoch(state, event)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, epoch=epoch, trace_parts=parts)


def _epoch(state: SagaState, event: AttemptOpened | StepStuck) -> int:
    return max(state.epoch, event.epoch) if isinstance(event, AttemptOpened) else state.epoch


def _undo_begins(state: SagaState, event: AttemptOpened | StepStuck, old: StepState) -> TraceParts:
    """Fold to which part of the trace an undo belongs that begins now, of a path that has a span."""
    if not state.rollbacks or old.status not in TO_UNDO or not is_traced(event.step):
        return state.trace_parts
    return undo_begins(state.trace_parts, event.step, state.rollbacks)


def _began(state: SagaState, event: StepBegan, _status: SagaStatus) -> SagaState:
    """Fold that a step without a call of its own is under way."""
    path, version = event.step, state.version + 1
    old = _known(state, path)
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    if path not in state.steps:
        raise JournalCorrupted(f"item {path!r} began as a step without a call, which items never are")
    if not _can_begin(state.plan.steps[path], event):
        told = f"due at {event.due_at}, {event.count} items"
        raise JournalCorrupted(f"step {path!r} cannot begin as it did ({told}): its plan has no such step")
    parts = step_begins(state.trace_parts, event, version, state.started_at)
    return _saga(state, event, steps=state.steps.set(path, new), live=live_after(state, new), trace_parts=parts)


def _settled(state: SagaState, event: StepSettled, _status: SagaStatus) -> SagaState:
    """Fold the end of a step's way forward: of a wait it takes the signal, of a scope it ends the rollback."""
    path, version = event.step, state.version + 1
    if path not in state.steps:
        return _item(state, event)
    old = state.steps[path]
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    rollbacks, signals, body = state.rollbacks, state.signals, state.plan.steps[path].body
    if path in rollbacks and path not in rollbacks[path].steps:
        rollbacks = _without(state, path)
    if event.reason is _DONE and isinstance(body, Wait):
        taken, *left = signals.get(body.signal, ()) or (None,)
        if taken is None:
            raise JournalCorrupted(f"step {path!r} took signal {body.signal!r}, which had not come")
        signals = {**signals, body.signal: tuple(left)}
        new = changed(new, reply=taken.payload)
    steps, live = state.steps.set(path, new), live_after(state, new)
    return changed(
        state, version=version, updated_at=event.at, steps=steps, live=live, rollbacks=rollbacks, signals=signals
    )


def _can_begin(step: Step, event: StepBegan) -> bool:
    """Return whether a step without a call of its own can be under way so: what comes after rests on it."""
    if step.for_each is not None:
        return event.count is not None and event.due_at is None
    if isinstance(step.body, Call) or event.count is not None:
        return False
    return event.due_at is not None or not isinstance(step.body, Sleep)


def _item(state: SagaState, event: StepEvent) -> SagaState:
    """Fold an item's event, and what it means for the step that the item belongs to."""
    path, version, step_id = event.step, state.version + 1, item_of(event.step)[0]
    is_new, old = path not in state.items, _known(state, path)
    new = STEP_FOLDS[type(event)](old, event, version, next_step(old.status, event))
    if isinstance(event, StepSettled) and new.forward is not None:
        # Of 100,000 items only what undoing them may need is kept.
        slim = changed(new.forward, request=_NOTHING, last=None)
        new = changed(new, forward=slim, awaiting=None, probe=None, stop=None)
    items, step = state.items.set(path, new), state.steps[step_id]
    assert step.items is not None  # an item exists only while its step has begun
    counts = counted(step.items, None if is_new else old, new, is_undoable=state.plan.steps[step_id].is_undoable)
    epoch, parts = state.epoch, state.trace_parts
    if isinstance(event, _BEGINS):
        epoch, parts = _epoch(state, event), _undo_begins(state, event, old)
        if event.operation is COMPENSATE:
            counts = changed(counts, undo_next=undo_next(items, step_id, counts))
    if counts is not step.items or new.settled_version > step.settled_version:
        step = changed(step, items=counts, settled_version=max(step.settled_version, new.settled_version))
    return changed(
        state,
        version=version,
        updated_at=event.at,
        steps=state.steps.set(step_id, step),
        items=items,
        live=live_after(state, new),
        in_doubt=in_doubt_after(state, new),
        epoch=epoch,
        trace_parts=parts,
    )


FOLDS: Mapping[type[Event], Callable[[SagaState, Any, SagaStatus], SagaState]] = {
    SagaStarted: _started,
    StepBegan: _began,
    SignalReceived: _signalled,
    RollbackBegan: _rollback_began,
    ElseBegan: _else_began,
    StepsReset: _reset,
    StepSkipped: _step,
    AttemptOpened: _begins,
    AttemptSettled: _attempt_settled,
    RetryScheduled: _step,
    StepSettled: _settled,
    CancelRequested: _cancel_requested,
    CompensationBegan: _compensation_began,
    StepUndone: _step,
    StepStuck: _begins,
    StepReopened: _step,
    StepLeft: _step,
    AttentionRaised: _attention_raised,
    AttentionCleared: _attention_cleared,
    OperatorActed: _acted,
    SagaCompleted: _completed,
    SagaCompensated: _ended,
    SagaTerminated: _ended,
}
"""What an event does to a saga whose next status is known.

The one exception to *one union, one `match`*, here, for a step in `evolve_step.py`, and in `transitions.py` and
`frontier.py`. A `match` tries its classes one after the other, at 0.1 us each (`frozen.py`): 8 us for a saga of five
steps. The price is that the type checker sees neither that every class is here, which `tests/unit/saga/test_fold.py`
does instead, nor that a function takes what its class gives (`Any`).
"""
