"""Spans as values: finished, with every id and instant given from outside."""

from collections.abc import Mapping
from typing import Literal

from orchestrator.frozen import frozen, frozen_tuple

AttributeValue = str | int | float | bool


@frozen
class SpanEvent:
    """Something that happened at one instant within a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, AttributeValue]


@frozen_tuple
class SpanLink:
    """Another span that has to do with this one, of the same trace or of another."""

    trace_id: int
    span_id: int


@frozen
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
    links: tuple[SpanLink, ...] = ()
    error: str | None = None
    """Why the span's status is ERROR; None where it is not."""

    @property
    def told_end_ns(self) -> int:
        """Return the end that backends are told: Jaeger 2 takes a span without length for a mistake, and marks it."""
        return max(self.end_ns, self.start_ns + 1)
