"""Reading a history's spans: what was told, what of it is about what, and whether it is one tree."""

from collections.abc import Iterable

from orchestrator import ids
from orchestrator.saga.events import AttemptOpened, Event
from orchestrator.telemetry import names
from orchestrator.telemetry.spandata import SpanData, SpanLink
from tests.kit.sound import ORCHESTRATOR, Known, Told, broken
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


def as_told(span: SpanData) -> Told:
    """The span as the rules read it."""
    return Told(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=span.kind,
        service=ORCHESTRATOR,
        begin_ns=span.start_ns,
        end_ns=span.end_ns,
        tags=span.attributes,
        links=tuple((link.trace_id, link.span_id) for link in span.links),
        error=span.error,
    )


def assert_one_tree(teller: Guide, spans: list[SpanData], *, is_clock_steady: bool = True) -> None:
    """One tree under the caller's span, and every other rule; where the trace has rolled over, in each of its parts."""
    own = {(span.trace_id, span.span_id) for span in spans}
    assert len({span.span_id for span in spans}) == len(spans), "T8: never two spans with one id"
    attempts_told = {span.span_id for span in spans if span.kind == "client"}
    opened = injected(record.event for record in teller.records)
    assert attempts_told <= opened
    if not teller.state.is_terminal:
        return
    assert attempts_told == opened, "T5: every injected id has its span"
    assert teller.injected <= own, "T5: in the trace that was injected"
    wrong = broken([*map(as_told, spans)], Known(outside=(CALLER.span_id,), is_clock_steady=is_clock_steady))
    assert wrong == [], "\n".join(wrong)
    for span in spans:
        if (span.trace_id, span.parent_id) not in own:
            is_later = span.attributes.get(names.SAGA_PART, 1) != 1 and span.name.startswith("saga ")
            assert span.parent_id == (0 if is_later else CALLER.span_id), f"{span.name} misses its parent"
        for link in span.links:
            is_outside = link.trace_id in {SENDER.trace_id, PARENT.trace_id}
            assert is_outside or (link.trace_id, link.span_id) in own, f"{span.name} links to nothing"


def roots(spans: Iterable[SpanData]) -> list[SpanData]:
    """The spans of the saga, one for each part of its trace, in their order."""
    return sorted((span for span in spans if span.name.startswith("saga ")), key=lambda span: span.start_ns)


def link_to_root(part: int) -> SpanLink:
    """The span of the saga in one part of its trace."""
    trace = CALLER.trace_id if part == 1 else ids.part_trace_id(UID, part)
    return SpanLink(trace, ids.root_span_id(UID, part))
