"""What we encode is what the SDK would have encoded."""

import gc
import sys
from collections.abc import Sequence
from enum import Enum
from random import Random  # noqa: TID251  (seeded)
from types import FunctionType

import pytest
from msgspec import Struct
from msgspec.structs import astuple
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.resources import Resource

from orchestrator.frozen import changed
from orchestrator.limits import SPAN_LENGTHS_KEPT_MAX, SPAN_MESSAGE_CHARS_MAX, SPAN_OWN_KEPT_MAX, SPANS_SAID_KEPT_MAX
from orchestrator.ports.journal import Append
from orchestrator.saga.events import AttemptSettled, CompensationBegan, Event, StepSettled
from orchestrator.telemetry import encoding, names, spans
from orchestrator.telemetry.encoding import DirectSpanExporter, _pair
from orchestrator.telemetry.exporters import OtlpSender, readable
from orchestrator.telemetry.spandata import SpanData
from tests.unit.telemetry.histories import compensated, wandering
from tests.unit.telemetry.test_spans import events_of, spans_of


def message(exporter: DirectSpanExporter, spans: Sequence[SpanData]) -> ExportTraceServiceRequest:
    """What the collector makes of a request."""
    request: object = exporter._translate_data(spans)  # type: ignore[arg-type]  # its own form
    assert isinstance(request, bytes), "the stub takes bytes as they are"
    return ExportTraceServiceRequest.FromString(request)


@pytest.mark.parametrize("seed", range(25))
def test_a_request_is_the_same_as_the_sdk_makes(seed: int) -> None:
    resource = Resource({"service.name": "saga-orchestrator", "numbers": (1, 2)})
    spans = spans_of(record.event for record in wandering(Random(seed)).records)
    spans += spans_of(events_of(compensated(2)))
    sdk_spans = [readable(span, resource) for span in spans]
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(sdk_spans[0])
    request = message(exporter, spans)
    assert request == encode_spans(sdk_spans)
    assert {scope.schema_url for of in request.resource_spans for scope in of.scope_spans} == {names.SCHEMA}
    exporter.shutdown()


def test_a_batch_that_cannot_be_sent_is_a_sentence_not_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    sender = OtlpSender("grpc")
    spans = spans_of(events_of(compensated(2)))
    failure = sender.send([changed(spans[0], trace_id=-1)])
    sender.close()
    assert failure is not None
    assert failure.startswith("OverflowError")


def test_an_exporter_that_made_its_stub_otherwise_gets_the_message() -> None:
    spans = spans_of(events_of(compensated(2)))
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(readable(spans[0], Resource({})))
    expected = message(exporter, spans)
    exporter._client = TraceServiceStub(exporter._channel)  # type: ignore[assignment,no-untyped-call]  # generated
    assert exporter._translate_data(spans) == expected  # type: ignore[arg-type]  # its own form
    exporter.shutdown()


def test_true_and_one_are_told_apart() -> None:
    number, truth = _pair("k", 1), _pair("k", True)
    assert (number.value.int_value, truth.value.bool_value) == (1, True)
    assert number != truth


def test_what_sagas_say_alike_is_put_together_and_encoded_once() -> None:
    one, other = spans_of(events_of(compensated(2))), spans_of(events_of(compensated(3)))
    assert [span.name for span in one] == [span.name for span in other]
    assert all(mine.said is theirs.said for mine, theirs in zip(one, other, strict=True))
    for span in one:
        encoding.encoded(span)
    before = encoding._said.cache_info()
    for span in other:
        encoding.encoded(span)
    assert encoding._said.cache_info().misses == before.misses, "as the first saga's were"


def test_what_is_kept_of_texts_is_bounded() -> None:
    kept = (spans._said, spans._settled_as, spans._of_operation, spans._of_attempt, encoding._said)
    assert {each.cache_info().maxsize for each in kept} == {SPANS_SAID_KEPT_MAX}
    assert encoding._attribute.cache_info().maxsize == SPAN_OWN_KEPT_MAX
    assert encoding._before.cache_info().maxsize == SPAN_LENGTHS_KEPT_MAX


def test_of_what_a_service_says_no_more_is_kept_than_a_span_says() -> None:
    kept = (spans._said, spans._settled_as, spans._of_operation, spans._of_attempt, encoding._said)
    for each in kept:
        each.cache_clear()
    for number in range(20):
        wide = f"{number}" + "\N{PILE OF POO}" * 1_000
        for span in spans_of(saying(wide, compensated(2))):
            encoding.encoded(span)
    for each in kept:
        texts, size = held_by(each)
        assert max(map(len, texts), default=0) <= SPAN_MESSAGE_CHARS_MAX
        assert size <= 8_192 * max(1, each.cache_info().currsize)


def saying(message: str, saga: Sequence[Append]) -> list[Event]:
    """The same saga, in which whoever failed says this."""
    told: list[Event] = []
    for event in events_of(saga):
        match event:
            case AttemptSettled(report=report):
                loud = changed(report, message=message, error_reason=message) if report.message else report
                told.append(changed(event, report=loud))
            case StepSettled():
                told.append(changed(event, message=message) if event.message else event)
            case CompensationBegan():
                told.append(changed(event, cause=changed(event.cause, message=message)))
            case _:
                told.append(event)
    return told


def held_by(cache: object) -> tuple[list[str], int]:
    """The texts that a cache holds, and the bytes of all that it does."""
    seen: dict[int, object] = {}
    left = [each for each in gc.get_referents(cache) if each is not vars(cache)]
    while left:
        each = left.pop()
        if id(each) not in seen and not isinstance(each, type | FunctionType | Enum):
            seen[id(each)] = each
            left += astuple(each) if isinstance(each, Struct) else gc.get_referents(each)
    return [each for each in seen.values() if isinstance(each, str)], sum(map(sys.getsizeof, seen.values()))


@pytest.mark.parametrize("size", [1, 100, 127, 128, 300, 16_383, 16_384, 70_000])
def test_a_span_of_any_size_finds_its_place_in_a_request(size: int) -> None:
    resource = Resource({})
    first, *_ = spans_of(events_of(compensated(2)))
    long = changed(first, saga_id="x" * size)
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(readable(first, resource))
    request = message(exporter, [first, long, first])
    exporter.shutdown()
    assert request == encode_spans([readable(span, resource) for span in (first, long, first)])


def test_a_span_without_length_is_told_with_the_shortest_there_is() -> None:
    started, *_ = spans_of(events_of(compensated(2)))
    assert started.start_ns == started.end_ns, "an instant"
    exporter = DirectSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    exporter.address_from(readable(started, Resource({})))
    (told,) = message(exporter, [started]).resource_spans[0].scope_spans[0].spans
    exporter.shutdown()
    assert told.end_time_unix_nano == told.start_time_unix_nano + 1, "Jaeger 2 marks less as a mistake"
