"""What happened, as numbers for Prometheus: an observer over instruments of its own registry.

On the hot path an observation is a dictionary look-up and an addition, about a microsecond: the children of each metric
are bound once per combination of labels and kept. Combinations are bounded; what comes past the bound is counted
under `other`, so a definition with a name per day cannot make the scrape grow without end.
"""

import asyncio
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import StepId, item_of
from orchestrator.limits import ATTENTION_ROWS_MAX, LOOP_LAG_SAMPLE_S, METRIC_LABEL_SETS_MAX, SAGA_COUNT_S
from orchestrator.ports.cluster import Standing
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Journal, Record, SearchQuery
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.state import TERMINAL, SagaState, SagaStatus
from orchestrator.telemetry import instruments
from orchestrator.telemetry.instruments import Metric

OTHER = "other"
_LIVE = frozenset(SagaStatus) - TERMINAL - {SagaStatus.QUEUED}
_ENDED_AS = {
    ev.SagaCompleted: SagaStatus.COMPLETED,
    ev.SagaCompensated: SagaStatus.COMPENSATED,
    ev.SagaTerminated: SagaStatus.TERMINATED,
}
_LATER = (
    instruments.RUNNABLE,
    instruments.OLDEST_RUNNABLE,
    instruments.RECOVERED,
    instruments.ORPHANED,
    instruments.FORGOTTEN,
    instruments.DEFINITIONS,
    instruments.REVISIONS_LOADED,
    instruments.TARGET_IN_FLIGHT,
    instruments.TARGET_WAITING,
    instruments.JOURNAL_SIZE,
    instruments.JOURNAL_WAL,
    instruments.POOL_SIZE,
    instruments.POOL_IN_USE,
    instruments.POOL_WAITING,
    instruments.API_REQUESTS,
    instruments.API_DURATION,
    instruments.API_IN_FLIGHT,
    instruments.API_REFUSED,
    instruments.STALLS,
    instruments.STALLED,
    instruments.BUILD_INFO,
)
_SagaEvent = (
    ev.SagaStarted
    | ev.SagaCompleted
    | ev.SagaCompensated
    | ev.SagaTerminated
    | ev.CompensationBegan
    | ev.RollbackBegan
    | ev.SignalReceived
    | ev.AttentionRaised
    | ev.OperatorActed
)

Child = TypeVar("Child", Counter, Gauge, Histogram)


class Metrics:
    """An observer; also `outbox.SpanMeter`. Observations may come from any thread."""

    def __init__(self) -> None:
        """Every metric is there from the start, so that a rate over it has a first value."""
        self._registry = CollectorRegistry(auto_describe=False)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._sagas_started = counter(instruments.SAGAS_STARTED)
        self._sagas_ended = counter(instruments.SAGAS_ENDED)
        self._sagas_live = gauge(instruments.SAGAS_LIVE)
        self._saga_duration = histogram(instruments.SAGA_DURATION)
        self._compensations = counter(instruments.COMPENSATIONS)
        self._rollbacks = counter(instruments.ROLLBACKS)
        self._sleeping = gauge(instruments.SLEEPING).of()
        self._signals = counter(instruments.SIGNALS)
        self._items = counter(instruments.ITEMS)
        self._attentions = counter(instruments.ATTENTIONS)
        self._needing_attention = gauge(instruments.NEEDING_ATTENTION)
        self._operator_actions = counter(instruments.OPERATOR_ACTIONS)
        self._attempts = counter(instruments.ATTEMPTS)
        self._retries = counter(instruments.RETRIES)
        self._polls = counter(instruments.POLLS)
        self._probes = counter(instruments.PROBES)
        self._call_duration = histogram(instruments.CALL_DURATION)
        self._targets_paused = gauge(instruments.TARGETS_PAUSED)
        self._paused: Callable[[], Iterable[str]] = tuple
        self._commit_duration = histogram(instruments.COMMIT_DURATION).of()
        self._commit_streams = histogram(instruments.COMMIT_STREAMS).of()
        self._commit_records = counter(instruments.COMMIT_RECORDS).of()
        self._actors = gauge(instruments.ACTORS).of()
        self._actors_count = 0
        self._mailbox_depth = histogram(instruments.MAILBOX_DEPTH).of()
        self._quarantined = counter(instruments.QUARANTINED).of()
        self._forwarded = counter(instruments.FORWARDED)
        self._cluster_shards = gauge(instruments.CLUSTER_SHARDS).of()
        self._cluster_shards_in_store = gauge(instruments.CLUSTER_SHARDS_IN_STORE).of()
        self._cluster_members = gauge(instruments.CLUSTER_MEMBERS).of()
        self._cluster_trust = gauge(instruments.CLUSTER_TRUST).of()
        self._cluster_moves = counter(instruments.CLUSTER_MOVES)
        self._cluster_terms = counter(instruments.CLUSTER_TERMS).of()
        self._cluster_fenced = counter(instruments.CLUSTER_FENCED).of()
        self._cluster_renewals_missed = counter(instruments.CLUSTER_RENEWALS_MISSED).of()
        self._standing: Callable[[], Standing] = Standing
        self._stood = Standing()
        self._loop_lag = histogram(instruments.LOOP_LAG).of()
        self._spans_exported = counter(instruments.SPANS_EXPORTED).of()
        self._spans_dropped = counter(instruments.SPANS_DROPPED).of()
        self._spans_waiting = gauge(instruments.SPANS_WAITING).of()
        made = {"counter": counter, "gauge": gauge, "histogram": histogram}
        self._later = [made[metric.kind](metric) for metric in _LATER]

    def render(self) -> tuple[str, bytes]:
        """Return the content type and the page that Prometheus scrapes."""
        self._targets_paused.clear()
        for scope in self._paused():
            target, _, method = scope.partition("/")
            self._targets_paused.of(target, method).set(1)
        self._show_standing()
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def show_paused(self, paused: Callable[[], Iterable[str]]) -> None:
        """Ask this at every scrape for what is paused: `target`, or `target/package.Service/Method`."""
        self._paused = paused

    def show_standing(self, standing: Callable[[], Standing]) -> None:
        """Ask this at every scrape how the process stands among those over the same store."""
        self._standing = standing

    def _show_standing(self) -> None:
        now, before = self._standing(), self._stood
        self._stood = now
        self._cluster_shards.set(now.shards)
        self._cluster_shards_in_store.set(now.shards_in_store)
        self._cluster_members.set(now.members)
        self._cluster_trust.set(now.trust_s)
        for how, moved in (
            ("taken", now.taken - before.taken),
            ("given", now.given - before.given),
            ("lost", now.lost - before.lost),
        ):
            self._cluster_moves.of(how).inc(moved)
        self._cluster_terms.inc(now.terms - before.terms)
        self._cluster_fenced.inc(now.fenced - before.fenced)
        self._cluster_renewals_missed.inc(now.renewals_missed - before.renewals_missed)

    async def sample(self, journal: Journal) -> None:
        """Measure what no observation tells, the loop's lateness and the live sagas, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample_loop())
            tasks.create_task(self._count_sagas(journal))

    # --- ports.observer.Observer -----------------------------------------------------------------------------------

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        for at, record in enumerate(records):
            event = record.event
            match event:
                case ev.AttemptSettled():
                    target = _target(state, event)
                    code = event.report.code or event.report.phase.value
                    self._attempts.of(target, event.operation.value, event.outcome.value, code).inc()
                    if event.operation is Operation.PROBE:
                        self._probes.of(target, _answer(event.step, records[at + 1 :])).inc()
                case ev.RetryScheduled():
                    if event.reason == ev.POLL:
                        self._polls.of(_target(state, event)).inc()
                    else:
                        self._retries.of(_target(state, event), "true" if event.parked else "false").inc()
                case ev.StepSettled():
                    good = event.outcome is Outcome.APPLIED and event.reason in ev.GOOD_REASONS
                    self._item(state, event.step, "applied" if good else "failed")
                case ev.StepUndone():
                    self._item(state, event.step, "undone")
                case (
                    ev.AttemptOpened()
                    | ev.StepBegan()
                    | ev.ElseBegan()
                    | ev.StepsReset()
                    | ev.StepSkipped()
                    | ev.StepStuck()
                    | ev.StepReopened()
                    | ev.StepLeft()
                    | ev.AttentionCleared()
                    | ev.CancelRequested()
                ):
                    continue
                case _:
                    self._saga(state, event)

    def _saga(self, state: SagaState, event: _SagaEvent) -> None:
        definition = state.plan.definition
        match event:
            case ev.SagaStarted():
                self._sagas_started.of(definition).inc()
            case ev.SagaCompleted() | ev.SagaCompensated() | ev.SagaTerminated():
                status = _ENDED_AS[type(event)].value
                self._sagas_ended.of(definition, status).inc()
                self._saga_duration.of(definition, status).observe(event.at - event.started_at)
            case ev.CompensationBegan():
                self._compensations.of(definition, event.cause.kind.value).inc()
            case ev.RollbackBegan():
                self._rollbacks.of(definition, event.step).inc()
            case ev.SignalReceived():
                self._signals.of(definition, event.signal).inc()
            case ev.AttentionRaised():
                self._attentions.of(definition, event.reason.value).inc()
            case ev.OperatorActed():
                self._operator_actions.of(definition, event.verb.value).inc()
            case _:
                assert_never(event)

    def _item(self, state: SagaState, path: StepId, result: str) -> None:
        step, index = item_of(path)
        if index is not None:
            self._items.of(state.plan.definition, step, result).inc()

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._commit_duration.observe(seconds)
        self._commit_streams.observe(streams)
        self._commit_records.inc(records)

    def called(self, call: CallRequest, report: ev.Report) -> None:
        if report.sent_at is not None and report.ended_at is not None:
            self._call_duration.of(call.target, call.method).observe(max(0.0, report.ended_at - report.sent_at))

    def activated(self, count: int) -> None:
        self._actors_count = count
        self._actors.set(count)

    def mailbox(self, depth: int) -> None:
        self._mailbox_depth.observe(depth)

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._quarantined.inc()

    def forwarded(self, way: str, outcome: str) -> None:
        self._forwarded.of(way, outcome).inc()

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
                asking = counts.get(SagaStatus.NEEDS_ATTENTION.value, 0)
                reasons = await _reasons(journal, asking) if asking else Counts()
            except JournalUnavailable:
                if journal.failed is not None:
                    return  # the process is about to stop, and says so elsewhere
                await asyncio.sleep(SAGA_COUNT_S)
                continue
            for status in _LIVE:
                self._sagas_live.of(status.value).set(counts.get(status.value, 0))
            self._sleeping.set(max(0, sum(counts.values()) - self._actors_count))
            self._needing_attention.clear()
            for reason in (*ev.AttentionReason, OTHER):
                self._needing_attention.of(reason).set(reasons[reason])
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
    step = state.plan.steps.get(item_of(event.step)[0])
    return OTHER if step is None else step.call_of(event.operation).target


def _answer(path: StepId, following: Iterable[Record]) -> str:
    """Return what a probe found out, by what followed from it; all of one decision is recorded at once."""
    for record in following:
        event = record.event
        if getattr(event, "step", None) != path:
            continue
        match event:
            case ev.StepSettled(reason=ev.SettleReason.PROBED, outcome=outcome):
                return outcome.value
            case ev.RetryScheduled(operation=operation) | ev.AttemptOpened(operation=operation):
                return "AGAIN" if operation is Operation.PROBE else "RETRIED"
            case _:
                break
    return Outcome.UNKNOWN.value


async def _reasons(journal: Journal, asking: int) -> "Counts[str]":
    """Count the sagas that ask for a person by reason, one of several reasons each; past a bound as `other`."""
    query = SearchQuery(statuses=frozenset({SagaStatus.NEEDS_ATTENTION}), limit=ATTENTION_ROWS_MAX)
    rows = await journal.search(query)
    found = Counts[str]()
    for row in rows:
        found.update(reason for reason in row.attention.split(",") if reason)
    found[OTHER] += max(0, asking - len(rows))
    return found
