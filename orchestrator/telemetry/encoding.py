"""Spans to OTLP messages directly, a thirtieth of the SDK's cost, which would be most of what tracing costs a saga.

A message on the wire is its fields one after another, in any order, and two messages written one after another are
their union: so a span is the bytes of what many spans say alike, which are encoded once, behind those of its own. Every
field but ids and instants is encoded by protobuf's own code.

The gRPC exporter lets a subclass say how its data becomes a request (`_translate_data`, abstract in its base since its
first release); connection, headers, compression, retries and deadlines stay its own. It is given a stub that takes
bytes as they are, for a message is as dear to fill as to write; where a release of it made its stub otherwise, it gets
the message. A test holds every request to the one the SDK's encoder makes of the same spans. The HTTP exporter has no
such place and uses that encoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Protocol, assert_never, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan

from orchestrator.limits import SPAN_LENGTHS_KEPT_MAX, SPAN_OWN_KEPT_MAX, SPANS_SAID_KEPT_MAX
from orchestrator.telemetry import names
from orchestrator.telemetry.spandata import AttributeValue, Said, SpanData

_LOCAL = pb.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | pb.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_UNSET = pb.Status(code=pb.Status.STATUS_CODE_UNSET)

_FIXED64, _LENGTH_DELIMITED, _FIXED32 = 1, 2, 5
"""How a field is written: as eight bytes, as a length and so many bytes, as four."""


def _tag(number: int, wire_type: int) -> bytes:
    """Return what stands before a field: its number, times eight, and how it is written, seven bits to a byte."""
    tag = (number << 3) | wire_type
    return bytes((tag,)) if tag <= _SEVEN_BITS else bytes(((tag & _SEVEN_BITS) | 0x80, tag >> 7))


_SEVEN_BITS = 0x7F
# Ids are written in the order in which they are read, numbers the other way round.
_IDS = Struct(">2s16s2sQ")
_PARENT = Struct(">2sQ")
_INSTANTS = Struct("<cQcQ2sI")
_TRACE_ID = _tag(1, _LENGTH_DELIMITED) + bytes((16,))
_SPAN_ID, _PARENT_ID = (_tag(number, _LENGTH_DELIMITED) + bytes((8,)) for number in (2, 4))
_START, _END, _FLAGS = _tag(7, _FIXED64), _tag(8, _FIXED64), _tag(16, _FIXED32)
# Of these, each in the one before.
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS = (_tag(number, _LENGTH_DELIMITED) for number in (1, 2, 2))
_ATTRIBUTES, _KEY, _VALUE, _TEXT = (_tag(number, _LENGTH_DELIMITED) for number in (9, 1, 2, 1))
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class DirectSpanExporter(OTLPSpanExporter):
    """The SDK's gRPC exporter, given `SpanData` instead of the SDK's spans."""

    _envelope: "Envelope"

    def address_from(self, sample: ReadableSpan) -> None:
        """Take resource and scope, the same in every request, from one span as the SDK encodes it."""
        self._envelope = envelope_of(encode_spans([sample]))

    def _initialize_channel_and_stub(self) -> None:
        self._stub = BytesStub
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]  # the SDK's

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        wire = request_of(self._envelope, cast("Sequence[SpanData]", data))
        client: object = getattr(self, "_client", None)
        if isinstance(client, BytesStub):
            return cast("ExportTraceServiceRequest", wire)  # what our stub takes for one
        return ExportTraceServiceRequest.FromString(wire)


class _Channel(Protocol):
    def unary_unary(
        self, method: str, *, response_deserializer: Callable[[bytes], object]
    ) -> Callable[..., ExportTraceServiceResponse]: ...


class BytesStub:
    """The collector's service as the SDK's exporter calls it, for requests that are encoded already."""

    def __init__(self, channel: _Channel) -> None:
        """Let the SDK connect it."""
        self.Export = channel.unary_unary(_EXPORT, response_deserializer=ExportTraceServiceResponse.FromString)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is the same in every request, encoded: of the resource's spans, and in them of the scope's."""

    resource: bytes
    scope: bytes


def envelope_of(sample: ExportTraceServiceRequest) -> Envelope:
    """Return the envelope of a request with one resource and one scope."""
    (of_resource,) = sample.resource_spans
    (of_scope,) = of_resource.scope_spans
    of_scope.ClearField("spans")
    scope = of_scope.SerializeToString()
    of_resource.ClearField("scope_spans")
    return Envelope(resource=of_resource.SerializeToString(), scope=scope)


def request_of(envelope: Envelope, spans: Sequence[SpanData]) -> bytes:
    """Return the request with these spans."""
    told = [encoded(span) for span in spans]
    size = len(envelope.scope) + sum([len(span) for span in told])
    of_scope = _before(_SCOPE_SPANS, size)
    of_resource = _before(_RESOURCE_SPANS, len(envelope.resource) + len(of_scope) + size)
    return b"".join((of_resource, envelope.resource, of_scope, envelope.scope, *told))


def encoded(span: SpanData) -> bytes:
    """Return a span as an element of its scope's spans on the wire: behind its length."""
    parent_id, start_ns, end_ns = span.parent_id, span.start_ns, span.told_end_ns
    wire = b"".join(
        (
            _IDS.pack(_TRACE_ID, span.trace_id.to_bytes(16, "big"), _SPAN_ID, span.span_id),
            _PARENT.pack(_PARENT_ID, parent_id) if parent_id else b"",
            _INSTANTS.pack(_START, start_ns, _END, end_ns, _FLAGS, _REMOTE if span.parent_is_remote else _LOCAL),
            _attribute(names.SAGA_ID, span.saga_id),
            _attribute(names.SAGA_UID, span.uid) if span.uid else b"",
            _said(span.said),
            _rest(span) if span.events or span.links or span.trace_state else b"",
        )
    )
    return _before(_SPANS, len(wire)) + wire


@lru_cache(maxsize=SPAN_LENGTHS_KEPT_MAX)
def _before(tag: bytes, length: int) -> bytes:
    """Return what stands before so many bytes: the field that they are, and the length, seven bits to a byte."""
    prefix = bytearray(tag)
    while length > _SEVEN_BITS:
        prefix.append((length & _SEVEN_BITS) | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


@lru_cache(maxsize=SPANS_SAID_KEPT_MAX)
def _said(said: Said) -> bytes:
    """Encode what many spans say."""
    status = _UNSET if said.error is None else pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=said.error)
    kind = pb.Span.SPAN_KIND_CLIENT if said.kind == "client" else pb.Span.SPAN_KIND_INTERNAL
    attributes = [_pair(key, value) for key, value in said.words]
    return pb.Span(name=said.name, kind=kind, attributes=attributes, status=status).SerializeToString()


@lru_cache(maxsize=SPAN_OWN_KEPT_MAX)
def _attribute(key: str, text: str) -> bytes:
    """Return an attribute as protobuf's code would, cheaper: every saga has ids of its own."""
    name, said = key.encode(), text.encode()
    value = _before(_TEXT, len(said)) + said
    pair = _before(_KEY, len(name)) + name + _before(_VALUE, len(value)) + value
    return _before(_ATTRIBUTES, len(pair)) + pair


def _rest(span: SpanData) -> bytes:
    return pb.Span(
        trace_state=span.trace_state,
        events=[
            pb.Span.Event(
                name=event.name,
                time_unix_nano=event.at_ns,
                attributes=[_pair(key, value) for key, value in event.attributes.items()],
            )
            for event in span.events
        ],
        links=[
            pb.Span.Link(
                trace_id=link.trace_id.to_bytes(16, "big"), span_id=link.span_id.to_bytes(8, "big"), flags=_LOCAL
            )
            for link in span.links
        ],
    ).SerializeToString()


def _pair(key: str, value: AttributeValue) -> KeyValue:
    match value:
        case bool():
            return KeyValue(key=key, value=AnyValue(bool_value=value))
        case int():
            return KeyValue(key=key, value=AnyValue(int_value=value))
        case float():
            return KeyValue(key=key, value=AnyValue(double_value=value))
        case str():
            return KeyValue(key=key, value=AnyValue(string_value=value))
        case _:
            assert_never(value)
