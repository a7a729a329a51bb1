"""Spans to OTLP messages directly, a fifth of the SDK's cost, which is most of what tracing costs a saga.

The gRPC exporter lets a subclass say how its data becomes a request (`_translate_data`, abstract in its base since its
first release); connection, headers, compression, retries and deadlines stay its own. A test holds every message to
the one the SDK's encoder makes of the same span. The HTTP exporter has no such place and uses that encoder.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import assert_never, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan

from orchestrator.limits import SPAN_PAIRS_KEPT_MAX
from orchestrator.telemetry.spandata import AttributeValue, SpanData

_LOCAL = pb.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | pb.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_UNSET = pb.Status(code=pb.Status.STATUS_CODE_UNSET)


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
    request.resource_spans[0].scope_spans[0].spans.extend(map(_span, spans))
    return request


def _span(span: SpanData) -> pb.Span:
    trace_id = span.trace_id.to_bytes(16, "big")
    return pb.Span(
        trace_id=trace_id,
        span_id=span.span_id.to_bytes(8, "big"),
        trace_state=span.trace_state,
        parent_span_id=span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
        name=span.name,
        kind=pb.Span.SPAN_KIND_CLIENT if span.kind == "client" else pb.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.told_end_ns,
        attributes=[_pair(key, value) for key, value in span.attributes.items()],
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
        status=_UNSET if span.error is None else pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=span.error),
        flags=_REMOTE if span.parent_is_remote else _LOCAL,
    )


# Most values are words of a definition, said once per span; the message is never changed. Typed, because True == 1.
@lru_cache(maxsize=SPAN_PAIRS_KEPT_MAX, typed=True)
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
