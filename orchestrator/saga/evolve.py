"""Fold: one event onto one state. Asks nothing, evaluates nothing, and cannot fail on a legal journal."""

from collections.abc import Iterable
from typing import assert_never

from immutables import Map

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import StepId, is_traced, item_of, item_path
from orchestrator.saga.events import (
    GOOD_REASONS,
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
from orchestrator.saga.evolve_step import StepEvent, with_event
from orchestrator.saga.plan import Call, Operation, Outcome, Scope, Sleep, Step, Wait
from orchestrator.saga.state import (
    ItemsState,
    Rollback,
    SagaState,
    Signal,
    StepState,
    StepStatus,
    operations_of,
)
from orchestrator.saga.traceparts import (
    compensation_begins,
    rollback_begins,
    step_begins,
    steps_begin_anew,
    undo_begins,
)
from orchestrator.saga.transitions import next_saga, next_step
from orchestrator.values import Payload

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
_UNDO_OPEN = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED, StepStatus.UNDOING})
_PENDING = StepStatus.PENDING
_TO_UNDO = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED})
# What ends a step with the record that it begins with. As a tuple, which a union would be made into at every call.
_AT_ONCE = (StepSkipped, StepSettled)
_NOTHING = Payload("", b"")
_PAUSED = {Verb.PAUSE: True, Verb.RESUME: False}


def fold(state: SagaState, events: Iterable[Event]) -> SagaState:
    """Return the state after the events, in order (M15)."""
    for event in events:
        state = evolve(state, event)
    return state


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event; `JournalCorrupted` where it cannot follow."""
    status = next_saga(state.status, event, is_backward=state.cause is not None)
    match event:
        case (
            AttemptOpened()
            | AttemptSettled()
            | RetryScheduled()
            | StepSkipped()
            | StepSettled()
            | StepUndone()
            | StepStuck()
            | StepBegan()
            | StepReopened()
            | StepLeft()
        ):
            # First, because nine of ten events are one of these.
            return _step(state, event)
        case SagaStarted():
            return _started(state, event)
        case CancelRequested():
            return _saga(state, event, cancel_reason=event.reason)
        case CompensationBegan():
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
        case SignalReceived():
            return _signalled(state, event)
        case RollbackBegan() | ElseBegan() | StepsReset():
            return _part(state, event)
        case AttentionRaised():
            return _saga(state, event, status=status, attention=(*state.attention, event.reason))
        case AttentionCleared():
            return _saga(state, event, status=status, attention=())
        case OperatorActed():
            return _acted(state, event)
        case SagaCompleted():
            return _ended(state, event, status=status, output=event.output)
        case SagaCompensated() | SagaTerminated():
            return _ended(state, event, status=status)
        case _:
            assert_never(event)


def _started(state: SagaState, event: SagaStarted) -> SagaState:
    return _saga(
        state,
        event,
        status=next_saga(state.status, event),
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


def _ended(state: SagaState, event: Event, **changes: object) -> SagaState:
    return _saga(
        state,
        event,
        ended_at=event.at,
        attention=(),
        live=frozenset[StepId](),
        is_paused=False,
        rollbacks={},
        **changes,
    )


def _ahead(state: SagaState) -> frozenset[StepId]:
    """Add what is being undone now: more is to be undone from here on, some of which would have come before."""
    return state.ahead.union(step.id for step in state.steps.values() if step.undo is not None)


def _acted(state: SagaState, event: OperatorActed) -> SagaState:
    if event.verb in _PAUSED:
        return _saga(state, event, is_paused=_PAUSED[event.verb])
    if event.outcome is not Outcome.NOT_APPLIED or event.step is None or event.operation is not Operation.FORWARD:
        return _saga(state, event)
    old = _known(state, event.step)
    if old.forward is None:
        return _saga(state, event)
    # A person's word settles what the wire left in doubt.
    new = changed(old, forward=changed(old.forward, unknown=False, polled=False), stuck=None)
    if event.step in state.steps:
        return _saga(state, event, steps={**state.steps, event.step: new})
    return _saga(state, event, items=state.items.set(event.step, new))


def _signalled(state: SagaState, event: SignalReceived) -> SagaState:
    waiting = (*state.signals.get(event.signal, ()), Signal(request_id=event.request_id, payload=event.payload))
    signals = {**state.signals, event.signal: waiting}
    return _saga(state, event, signals=signals, signal_ids=state.signal_ids.set(event.request_id, None))


def _part(state: SagaState, event: RollbackBegan | ElseBegan | StepsReset) -> SagaState:
    """Fold what concerns a part of the saga: it is being undone, it has an alternative, it begins anew."""
    rollbacks = {root: rollback for root, rollback in state.rollbacks.items() if root != event.step}
    match event:
        case RollbackBegan():
            _known(state, event.step)
            rollbacks[event.step] = Rollback(steps=frozenset(event.steps), cause=event.cause)
            ahead = _ahead(state) if state.rollbacks else state.ahead
            parts = rollback_begins(state.trace_parts, event, state.version + 1, state.started_at)
            return _saga(state, event, rollbacks=rollbacks, ahead=ahead, trace_parts=parts)
        case ElseBegan():
            scope, body = _known(state, event.step), state.plan.steps[event.step].body
            timeout_s = body.timeout_s if isinstance(body, Scope) else None
            due_at = None if timeout_s is None else event.at + timeout_s
            steps = {**state.steps, event.step: changed(scope, in_else=True, due_at=due_at)}
            return _saga(state, event, rollbacks=rollbacks, steps=steps)
        case StepsReset():
            return _saga(state, event, rollbacks=rollbacks, **_reset(state, event))
        case _:
            assert_never(event)


def _reset(state: SagaState, event: StepsReset) -> dict[str, object]:
    steps, items = dict(state.steps), state.items
    for step_id in event.steps:
        old = _known(state, step_id)
        lives = [old]
        for index in range(old.items.began if old.items is not None else 0):
            # An item may have been run as new by itself: its next life must not take up a key that it has had.
            lives.append(items[item_path(step_id, index)])
            items = items.delete(item_path(step_id, index))
        again = max(max([each.manual_epoch, *(of.manual_epoch for _, of in operations_of(each))]) for each in lives) + 1
        steps[step_id] = StepState(id=step_id, status=next_step(old.status, event), manual_epoch=again)
    live = frozenset(path for path in state.live if item_of(path)[0] not in event.steps)
    ahead = frozenset(path for path in state.ahead if item_of(path)[0] not in event.steps)
    parts = steps_begin_anew(state.trace_parts, event.steps)
    return {"steps": steps, "items": items, "live": live, "ahead": ahead, "trace_parts": parts}


def _known(state: SagaState, path: StepId) -> StepState:
    found = state.find(path)
    if found is not None:
        return found
    step, index = item_of(path)
    items = state.steps[step].items if step in state.steps else None
    if index is None or items is None or index != items.began or index >= items.count:
        raise JournalCorrupted(f"a record names step {path!r}, which the plan does not have, or not yet")
    return StepState(id=path, manual_epoch=state.steps[step].manual_epoch)


def _step(state: SagaState, event: StepEvent) -> SagaState:
    path, version = event.step, state.version + 1
    old = state.steps.get(path) or _known(state, path)
    status = old.status
    new = with_event(old, event, version, next_step(status, event))
    epoch = max(state.epoch, event.epoch) if isinstance(event, AttemptOpened) else state.epoch
    if state.rollbacks and status in _TO_UNDO:
        state = _undo_begins(state, event)
    if path not in state.steps:
        if isinstance(event, StepBegan):
            raise JournalCorrupted(f"item {path!r} began as a step without a call, which items never are")
        return _item(state, event, old, new, epoch)
    more: dict[str, object] = {}
    if status is _PENDING and not isinstance(event, _AT_ONCE):
        parts = step_begins(state.trace_parts, event, version, state.started_at)
        if parts is not state.trace_parts:
            more["trace_parts"] = parts
    if isinstance(event, StepBegan) and not _can_begin(state.plan.steps[path], event):
        told = f"due at {event.due_at}, {event.count} items"
        raise JournalCorrupted(f"step {path!r} cannot begin as it did ({told}): its plan has no such step")
    if isinstance(event, StepSettled):
        if path in state.rollbacks and path not in state.rollbacks[path].steps:
            more["rollbacks"] = {root: rollback for root, rollback in state.rollbacks.items() if root != path}
        body = state.plan.steps[path].body
        if isinstance(body, Wait) and event.reason is SettleReason.DONE:
            taken, *left = state.signals.get(body.signal, ()) or (None,)
            if taken is None:
                raise JournalCorrupted(f"step {path!r} took signal {body.signal!r}, which had not come")
            more["signals"] = {**state.signals, body.signal: tuple(left)}
            new = changed(new, reply=taken.payload)
    steps = dict(state.steps)
    steps[path] = new
    # As `_saga` does, without handing the keywords on twice: nine of ten records end here.
    live = _live(state, new)
    return changed(state, version=version, updated_at=event.at, steps=steps, live=live, epoch=epoch, **more)


def _undo_begins(state: SagaState, event: StepEvent) -> SagaState:
    """Fold to which part of the trace an undo belongs that begins now, of a path that has a span."""
    if not isinstance(event, AttemptOpened | StepStuck) or not is_traced(event.step):
        return state
    return changed(state, trace_parts=undo_begins(state.trace_parts, event.step, state.rollbacks))


def _can_begin(step: Step, event: StepBegan) -> bool:
    """Return whether a step without a call of its own can be under way so: what comes after rests on it."""
    if step.for_each is not None:
        return event.count is not None and event.due_at is None
    if isinstance(step.body, Call) or event.count is not None:
        return False
    return event.due_at is not None or not isinstance(step.body, Sleep)


def _live(state: SagaState, step: StepState) -> frozenset[StepId]:
    """Keep the set of steps that may owe something."""
    if step.status in _LIVE:
        return state.live if step.id in state.live else state.live | {step.id}
    return state.live - {step.id} if step.id in state.live else state.live


def _item(state: SagaState, event: StepEvent, old: StepState, new: StepState, epoch: int) -> SagaState:
    """Fold an item's event, and what it means for the step that the item belongs to."""
    step_id, index = item_of(new.id)
    assert index is not None  # `_known` has made sure
    if isinstance(event, StepSettled) and new.forward is not None:
        # Of 100,000 items only what undoing them may need is kept.
        slim = changed(new.forward, request=_NOTHING, last=None)
        new = changed(new, forward=slim, awaiting=None, probe=None, stop=None)
    items = state.items.set(new.id, new)
    step = state.steps[step_id]
    assert step.items is not None  # an item exists only while its step has begun
    counted = _counted(
        step.items,
        old,
        new,
        is_undoable=state.plan.steps[step_id].is_undoable,
        is_new=old is not state.items.get(new.id),
    )
    if isinstance(event, AttemptOpened | StepStuck) and event.operation is Operation.COMPENSATE:
        counted = changed(counted, undo_next=_undo_next(items, step_id, counted))
    steps = dict(state.steps)
    ended = max(step.settled_version, new.settled_version)
    steps[step_id] = changed(step, items=counted, settled_version=ended)
    return _saga(state, event, steps=steps, items=items, live=_live(state, new), epoch=epoch)


def _counted(items: ItemsState, old: StepState, new: StepState, *, is_undoable: bool, is_new: bool) -> ItemsState:
    before, after = (0,) * 6 if is_new else _weight(old, is_undoable=is_undoable), _weight(new, is_undoable=is_undoable)
    gain = [now - then for then, now in zip(before, after, strict=True)]
    failed = gain[2] > 0 and items.first_failed is None
    return changed(
        items,
        began=items.began + is_new,
        under_way=items.under_way + gain[0],
        applied=items.applied + gain[1],
        failed=items.failed + gain[2],
        to_undo=items.to_undo + gain[3],
        undoing=items.undoing + gain[4],
        stuck=items.stuck + gain[5],
        first_failed=new.id if failed else items.first_failed,
    )


def _weight(item: StepState, *, is_undoable: bool) -> tuple[int, ...]:
    """Return what an item adds to each count of `ItemsState`, from `under_way` on."""
    good = item.outcome is Outcome.APPLIED and item.settle_reason in GOOD_REASONS
    stuck = item.status is StepStatus.STUCK
    return (
        item.outcome is None and item.status is not StepStatus.SKIPPED,
        good,
        item.outcome is not None and not good,
        is_undoable and (item.status in _UNDO_OPEN or (stuck and item.outcome is not None)),
        item.status is StepStatus.UNDOING,
        stuck,
    )


def _undo_next(items: Map[StepId, StepState], step: StepId, counted: ItemsState) -> int:
    """Return the highest position whose undo is still to begin; each is passed once, so a step pays once for all."""
    index = counted.began - 1 if counted.undo_next is None else counted.undo_next
    while index >= 0 and items[item_path(step, index)].status not in {StepStatus.APPLIED, StepStatus.UNSETTLED}:
        index -= 1
    return index
