"""Reading a history's spans: what was told, what of it is about what, and whether it is one tree."""

from collections.abc import Iterable

from orchestrator import ids
from orchestrator.saga.events import AttemptOpened, Event
from orchestrator.telemetry import names
from orchestrator.telemetry.spandata import SpanData, SpanLink
from tests.unit.telemetry.histories import CALLER, uid_of
from tests.unit.telemetry.shapes import (
    PARENT,
    SENDER,
    Guide,
)
from tests.unit.telemetry.test_spans import spans_of

UID = uid_of(1)


def told(teller: Guide) -> list[SpanData]:
    return spans_of((record.event for record in teller.records), plan=teller.plan, bounds=teller.bounds)


def of(spans: Iterable[SpanData], path: str, operation: str = "forward") -> SpanData:
    """The span of a step, an item or an undo."""
    (found,) = [
        span
        for span in spans
        if span.attributes.get(names.SAGA_STEP) == path
        and span.attributes.get(names.SAGA_OPERATION) == operation
        and span.kind == "internal"
    ]
    return found


def attempts(spans: Iterable[SpanData], path: str) -> list[SpanData]:
    return [span for span in spans if span.attributes.get(names.SAGA_STEP) == path and span.kind == "client"]


def event_names(span: SpanData) -> list[str]:
    return [event.name for event in span.events]


def injected(events: Iterable[Event]) -> set[int]:
    """The span ids that the runtime has given to called services, as `runtime.perform` derives them."""
    return {
        ids.attempt_span_id(UID, event.step, event.operation.value, event.attempt, event.manual_epoch)
        for event in events
        if isinstance(event, AttemptOpened) and ids.is_traced(event.step, event.attempt)
    }


def may_end_later(teller: Guide, parent: SpanData, span: SpanData) -> bool:
    """What is given up comes to its end after what gave it up, and a child saga is undone after its own end."""
    was_stopped = parent.attributes.get(names.SAGA_REASON) == "STOPPED"
    given_up = was_stopped or parent.error is not None or parent.name.startswith("rollback ")
    is_stop = span.attributes.get(names.SAGA_OPERATION) == "stop"
    return given_up or is_stop or (teller.parent is not None and parent.name.startswith("saga "))


def assert_one_tree(teller: Guide, spans: list[SpanData]) -> None:
    """One tree under the caller's span; where the trace has rolled over, one tree in each of its parts."""
    own = {span.span_id: span for span in spans}
    assert len(own) == len(spans), "T8: never two spans with one id"
    attempts_told = {span.span_id for span in spans if span.kind == "client"}
    opened = injected(record.event for record in teller.records)
    assert attempts_told <= opened
    if not teller.state.is_terminal:
        return
    assert attempts_told == opened, "T5: every injected id has its span"
    assert teller.injected <= {(span.trace_id, span.span_id) for span in spans}, "T5: in the trace that was injected"
    for span in spans:
        parent = own.get(span.parent_id)
        if parent is None:
            is_later = span.attributes.get(names.SAGA_PART, 1) != 1 and span.name.startswith("saga ")
            assert span.parent_id == (0 if is_later else CALLER.span_id), f"{span.name} misses its parent"
            continue
        assert parent.trace_id == span.trace_id, f"{span.name} has its parent in another trace"
        assert parent.start_ns <= span.start_ns <= span.end_ns
        assert span.end_ns <= parent.end_ns or may_end_later(teller, parent, span)
        for link in span.links:
            linked = own.get(link.span_id)
            assert linked is not None or link.trace_id in {SENDER.trace_id, PARENT.trace_id}
            assert linked is None or linked.trace_id == link.trace_id, f"{span.name} links to nothing"


def roots(spans: Iterable[SpanData]) -> list[SpanData]:
    """The spans of the saga, one for each part of its trace, in their order."""
    return sorted((span for span in spans if span.name.startswith("saga ")), key=lambda span: span.start_ns)


def link_to_root(part: int) -> SpanLink:
    """The span of the saga in one part of its trace."""
    trace = CALLER.trace_id if part == 1 else ids.part_trace_id(UID, part)
    return SpanLink(trace, ids.root_span_id(UID, part))
