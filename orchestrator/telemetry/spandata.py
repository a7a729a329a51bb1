"""Spans as values: finished, with every id and instant given from outside."""

from collections.abc import Mapping
from typing import Literal

from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.telemetry import names

AttributeValue = str | int | float | bool

Words = tuple[tuple[str, AttributeValue], ...]
"""Attributes in their order. What a value is, is settled by its name: no name has `True` here and 1 there."""


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
class Said:
    """What a span says that other sagas' spans say too, word for word.

    Equal ones are put together once, and encoded once.
    """

    name: str
    kind: Literal["internal", "client"] = "internal"
    words: Words = ()
    error: str | None = None
    """Why the span's status is ERROR; None where it is not."""


@frozen
class SpanData:
    """One finished span. Instants are Unix nanoseconds."""

    trace_id: int
    span_id: int
    parent_id: int
    """0: no parent."""
    parent_is_remote: bool = False
    trace_state: str = ""
    saga_id: str
    uid: str = ""
    """Of the saga, where the span says it."""
    said: Said
    start_ns: int
    end_ns: int
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()

    @property
    def name(self) -> str:
        """Return what the span is called."""
        return self.said.name

    @property
    def kind(self) -> Literal["internal", "client"]:
        """Return whether it is a call's."""
        return self.said.kind

    @property
    def error(self) -> str | None:
        """Return why the span's status is ERROR; None where it is not."""
        return self.said.error

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """Return all that it says, the saga first."""
        return dict((*self.own, *self.said.words))

    @property
    def own(self) -> Words:
        """Return what it says of its saga alone."""
        saga = names.SAGA_ID, self.saga_id
        return (saga, (names.SAGA_UID, self.uid)) if self.uid else (saga,)

    @property
    def told_end_ns(self) -> int:
        """Return the end that backends are told: Jaeger 2 takes a span without length for a mistake, and marks it."""
        return self.end_ns if self.end_ns > self.start_ns else self.start_ns + 1
