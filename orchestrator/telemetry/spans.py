"""How each span is made: from the record that closes it and what is known of the saga.

Ids and instants come from the records alone, so a span told twice is the same span, byte for byte, and no two spans
share an id (T1, T3, T8). Where a clock was set back between two lives of the saga, what begins then begins with its
parent; an end is where the record has it, so a bar may end after the one above. Nothing a service or a caller sent as a
payload is ever in a span; a service's message is cut to a sentence.
"""

from collections.abc import Mapping
from typing import Literal

from orchestrator import ids
from orchestrator.ids import StepId, item_of
from orchestrator.saga import events as ev
from orchestrator.saga.plan import CHILD_TARGET, Operation, Outcome
from orchestrator.telemetry import names
from orchestrator.telemetry.notes import ns, sentence
from orchestrator.telemetry.spandata import AttributeValue, SpanData, SpanLink
from orchestrator.telemetry.views import (
    Notes,
    OpenAttempt,
    OperationKey,
    RolledOver,
    SagaView,
    UnderWay,
    Undoing,
    side_of,
)

Ending = ev.SagaCompleted | ev.SagaCompensated | ev.SagaTerminated
_STATUS = {ev.SagaCompleted: "COMPLETED", ev.SagaCompensated: "COMPENSATED", ev.SagaTerminated: "TERMINATED"}
_NO_NOTES = Notes()


def start_span(view: SagaView, at: float) -> SpanData:
    """Return the span without length that makes a running saga findable (T4), and each part of its trace."""
    part = view.parts.number
    return _span(
        view,
        part=part,
        span_id=ids.start_span_id(view.who.uid, part),
        parent_id=view.root_id,
        name=names.START_SPAN,
        begin_at=at,
        end_at=at,
        attributes=_identity(view) | _of_part(part),
        links=_of_parent(view) if part == 1 else _other_parts(view, part - 1),
    )


def root_span(view: SagaView, event: Ending) -> SpanData:
    """Return the span of the whole saga, or of the last part of its trace."""
    part = view.parts.number
    attributes = {**_identity(view), **_of_part(part), names.SAGA_STATUS: _STATUS[type(event)]}
    error = None
    if not isinstance(event, ev.SagaCompleted):
        cause = view.compensation.cause if view.compensation else None
        attributes |= _cause(cause)
        error = cause.message if cause else ""
        if cause:
            attributes[names.ERROR_TYPE] = cause.kind.value
    if isinstance(event, ev.SagaCompensated):
        attributes[names.SAGA_UNDONE_COUNT] = event.undone_count
    if isinstance(event, ev.SagaTerminated):
        attributes |= {names.SAGA_LEFT_COUNT: len(event.left), names.ERROR_TYPE: "TERMINATED"}
        error = f"terminated by a person; {len(event.left)} effects stay"
    others = () if part == 1 else (part - 1,)
    ends, notes = (view.begin_at, event.at), view.notes
    return _root_span(view, part, others, ends=ends, attributes=attributes, notes=notes, error=error)


def rolled_over_span(view: SagaView, part: int, over: RolledOver, end_at: float) -> SpanData:
    """Return the span of a part of the trace that is followed by another."""
    attributes = {**_identity(view), names.SAGA_PART: part, names.SAGA_CONTINUED: True}
    others = (part + 1,) if part == 1 else (part - 1, part + 1)
    return _root_span(view, part, others, ends=(over.begin_at, end_at), attributes=attributes, notes=over.notes)


def _root_span(
    view: SagaView,
    part: int,
    others: tuple[int, ...],
    *,
    ends: tuple[float, float],
    attributes: Mapping[str, AttributeValue],
    notes: Notes,
    error: str | None = None,
) -> SpanData:
    caller_id = view.who.caller_span_id if part == 1 else 0
    return _span(
        view,
        part=part,
        span_id=ids.root_span_id(view.who.uid, part),
        parent_id=caller_id,
        parent_is_remote=caller_id != 0,
        name=names.ROOT_SPAN.format(definition=view.who.definition),
        begin_at=ends[0],
        end_at=ends[1],
        attributes=attributes,
        notes=notes,
        links=(*(_of_parent(view) if part == 1 else ()), *_other_parts(view, *others)),
        error=error,
    )


def _of_part(part: int) -> dict[str, AttributeValue]:
    return {} if part == 1 else {names.SAGA_PART: part}


def _other_parts(view: SagaView, *parts: int) -> tuple[SpanLink, ...]:
    """Return links to the roots of other parts of the trace; their ids are known before there is a span."""
    return tuple(SpanLink(view.trace_of(part), ids.root_span_id(view.who.uid, part)) for part in parts)


def compensation_span(view: SagaView, undoing: Undoing, event: ev.SagaCompensated | ev.SagaTerminated) -> SpanData:
    """Return the span over everything that was undone of the whole saga."""
    undone = event.undone_count if isinstance(event, ev.SagaCompensated) else undoing.undone
    counted: dict[str, AttributeValue] = {names.SAGA_UNDONE_COUNT: undone}
    return _undoing_span(view, undoing, names.COMPENSATION_SPAN, event.at, counted)


def rollback_span(view: SagaView, step: StepId, undoing: Undoing, end_at: float) -> SpanData:
    """Return the span over a part of the saga that was undone alone."""
    attributes: dict[str, AttributeValue] = {names.SAGA_STEP: step, names.SAGA_UNDONE_COUNT: undoing.undone}
    return _undoing_span(view, undoing, names.ROLLBACK_SPAN.format(step=step), end_at, attributes)


def _undoing_span(
    view: SagaView, undoing: Undoing, name: str, end_at: float, attributes: Mapping[str, AttributeValue]
) -> SpanData:
    return _span(
        view,
        part=undoing.part,
        span_id=undoing.span_id,
        parent_id=undoing.parent_id,
        name=name,
        begin_at=undoing.begin_at,
        end_at=end_at,
        attributes={**_cause(undoing.cause), **attributes},
        notes=undoing.notes,
    )


def step_span(view: SagaView, event: ev.StepSettled, entry: UnderWay) -> SpanData:
    """Return the span of a step, or of an item of it."""
    attributes: dict[str, AttributeValue] = {
        names.SAGA_OUTCOME: event.outcome.value,
        names.SAGA_REASON: event.reason.value,
    }
    if event.code:
        attributes[names.RPC_STATUS] = event.code
    failed = event.outcome is not Outcome.APPLIED or event.reason not in ev.GOOD_REASONS
    if event.reason is ev.SettleReason.STOPPED:
        failed = False  # what else went wrong stopped it, and that is marked
    if failed:
        attributes[names.ERROR_TYPE] = _what_was_wrong(event)
    error = event.message if failed else None
    return _operation_span(view, (event.step, Operation.FORWARD), entry, event.at, attributes, error=error)


def _what_was_wrong(event: ev.StepSettled) -> str:
    """Return the type of the error. That a reply decided says nothing; its status does, or else what it says."""
    if event.reason is not ev.SettleReason.REPLIED:
        return event.reason.value
    return event.code if event.code not in {"", "OK"} else event.outcome.value


def undo_span(view: SagaView, event: ev.StepUndone | ev.StepLeft, entry: UnderWay) -> SpanData:
    """Return the span of an undo, linked to the attempt that it undoes (T6)."""
    attributes: dict[str, AttributeValue] = {}
    if isinstance(event, ev.StepLeft):
        attributes[names.SAGA_REASON] = "LEFT"
    elif event.nothing_to_undo:
        attributes[names.SAGA_NOTHING_TO_UNDO] = True
    key = event.step, Operation.COMPENSATE
    return _operation_span(view, key, entry, event.at, attributes, links=_undoes(view, event.step))


def _undoes(view: SagaView, path: StepId) -> tuple[SpanLink, ...]:
    """Return the link to the last forward attempt of a path, or where that has no span to its step."""
    if path not in view.last:
        return ()
    last, forward = view.last[path], Operation.FORWARD
    undone = view.span_id(path, forward) if last is None else view.attempt_id(path, forward, last)
    return (SpanLink(view.trace_of(view.parts.part_of(path, forward)), undone),)


def cut_off_span(view: SagaView, key: OperationKey, entry: UnderWay, end_at: float, why: str) -> SpanData:
    """Return the span of a step, or of an undo, that something else brought to its end."""
    attributes = {names.SAGA_REASON: why, names.ERROR_TYPE: why}
    links = _undoes(view, key[0]) if key[1] is Operation.COMPENSATE else ()
    return _operation_span(view, key, entry, end_at, attributes, links=links, error="it came to no end of its own")


def passed_over_span(view: SagaView, event: ev.StepSkipped, entry: UnderWay) -> SpanData:
    """Return the span of a step that had begun before a person said that the saga goes on without it."""
    key = event.step, Operation.FORWARD
    return _operation_span(view, key, entry, event.at, {names.SAGA_REASON: event.reason.value})


def _operation_span(
    view: SagaView,
    key: OperationKey,
    entry: UnderWay,
    end_at: float,
    attributes: Mapping[str, AttributeValue],
    *,
    links: tuple[SpanLink, ...] = (),
    error: str | None = None,
) -> SpanData:
    path, operation = key
    step, index = item_of(path)
    about: dict[str, AttributeValue] = {names.SAGA_STEP: path, names.SAGA_OPERATION: operation.value}
    template = names.UNDO_SPAN if operation is Operation.COMPENSATE else names.STEP_SPAN
    if index is not None:
        about[names.SAGA_ITEM] = index
        template = template if operation is Operation.COMPENSATE else names.ITEM_SPAN
    elif operation is Operation.FORWARD and (items := view.items.get(step)) is not None:
        about[names.SAGA_ITEMS_COUNT] = items.count
        about |= {names.SAGA_ITEMS_APPLIED: items.applied, names.SAGA_ITEMS_FAILED: items.failed}
    if run := view.run_of(path):
        about[names.SAGA_RUN] = run
    return _span(
        view,
        part=entry.part,
        span_id=view.span_id(path, operation),
        parent_id=entry.parent_id,
        name=template.format(step=step),
        begin_at=entry.begin_at,
        end_at=end_at,
        attributes={**about, **attributes},
        notes=entry.notes,
        links=links,
        error=error,
    )


def attempt_span(view: SagaView, event: ev.AttemptSettled, call: OpenAttempt) -> SpanData:
    """Return the span of one attempt: what the called service's own span is a child of."""
    report = event.report
    attributes: dict[str, AttributeValue] = {
        names.SAGA_OUTCOME: event.outcome.value,
        names.SAGA_PHASE: report.phase.value,
    }
    if report.parked:
        attributes[names.SAGA_PARKED] = True
    lost = report.phase is ev.Phase.LOST
    if lost:
        attributes[names.SAGA_LOST] = True
    elif report.code:
        attributes[names.RPC_STATUS] = report.code
    failed = lost or report.code != "OK"
    if failed:
        attributes[names.ERROR_TYPE] = "LOST" if lost else report.code
    if report.error_reason:
        attributes[names.SAGA_REASON] = sentence(report.error_reason)
    # On the wire, but never outside of what the records say: a clock that was set back must not bend the tree.
    begin_at = max(min(max(report.sent_at or event.opened_at, event.opened_at), event.at), call.opened_at)
    end_at = max(min(report.ended_at or event.at, event.at), begin_at)
    key, error = (event.step, event.operation), report.message if failed else None
    return _attempt_span(view, key, call, (begin_at, end_at), attributes, error=error)


def cut_off_attempt(view: SagaView, key: OperationKey, call: OpenAttempt, end_at: float, why: str) -> SpanData:
    """Return the span of an attempt whose end nobody records any more."""
    attributes = {names.SAGA_REASON: why, names.ERROR_TYPE: why}
    ends = call.opened_at, end_at
    return _attempt_span(view, key, call, ends, attributes, error="its end is not recorded")


def _of_attempt(view: SagaView, key: OperationKey, call: OpenAttempt) -> dict[str, AttributeValue]:
    path, operation = key
    found: dict[str, AttributeValue] = {
        names.SAGA_STEP: path,
        names.SAGA_OPERATION: operation.value,
        names.SAGA_ATTEMPT: call.attempt,
    }
    if call.manual_epoch:
        found[names.SAGA_MANUAL_EPOCH] = call.manual_epoch
    callee = view.who.shape.callees.get((item_of(path)[0], operation))
    if callee is not None and callee.target == CHILD_TARGET:
        found[names.SAGA_CHILD] = callee.method
        return found
    found[names.RPC_SYSTEM_NAME] = names.GRPC
    if callee is not None:
        found[names.RPC_METHOD] = callee.method
        found[names.SAGA_TARGET] = found[names.SERVER_ADDRESS] = callee.target
    return found


def _attempt_span(
    view: SagaView,
    key: OperationKey,
    call: OpenAttempt,
    ends: tuple[float, float],
    attributes: Mapping[str, AttributeValue],
    *,
    error: str | None,
) -> SpanData:
    path, operation = key
    step = item_of(path)[0]
    callee = view.who.shape.callees.get((step, operation))
    name = f"{step} {operation.value}" if callee is None else callee.method
    if callee is not None and callee.target == CHILD_TARGET:
        name = names.CHILD_SPAN.format(definition=callee.method.partition("/")[0])
    return _span(
        view,
        part=view.parts.part_of(path, operation),
        span_id=view.attempt_id(path, operation, call),
        parent_id=view.span_id(path, side_of(operation)),
        name=name,
        kind="client",
        begin_at=ends[0],
        end_at=ends[1],
        attributes={**_of_attempt(view, key, call), **attributes},
        error=error,
    )


def _span(
    view: SagaView,
    *,
    part: int,
    span_id: int,
    parent_id: int,
    name: str,
    begin_at: float,
    end_at: float,
    attributes: Mapping[str, AttributeValue],
    parent_is_remote: bool = False,
    kind: Literal["internal", "client"] = "internal",
    notes: Notes = _NO_NOTES,
    links: tuple[SpanLink, ...] = (),
    error: str | None = None,
) -> SpanData:
    start_ns = ns(begin_at)
    counted: dict[str, AttributeValue] = {}
    if notes.spans_untold:
        counted[names.SAGA_SPANS_UNTOLD] = notes.spans_untold
    if notes.events_untold:
        counted[names.SAGA_EVENTS_UNTOLD] = notes.events_untold
    return SpanData(
        trace_id=view.who.trace_id if part == 1 else view.trace_of(part),
        span_id=span_id,
        parent_id=parent_id,
        parent_is_remote=parent_is_remote,
        trace_state=view.who.trace_state,
        name=name,
        kind=kind,
        start_ns=start_ns,
        end_ns=max(ns(end_at), start_ns),
        attributes={names.SAGA_ID: view.who.saga_id, **attributes, **counted},
        events=notes.events,
        links=(*links, *notes.links),
        # Whoever failed may have said nothing; the mark does all the same.
        error=None if error is None else sentence(error or str(attributes.get(names.ERROR_TYPE, ""))),
    )


def _identity(view: SagaView) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        names.SAGA_UID: str(view.who.uid),
        names.SAGA_DEFINITION: view.who.definition,
        names.SAGA_REVISION: view.who.revision,
    }
    if view.who.parent is not None:
        found |= {names.SAGA_PARENT_ID: view.who.parent.saga_id, names.SAGA_PARENT_STEP: view.who.parent.step}
    for name, value in view.who.baggage.items():
        found[names.BAGGAGE.format(name=name)] = sentence(value)
    return found


def _of_parent(view: SagaView) -> tuple[SpanLink, ...]:
    """Return the link of a child saga to the attempt that started it (T7)."""
    parent = view.who.parent
    return () if parent is None or not parent.span_id else (SpanLink(parent.trace_id, parent.span_id),)


def _cause(cause: ev.Cause | None) -> dict[str, AttributeValue]:
    if cause is None:
        return {}
    found: dict[str, AttributeValue] = {names.SAGA_CAUSE: cause.kind.value}
    if cause.step is not None:
        found[names.SAGA_CAUSE_STEP] = cause.step
    return found
