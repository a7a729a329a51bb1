"""OTLP by the standard `OTEL_*` variables: whether, where and how spans leave this process.

=================================  ====================================================================================
variable                           what it does here
=================================  ====================================================================================
`OTEL_SDK_DISABLED=true`           no tracing
`OTEL_TRACES_EXPORTER`             `otlp`: on, even without an endpoint; `none`: off; anything else is refused
`OTEL_EXPORTER_OTLP[_TRACES]_…`    `ENDPOINT` (tracing is on where it is set), `PROTOCOL` (`grpc` or `http/protobuf`),
                                   `HEADERS`, `TIMEOUT`, `COMPRESSION`, `INSECURE`, `CERTIFICATE`, `CLIENT_…`
`OTEL_SERVICE_NAME`,               who we say we are
`OTEL_RESOURCE_ATTRIBUTES`
`OTEL_BSP_MAX_QUEUE_SIZE`,         spans waiting at most, spans in one batch, milliseconds before a batch that is not
`…_MAX_EXPORT_BATCH_SIZE`,         full leaves
`…_SCHEDULE_DELAY`
=================================  ====================================================================================

Whatever names an address, a header or a certificate is read by OpenTelemetry's own exporter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import ConfigError
from orchestrator.telemetry.outbox import BatchSettings

PROTOCOLS = ("grpc", "http/protobuf")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """What the environment says about tracing."""

    protocol: str
    batch: BatchSettings


def trace_settings(environ: Mapping[str, str]) -> TraceSettings | None:
    """Return how to export spans, None where tracing is off; raise `ConfigError` naming the variable."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        raise ConfigError(
            f"OTEL_TRACES_EXPORTER is {exporter!r}, which is unknown; nothing was started; set it to otlp or none"
        )
    if exporter == "none" or not (exporter or _otlp(environ, "ENDPOINT")):
        return None
    protocol = _otlp(environ, "PROTOCOL") or "grpc"
    if protocol not in PROTOCOLS:
        raise ConfigError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, which is not known here; nothing was started; "
            "set it to grpc or http/protobuf"
        )
    queue = _count(environ, "OTEL_BSP_MAX_QUEUE_SIZE", BatchSettings().queue_spans_max)
    batch = _count(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(queue, BatchSettings().batch_spans_max))
    if batch > queue:
        raise ConfigError(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE ({batch}) is over OTEL_BSP_MAX_QUEUE_SIZE ({queue}); nothing was started; "
            "make the queue at least as large as a batch"
        )
    delay_ms = _count(environ, "OTEL_BSP_SCHEDULE_DELAY", int(BatchSettings().delay_s * 1_000))
    return TraceSettings(
        protocol=protocol,
        batch=BatchSettings(queue_spans_max=queue, batch_spans_max=batch, delay_s=delay_ms / 1_000),
    )


def _otlp(environ: Mapping[str, str], what: str) -> str:
    specific = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{what}", "").strip()
    return specific or environ.get(f"OTEL_EXPORTER_OTLP_{what}", "").strip()


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"{name} is {text!r}, which is not a whole number over zero; nothing was started; correct it")
    return int(text)
