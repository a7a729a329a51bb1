"""Fold: one event onto one state. Asks nothing, evaluates nothing, and cannot fail on a legal journal."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

from immutables import Map

from orchestrator.frozen import changed
from orchestrator.ids import StepId, item_of, item_path
from orchestrator.limits import FORWARD_PARALLEL_MAX
from orchestrator.saga.events import (
    AttentionCleared,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SignalReceived,
    StepsReset,
    Verb,
)
from orchestrator.saga.evolve_order import in_doubt_after, live_again, stuck_after, with_begun, with_to_undo
from orchestrator.saga.evolve_step import STEP_FOLDS
from orchestrator.saga.evolve_with_step import FOLDS_WITH_STEP, item_after, known, without
from orchestrator.saga.plan import FORWARD, Outcome, Scope
from orchestrator.saga.state import (
    TERMINAL,
    Rollback,
    SagaState,
    SagaStatus,
    Signal,
    StepState,
    StepStatus,
    operations_of,
)
from orchestrator.saga.traceparts import (
    compensation_begins,
    rollback_begins,
    steps_begin_anew,
)
from orchestrator.saga.transitions import next_saga, next_step

_OVER: Mapping[str, object] = {"attention": (), "live": Map[StepId, None](), "is_paused": False, "rollbacks": {}}
_PAUSED = {Verb.PAUSE: True, Verb.RESUME: False}


def fold(state: SagaState, events: Iterable[Event]) -> SagaState:
    """Return the state after the events, in order (M15)."""
    return reduce(evolve, events, state)


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event; `JournalCorrupted` where it cannot follow."""
    status = next_saga(state.status, event, is_backward=state.cause is not None)
    kind = type(event)
    if kind not in FOLDS_WITH_STEP:
        after = FOLDS[kind](state, event, status)
    else:
        path: StepId = event.step  # type: ignore[union-attr, assignment]  # the table has those of a step
        version = state.version + 1
        if path not in state.steps:
            after = item_after(state, event, version)  # type: ignore[arg-type]  # as above
        else:
            old = state.steps[path]
            new = STEP_FOLDS[kind](old, event, version, next_step(old.status, event))
            after = FOLDS_WITH_STEP[kind](state, event, version, old, new)
            if state.stuck:
                after = changed(after, stuck=stuck_after(state, new))
    if after.cause is not None:
        return with_to_undo(after, event)
    return after if after.calls_open < FORWARD_PARALLEL_MAX else with_begun(after)


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
        live=live_again(state) if state.status in TERMINAL else state.live,
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
    """Add what is being undone now, or once a person says so: of what else is to be undone some would come first."""
    undoing = [path for path in state.live if state.step(path).status is StepStatus.UNDOING]
    asking = [path for path in state.stuck if state.step(path).outcome is not None]
    return state.ahead.union(path for path in (*undoing, *asking) if path in state.steps)


def _acted(state: SagaState, event: OperatorActed, _status: SagaStatus) -> SagaState:
    if event.verb in _PAUSED:
        return _saga(state, event, is_paused=_PAUSED[event.verb])
    if event.outcome is not Outcome.NOT_APPLIED or event.step is None or event.operation is not FORWARD:
        return _saga(state, event)
    old = known(state, event.step)
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


def _rollback_began(state: SagaState, event: RollbackBegan, _status: SagaStatus) -> SagaState:
    known(state, event.step)
    # Where it was begun before it takes its place anew, behind the others.
    rollbacks = without(state, event.step)
    rollbacks[event.step] = Rollback(steps=frozenset(event.steps), cause=event.cause)
    ahead = _ahead(state) if state.rollbacks else state.ahead
    parts = rollback_begins(state.trace_parts, event, state.version + 1, state.started_at)
    return _saga(state, event, rollbacks=rollbacks, ahead=ahead, trace_parts=parts)


def _else_began(state: SagaState, event: ElseBegan, _status: SagaStatus) -> SagaState:
    scope, body = known(state, event.step), state.plan.steps[event.step].body
    timeout_s = body.timeout_s if isinstance(body, Scope) else None
    due_at = None if timeout_s is None else event.at + timeout_s
    steps = state.steps.set(event.step, changed(scope, in_else=True, due_at=due_at))
    return _saga(state, event, rollbacks=without(state, event.step), steps=steps)


def _reset(state: SagaState, event: StepsReset, _status: SagaStatus) -> SagaState:
    """Fold that a part of the saga begins anew."""
    steps, items = state.steps, state.items
    for step_id in event.steps:
        old = known(state, step_id)
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
        stuck=_outside(state.stuck, event),
        in_doubt=_outside(state.in_doubt, event),
        ahead=frozenset(path for path in state.ahead if item_of(path)[0] not in event.steps),
        rollbacks=without(state, event.step),
        trace_parts=steps_begin_anew(state.trace_parts, event.steps),
        first_pending=0,
    )


def _outside(paths: Map[StepId, None], event: StepsReset) -> Map[StepId, None]:
    """Return those that do not begin anew."""
    return Map({path: None for path in paths if item_of(path)[0] not in event.steps})


FOLDS: Mapping[type[Event], Callable[[SagaState, Any, SagaStatus], SagaState]] = {
    SagaStarted: _started,
    SignalReceived: _signalled,
    RollbackBegan: _rollback_began,
    ElseBegan: _else_began,
    StepsReset: _reset,
    CancelRequested: _cancel_requested,
    CompensationBegan: _compensation_began,
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
