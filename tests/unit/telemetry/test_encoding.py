"""What we encode is what the SDK would have encoded."""

from dataclasses import replace
from random import Random  # noqa: TID251  (seeded)

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from orchestrator.telemetry import names
from orchestrator.telemetry.encoding import DirectSpanExporter, _pair
from orchestrator.telemetry.exporters import OtlpSender, readable
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
    request = exporter._translate_data(spans)  # type: ignore[arg-type]  # its own form
    assert request == encode_spans(sdk_spans)
    assert {scope.schema_url for of in request.resource_spans for scope in of.scope_spans} == {names.SCHEMA}
    exporter.shutdown()


def test_a_batch_that_cannot_be_sent_is_a_sentence_not_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    sender = OtlpSender("grpc")
    spans = spans_of(events_of(compensated(2)))
    failure = sender.send([replace(spans[0], trace_id=-1)])
    sender.close()
    assert failure is not None
    assert failure.startswith("OverflowError")


def test_true_and_one_are_told_apart() -> None:
    number, truth = _pair("k", 1), _pair("k", True)
    assert (number.value.int_value, truth.value.bool_value) == (1, True)
    assert number != truth


def test_a_span_without_length_is_told_with_the_shortest_there_is() -> None:
    started, *_ = spans_of(events_of(compensated(2)))
    assert started.start_ns == started.end_ns, "an instant"
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(readable(started, Resource({})))
    (told,) = exporter._translate_data([started]).resource_spans[0].scope_spans[0].spans  # type: ignore[list-item]  # its own form
    exporter.shutdown()
    assert told.end_time_unix_nano == told.start_time_unix_nano + 1, "Jaeger 2 marks less as a mistake"
