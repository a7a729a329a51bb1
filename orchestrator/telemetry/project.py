"""A saga's records as spans: a pure fold, the same today, after a crash, and on another machine.

`project(view, event, version)` takes what is known of a saga from its earlier records and the next event; it gives what
is known afterwards and the spans that this event closes, children before parents.
"""

from collections.abc import Iterable
from typing import assert_never

from orchestrator import ids
from orchestrator.frozen import changed
from orchestrator.ids import StepId, item_of
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.traceparts import (
    compensation_begins,
    rollback_begins,
    step_begins,
    steps_begin_anew,
    undo_begins,
)
from orchestrator.telemetry import spans
from orchestrator.telemetry.endings import Ending
from orchestrator.telemetry.notes import Note, note_of
from orchestrator.telemetry.rollover import Told, followed, with_parts
from orchestrator.telemetry.spandata import SpanData, SpanLink
from orchestrator.telemetry.views import (
    ItemCounts,
    Notes,
    OpenAttempt,
    OperationKey,
    SagaView,
    UnderWay,
    Undoing,
    begun,
    entry_of,
    innermost_first,
    no_earlier,
    noted,
    side_of,
    untold,
    with_undoing,
)
from orchestrator.values import TraceContext

_FORWARD, _UNDO = Operation.FORWARD, Operation.COMPENSATE


def project(view: SagaView, event: ev.Event, version: int) -> Told:
    """Return the view after the event of a record, and the spans it closes, children before parents.

    `version` is the record's number. There are no spans of an unsampled saga.
    """
    if not view.who.sampled:
        return view, ()
    before = view.parts
    told: tuple[SpanData, ...] = ()
    match event:
        case ev.AttemptOpened():
            view = _opened(view, event, version)
        case ev.AttemptSettled():
            view, told = _attempted(view, event)
        case ev.StepBegan():
            view = _began(view, event, version)
        case ev.StepSettled():
            view, told = _settled(view, event)
        case ev.StepUndone() | ev.StepLeft():
            view, told = _undone(view, event)
        case ev.StepSkipped():
            view, told = _skipped(view, event)
        case ev.StepStuck():
            view = noted(_starts(view, event, side_of(event.operation), version), None, note_of(event))
        case ev.RollbackBegan() | ev.ElseBegan() | ev.StepsReset() | ev.CompensationBegan():
            view, told = _part(view, event, version)
        case ev.SagaStarted():
            told = (spans.start_span(view, event.at),)
        case ev.SagaCompleted() | ev.SagaCompensated() | ev.SagaTerminated():
            view, told = _ended(view, event)
        case _:
            view = _happened(view, event)
    return followed(view, before, event.at, told) if view.earlier or view.parts is not before else (view, told)


_Beginning = ev.AttemptOpened | ev.StepBegan | ev.StepStuck


def _starts(view: SagaView, event: _Beginning, side: Operation, version: int) -> SagaView:
    """Return the view with a step or an undo under way, in the part of the trace where the runtime has it (T5)."""
    path = event.step
    if (path, side) in view.under_way or not ids.is_traced(path):
        return view
    view = _in_its_part(view, event, side, version)
    return changed(view, under_way=view.under_way.set((path, side), entry_of(view, path, side, event.at)))


def _in_its_part(view: SagaView, event: _Beginning, side: Operation, version: int) -> SagaView:
    parts = view.parts
    if side is _UNDO:
        if view.rollbacks:
            parts = undo_begins(parts, event.step, view.rollbacks)
    elif event.step[-1] != "]":
        parts = step_begins(parts, event, version, view.who.started_at)
    return view if parts is view.parts else with_parts(view, parts)


def _opened(view: SagaView, event: ev.AttemptOpened, version: int) -> SagaView:
    path, side = event.step, side_of(event.operation)
    if not ids.is_traced(path, event.attempt):
        return _starts(view, event, side, version)
    entry = view.under_way.get((path, side))
    if entry is not None:
        return changed(view, calls=view.calls.set((path, event.operation), _call_of(event, entry)))
    view = _in_its_part(view, event, side, version)
    entry = entry_of(view, path, side, event.at)
    calls = view.calls.set((path, event.operation), _call_of(event, entry))
    return changed(view, calls=calls, under_way=view.under_way.set((path, side), entry))


def _call_of(event: ev.AttemptOpened, entry: UnderWay) -> OpenAttempt:
    opened_at = max(event.at, entry.begin_at)
    return OpenAttempt(
        attempt=event.attempt, manual_epoch=event.manual_epoch, opened_at=opened_at, parent_id=entry.span_id
    )


def _attempted(view: SagaView, event: ev.AttemptSettled) -> Told:
    key = event.step, event.operation
    call = view.calls.get(key)
    if call is None:
        return _unknown_attempt(view, event), ()
    calls = view.calls.delete(key)
    if event.operation is _FORWARD:
        view = changed(view, calls=calls, last=view.last.set(event.step, call))
    else:
        view = changed(view, calls=calls)
    return view, (spans.attempt_span(view, event, call),)


def _unknown_attempt(view: SagaView, event: ev.AttemptSettled) -> SagaView:
    if ids.is_traced(event.step, event.attempt):
        return view  # told as cut off when the saga was said to be over
    if event.operation is _FORWARD and ids.is_traced(event.step):
        view = changed(view, last=view.last.set(event.step, None))
    return untold(view, event.step, side_of(event.operation))


def _began(view: SagaView, event: ev.StepBegan, version: int) -> SagaView:
    if event.count is not None:
        view = changed(view, items=view.items.set(event.step, ItemCounts(event.count)))
    return _starts(view, event, _FORWARD, version)


def _settled(view: SagaView, event: ev.StepSettled) -> Told:
    if view.items:
        view = _counted(view, event)
    rolled_back: tuple[SpanData, ...] = ()
    if view.rollbacks and event.step in view.rollbacks and event.step not in view.rollbacks[event.step].steps:
        # The scope has failed, or is given up. What is run again from a step ends with its reset instead.
        view, rolled_back = _closed_rollback(view, event.step, event.at)
    key = event.step, _FORWARD
    entry = view.under_way.get(key)
    if entry is None:
        if not ids.is_traced(event.step):
            return untold(view, event.step, _FORWARD), rolled_back
        if view.has_ended or event.reason is ev.SettleReason.RESOLVED:
            return view, rolled_back  # its span is told already, and says what was known then
        view = begun(view, event.step, _FORWARD, event.started_at)
        entry = view.under_way[key]
    span = spans.step_span(view, event, entry)
    return changed(view, under_way=view.under_way.delete(key)), (*rolled_back, span)


def _counted(view: SagaView, event: ev.StepSettled) -> SagaView:
    step, index = item_of(event.step)
    items = view.items.get(step)
    if index is None or items is None:
        return view
    good = event.outcome is Outcome.APPLIED and event.reason in ev.GOOD_REASONS
    items = ItemCounts(items.count, items.applied + good, items.failed + (not good))
    return changed(view, items=view.items.set(step, items))


def _undone(view: SagaView, event: ev.StepUndone | ev.StepLeft) -> Told:
    if isinstance(event, ev.StepLeft):
        view = noted(view, None, note_of(event))
    elif (undoing := view.undoing(event.step)) is not None:
        view = with_undoing(view, undoing, changed(undoing, undone=undoing.undone + 1))
    if not ids.is_traced(event.step):
        return untold(view, event.step, _UNDO), ()
    key = event.step, _UNDO
    view = begun(view, event.step, _UNDO, event.started_at if isinstance(event, ev.StepUndone) else event.at)
    span = spans.undo_span(view, event, view.under_way[key])
    last = view.last.delete(event.step) if event.step in view.last else view.last
    return changed(view, under_way=view.under_way.delete(key), last=last), (span,)


def _skipped(view: SagaView, event: ev.StepSkipped) -> Told:
    view = noted(view, None, note_of(event))
    key = event.step, _FORWARD
    entry = view.under_way.get(key)
    if entry is None:
        return view, ()
    span = spans.passed_over_span(view, event, entry)
    return changed(view, under_way=view.under_way.delete(key)), (span,)


# --- parts of the saga, and the saga ---------------------------------------------------------------------------------


def _part(
    view: SagaView, event: ev.RollbackBegan | ev.ElseBegan | ev.StepsReset | ev.CompensationBegan, version: int
) -> Told:
    match event:
        case ev.RollbackBegan():
            return _rolling_back(view, event, version), ()
        case ev.ElseBegan():
            view, told = _closed_rollback(view, event.step, event.at)
            return noted(view, (event.step, _FORWARD), note_of(event)), told
        case ev.StepsReset():
            return _reset(view, event)
        case ev.CompensationBegan():
            view, told = _closed_rollbacks(view, event.at)
            view = with_parts(view, compensation_begins(view.parts, event, version, view.who.started_at))
            link = _link_to(event.trace)
            undoing = Undoing(
                part=view.parts.backward,
                span_id=ids.compensation_span_id(view.who.uid),
                parent_id=view.root_id,
                begin_at=max(event.at, view.begin_at),
                cause=event.cause,
                steps=frozenset(),
                notes=Notes(links=() if link is None else (link,)),
            )
            return changed(view, compensation=undoing), told
        case _:
            assert_never(event)


def _rolling_back(view: SagaView, event: ev.RollbackBegan, version: int) -> SagaView:
    view = with_parts(view, rollback_begins(view.parts, event, version, view.who.started_at))
    number = view.rollback_counts.get(event.step, 0) + 1
    # The scope that failed stays under way meanwhile; a step that is run again is itself undone.
    is_scope = event.step not in event.steps
    undoing = Undoing(
        part=view.parts.rollbacks[event.step],
        span_id=ids.rollback_span_id(view.who.uid, event.step, number),
        parent_id=view.span_id(event.step, _FORWARD) if is_scope else view.root_id,
        begin_at=no_earlier(view, event.step, event.at) if is_scope else max(event.at, view.begin_at),
        cause=event.cause,
        steps=frozenset(event.steps),
    )
    others = {root: each for root, each in view.rollbacks.items() if root != event.step}
    return changed(
        view,
        rollbacks={**others, event.step: undoing},
        rollback_counts=view.rollback_counts.set(event.step, number),
    )


def _closed_rollback(view: SagaView, step: StepId, at: float) -> Told:
    undoing = view.rollbacks.get(step)
    if undoing is None:
        return view, ()
    span = spans.rollback_span(view, step, undoing, at)
    return changed(view, rollbacks={root: each for root, each in view.rollbacks.items() if root != step}), (span,)


def _closed_rollbacks(view: SagaView, at: float) -> Told:
    told: tuple[SpanData, ...] = ()
    for step in sorted(view.rollbacks):
        view, span = _closed_rollback(view, step, at)
        told += span
    return view, told


def _reset(view: SagaView, event: ev.StepsReset) -> Told:
    view, rolled_back = _closed_rollback(view, event.step, event.at)
    inside = frozenset(event.steps)
    # A request to stop may still be open; whoever begins anew does not wait for its answer.
    view, calls = _cut_off_calls(view, [key for key in view.calls if item_of(key[0])[0] in inside], event.at, "RESET")
    view, told = _cut_off(view, innermost_first(view, inside), event.at, "RESET")
    runs, items, last = view.runs, view.items, view.last
    for step in event.steps:
        runs = runs.set(step, runs.get(step, 0) + 1)
        items = items.delete(step) if step in items else items
    for path in [path for path in last if item_of(path)[0] in inside]:
        last = last.delete(path)
    parts = steps_begin_anew(view.parts, inside)
    view = changed(view, runs=runs, items=items, last=last, parts=parts)
    return noted(view, None, note_of(event)), (*calls, *told, *rolled_back)


def _cut_off(view: SagaView, keys: Iterable[OperationKey], at: float, why: str) -> Told:
    """Close what is under way and comes to no end of its own, so that no span misses its parent."""
    told: list[SpanData] = []
    for key in keys:
        entry: UnderWay = view.under_way[key]
        told.append(spans.cut_off_span(view, key, entry, at, why))
        view = changed(view, under_way=view.under_way.delete(key))
    return view, tuple(told)


def _cut_off_calls(view: SagaView, keys: Iterable[OperationKey], at: float, why: str) -> Told:
    told: list[SpanData] = []
    for key in sorted(keys):
        told.append(spans.cut_off_attempt(view, key, view.calls[key], at, why))
        view = changed(view, calls=view.calls.delete(key))
    return view, tuple(told)


def _ended(view: SagaView, event: Ending) -> Told:
    told: list[SpanData] = []
    if view.calls or view.under_way or view.rollbacks:
        view, calls = _cut_off_calls(view, list(view.calls), event.at, "SAGA_ENDED")
        view, left = _cut_off(view, innermost_first(view), event.at, "SAGA_ENDED")
        view, rolled_back = _closed_rollbacks(view, event.at)
        told += (*calls, *left, *rolled_back)
    if view.compensation is not None and not isinstance(event, ev.SagaCompleted):
        told.append(spans.compensation_span(view, view.compensation, event))
    if not view.is_told:
        told.append(spans.root_span(view, event))
    return changed(view, is_told=True, has_ended=True), tuple(told)


# --- events within spans ---------------------------------------------------------------------------------------------


def _happened(view: SagaView, event: Note) -> SagaView:
    """Put an event on the span it is about, otherwise on the saga's."""
    match event:
        case ev.RetryScheduled():
            key = event.step, side_of(event.operation)
            if event.reason == ev.POLL or key not in view.under_way:
                return view  # "not yet" is no failure; the attempts are told
            return noted(view, key, note_of(event))
        case ev.StepReopened():
            return noted(view, (event.step, side_of(event.operation)), note_of(event))
        case ev.CancelRequested() | ev.OperatorActed():
            return noted(view, None, note_of(event), _link_to(event.trace))
        case ev.SignalReceived():
            waiting = [
                step for step in view.who.shape.waits.get(event.signal, ()) if (step, _FORWARD) in view.under_way
            ]
            return noted(view, (waiting[0], _FORWARD) if waiting else None, note_of(event), _link_to(event.trace))
        case _:
            return noted(view, None, note_of(event))


def _link_to(sender: TraceContext | None) -> SpanLink | None:
    """Return the link to whoever did something to the saga (T7); None where they were not traced."""
    return None if sender is None or not sender.span_id else SpanLink(sender.trace_id, sender.span_id)
