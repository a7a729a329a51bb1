"""Tracing obeys the standard variables, and refuses what it cannot obey."""

import pytest

from orchestrator.errors import ConfigError
from orchestrator.telemetry.settings import trace_settings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off_unless_asked_for(environ: dict[str, str]) -> None:
    assert trace_settings(environ) is None


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        (ENDPOINT, "grpc"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}, "grpc"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "grpc"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http/protobuf"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "http/protobuf",
        ),
    ],
)
def test_an_endpoint_or_the_exporter_turns_it_on(environ: dict[str, str], protocol: str) -> None:
    settings = trace_settings(environ)
    assert settings is not None
    assert settings.protocol == protocol


def test_batches_follow_the_standard_variables() -> None:
    settings = trace_settings(
        {
            **ENDPOINT,
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
        }
    )
    assert settings is not None
    assert (settings.batch.queue_spans_max, settings.batch.batch_spans_max, settings.batch.delay_s) == (100, 10, 0.25)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        trace_settings({**ENDPOINT, name: value})
