"""OpenTelemetry's exporters, fed with spans that were never open: with `encoding` the only modules that import the SDK.

Loaded only where tracing is on, because the SDK costs a tenth of a second at start.
"""

import logging
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from orchestrator import __version__
from orchestrator.limits import SPAN_MESSAGE_CHARS_MAX, TRACE_STATES_KEPT_MAX
from orchestrator.telemetry.names import SCHEMA, SCOPE
from orchestrator.telemetry.spandata import Said, SpanData

# What exporters let out instead of saying FAILURE: a closed channel, a socket's error, a value that does not encode.
# What `struct` says of such a value is no ValueError. An error that is not here ends the thread that exports.
_LET_OUT = (RuntimeError, OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, struct.error)
# What an exporter says on its own loggers is said by the outbox in one line, at most once a minute.
_NOISY = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._common",
    "opentelemetry.exporter.otlp.common.http",
)
_INSTANCE = "service.instance.id"


class OtlpSender:
    """`outbox.Sender` over OpenTelemetry's exporter, which reads its address and headers from the environment."""

    def __init__(self, protocol: str) -> None:
        """Connects at the first batch."""
        self._resource = _resource()
        self._export = _grpc(self._resource) if protocol == "grpc" else _http(self._resource)
        self._ears = _Ears()
        self._ears.attach()

    def send(self, spans: Sequence[SpanData]) -> str | None:
        self._ears.last = ""
        try:
            result = self._export.export(spans)
        except _LET_OUT as error:
            return f"{type(error).__name__}: {error}"[:SPAN_MESSAGE_CHARS_MAX]
        if result is SpanExportResult.SUCCESS:
            return None
        return self._ears.last[:SPAN_MESSAGE_CHARS_MAX] or "the exporter gave no reason"

    def close(self) -> None:
        self._export.shutdown()
        self._ears.detach()


@dataclass(frozen=True, slots=True)
class _Export:
    """An exporter and the form in which it takes spans."""

    export: Callable[[Sequence[SpanData]], SpanExportResult]
    shutdown: Callable[[], None]


def _grpc(resource: Resource) -> _Export:
    from orchestrator.telemetry.encoding import DirectSpanExporter  # noqa: PLC0415  (brings gRPC's exporter)

    exporter = DirectSpanExporter()
    sample = SpanData(trace_id=1, span_id=1, parent_id=0, saga_id="", said=Said(name=""), start_ns=0, end_ns=0)
    exporter.address_from(readable(sample, resource))
    # Our exporter's form; the SDK's signature names its own.
    return _Export(lambda spans: exporter.export(cast("Sequence[ReadableSpan]", spans)), exporter.shutdown)


def _http(resource: Resource) -> _Export:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  (brings HTTP)

    exporter = OTLPSpanExporter()
    return _Export(lambda spans: exporter.export([readable(span, resource) for span in spans]), exporter.shutdown)


def readable(span: SpanData, resource: Resource) -> ReadableSpan:
    """Return the SDK's form of a finished span, with our ids and instants."""
    context = _context(span, span.span_id)
    parent = _context(span, span.parent_id, is_remote=span.parent_is_remote) if span.parent_id else None
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[Event(event.name, event.attributes, event.at_ns) for event in span.events],
        links=[Link(SpanContext(link.trace_id, link.span_id, False, _SAMPLED)) for link in span.links],
        kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
        status=_UNSET if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.told_end_ns,
        instrumentation_scope=_SCOPE,
    )


_UNSET = Status(StatusCode.UNSET)
_SCOPE = InstrumentationScope(SCOPE, __version__, SCHEMA)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def _context(span: SpanData, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(span.trace_id, span_id, is_remote, _SAMPLED, _trace_state(span.trace_state))


@lru_cache(maxsize=TRACE_STATES_KEPT_MAX)
def _trace_state(text: str) -> TraceState:
    return TraceState.from_header([text]) if text else TraceState()


class _Ears(logging.Handler):
    """Hears why an export failed, and keeps it from being printed once per try."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()

    def attach(self) -> None:
        for name in _NOISY:
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.propagate = False

    def detach(self) -> None:
        for name in _NOISY:
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.propagate = True


def _resource() -> Resource:
    """Return who we say we are: what the environment says, and otherwise our name and version.

    The SDK makes up a `service.instance.id` for each life of a process. A span that is sent again after a crash would
    then not be the same span as before, and a backend would keep both; so it is there only where somebody gave it.
    """
    said = Resource.create({"service.version": __version__})
    attributes = dict(said.attributes)
    if _INSTANCE not in OTELResourceDetector().detect().attributes:
        attributes.pop(_INSTANCE, None)
    if str(attributes.get("service.name", "")).startswith("unknown_service"):
        attributes["service.name"] = SCOPE
    return Resource(attributes, said.schema_url)
