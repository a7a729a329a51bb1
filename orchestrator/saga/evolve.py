"""Fold: one event onto one state. Asks nothing, evaluates nothing, and cannot fail on a legal journal."""

from collections.abc import Iterable
from typing import assert_never

from immutables import Map

from orchestrator.errors import JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import StepId, item_of, item_path
from orchestrator.saga.events import (
    GOOD_REASONS,
    POLL,
    AttemptOpened,
    AttemptSettled,
    AttentionCleared,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    Phase,
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
from orchestrator.saga.outcome import is_parked
from orchestrator.saga.plan import Operation, Outcome, Wait
from orchestrator.saga.state import (
    FIELD_OF,
    AttemptState,
    ItemsState,
    OperationState,
    Rollback,
    SagaState,
    Signal,
    StepState,
    StepStatus,
    operation_of,
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
_NOTHING = Payload("", b"")


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
            )
        case SignalReceived():
            return _signalled(state, event)
        case RollbackBegan() | ElseBegan() | StepsReset():
            return _part(state, event)
        case AttentionRaised():
            return _saga(state, event, status=status, attention=(*state.attention, event.reason))
        case AttentionCleared():
            return _saga(state, event, status=status, attention=())
        case OperatorActed(verb=verb):
            paused = {Verb.PAUSE: True, Verb.RESUME: False}.get(verb, state.is_paused)
            return _saga(state, event, is_paused=paused)
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


def _signalled(state: SagaState, event: SignalReceived) -> SagaState:
    waiting = (*state.signals.get(event.signal, ()), Signal(request_id=event.request_id, payload=event.payload))
    signals = {**state.signals, event.signal: waiting}
    return _saga(state, event, signals=signals, signal_ids=state.signal_ids.set(event.request_id, None))


def _part(state: SagaState, event: RollbackBegan | ElseBegan | StepsReset) -> SagaState:
    """Fold what concerns a part of the saga: it is being undone, it has an alternative, it begins anew."""
    rollbacks = {root: rollback for root, rollback in state.rollbacks.items() if root != event.step}
    match event:
        case RollbackBegan():
            rollbacks[event.step] = Rollback(steps=frozenset(event.steps), cause=event.cause)
            return _saga(state, event, rollbacks=rollbacks)
        case ElseBegan():
            steps = {**state.steps, event.step: changed(_known(state, event.step), in_else=True)}
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
        again = max(max([each.manual_epoch, *(of.manual_epoch for of in _operations(each))]) for each in lives) + 1
        steps[step_id] = StepState(id=step_id, status=next_step(old.status, event), manual_epoch=again)
    return {"steps": steps, "items": items, "live": state.live.difference(event.steps)}


def _operations(step: StepState) -> list[OperationState]:
    return [of for each in Operation if (of := operation_of(step, each)) is not None]


def _known(state: SagaState, path: StepId) -> StepState:
    found = state.find(path)
    if found is not None:
        return found
    step, index = item_of(path)
    items = state.steps[step].items if step in state.steps else None
    if index is None or items is None or index != items.began or index >= items.count:
        raise JournalCorrupted(f"a record names step {path!r}, which the plan does not have, or not yet")
    return StepState(id=path, manual_epoch=state.steps[step].manual_epoch)


StepEvent = (
    AttemptOpened
    | AttemptSettled
    | RetryScheduled
    | StepSkipped
    | StepSettled
    | StepUndone
    | StepStuck
    | StepBegan
    | StepReopened
    | StepLeft
)


def _step(state: SagaState, event: StepEvent) -> SagaState:
    path, version = event.step, state.version + 1
    old = state.steps.get(path) or _known(state, path)
    new = _changed(old, event, version, next_step(old.status, event))
    epoch = max(state.epoch, event.epoch) if isinstance(event, AttemptOpened) else state.epoch
    if path not in state.steps:
        return _item(state, event, old, new, epoch)
    more: dict[str, object] = {}
    if isinstance(event, StepSettled):
        if path in state.rollbacks:
            more["rollbacks"] = {root: rollback for root, rollback in state.rollbacks.items() if root != path}
        body = state.plan.steps[path].body
        if isinstance(body, Wait) and event.reason is SettleReason.DONE:
            taken, *left = state.signals[body.signal]
            more["signals"] = {**state.signals, body.signal: tuple(left)}
            new = changed(new, reply=taken.payload)
    steps = dict(state.steps)
    steps[path] = new
    return _saga(state, event, steps=steps, live=_live(state, new), epoch=epoch, **more)


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


def _changed(step: StepState, event: StepEvent, version: int, status: StepStatus) -> StepState:
    match event:
        case AttemptOpened():
            return _opened(step, event, version, status)
        case AttemptSettled():
            return _with_operation(step, event.operation, _closed(_operation(step, event.operation), event), status)
        case RetryScheduled():
            return _scheduled(step, event, status)
        case StepSettled():
            return _settled(step, event, version, status)
        case StepBegan(count=count):
            items = None if count is None else ItemsState(count=count)
            return changed(
                step, status=status, started_version=version, began_at=event.at, due_at=event.due_at, items=items
            )
        case StepStuck():
            return changed(step, status=status, stuck=event.reason, message=event.message)
        case StepReopened():
            return _reopened(step, event, status)
        case StepSkipped() | StepUndone() | StepLeft():
            return changed(step, status=status, stuck=None)
        case _:
            assert_never(event)


def _opened(step: StepState, event: AttemptOpened, version: int, status: StepStatus) -> StepState:
    before = operation_of(step, event.operation)
    attempt = AttemptState(number=event.attempt, epoch=event.epoch, opened_at=event.at, deadline_at=event.deadline_at)
    following = 1 if before is None else before.attempts + 1
    if event.attempt != following or (before is not None and before.open is not None):
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is opened, yet {following} must follow")
    if before is not None:
        after = changed(
            before,
            request=before.request if event.request is None else event.request,
            key=event.key,
            manual_epoch=event.manual_epoch,
            attempts=event.attempt,
            open=attempt,
            retry_at=None,
            parked=False,
        )
        if event.operation is not Operation.FORWARD:
            step = _asked_no_more(step)
        return _with_operation(step, event.operation, after, status)
    if event.request is None:
        raise JournalCorrupted(f"the first attempt of {event.operation.value} of step {step.id!r} has no request")
    first = OperationState(
        request=event.request,
        key=event.key,
        manual_epoch=event.manual_epoch,
        started_at=event.at,
        attempts=event.attempt,
        open=attempt,
    )
    if event.operation is Operation.FORWARD:
        return changed(step, status=status, forward=first, started_version=version, began_at=event.at)
    return _with_operation(_asked_no_more(step), event.operation, first, status)


def _asked_no_more(step: StepState) -> StepState:
    """Call off the next forward attempt: what became of the last ones is found out another way, or undone."""
    if step.forward is None or step.forward.retry_at is None:
        return step
    return changed(step, forward=changed(step.forward, retry_at=None, parked=False))


def _closed(operation: OperationState, event: AttemptSettled) -> OperationState:
    """Fold one attempt's end: what it may still be doing at the peer, and whether it cost retry budget."""
    if operation.open is None or operation.open.number != event.attempt:
        raise JournalCorrupted(f"attempt {event.attempt} of step {event.step!r} is settled but not open")
    free = is_parked(event.report) or event.report.phase is Phase.LOST
    unknown = event.outcome is Outcome.UNKNOWN
    return changed(
        operation,
        open=None,
        spent=operation.spent + (0 if free else 1),
        unknown=operation.unknown or unknown,
        drained_at=max(operation.drained_at, operation.open.deadline_at) if unknown else operation.drained_at,
        last=event.report,
    )


def _scheduled(step: StepState, event: RetryScheduled, status: StepStatus) -> StepState:
    waiting = changed(_operation(step, event.operation), retry_at=event.due_at, parked=event.parked)
    if event.reason == POLL:
        # An answer that says "not yet" is no failure: only failures in a row count.
        waiting = changed(waiting, spent=0)
    if event.operation is Operation.FORWARD and step.status in {StepStatus.PROBING, StepStatus.WAITING}:
        # The peer was asked and has not done it: the forward call begins with a clean sheet.
        asked = (step.probe, step.awaiting)
        probe, awaiting = (None if of is None else changed(of, spent=0, unknown=False, retry_at=None) for of in asked)
        step = changed(step, probe=probe, awaiting=awaiting)
        waiting = changed(waiting, unknown=False)
    return _with_operation(step, event.operation, waiting, status)


def _reopened(step: StepState, event: StepReopened, status: StepStatus) -> StepState:
    before = operation_of(step, event.operation)
    again: OperationState
    if before is None:
        if event.request is None:
            raise JournalCorrupted(f"{event.operation.value} of step {step.id!r} is tried again, and was never tried")
        again = OperationState(request=event.request, key="", started_at=event.at, manual_epoch=step.manual_epoch)
    else:
        again = changed(
            before,
            request=before.request if event.request is None else event.request,
            manual_epoch=before.manual_epoch + 1 if event.as_new else before.manual_epoch,
            unknown=before.unknown and not event.as_new,
        )
    again = changed(again, retry_at=event.at, spent=0, parked=False)
    return changed(_with_operation(step, event.operation, again, status), stuck=None, message="")


def _settled(step: StepState, event: StepSettled, version: int, status: StepStatus) -> StepState:
    reply, forward = event.reply, step.forward
    told = event.reason not in {SettleReason.PROBED, SettleReason.RESOLVED} and step.awaiting is None
    if reply is None and told and event.outcome is Outcome.APPLIED and forward is not None and forward.last is not None:
        reply = forward.last.reply
    return changed(
        step,
        status=status,
        forward=None if step.forward is None else changed(step.forward, retry_at=None, parked=False),
        outcome=event.outcome,
        settle_reason=event.reason,
        code=event.code,
        message=event.message,
        reply=reply,
        undo_request=event.undo_request,
        settled_version=version,
        due_at=None,
        stuck=None,
    )


def _operation(step: StepState, operation: Operation) -> OperationState:
    found = operation_of(step, operation)
    if found is None:
        raise JournalCorrupted(f"{operation.value} of step {step.id!r} has an end but no beginning")
    return found


def _with_operation(step: StepState, operation: Operation, state: OperationState, status: StepStatus) -> StepState:
    return changed(step, status=status, **{FIELD_OF[operation]: state})
