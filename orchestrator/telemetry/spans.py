"""A saga's records as spans: a pure fold, the same today, after a crash, and on another machine.

`project(view, event)` takes what is known of a saga from its earlier records and the next event; it gives what is known
afterwards and the spans that this event closes. Ids and instants come from the records alone, so a span told twice is
the same span, byte for byte, and no two spans share an id (T1, T3, T8). Nothing a service or a caller sent as a payload
is ever in a span; a service's message is cut to a sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never
from uuid import UUID

from orchestrator import ids
from orchestrator.ids import SagaId, StepId
from orchestrator.limits import SPAN_EVENTS_MAX, SPAN_MESSAGE_CHARS_MAX
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Plan
from orchestrator.telemetry import names

AttributeValue = str | int | float | bool
OperationKey = tuple[StepId, Operation]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened at one instant within a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanData:
    """One finished span. Instants are Unix nanoseconds."""

    trace_id: int
    span_id: int
    parent_id: int
    """0: no parent."""
    parent_is_remote: bool = False
    trace_state: str = ""
    name: str
    kind: Literal["internal", "client"] = "internal"
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue]
    events: tuple[SpanEvent, ...] = ()
    links: tuple[int, ...] = ()
    """Ids of other spans of the same trace."""
    error: str | None = None
    """Why the span's status is ERROR; None where it is not."""


@dataclass(frozen=True, slots=True)
class Callee:
    """Whom an operation calls: a fact of the plan, which is immutable."""

    target: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaView:
    """What a saga's trace needs to remember of its earlier records."""

    saga_id: SagaId
    uid: UUID
    definition: str
    revision: str
    trace_id: int
    caller_span_id: int
    trace_state: str
    sampled: bool
    callees: Mapping[OperationKey, Callee]
    attempts: Mapping[StepId, int] = field(default_factory=dict[StepId, int])
    """The last forward attempt of each step: what its undo links to (T6)."""
    notes: Mapping[OperationKey | None, tuple[SpanEvent, ...]] = field(
        default_factory=dict[OperationKey | None, tuple[SpanEvent, ...]]
    )
    """Span events of operations that are not over, and under None of the saga itself."""
    cause: ev.Cause | None = None


def callees_of(plan: Plan) -> Mapping[OperationKey, Callee]:
    """Return whom each operation of a plan calls."""
    found: dict[OperationKey, Callee] = {}
    for step in plan.steps.values():
        found[step.id, Operation.FORWARD] = Callee(step.call.target, step.call.method)
        if step.compensation is not None:
            call = step.compensation.call
            found[step.id, Operation.COMPENSATE] = Callee(call.target, call.method)
    return found


def view_of(started: ev.SagaStarted, callees: Mapping[OperationKey, Callee]) -> SagaView:
    """Return the view before anything but the start is known."""
    trace = started.trace
    return SagaView(
        saga_id=started.saga_id,
        uid=started.uid,
        definition=started.definition,
        revision=started.revision,
        trace_id=trace.trace_id or ids.trace_id(started.uid),
        caller_span_id=trace.span_id,
        trace_state=trace.state,
        sampled=trace.sampled,
        callees=callees,
    )


def project(view: SagaView, event: ev.Event) -> tuple[SagaView, tuple[SpanData, ...]]:
    """Return the view after the event, and the spans it closes, children before parents; none of an unsampled saga."""
    if not view.sampled:
        return view, ()
    match event:
        case ev.SagaStarted():
            return view, (_start_span(view, event),)
        case ev.AttemptSettled():
            if event.operation is Operation.FORWARD:
                view = replace(view, attempts={**view.attempts, event.step: event.attempt})
            return view, (_attempt_span(view, event),)
        case ev.StepSettled():
            key = event.step, Operation.FORWARD
            return _without_notes(view, key), (_step_span(view, event),)
        case ev.StepUndone():
            key = event.step, Operation.COMPENSATE
            return _without_notes(view, key), (_undo_span(view, event),)
        case ev.SagaCompleted():
            return view, (_root_span(view, event),)
        case ev.SagaCompensated():
            return view, (_compensation_span(view, event), _root_span(view, event))
        case ev.CompensationBegan():
            return replace(view, cause=event.cause), ()
        case ev.AttemptOpened():
            return view, ()
        case ev.RetryScheduled() | ev.StepSkipped() | ev.CancelRequested() | ev.StepStuck() | ev.AttentionRaised():
            return _noted(view, event), ()
        case _:
            assert_never(event)


# --- spans -----------------------------------------------------------------------------------------------------------


def _start_span(view: SagaView, event: ev.SagaStarted) -> SpanData:
    return _span(
        view,
        span_id=ids.start_span_id(view.uid),
        parent_id=ids.root_span_id(view.uid),
        name=names.START_SPAN,
        begin_at=event.at,
        end_at=event.at,
        attributes=_identity(view),
    )


def _root_span(view: SagaView, event: ev.SagaCompleted | ev.SagaCompensated) -> SpanData:
    attributes = _identity(view)
    error = None
    if isinstance(event, ev.SagaCompleted):
        attributes[names.SAGA_STATUS] = "COMPLETED"
    else:
        attributes[names.SAGA_STATUS] = "COMPENSATED"
        attributes |= {**_cause(view), names.SAGA_UNDONE_COUNT: event.undone_count}
        error = view.cause.message if view.cause else ""
        if view.cause:
            attributes[names.ERROR_TYPE] = view.cause.kind.value
    return _span(
        view,
        span_id=ids.root_span_id(view.uid),
        parent_id=view.caller_span_id,
        parent_is_remote=view.caller_span_id != 0,
        name=names.ROOT_SPAN.format(definition=view.definition),
        begin_at=event.started_at,
        end_at=event.at,
        attributes=attributes,
        events=view.notes.get(None, ()),
        error=error,
    )


def _compensation_span(view: SagaView, event: ev.SagaCompensated) -> SpanData:
    return _span(
        view,
        span_id=ids.compensation_span_id(view.uid),
        parent_id=ids.root_span_id(view.uid),
        name=names.COMPENSATION_SPAN,
        begin_at=event.compensation_began_at,
        end_at=event.at,
        attributes={**_cause(view), names.SAGA_UNDONE_COUNT: event.undone_count},
    )


def _step_span(view: SagaView, event: ev.StepSettled) -> SpanData:
    attributes: dict[str, AttributeValue] = {
        names.SAGA_STEP: event.step,
        names.SAGA_OPERATION: Operation.FORWARD.value,
        names.SAGA_OUTCOME: event.outcome.value,
        names.SAGA_REASON: event.reason.value,
    }
    if event.code:
        attributes[names.RPC_STATUS] = event.code
    failed = event.outcome is not ev.Outcome.APPLIED
    if failed:
        attributes[names.ERROR_TYPE] = event.reason.value
    return _span(
        view,
        span_id=ids.operation_span_id(view.uid, event.step, Operation.FORWARD),
        parent_id=ids.root_span_id(view.uid),
        name=names.STEP_SPAN.format(step=event.step),
        begin_at=event.started_at,
        end_at=event.at,
        attributes=attributes,
        events=view.notes.get((event.step, Operation.FORWARD), ()),
        error=event.message if failed else None,
    )


def _undo_span(view: SagaView, event: ev.StepUndone) -> SpanData:
    undoes = view.attempts.get(event.step)
    link = () if undoes is None else (ids.attempt_span_id(view.uid, event.step, Operation.FORWARD, undoes),)
    return _span(
        view,
        span_id=ids.operation_span_id(view.uid, event.step, Operation.COMPENSATE),
        parent_id=ids.compensation_span_id(view.uid),
        name=names.UNDO_SPAN.format(step=event.step),
        begin_at=event.started_at,
        end_at=event.at,
        attributes={
            names.SAGA_STEP: event.step,
            names.SAGA_OPERATION: Operation.COMPENSATE.value,
            names.SAGA_NOTHING_TO_UNDO: event.nothing_to_undo,
        },
        events=view.notes.get((event.step, Operation.COMPENSATE), ()),
        links=link,
    )


def _attempt_span(view: SagaView, event: ev.AttemptSettled) -> SpanData:
    report = event.report
    callee = view.callees.get((event.step, event.operation))
    attributes: dict[str, AttributeValue] = {
        names.SAGA_STEP: event.step,
        names.SAGA_OPERATION: event.operation.value,
        names.SAGA_ATTEMPT: event.attempt,
        names.SAGA_OUTCOME: event.outcome.value,
        names.SAGA_PHASE: report.phase.value,
        names.RPC_SYSTEM_NAME: names.GRPC,
    }
    if callee is not None:
        attributes[names.RPC_METHOD] = callee.method
        attributes[names.SAGA_TARGET] = attributes[names.SERVER_ADDRESS] = callee.target
    if report.parked:
        attributes[names.SAGA_PARKED] = True
    lost = report.phase is ev.Phase.LOST
    if lost:
        attributes[names.SAGA_LOST] = True
    elif report.code:
        attributes[names.RPC_STATUS] = report.code
    failed = lost or report.code != "OK"
    if failed:
        attributes[names.ERROR_TYPE] = "LOST" if lost else report.error_reason[:SPAN_MESSAGE_CHARS_MAX] or report.code
    # On the wire, but never outside of what the records say: a clock that was set back must not bend the tree.
    begin_at = min(max(report.sent_at or event.opened_at, event.opened_at), event.at)
    return _span(
        view,
        span_id=ids.attempt_span_id(view.uid, event.step, event.operation, event.attempt),
        parent_id=ids.operation_span_id(view.uid, event.step, event.operation),
        name=callee.method if callee else f"{event.step} {event.operation.value}",
        kind="client",
        begin_at=begin_at,
        end_at=max(min(report.ended_at or event.at, event.at), begin_at),
        attributes=attributes,
        error=report.message if failed else None,
    )


def _span(
    view: SagaView,
    *,
    span_id: int,
    parent_id: int,
    name: str,
    begin_at: float,
    end_at: float,
    attributes: Mapping[str, AttributeValue],
    parent_is_remote: bool = False,
    kind: Literal["internal", "client"] = "internal",
    events: tuple[SpanEvent, ...] = (),
    links: tuple[int, ...] = (),
    error: str | None = None,
) -> SpanData:
    start_ns = _ns(begin_at)
    return SpanData(
        trace_id=view.trace_id,
        span_id=span_id,
        parent_id=parent_id,
        parent_is_remote=parent_is_remote,
        trace_state=view.trace_state,
        name=name,
        kind=kind,
        start_ns=start_ns,
        end_ns=max(_ns(end_at), start_ns),
        attributes={names.SAGA_ID: view.saga_id, **attributes},
        events=events,
        links=links,
        error=None if error is None else _sentence(error),
    )


# --- what is remembered ----------------------------------------------------------------------------------------------


def _noted(
    view: SagaView,
    event: ev.RetryScheduled | ev.StepSkipped | ev.CancelRequested | ev.StepStuck | ev.AttentionRaised,
) -> SagaView:
    key: OperationKey | None = None
    match event:
        case ev.RetryScheduled():
            key = event.step, event.operation
            name = names.RETRY_EVENT
            facts: dict[str, AttributeValue] = {
                names.SAGA_REASON: _sentence(event.reason),
                names.SAGA_DELAY_S: round(event.due_at - event.at, 6),
                names.SAGA_PARKED: event.parked,
            }
        case ev.StepSkipped():
            name = names.SKIPPED_EVENT
            facts = {names.SAGA_STEP: event.step, names.SAGA_REASON: event.reason.value}
        case ev.CancelRequested():
            name = names.CANCEL_EVENT
            facts = {names.SAGA_REASON: _sentence(event.reason)}
        case ev.StepStuck():
            name = names.STUCK_EVENT
            facts = {
                names.SAGA_STEP: event.step,
                names.SAGA_OPERATION: event.operation.value,
                names.SAGA_REASON: event.reason.value,
                names.SAGA_MESSAGE: _sentence(event.message),
            }
        case ev.AttentionRaised():
            name = names.ATTENTION_EVENT
            facts = {names.SAGA_REASON: event.reason.value, names.SAGA_MESSAGE: _sentence(event.message)}
            if event.step is not None:
                facts[names.SAGA_STEP] = event.step
        case _:
            assert_never(event)
    before = view.notes.get(key, ())
    if len(before) >= SPAN_EVENTS_MAX:
        return view
    note = SpanEvent(name=name, at_ns=_ns(event.at), attributes=facts)
    return replace(view, notes={**view.notes, key: (*before, note)})


def _without_notes(view: SagaView, key: OperationKey) -> SagaView:
    if key not in view.notes:
        return view
    return replace(view, notes={known: notes for known, notes in view.notes.items() if known != key})


# --- attributes ------------------------------------------------------------------------------------------------------


def _identity(view: SagaView) -> dict[str, AttributeValue]:
    return {
        names.SAGA_UID: str(view.uid),
        names.SAGA_DEFINITION: view.definition,
        names.SAGA_REVISION: view.revision,
    }


def _cause(view: SagaView) -> dict[str, AttributeValue]:
    if view.cause is None:
        return {}
    found: dict[str, AttributeValue] = {names.SAGA_CAUSE: view.cause.kind.value}
    if view.cause.step is not None:
        found[names.SAGA_CAUSE_STEP] = view.cause.step
    return found


def _sentence(text: str) -> str:
    return text if len(text) <= SPAN_MESSAGE_CHARS_MAX else text[: SPAN_MESSAGE_CHARS_MAX - 1] + "…"


def _ns(at: float) -> int:
    return round(at * 1e9)
