"""One server span per call, by hand: forty lines instead of an instrumentation package.

Off unless the standard variables name somebody to tell (OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, and neither OTEL_SDK_DISABLED=true nor OTEL_TRACES_EXPORTER=none). The protocol is
OTLP over gRPC, or over HTTP when OTEL_EXPORTER_OTLP_PROTOCOL says `http/protobuf`; sampling, headers, queue sizes and
time-outs are the SDK's own variables. `service.name` is the service's name unless OTEL_SERVICE_NAME says otherwise.

The span's parent is the `traceparent` of the call, which is how a saga and the five services become one tree. The SDK
is imported only when it is needed, so that a service without tracing starts in half the time.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any

import grpc

from services.interception import Behaviour, Wrap

SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Status codes that are the server's fault by OpenTelemetry's conventions for gRPC; the others are answers."""

FLUSH_S_MAX = 2.0
"""How long a stopping service waits for its last spans; a dead collector must not keep it alive."""

SAGA_ATTRIBUTES = {"saga-id": "saga.id", "saga-step": "saga.step", "saga-op": "saga.operation"}
"""Header -> attribute, as the orchestrator calls it: one search finds both sides of a call."""


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Somebody is named to receive spans, and nobody has switched them off."""
    named = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return bool(named) and not off


class Tracing:
    """The exporter of one process. Make it once, after `is_wanted`."""

    def __init__(self, name: str) -> None:
        """`name` is the service.name, for example "archive"."""
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  (see the module's text)
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", name)})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter()))

    def wrap(self, method: str, behaviour: Behaviour) -> Behaviour:
        """Put a span around the method."""
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        tracer = self._provider.get_tracer("services")
        propagator = TraceContextTextMapPropagator()
        fixed = {"rpc.system.name": "grpc", "rpc.method": method}

        async def traced(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
            metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
            about = {**fixed, **saga_attributes(metadata)}
            parent = propagator.extract(metadata)
            span = tracer.start_span(method, context=parent, kind=SpanKind.SERVER, attributes=about)
            code = grpc.StatusCode.OK
            try:
                return await behaviour(request, context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except BaseException:
                code = code_of(context)
                raise
            finally:
                span.set_attribute("rpc.response.status_code", code.name)
                if code.name in SERVER_FAULTS:
                    span.set_attribute("error.type", code.name)
                    span.set_status(Status(StatusCode.ERROR, context.details() or code.name))
                span.end()

        return traced

    def close(self) -> None:
        """Hand over what is left, within FLUSH_S_MAX."""
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_S_MAX)


def saga_attributes(metadata: Mapping[str, str]) -> dict[str, str | int]:
    """Return which saga's call it is, where it is one's; the attempt is a number, as in the caller's own span."""
    found: dict[str, str | int] = {name: metadata[key] for key, name in SAGA_ATTRIBUTES.items() if key in metadata}
    attempt = metadata.get("saga-attempt", "")
    return {**found, "saga.attempt": int(attempt)} if attempt.isdecimal() else found


def wraps_of(tracing: Tracing | None) -> list[Wrap]:
    """What tracing adds around every method."""
    return [tracing.wrap] if tracing else []


def exporter() -> Any:  # noqa: ANN401  (two classes without a common public parent worth naming)
    """The OTLP exporter that the environment asks for; it reads the rest of its settings itself."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http  # noqa: PLC0415

        return Http()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc  # noqa: PLC0415

    return Grpc()


def code_of(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode:
    """The status that a failing call has been ended with; UNKNOWN when its code raised something else."""
    number = context.code()
    found = (code for code in grpc.StatusCode if number in {code, code.value[0]} and code is not grpc.StatusCode.OK)
    return next(found, grpc.StatusCode.UNKNOWN)
