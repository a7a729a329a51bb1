"""What happened, as numbers for Prometheus: an observer over series of its own.

On the hot path an observation is a dictionary look-up and an addition, well under a microsecond. Combinations of labels
are bounded; what comes past the bound is counted under `other`, so a definition with a name per day cannot make the
scrape grow without end.

What belongs to one saga has its trace beside it as an exemplar, where the saga is sampled: a spike on a graph leads to
a trace of the spike.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from orchestrator import ids
from orchestrator.ids import StepId, item_of
from orchestrator.ports.diagnostics import Figure
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.ports.observer import Backlog, TraceOf
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.state import SagaState
from orchestrator.telemetry import exposition, instruments
from orchestrator.telemetry.asked import ASKED, Source
from orchestrator.telemetry.endings import ENDED_AS, Ending
from orchestrator.telemetry.exposition import AnyFamily
from orchestrator.telemetry.instruments import Metric
from orchestrator.telemetry.sampling import Countable, Sampler
from orchestrator.telemetry.series import OTHER, Counter, Exemplar, Family, Gauge, Histogram

# What alerts compare is there, at 0, before it first happens: of a series that begins with its first count, `increase`
# and `rate` do not see that count.
_EXPECTED_CODES = ("OK", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DATA_LOSS")
_EXPECTED_CAUSES = (ev.CauseKind.STEP_FAILED, ev.CauseKind.DEADLINE_EXCEEDED, ev.CauseKind.EXPRESSION_FAILED)
_Uncounted = (
    ev.AttemptOpened
    | ev.StepBegan
    | ev.ElseBegan
    | ev.StepsReset
    | ev.StepSkipped
    | ev.StepStuck
    | ev.StepReopened
    | ev.StepLeft
    | ev.AttentionCleared
    | ev.CancelRequested
)
_PROBE: Final = Operation.PROBE  # named once: looking up a member of an enumeration costs as much as ten comparisons
_Count = Callable[[SagaState, Any, Sequence[Record]], None]
"""Counts one record's event, given the state after all records of its append."""


class Metrics:
    """An observer; also `outbox.SpanMeter` and `ports.diagnostics.Counting`.

    What is said of spans may come from one other thread; all else belongs to the event loop's.
    """

    def __init__(self) -> None:
        """Every metric is there from the start, and those without labels with a first value."""
        self._families: dict[Metric, AnyFamily] = {}
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._sagas_started = counter(instruments.SAGAS_STARTED)
        self._sagas_ended = counter(instruments.SAGAS_ENDED)
        self._saga_duration = histogram(instruments.SAGA_DURATION)
        self._compensations = counter(instruments.COMPENSATIONS)
        self._rollbacks = counter(instruments.ROLLBACKS)
        self._signals = counter(instruments.SIGNALS)
        self._items = counter(instruments.ITEMS)
        self._attentions = counter(instruments.ATTENTIONS)
        self._operator_actions = counter(instruments.OPERATOR_ACTIONS)
        self._forgotten = counter(instruments.FORGOTTEN)
        self._attempts = counter(instruments.ATTEMPTS)
        self._retries = counter(instruments.RETRIES)
        self._polls = counter(instruments.POLLS)
        self._probes = counter(instruments.PROBES)
        self._call_duration = histogram(instruments.CALL_DURATION)
        self._commit_duration = histogram(instruments.COMMIT_DURATION).of()
        self._commit_streams = histogram(instruments.COMMIT_STREAMS).of()
        self._commit_records = counter(instruments.COMMIT_RECORDS).of()
        self._actors = gauge(instruments.ACTORS).of()
        self._retention_behind = gauge(instruments.RETENTION_BEHIND).of()
        self._mailbox_depth = histogram(instruments.MAILBOX_DEPTH).of()
        self._quarantined = counter(instruments.QUARANTINED).of()
        self._api_requests = counter(instruments.API_REQUESTS)
        self._api_duration = histogram(instruments.API_DURATION)
        self._api_refused = counter(instruments.API_REFUSED)
        self._forwarded = counter(instruments.FORWARDED)
        self._loop_lag = histogram(instruments.LOOP_LAG).of()
        self._stalls = counter(instruments.STALLS).of()
        self._stalled = counter(instruments.STALLED).of()
        self._spans_exported = counter(instruments.SPANS_EXPORTED).of()
        self._spans_dropped = counter(instruments.SPANS_DROPPED).of()
        self._spans_waiting = gauge(instruments.SPANS_WAITING).of()
        self._sampler = Sampler(gauge, self._loop_lag, lambda: self._actors.value, self.expect_definition)
        self._count = self._counts()
        self._asked = {metric: gauge(metric) for metric in ASKED}
        self._sources: list[Source] = []
        self._others = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._others)
        GCCollector(registry=self._others)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Return the content type and the page that Prometheus scrapes, in the format that its `Accept` asks for."""
        self._ask()
        content_type = exposition.content_type_for(accept)
        return content_type, exposition.page(self.families(), self._others, content_type)

    def figures(self) -> Sequence[Figure]:
        """Return every number of that page."""
        self._ask()
        return [Figure(name=name, labels=labels, value=value) for name, labels, value in self._samples()]

    def families(self) -> Iterable[AnyFamily]:
        """Yield every metric with its numbers, in the order of the page."""
        return (self._families[metric] for metric in instruments.METRICS)

    def show(self, *sources: Source) -> None:
        """Ask these at every scrape for what they have; see `asked`."""
        self._sources.extend(sources)

    def expect_methods(self, methods: Iterable[str]) -> None:
        """Have methods of the API on the page before anybody asks for one, with every status that an alert is about."""
        for method in methods:
            for code in _EXPECTED_CODES:
                self._api_requests.expect(method, code)

    def expect_definition(self, definition: str) -> None:
        """Have a definition on the page before the first of its sagas, with every end and cause that alerts compare."""
        self._sagas_started.expect(definition)
        for status in ENDED_AS.values():
            self._sagas_ended.expect(definition, status)
        for cause in _EXPECTED_CAUSES:
            self._compensations.expect(definition, cause)

    async def sample(self, store: Countable, backlog: Callable[[], Awaitable[Backlog]]) -> None:
        """Measure what no observation tells until cancelled; see `sampling`."""
        await self._sampler.run(store, backlog)

    def _ask(self) -> None:
        for family in self._asked.values():
            family.clear()
        for source in self._sources:
            for metric, values, number in source():
                self._asked[metric].of(*values).set(number)

    def _samples(self) -> Iterable[tuple[str, dict[str, str], float]]:
        yield from exposition.samples(self.families())
        for metric in self._others.collect():
            for sample in metric.samples:
                yield sample.name, sample.labels, sample.value

    # --- ports.observer.Observer -----------------------------------------------------------------------------------

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        for record in records:
            event = record.event
            if (count := self._count.get(type(event))) is not None:
                count(state, event, records)

    def _counts(self) -> Mapping[type[ev.Event], _Count]:
        """Return how each type of event is counted; of what a saga records, every third is not."""
        counts: dict[type[ev.Event], _Count] = {
            ev.SagaStarted: self._started,
            ev.SagaCompleted: self._ended,
            ev.SagaCompensated: self._ended,
            ev.SagaTerminated: self._ended,
            ev.AttemptSettled: self._attempt,
            ev.StepSettled: self._item_settled,
            ev.StepUndone: self._item_undone,
            ev.RetryScheduled: self._retry,
            ev.CompensationBegan: self._compensation,
            ev.RollbackBegan: self._rollback,
            ev.SignalReceived: self._signal,
            ev.AttentionRaised: self._attention,
            ev.OperatorActed: self._operator,
        }
        known = {*counts, *get_args(_Uncounted)}
        assert known == {*get_args(ev.Event)}, "whoever adds an event says whether it is counted"
        return counts

    def _attempt(self, state: SagaState, event: ev.AttemptSettled, records: Sequence[Record]) -> None:
        target = _target(state, event)
        self._attempts.of(target, event.operation, event.outcome, event.report.code or event.report.phase).inc()
        if event.operation is _PROBE:
            self._probes.of(target, _answer(event, records)).inc()

    def _item_settled(self, state: SagaState, event: ev.StepSettled, _: Sequence[Record]) -> None:
        if event.step[-1] == "]":
            good = event.outcome is Outcome.APPLIED and event.reason in ev.GOOD_REASONS
            self._item(state, event.step, "applied" if good else "failed")

    def _item_undone(self, state: SagaState, event: ev.StepUndone, _: Sequence[Record]) -> None:
        self._item(state, event.step, "undone")

    def _retry(self, state: SagaState, event: ev.RetryScheduled, _: Sequence[Record]) -> None:
        if event.reason == ev.POLL:
            self._polls.of(_target(state, event)).inc()
        else:
            self._retries.of(_target(state, event), "true" if event.parked else "false").inc()

    def _started(self, state: SagaState, _event: ev.SagaStarted, _: Sequence[Record]) -> None:
        self._sagas_started.of(self._definition(state)).inc()

    def _ended(self, state: SagaState, event: Ending, _: Sequence[Record]) -> None:
        labels = self._definition(state), ENDED_AS[type(event)]
        self._sagas_ended.of(*labels).inc()
        seconds = max(0.0, event.at - event.started_at)  # a clock may be behind between two lives
        duration = self._saga_duration.of(*labels)
        duration.observe(seconds)
        if state.trace.sampled and duration.wants_exemplar(seconds, event.at):
            duration.tell(_exemplar(state, seconds, event.at))

    def _compensation(self, state: SagaState, event: ev.CompensationBegan, _: Sequence[Record]) -> None:
        _add(self._compensations.of(self._definition(state), event.cause.kind), state, event.at)

    def _rollback(self, state: SagaState, event: ev.RollbackBegan, _: Sequence[Record]) -> None:
        self._rollbacks.of(self._definition(state), event.step).inc()

    def _signal(self, state: SagaState, event: ev.SignalReceived, _: Sequence[Record]) -> None:
        self._signals.of(self._definition(state), event.signal).inc()

    def _attention(self, state: SagaState, event: ev.AttentionRaised, _: Sequence[Record]) -> None:
        _add(self._attentions.of(self._definition(state), event.reason), state, event.at)

    def _operator(self, state: SagaState, event: ev.OperatorActed, _: Sequence[Record]) -> None:
        self._operator_actions.of(self._definition(state), event.verb).inc()

    def _definition(self, state: SagaState) -> str:
        definition = state.plan.definition
        if not self._sagas_started.has(definition):
            self.expect_definition(definition)
        return definition

    def _item(self, state: SagaState, path: StepId, result: str) -> None:
        step, index = item_of(path)
        if index is not None:
            self._items.of(state.plan.definition, step, result).inc()

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._commit_duration.observe(seconds)
        self._commit_streams.observe(streams)
        self._commit_records.inc(records)

    def called(self, call: CallRequest, report: ev.Report) -> None:
        if report.sent_at is None or report.ended_at is None:
            return
        seconds = max(0.0, report.ended_at - report.sent_at)
        duration = self._call_duration.of(call.target, call.method)
        duration.observe(seconds)
        trace = call.trace
        if trace.sampled and duration.wants_exemplar(seconds, report.ended_at):
            where = Exemplar(trace_id=trace.trace_id, span_id=trace.span_id, value=seconds, at=report.ended_at)
            duration.tell(where)

    def activated(self, count: int) -> None:
        self._actors.set(count)

    def mailbox(self, depth: int) -> None:
        self._mailbox_depth.observe(depth)

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._quarantined.inc()

    def forwarded(self, way: str, outcome: str) -> None:
        self._forwarded.of(way, outcome).inc()

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        self._api_requests.of(method, code).inc()
        if seconds is None:
            return
        duration = self._api_duration.of(method)
        duration.observe(seconds)
        if duration.wants_exemplar(seconds, at) and (found := trace()) is not None and found.sampled:
            duration.tell(Exemplar(trace_id=found.trace_id, span_id=found.span_id, value=seconds, at=at))

    def refused(self, reason: str) -> None:
        self._api_refused.of(reason).inc()

    def stalled(self, seconds: float) -> None:
        self._stalls.inc()
        self._stalled.inc(seconds)

    def forgotten(self, definition: str, count: int) -> None:
        self._forgotten.of(definition).inc(count)

    def retention_behind(self, seconds: float) -> None:
        self._retention_behind.set(seconds)

    # --- outbox.SpanMeter --------------------------------------------------------------------------------------------

    def spans_exported(self, count: int) -> None:
        self._spans_exported.inc(count)

    def spans_dropped(self, count: int) -> None:
        self._spans_dropped.inc(count)

    def spans_waiting(self, count: int) -> None:
        self._spans_waiting.set(count)

    # --- instruments -------------------------------------------------------------------------------------------------

    def _counter(self, metric: Metric) -> Family[Counter]:
        made = Family(metric, Counter)
        self._families[metric] = made
        return made

    def _gauge(self, metric: Metric) -> Family[Gauge]:
        made = Family(metric, Gauge)
        self._families[metric] = made
        return made

    def _histogram(self, metric: Metric) -> Family[Histogram]:
        made = Family(metric, lambda: Histogram(metric.buckets))
        self._families[metric] = made
        return made


def _add(counter: Counter, state: SagaState, at: float) -> None:
    """Count what happened to a saga, and keep where it is told."""
    counter.inc()
    if state.trace.sampled and counter.wants_exemplar(at):
        counter.exemplar = _exemplar(state, 1.0, at)


def _exemplar(state: SagaState, value: float, at: float) -> Exemplar:
    trace_id = state.trace.trace_id or ids.trace_id(state.uid)
    return Exemplar(trace_id=trace_id, span_id=ids.root_span_id(state.uid), value=value, at=at)


def _target(state: SagaState, event: ev.AttemptSettled | ev.RetryScheduled) -> str:
    steps, path = state.plan.steps, event.step
    step = steps.get(path) or steps.get(item_of(path)[0])
    return OTHER if step is None else step.call_of(event.operation).target


def _answer(probe: ev.AttemptSettled, records: Iterable[Record]) -> str:
    """Return what a probe found out, by what followed from it; all of one decision is recorded at once."""
    following = (record.event for record in records)
    for event in following:
        if event is probe:
            break
    for event in following:
        if getattr(event, "step", None) != probe.step:
            continue
        match event:
            case ev.StepSettled(reason=ev.SettleReason.PROBED, outcome=outcome):
                return outcome.value
            case ev.RetryScheduled(operation=operation) | ev.AttemptOpened(operation=operation):
                return "AGAIN" if operation is _PROBE else "RETRIED"
            case _:
                break
    return Outcome.UNKNOWN.value
