"""The outbox is bounded, keeps order, confirms only what was taken, and gives up only when it says so."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.frozen import changed
from orchestrator.telemetry.exporters import OtlpSender
from orchestrator.telemetry.outbox import BatchSettings, Entry, Outbox, Sender
from orchestrator.telemetry.spandata import Said, SpanData
from tests.unit.telemetry.doubles import FakeClock, FakeMeter, FakeSender


def span(number: int) -> SpanData:
    said = Said(name=f"s{number}")
    return SpanData(trace_id=1, span_id=number, parent_id=0, saga_id="x", said=said, start_ns=1, end_ns=2)


class Bench:
    """An outbox and its surroundings; `until` waits for a fact that the outbox's own progress brings about."""

    def __init__(self, settings: BatchSettings, real: Sender | None = None) -> None:
        self.sender, self.clock, self.meter = FakeSender(), FakeClock(), FakeMeter()
        self._moved = threading.Condition()
        self.sender.on_send = self.moved
        self.outbox = Outbox(real or self.sender, settings, clock=self.clock, meter=self.meter, on_progress=self.moved)
        self.outbox.start()

    def moved(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def until(self, fact: Callable[[], bool]) -> None:
        with self._moved:
            assert self._moved.wait_for(fact, timeout=10)


@contextmanager
def bench(real: Sender | None = None, **settings: float) -> Iterator[Bench]:
    given = {"batch_spans_max": 4, "delay_s": 0.01, "retry_s": 0.001, **settings}
    made = Bench(BatchSettings(**given), real)  # type: ignore[arg-type]  # int and float alike
    yield made
    made.outbox.stop()
    made.sender.failure = None
    made.sender.gate.set()
    made.until(lambda: made.outbox.ended)


def test_spans_leave_in_order_and_in_batches() -> None:
    with bench() as made:
        made.outbox.offer([Entry(number, (span(number),)) for number in range(1, 11)])
        made.until(lambda: made.outbox.confirmed() == 10)
        assert [found.span_id for found in made.sender.spans] == list(range(1, 11))
        assert max(len(batch) for batch in made.sender.batches) == 4
        assert made.meter.exported == 10
        assert made.meter.waiting == 0


def test_a_batch_that_is_not_full_leaves_after_its_delay() -> None:
    with bench(delay_s=0.005) as made:
        made.outbox.offer([Entry(1, (span(1),))])
        made.until(lambda: made.outbox.confirmed() == 1)


def test_records_without_spans_move_the_position_alone() -> None:
    with bench(delay_s=60.0) as made:
        made.outbox.offer([Entry(7)])
        made.until(lambda: made.outbox.confirmed() == 7)
        assert made.sender.tries == 0


def test_nothing_is_confirmed_before_it_is_taken() -> None:
    with bench() as made:
        made.sender.gate.clear()
        made.outbox.offer([Entry(1, (span(1),))])
        made.until(lambda: made.sender.tries == 1)
        assert made.outbox.confirmed() == 0
        made.sender.gate.set()
        made.until(lambda: made.outbox.confirmed() == 1)


def test_what_is_in_flight_takes_room() -> None:
    with bench(queue_spans_max=6) as made:
        made.sender.gate.clear()
        made.outbox.offer([Entry(number, (span(number),)) for number in range(1, 6)])
        made.until(lambda: made.sender.tries == 1)
        assert made.outbox.room() == 1
        made.sender.gate.set()
        made.until(lambda: made.outbox.confirmed() == 5)
        assert made.outbox.room() == 6


def test_a_refused_batch_is_tried_again_and_arrives_once() -> None:
    with bench() as made:
        made.sender.failure = "away"
        made.outbox.offer([Entry(1, (span(1),)), Entry(2, (span(2),))])
        made.until(lambda: made.sender.tries >= 3)
        made.sender.failure = None
        made.until(lambda: made.outbox.confirmed() == 2)
        assert [found.span_id for found in made.sender.spans] == [1, 2]
        assert made.meter.dropped == 0


def test_a_batch_refused_for_too_long_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with bench(give_up_s=600.0) as made:
        made.sender.failure = "away"
        made.outbox.offer([Entry(1, (span(1),)), Entry(2, (span(2),))])
        made.until(lambda: made.sender.tries >= 2)
        made.clock.ticks = 601.0
        made.until(lambda: made.outbox.confirmed() == 2)
        assert (made.meter.dropped, made.meter.exported) == (2, 0)
        assert "gave up 2 spans" in caplog.text


def test_a_collector_that_stays_away_is_complained_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with bench() as made:
        made.sender.failure = "away"
        made.outbox.offer([Entry(1, (span(1),))])
        made.until(lambda: made.sender.tries >= 10)
        assert len(caplog.records) == 1
        made.clock.ticks = 61.0
        seen = made.sender.tries
        made.until(lambda: made.sender.tries >= seen + 3)
        assert len(caplog.records) == 2
        assert "sagas are not affected" in caplog.text


def test_stopping_sends_what_is_there_and_closes() -> None:
    with bench(delay_s=60.0) as made:
        made.outbox.offer([Entry(1, (span(1),))])
        made.outbox.stop()
        made.until(lambda: made.outbox.ended)
        assert made.outbox.confirmed() == 1
    made.outbox._thread.join(10)
    assert made.sender.is_closed


def test_what_a_stopped_outbox_could_not_send_stays_owed() -> None:
    with bench() as made:
        made.sender.failure = "away"
        made.outbox.offer([Entry(1, (span(1),)), Entry(2, (span(2),))])
        made.until(lambda: made.sender.tries >= 1)
        made.outbox.stop()
        made.until(lambda: made.outbox.ended)
        assert made.outbox.confirmed() == 0
        assert made.meter.dropped == 0


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("wrong", [{"start_ns": -5}, {"start_ns": 1 << 64, "end_ns": 1 << 65}, {"span_id": 1 << 64}])
def test_a_span_that_cannot_be_packed_is_given_up_and_the_thread_goes_on(
    protocol: str, wrong: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with bench(OtlpSender(protocol), give_up_s=0.0) as made:
        made.outbox.offer([Entry(1, (changed(span(1), **wrong),))])
        made.until(lambda: made.outbox.confirmed() == 1)
        made.outbox.offer([Entry(2, (changed(span(2), **wrong),))])
        made.until(lambda: made.outbox.confirmed() == 2)
        assert (made.meter.dropped, made.meter.exported) == (2, 0)
        assert "gave up 1 spans" in caplog.text
