"""What happened, as numbers for Prometheus: an observer over instruments of its own registry.

On the hot path an observation is a dictionary look-up and an addition, about a microsecond: the children of each metric
are bound once per combination of labels and kept. Combinations are bounded; what comes past the bound is counted
under `other`, so a definition with a name per day cannot make the scrape grow without end.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import LOOP_LAG_SAMPLE_S, METRIC_LABEL_SETS_MAX, SAGA_COUNT_S
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Journal, Record, SearchQuery
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import TERMINAL, SagaState, SagaStatus
from orchestrator.telemetry import names
from orchestrator.telemetry.names import Metric

OTHER = "other"
_LIVE = frozenset(SagaStatus) - TERMINAL - {SagaStatus.QUEUED}

Child = TypeVar("Child", Counter, Gauge, Histogram)


class Metrics:
    """An observer; also `outbox.SpanMeter`. Observations may come from any thread."""

    def __init__(self) -> None:
        """Every metric is there from the start, so that a rate over it has a first value."""
        self._registry = CollectorRegistry(auto_describe=False)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._sagas_started = counter(names.SAGAS_STARTED)
        self._sagas_ended = counter(names.SAGAS_ENDED)
        self._sagas_live = gauge(names.SAGAS_LIVE)
        self._saga_duration = histogram(names.SAGA_DURATION)
        self._compensations = counter(names.COMPENSATIONS)
        self._attentions = counter(names.ATTENTIONS)
        self._attempts = counter(names.ATTEMPTS)
        self._retries = counter(names.RETRIES)
        self._call_duration = histogram(names.CALL_DURATION)
        self._targets_paused = gauge(names.TARGETS_PAUSED)
        self._paused: Callable[[], Iterable[str]] = tuple
        self._commit_duration = histogram(names.COMMIT_DURATION).of()
        self._commit_streams = histogram(names.COMMIT_STREAMS).of()
        self._commit_records = counter(names.COMMIT_RECORDS).of()
        self._actors = gauge(names.ACTORS).of()
        self._mailbox_depth = histogram(names.MAILBOX_DEPTH).of()
        self._quarantined = counter(names.QUARANTINED).of()
        self._loop_lag = histogram(names.LOOP_LAG).of()
        self._spans_exported = counter(names.SPANS_EXPORTED).of()
        self._spans_dropped = counter(names.SPANS_DROPPED).of()
        self._spans_waiting = gauge(names.SPANS_WAITING).of()

    def render(self) -> tuple[str, bytes]:
        """Return the content type and the page that Prometheus scrapes."""
        self._targets_paused.clear()
        for scope in self._paused():
            target, _, method = scope.partition("/")
            self._targets_paused.of(target, method).set(1)
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def show_paused(self, paused: Callable[[], Iterable[str]]) -> None:
        """Ask this at every scrape for what is paused: `target`, or `target/package.Service/Method`."""
        self._paused = paused

    async def sample(self, journal: Journal) -> None:
        """Measure what no observation tells, the loop's lateness and the live sagas, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample_loop())
            tasks.create_task(self._count_sagas(journal))

    # --- ports.observer.Observer -----------------------------------------------------------------------------------

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        plan = state.plan
        for record in records:
            event = record.event
            match event:
                case ev.AttemptSettled():
                    target = _target(state, event)
                    code = event.report.code or event.report.phase.value
                    self._attempts.of(target, event.operation.value, event.outcome.value, code).inc()
                case ev.SagaStarted():
                    self._sagas_started.of(plan.definition).inc()
                case ev.SagaCompleted() | ev.SagaCompensated():
                    status = state.status.value
                    self._sagas_ended.of(plan.definition, status).inc()
                    self._saga_duration.of(plan.definition, status).observe(event.at - event.started_at)
                case ev.RetryScheduled():
                    self._retries.of(_target(state, event), "true" if event.parked else "false").inc()
                case ev.CompensationBegan():
                    self._compensations.of(plan.definition, event.cause.kind.value).inc()
                case ev.AttentionRaised():
                    self._attentions.of(plan.definition, event.reason.value).inc()
                case (
                    ev.AttemptOpened()
                    | ev.StepSettled()
                    | ev.StepSkipped()
                    | ev.StepUndone()
                    | ev.StepStuck()
                    | ev.CancelRequested()
                ):
                    continue
                case _:
                    assert_never(event)

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._commit_duration.observe(seconds)
        self._commit_streams.observe(streams)
        self._commit_records.inc(records)

    def called(self, call: CallRequest, report: ev.Report) -> None:
        if report.sent_at is not None and report.ended_at is not None:
            self._call_duration.of(call.target, call.method).observe(max(0.0, report.ended_at - report.sent_at))

    def activated(self, count: int) -> None:
        self._actors.set(count)

    def mailbox(self, depth: int) -> None:
        self._mailbox_depth.observe(depth)

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._quarantined.inc()

    # --- outbox.SpanMeter --------------------------------------------------------------------------------------------

    def spans_exported(self, count: int) -> None:
        self._spans_exported.inc(count)

    def spans_dropped(self, count: int) -> None:
        self._spans_dropped.inc(count)

    def spans_waiting(self, count: int) -> None:
        self._spans_waiting.set(count)

    # --- sampling ----------------------------------------------------------------------------------------------------

    async def _sample_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + LOOP_LAG_SAMPLE_S
            await asyncio.sleep(LOOP_LAG_SAMPLE_S)
            self._loop_lag.observe(max(0.0, loop.time() - due_at))

    async def _count_sagas(self, journal: Journal) -> None:
        while True:
            try:
                counts = await journal.count(SearchQuery(statuses=_LIVE), group_by="status")
            except JournalUnavailable:
                return  # the process is about to stop, and says so elsewhere
            for status in _LIVE:
                self._sagas_live.of(status.value).set(counts.get(status.value, 0))
            await asyncio.sleep(SAGA_COUNT_S)

    # --- instruments -------------------------------------------------------------------------------------------------

    def _counter(self, metric: Metric) -> "_Bound[Counter]":
        return _Bound(metric, Counter(metric.name, metric.meaning, metric.labels, registry=self._registry))

    def _gauge(self, metric: Metric) -> "_Bound[Gauge]":
        return _Bound(metric, Gauge(metric.name, metric.meaning, metric.labels, registry=self._registry))

    def _histogram(self, metric: Metric) -> "_Bound[Histogram]":
        made = Histogram(metric.name, metric.meaning, metric.labels, registry=self._registry, buckets=metric.buckets)
        return _Bound(metric, made)


class _Bound(Generic[Child]):
    """A metric and its children by label values."""

    __slots__ = ("_children", "_metric", "_parent")

    def __init__(self, metric: Metric, parent: Child) -> None:
        self._metric = metric
        self._parent: Child = parent
        self._children: dict[tuple[str, ...], Child] = {} if metric.labels else {(): parent}

    def of(self, *values: str) -> Child:
        child = self._children.get(values)
        return child if child is not None else self._bind(values)

    def clear(self) -> None:
        """Forget every combination of labels, for a metric that is written anew at each scrape."""
        self._children.clear()
        self._parent.clear()

    def _bind(self, values: tuple[str, ...]) -> Child:
        if len(self._children) >= METRIC_LABEL_SETS_MAX:
            return self._parent.labels(*[OTHER] * len(values))
        child = self._children[values] = self._parent.labels(*values)
        return child


def _target(state: SagaState, event: ev.AttemptSettled | ev.RetryScheduled) -> str:
    step = state.plan.steps.get(event.step)
    if step is None:
        return OTHER
    if event.operation is Operation.COMPENSATE and step.compensation is not None:
        return step.compensation.call.target
    return step.call.target
