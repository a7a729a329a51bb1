"""How each span is made: from the record that closes it and what is known of the saga.

Ids and instants come from the records alone, so a span told twice is the same span, byte for byte, and no two spans
share an id (T1, T3, T8). Where a clock was set back between two lives of the saga, what begins then begins with its
parent; an end is where the record has it, so a bar may end after the one above. Nothing a service or a caller sent as a
payload is ever in a span; a service's message is cut to a sentence.
"""

from functools import lru_cache
from typing import Literal

from orchestrator import ids
from orchestrator.ids import StepId, item_of
from orchestrator.limits import SPANS_SAID_KEPT_MAX
from orchestrator.saga import events as ev
from orchestrator.saga.plan import CHILD_TARGET, Operation, Outcome
from orchestrator.telemetry import names
from orchestrator.telemetry.endings import ENDED_AS, Ending
from orchestrator.telemetry.notes import ns, sentence
from orchestrator.telemetry.spandata import Said, SpanData, SpanLink, Words
from orchestrator.telemetry.views import (
    NO_NOTES,
    Callee,
    Identity,
    ItemCounts,
    Notes,
    OpenAttempt,
    OperationKey,
    RolledOver,
    SagaView,
    UnderWay,
    Undoing,
)

_Reported = tuple[Outcome, ev.Phase, bool, str, str]
"""What a report said of an attempt: outcome, phase, whether it was parked, code, reason. A text: why it was cut off."""


def start_span(view: SagaView, at: float) -> SpanData:
    """Return the span without length that makes a running saga findable (T4), and each part of its trace."""
    part = view.parts.number
    return _span(
        view,
        _said(names.START_SPAN, "internal", (*_identity(view.who), *_of_part(part))),
        part=part,
        span_id=ids.start_span_id(view.who.uid, part),
        parent_id=view.root_id,
        uid=str(view.who.uid),
        ends=(at, at),
        links=_of_parent(view) if part == 1 else _other_parts(view, part - 1),
    )


def root_span(view: SagaView, event: Ending) -> SpanData:
    """Return the span of the whole saga, or of the last part of its trace."""
    part = view.parts.number
    words: Words = ((names.SAGA_STATUS, ENDED_AS[type(event)].value),)
    error = None
    cause = view.compensation.cause if view.compensation else None
    match event:
        case ev.SagaCompleted():
            pass
        case ev.SagaCompensated():
            words += (*_cause(cause), *_error_of(cause), (names.SAGA_UNDONE_COUNT, event.undone_count))
            error = sentence(cause.message) if cause else ""
        case ev.SagaTerminated():
            left = len(event.left)
            words += (*_cause(cause), (names.ERROR_TYPE, "TERMINATED"), (names.SAGA_LEFT_COUNT, left))
            error = f"terminated by a person; {left} effects stay"
    others = () if part == 1 else (part - 1,)
    words = (*_of_part(part), *words)
    return _root_span(view, part, others, ends=(view.begin_at, event.at), words=words, notes=view.notes, error=error)


def _error_of(cause: ev.Cause | None) -> Words:
    return () if cause is None else ((names.ERROR_TYPE, cause.kind.value),)


def rolled_over_span(view: SagaView, part: int, over: RolledOver, end_at: float) -> SpanData:
    """Return the span of a part of the trace that is followed by another."""
    words = ((names.SAGA_PART, part), (names.SAGA_CONTINUED, True))
    others = (part + 1,) if part == 1 else (part - 1, part + 1)
    return _root_span(view, part, others, ends=(over.begin_at, end_at), words=words, notes=over.notes)


def _root_span(
    view: SagaView,
    part: int,
    others: tuple[int, ...],
    *,
    ends: tuple[float, float],
    words: Words,
    notes: Notes,
    error: str | None = None,
) -> SpanData:
    caller_id = view.who.caller_span_id if part == 1 else 0
    name = names.ROOT_SPAN.format(definition=view.who.definition)
    return _span(
        view,
        _said(name, "internal", (*_identity(view.who), *words), error),
        part=part,
        span_id=ids.root_span_id(view.who.uid, part),
        parent_id=caller_id,
        parent_is_remote=caller_id != 0,
        uid=str(view.who.uid),
        ends=ends,
        notes=notes,
        links=(*(_of_parent(view) if part == 1 else ()), *_other_parts(view, *others)),
    )


def _of_part(part: int) -> Words:
    return () if part == 1 else ((names.SAGA_PART, part),)


def _other_parts(view: SagaView, *parts: int) -> tuple[SpanLink, ...]:
    """Return links to the roots of other parts of the trace; their ids are known before there is a span."""
    return tuple(SpanLink(view.trace_of(part), ids.root_span_id(view.who.uid, part)) for part in parts)


def compensation_span(view: SagaView, undoing: Undoing, event: ev.SagaCompensated | ev.SagaTerminated) -> SpanData:
    """Return the span over everything that was undone of the whole saga."""
    undone = event.undone_count if isinstance(event, ev.SagaCompensated) else undoing.undone
    return _undoing_span(view, undoing, names.COMPENSATION_SPAN, event.at, ((names.SAGA_UNDONE_COUNT, undone),))


def rollback_span(view: SagaView, step: StepId, undoing: Undoing, end_at: float) -> SpanData:
    """Return the span over a part of the saga that was undone alone."""
    words = ((names.SAGA_STEP, step), (names.SAGA_UNDONE_COUNT, undoing.undone))
    return _undoing_span(view, undoing, names.ROLLBACK_SPAN.format(step=step), end_at, words)


def _undoing_span(view: SagaView, undoing: Undoing, name: str, end_at: float, words: Words) -> SpanData:
    return _span(
        view,
        _said(name, "internal", (*_cause(undoing.cause), *words)),
        part=undoing.part,
        span_id=undoing.span_id,
        parent_id=undoing.parent_id,
        ends=(undoing.begin_at, end_at),
        notes=undoing.notes,
    )


def step_span(view: SagaView, event: ev.StepSettled, entry: UnderWay) -> SpanData:
    """Return the span of a step, or of an item of it."""
    failed = event.outcome is not Outcome.APPLIED or event.reason not in ev.GOOD_REASONS
    if event.reason is ev.SettleReason.STOPPED:
        failed = False  # what else went wrong stopped it, and that is marked
    what = _settled_as(event.outcome, event.reason, event.code, failed)
    error = sentence(event.message) if failed else None
    return _operation_span(view, (event.step, Operation.FORWARD), entry, event.at, what, error=error)


@lru_cache(maxsize=SPANS_SAID_KEPT_MAX)
def _settled_as(outcome: Outcome, reason: ev.SettleReason, code: str, failed: bool) -> Words:  # noqa: FBT001
    words: Words = ((names.SAGA_OUTCOME, outcome.value), (names.SAGA_REASON, reason.value))
    if code:
        words += ((names.RPC_STATUS, code),)
    return (*words, (names.ERROR_TYPE, _what_was_wrong(outcome, reason, code))) if failed else words


def _what_was_wrong(outcome: Outcome, reason: ev.SettleReason, code: str) -> str:
    """Return the type of the error. That a reply decided says nothing; its status does, or else what it says."""
    if reason is not ev.SettleReason.REPLIED:
        return reason.value
    return code if code not in {"", "OK"} else outcome.value


def undo_span(view: SagaView, event: ev.StepUndone | ev.StepLeft, entry: UnderWay) -> SpanData:
    """Return the span of an undo, linked to the attempt that it undoes (T6)."""
    words: Words = ()
    if isinstance(event, ev.StepLeft):
        words = ((names.SAGA_REASON, "LEFT"),)
    elif event.nothing_to_undo:
        words = ((names.SAGA_NOTHING_TO_UNDO, True),)
    key = event.step, Operation.COMPENSATE
    return _operation_span(view, key, entry, event.at, words, links=_undoes(view, event.step))


def _undoes(view: SagaView, path: StepId) -> tuple[SpanLink, ...]:
    """Return the link to the last forward attempt of a path, or where that has no span to its step."""
    if path not in view.last:
        return ()
    last, forward = view.last[path], Operation.FORWARD
    undone = view.span_id(path, forward) if last is None else view.attempt_id(path, forward, last)
    return (SpanLink(view.trace_of(view.parts.part_of(path, forward)), undone),)


def cut_off_span(view: SagaView, key: OperationKey, entry: UnderWay, end_at: float, why: str) -> SpanData:
    """Return the span of a step, or of an undo, that something else brought to its end."""
    words = ((names.SAGA_REASON, why), (names.ERROR_TYPE, why))
    links = _undoes(view, key[0]) if key[1] is Operation.COMPENSATE else ()
    return _operation_span(view, key, entry, end_at, words, links=links, error="it came to no end of its own")


def passed_over_span(view: SagaView, event: ev.StepSkipped, entry: UnderWay) -> SpanData:
    """Return the span of a step that had begun before a person said that the saga goes on without it."""
    key = event.step, Operation.FORWARD
    return _operation_span(view, key, entry, event.at, ((names.SAGA_REASON, event.reason.value),))


def _operation_span(
    view: SagaView,
    key: OperationKey,
    entry: UnderWay,
    end_at: float,
    words: Words,
    *,
    links: tuple[SpanLink, ...] = (),
    error: str | None = None,
) -> SpanData:
    path, operation = key
    items = view.items.get(path) if view.items and operation is Operation.FORWARD else None
    return _span(
        view,
        _of_operation(key, view.run_of(path), items, words, error),
        part=entry.part,
        span_id=entry.span_id,
        parent_id=entry.parent_id,
        ends=(entry.begin_at, end_at),
        notes=entry.notes,
        links=links,
    )


@lru_cache(maxsize=SPANS_SAID_KEPT_MAX)
def _of_operation(key: OperationKey, run: int, items: ItemCounts | None, words: Words, error: str | None) -> Said:
    path, operation = key
    step, index = item_of(path)
    about: Words = ((names.SAGA_STEP, path), (names.SAGA_OPERATION, operation.value))
    template = names.UNDO_SPAN if operation is Operation.COMPENSATE else names.STEP_SPAN
    if index is not None:
        about += ((names.SAGA_ITEM, index),)
        template = template if operation is Operation.COMPENSATE else names.ITEM_SPAN
    elif items is not None:
        about += (
            (names.SAGA_ITEMS_COUNT, items.count),
            (names.SAGA_ITEMS_APPLIED, items.applied),
            (names.SAGA_ITEMS_FAILED, items.failed),
        )
    if run:
        about += ((names.SAGA_RUN, run),)
    return _said(template.format(step=step), "internal", about + words, error)


def attempt_span(view: SagaView, event: ev.AttemptSettled, call: OpenAttempt) -> SpanData:
    """Return the span of one attempt: what the called service's own span is a child of."""
    report = event.report
    failed = report.phase is ev.Phase.LOST or report.code != "OK"
    how = event.outcome, report.phase, report.parked, report.code, sentence(report.error_reason)
    # On the wire, but never outside of what the records say: a clock that was set back must not bend the tree.
    opened_at, at = event.opened_at, event.at
    begin_at = max(min(max(report.sent_at or opened_at, opened_at), at), call.opened_at)
    end_at = max(min(report.ended_at or at, at), begin_at)
    key, error = (event.step, event.operation), sentence(report.message) if failed else None
    return _attempt_span(view, key, call, (begin_at, end_at), how, error=error)


def _ended_as(how: _Reported | str) -> Words:
    if isinstance(how, str):
        return ((names.SAGA_REASON, how), (names.ERROR_TYPE, how))
    outcome, phase, parked, code, reason = how
    words: Words = ((names.SAGA_OUTCOME, outcome.value), (names.SAGA_PHASE, phase.value))
    if parked:
        words += ((names.SAGA_PARKED, True),)
    lost = phase is ev.Phase.LOST
    if lost:
        words += ((names.SAGA_LOST, True),)
    elif code:
        words += ((names.RPC_STATUS, code),)
    if lost or code != "OK":
        words += ((names.ERROR_TYPE, "LOST" if lost else code),)
    return (*words, (names.SAGA_REASON, reason)) if reason else words


def cut_off_attempt(view: SagaView, key: OperationKey, call: OpenAttempt, end_at: float, why: str) -> SpanData:
    """Return the span of an attempt whose end nobody records any more."""
    return _attempt_span(view, key, call, (call.opened_at, end_at), why, error="its end is not recorded")


def _attempt_span(
    view: SagaView,
    key: OperationKey,
    call: OpenAttempt,
    ends: tuple[float, float],
    how: _Reported | str,
    *,
    error: str | None,
) -> SpanData:
    path, operation = key
    step = item_of(path)[0]
    callee = view.who.shape.callees.get((step, operation))
    return _span(
        view,
        _of_attempt(key, (call.attempt, call.manual_epoch), callee, how, error),
        part=view.parts.part_of(path, operation),
        span_id=view.attempt_id(path, operation, call),
        parent_id=call.parent_id,
        ends=ends,
    )


@lru_cache(maxsize=SPANS_SAID_KEPT_MAX)
def _of_attempt(
    key: OperationKey, numbers: tuple[int, int], callee: Callee | None, how: _Reported | str, error: str | None
) -> Said:
    (path, operation), (attempt, manual_epoch), words = key, numbers, _ended_as(how)
    name = f"{item_of(path)[0]} {operation.value}" if callee is None else callee.method
    about: Words = (
        (names.SAGA_STEP, path),
        (names.SAGA_OPERATION, operation.value),
        (names.SAGA_ATTEMPT, attempt),
    )
    if manual_epoch:
        about += ((names.SAGA_MANUAL_EPOCH, manual_epoch),)
    if callee is not None and callee.target == CHILD_TARGET:
        name = names.CHILD_SPAN.format(definition=callee.method.partition("/")[0])
        return _said(name, "client", (*about, (names.SAGA_CHILD, callee.method), *words), error)
    about += ((names.RPC_SYSTEM_NAME, names.GRPC),)
    if callee is not None:
        target = callee.target
        about += ((names.RPC_METHOD, name), (names.SAGA_TARGET, target), (names.SERVER_ADDRESS, target))
    return _said(name, "client", about + words, error)


def _span(
    view: SagaView,
    said: Said,
    *,
    part: int,
    span_id: int,
    parent_id: int,
    ends: tuple[float, float],
    parent_is_remote: bool = False,
    uid: str = "",
    notes: Notes = NO_NOTES,
    links: tuple[SpanLink, ...] = (),
) -> SpanData:
    start_ns, end_ns = ns(ends[0]), ns(ends[1])
    if notes.spans_untold or notes.events_untold:
        said = _counted(said, notes)
    return SpanData(
        trace_id=view.who.trace_id if part == 1 else view.trace_of(part),
        span_id=span_id,
        parent_id=parent_id,
        parent_is_remote=parent_is_remote,
        trace_state=view.who.trace_state,
        saga_id=view.who.saga_id,
        uid=uid,
        said=said,
        start_ns=start_ns,
        end_ns=max(end_ns, start_ns),
        events=notes.events,
        links=(*links, *notes.links) if notes.links else links,
    )


def _counted(said: Said, notes: Notes) -> Said:
    words = said.words
    if notes.spans_untold:
        words += ((names.SAGA_SPANS_UNTOLD, notes.spans_untold),)
    if notes.events_untold:
        words += ((names.SAGA_EVENTS_UNTOLD, notes.events_untold),)
    return Said(name=said.name, kind=said.kind, words=words, error=said.error)


# What comes from outside is cut to a sentence before anything is kept of it: a key would hold the whole of it. What is
# said of a saga's parent, or in its baggage, is said of that saga alone: it takes no more than its place here.
@lru_cache(maxsize=SPANS_SAID_KEPT_MAX)
def _said(name: str, kind: Literal["internal", "client"], words: Words, error: str | None = None) -> Said:
    if error is not None:
        # Whoever failed may have said nothing; the mark does all the same.
        error = error or str(dict(words).get(names.ERROR_TYPE, ""))
    return Said(name=name, kind=kind, words=words, error=error)


def _identity(who: Identity) -> Words:
    words: Words = ((names.SAGA_DEFINITION, who.definition), (names.SAGA_REVISION, who.revision))
    if who.parent is not None:
        words += ((names.SAGA_PARENT_ID, who.parent.saga_id), (names.SAGA_PARENT_STEP, who.parent.step))
    if who.baggage:
        words += tuple((names.BAGGAGE.format(name=name), sentence(value)) for name, value in who.baggage.items())
    return words


def _of_parent(view: SagaView) -> tuple[SpanLink, ...]:
    """Return the link of a child saga to the attempt that started it (T7)."""
    parent = view.who.parent
    return () if parent is None or not parent.span_id else (SpanLink(parent.trace_id, parent.span_id),)


def _cause(cause: ev.Cause | None) -> Words:
    if cause is None:
        return ()
    kind = names.SAGA_CAUSE, cause.kind.value
    return (kind,) if cause.step is None else (kind, (names.SAGA_CAUSE_STEP, cause.step))
