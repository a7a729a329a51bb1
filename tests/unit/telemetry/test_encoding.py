"""What we encode is what the SDK would have encoded."""

from random import Random  # noqa: TID251  (seeded)

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from orchestrator.telemetry.encoding import DirectSpanExporter
from orchestrator.telemetry.exporters import readable
from tests.unit.telemetry.histories import compensated, wandering
from tests.unit.telemetry.test_spans import events_of, spans_of


@pytest.mark.parametrize("seed", range(25))
def test_a_request_is_the_same_as_the_sdk_makes(seed: int) -> None:
    resource = Resource({"service.name": "saga-orchestrator", "numbers": (1, 2)})
    spans = spans_of(record.event for record in wandering(Random(seed)).records)
    spans += spans_of(events_of(compensated(2)))
    sdk_spans = [readable(span, resource) for span in spans]
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(sdk_spans[0])
    assert exporter._translate_data(spans) == encode_spans(sdk_spans)  # type: ignore[arg-type]  # its own form
    exporter.shutdown()
