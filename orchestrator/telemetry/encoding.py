"""Spans to OTLP messages directly, a thirtieth of the SDK's cost, which would be most of what tracing costs a saga.

A message on the wire is its fields one after another, in any order, and two messages written one after another are
their union: so a span is the bytes of what many spans say alike, which are encoded once, behind those of its own. Every
field but ids and instants is encoded by protobuf's own code.

The gRPC exporter lets a subclass say how its data becomes a request (`_translate_data`, abstract in its base since its
first release); connection, headers, compression, retries and deadlines stay its own. A test holds every message to
the one the SDK's encoder makes of the same span. The HTTP exporter has no such place and uses that encoder.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import assert_never, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan

from orchestrator.limits import SPAN_OWN_KEPT_MAX
from orchestrator.telemetry.spandata import AttributeValue, Said, SpanData

_LOCAL = pb.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | pb.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_UNSET = pb.Status(code=pb.Status.STATUS_CODE_UNSET)

# A field's tag is its number, times eight, and how it is written: 1 and 5 as eight and four bytes, 2 as a length and so
# many bytes. Ids are written in the order in which they are read, numbers the other way round.
_IDS = Struct(">BB16s BBQ")
_PARENT = Struct(">BBQ")
_INSTANTS = Struct("<BQ BQ HI")
_TRACE_ID, _SPAN_ID, _PARENT_ID = (1 << 3 | 2, 16), (2 << 3 | 2, 8), (4 << 3 | 2, 8)
_START, _END, _FLAGS = 7 << 3 | 1, 8 << 3 | 1, (16 << 3 | 5) & 0x7F | 0x80 | 1 << 8
_SPANS = 2 << 3 | 2  # of the spans of one scope
_SEVEN_BITS = 0x7F


class DirectSpanExporter(OTLPSpanExporter):
    """The SDK's gRPC exporter, given `SpanData` instead of the SDK's spans."""

    _envelope: ExportTraceServiceRequest | None = None

    def address_from(self, sample: ReadableSpan) -> None:
        """Take resource and scope, the same in every request, from one span as the SDK encodes it."""
        self._envelope = encode_spans([sample])
        del self._envelope.resource_spans[0].scope_spans[0].spans[:]

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        assert self._envelope is not None
        return request_of(self._envelope, cast("Sequence[SpanData]", data))


def request_of(envelope: ExportTraceServiceRequest, spans: Sequence[SpanData]) -> ExportTraceServiceRequest:
    """Return the envelope, filled."""
    request = ExportTraceServiceRequest()
    request.CopyFrom(envelope)
    request.resource_spans[0].scope_spans[0].MergeFromString(b"".join([_field(encoded(span)) for span in spans]))
    return request


def encoded(span: SpanData) -> bytes:
    """Return a span as it is on the wire."""
    said, parent_id = span.said, span.parent_id
    wire = _IDS.pack(*_TRACE_ID, span.trace_id.to_bytes(16, "big"), *_SPAN_ID, span.span_id)
    if parent_id:
        wire += _PARENT.pack(*_PARENT_ID, parent_id)
    flags = _REMOTE if span.parent_is_remote else _LOCAL
    wire += _INSTANTS.pack(_START, span.start_ns, _END, span.told_end_ns, _FLAGS, flags)
    for key, value in span.own:
        wire += _attribute(key, value)
    wire += said.encoded or _kept(said)
    if span.events or span.links or span.trace_state:
        wire += _rest(span)
    return wire


def _field(span: bytes) -> bytes:
    """Return a span as an element of its scope's spans: behind its length, seven bits to a byte."""
    length, prefix = len(span), bytearray((_SPANS,))
    while length > _SEVEN_BITS:
        prefix.append(length & _SEVEN_BITS | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + span


def _kept(said: Said) -> bytes:
    """Encode what many spans say, and keep it there."""
    status = _UNSET if said.error is None else pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=said.error)
    kind = pb.Span.SPAN_KIND_CLIENT if said.kind == "client" else pb.Span.SPAN_KIND_INTERNAL
    attributes = [_pair(key, value) for key, value in said.words]
    said.encoded = pb.Span(name=said.name, kind=kind, attributes=attributes, status=status).SerializeToString()
    return said.encoded


@lru_cache(maxsize=SPAN_OWN_KEPT_MAX)
def _attribute(key: str, value: AttributeValue) -> bytes:
    return pb.Span(attributes=[_pair(key, value)]).SerializeToString()


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
