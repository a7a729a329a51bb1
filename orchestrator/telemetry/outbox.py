"""The thread between the journal's spans and the collector: bounded, patient, and never in anybody's way.

Entries are taken in the journal's order, exported in batches by one daemon thread, and confirmed only when the
collector has taken them: `confirmed` is the position of a shard up to which nothing is missing. The queue is bounded
by its writer, who asks for `room()` before reading on: what does not fit stays in the journal, so nothing is lost to a
full queue. A batch that the collector will not take is tried again; after `TRACE_BATCH_S_MAX` it is dropped and
counted.

Not OpenTelemetry's `BatchSpanProcessor`: that one drops silently when full, gives up a batch at its first failure,
cannot say what has been exported, and waits up to 30 s at shutdown.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.frozen import frozen_tuple
from orchestrator.limits import TRACE_BATCH_S_MAX, TRACE_COMPLAINT_S, TRACE_RETRY_S
from orchestrator.ports.clock import Clock
from orchestrator.telemetry.spandata import SpanData

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How spans are gathered, in the words of the standard `OTEL_BSP_*` variables."""

    queue_spans_max: int = 2_048
    batch_spans_max: int = 512
    delay_s: float = 5.0
    """A batch that is not full leaves after this time."""
    retry_s: float = TRACE_RETRY_S
    give_up_s: float = TRACE_BATCH_S_MAX


@frozen_tuple
class Entry:
    """The spans that the record at one position of a shard closed; without spans it only moves the position."""

    position: int
    spans: tuple[SpanData, ...] = ()
    shard: int = 0


class Sender(Protocol):
    """Where a batch goes. Both methods are called from the outbox's thread and may block it."""

    def send(self, spans: Sequence[SpanData]) -> str | None:
        """Return None where the collector took the batch, else why it did not."""

    def close(self) -> None:
        """Let go of the connection."""


class SpanMeter(Protocol):
    """Who counts spans; called from any thread."""

    def spans_exported(self, count: int) -> None:
        """The collector took so many spans."""

    def spans_dropped(self, count: int) -> None:
        """So many spans were given up."""

    def spans_waiting(self, count: int) -> None:
        """So many spans are made and not yet taken."""


class Outbox:
    """A queue with one writer (the event loop) and one reader (its own thread)."""

    def __init__(
        self,
        sender: Sender,
        settings: BatchSettings,
        *,
        clock: Clock,
        meter: SpanMeter,
        on_progress: Callable[[], None],
    ) -> None:
        """`on_progress` is called from the thread whenever a batch has left and when the thread ends; never raises."""
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._on_progress = on_progress
        self._changed = threading.Condition()
        self._entries: deque[Entry] = deque()
        self._waiting = 0
        self._stopping = False
        self._complained_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="trace-export", daemon=True)
        self._confirmed: dict[int, int] = {}
        self.ended = False
        """The thread has nothing left to do, or gave up at shutdown."""

    def start(self) -> None:
        """Begin exporting."""
        self._thread.start()

    def confirmed(self, shard: int = 0) -> int:
        """Return the position up to which all that was offered of a shard is exported, or given up and counted."""
        return self._confirmed.get(shard, 0)

    def room(self) -> int:
        """Return how many more spans may be offered now."""
        return max(0, self._settings.queue_spans_max - self._waiting)

    def offer(self, entries: Sequence[Entry]) -> None:
        """Hand over entries, those of a shard in order of position; never blocks."""
        added = sum(len(entry.spans) for entry in entries)
        with self._changed:
            self._entries.extend(entries)
            self._waiting += added
            if self._is_due():
                self._changed.notify()
        self._meter.spans_waiting(self._waiting)

    def stop(self) -> None:
        """Let the thread send what it has, once, and end; does not wait for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _is_due(self) -> bool:
        """Whether there is no reason to gather any longer: a full batch, positions to confirm, or the end."""
        return (
            self._stopping
            or self._waiting >= self._settings.batch_spans_max
            or bool(self._entries and not self._waiting)
        )

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            ends, spans = batch
            if spans and not self._deliver(spans):
                break
            with self._changed:
                self._waiting -= len(spans)
                for shard, position in ends.items():
                    # of a shard that was lost and has come back: what is behind was exported by whoever had it
                    self._confirmed[shard] = max(position, self.confirmed(shard))
            self._meter.spans_waiting(self._waiting)
            self._on_progress()
        self.ended = True
        self._on_progress()
        self._sender.close()

    def _next_batch(self) -> tuple[dict[int, int], list[SpanData]] | None:
        with self._changed:
            while not self._entries:
                if self._stopping:
                    return None
                self._changed.wait_for(lambda: self._stopping or bool(self._entries), timeout=self._settings.delay_s)
            self._changed.wait_for(self._is_due, timeout=self._settings.delay_s)
            ends: dict[int, int] = {}
            spans: list[SpanData] = []
            while self._entries:
                if spans and len(spans) + len(self._entries[0].spans) > self._settings.batch_spans_max:
                    break
                entry = self._entries.popleft()
                ends[entry.shard] = entry.position
                spans.extend(entry.spans)
            return ends, spans

    def _deliver(self, spans: Sequence[SpanData]) -> bool:
        """Return whether the batch is done with: taken, or given up. False: the end came first, it is still owed."""
        since = self._clock.monotonic()
        while (failure := self._sender.send(spans)) is not None:
            now = self._clock.monotonic()
            if self._stopping:
                return False
            if now - since >= self._settings.give_up_s:
                self._meter.spans_dropped(len(spans))
                _log.error(
                    "gave up %d spans: the trace collector did not take them for %.0f s (%s); sagas are not affected; "
                    "the spans that follow them are still tried",
                    len(spans),
                    now - since,
                    failure,
                )
                return True
            self._complain(now, failure)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, timeout=self._settings.retry_s)
        self._meter.spans_exported(len(spans))
        if self._complained_at is not None:
            self._complained_at = None
            _log.info("the trace collector takes spans again; what waited in the journal follows")
        return True

    def _complain(self, now: float, failure: str) -> None:
        if self._complained_at is None or now - self._complained_at >= TRACE_COMPLAINT_S:
            self._complained_at = now
            _log.warning(
                "the trace collector does not take spans (%s); sagas are not affected, their spans wait in the journal "
                "and are tried again; check OTEL_EXPORTER_OTLP_ENDPOINT",
                failure,
            )
