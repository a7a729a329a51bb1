"""Frozen values that cross every ring: payloads, attributes, trace context.

A payload stays bytes with its type until an expression reads it; the machine never looks inside.
"""

from collections.abc import Mapping

from orchestrator.frozen import frozen, frozen_tuple

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]
"""Searchable facts about a saga, shown and filtered by List. Small, flat, never secret."""

JSON_TYPE = "google.protobuf.Struct"
"""The message type that carries untyped JSON input."""


@frozen_tuple
class Payload:
    """One protobuf message as the wire has it: its full type name and its serialised bytes."""

    type_name: str
    data: bytes

    @property
    def size_bytes(self) -> int:
        """Return the length of the serialised message."""
        return len(self.data)


@frozen
class TraceContext:
    """The caller's place in its own trace (W3C Trace Context), stored with the saga (T2, T10)."""

    trace_id: int
    span_id: int
    """The caller's span, parent of the saga's root span; 0 where no caller was traced."""
    sampled: bool
    state: str = ""
    """`tracestate` as received, passed on unread."""
