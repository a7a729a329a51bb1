"""How a very long saga's trace goes on in another one (T9): the end of one part and the beginning of the next.

Which part a thing belongs to is decided in `saga.traceparts`, by the machine and here alike. A part's own span is told
when something else is the last part and nothing of it is under way any more: it contains what is below it.
"""

from orchestrator.frozen import changed
from orchestrator.saga.traceparts import TraceParts
from orchestrator.telemetry import spans
from orchestrator.telemetry.spandata import SpanData
from orchestrator.telemetry.views import Notes, RolledOver, SagaView

Told = tuple[SagaView, tuple[SpanData, ...]]


def with_parts(view: SagaView, parts: TraceParts) -> SagaView:
    """Return the view with the parts of its trace as something that begins has left them."""
    before = view.parts
    if parts.number == before.number:
        return changed(view, parts=parts)
    earlier = view.earlier
    if not view.is_told:
        # Of a child that had completed and is undone much later it is.
        earlier = earlier.set(before.number, RolledOver(begin_at=view.begin_at, notes=view.notes))
    return changed(view, parts=parts, earlier=earlier, notes=Notes(), is_told=False)


def followed(view: SagaView, before: TraceParts, at: float, told: tuple[SpanData, ...]) -> Told:
    """Return what was told, and what follows from it: the next part's start, and the ends of earlier parts.

    `before` are the parts of the trace as they were before the event.
    """
    if view.parts.number != before.number:
        # Findable at once, like the saga itself (T4).
        told = (*told, spans.start_span(view, at))
    elif _is_of_last_part(view, told):
        return view, told
    for part in sorted(view.earlier):
        if not _is_under_way(view, part):
            told = (*told, spans.rolled_over_span(view, part, view.earlier[part], at))
            view = changed(view, earlier=view.earlier.delete(part))
    return view, told


def _is_of_last_part(view: SagaView, told: tuple[SpanData, ...]) -> bool:
    """Return whether what was told ends nothing of an earlier part, so that none is over now."""
    now = view.trace_of(view.parts.number)
    return all(span.trace_id == now for span in told)


def _is_under_way(view: SagaView, part: int) -> bool:
    return (
        any(entry.part == part for entry in view.under_way.values())
        or any(view.parts.part_of(path, operation) == part for path, operation in view.calls)
        or any(undoing.part == part for undoing in view.rollbacks.values())
    )
