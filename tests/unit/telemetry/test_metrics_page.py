"""The page that Prometheus scrapes: two formats, exemplars in one of them, and a size that is known beforehand."""

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample

from orchestrator import ids
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import EXEMPLAR_S, METRIC_LABEL_SETS_MAX
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.observer import Backlog
from orchestrator.saga.events import Phase, Report
from orchestrator.telemetry import Metrics, asked, instruments
from orchestrator.telemetry.exposition import OPENMETRICS, TEXT, TEXT_OLD, content_type_for
from orchestrator.telemetry.series import Histogram
from orchestrator.values import TraceContext
from tests.unit.telemetry.histories import CALLER, Teller, notify_refused, ok
from tests.unit.telemetry.many import call_of, filled
from tests.unit.telemetry.test_metrics import watch

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
AWKWARD = 'a "quoted" \\ name\nover two lines'


def full() -> Metrics:
    """Metrics with a number in every series there is, and awkward label values."""
    metrics = Metrics()
    watch(metrics, Teller(1), ok)
    watch(metrics, Teller(2), notify_refused)
    metrics.called(call_of(), Report(code="OK", phase=Phase.REPLIED, sent_at=10.0, ended_at=10.02))
    metrics.forwarded(AWKWARD, "done")
    metrics.answered("orchestrator.v1.SagaService/StartSaga", "OK", 5.0, 0.004, lambda: CALLER)
    metrics.answered("orchestrator.v1.SagaService/WatchSaga", "OK", 5.0, None, lambda: CALLER)
    metrics.refused("QUEUE_FULL")
    metrics.stalled(0.25)
    metrics.forgotten("epro", 7)
    metrics.show(lambda: [(metric, tuple("x" for _ in metric.labels), 3) for metric in asked.ASKED])
    return metrics


def samples_of(metrics: Metrics, accept: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], Sample]:
    content_type, page = metrics.render(accept)
    read: Callable[[str], object] = read_openmetrics if content_type == OPENMETRICS else read_text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample
        for family in read(page.decode())  # type: ignore[attr-defined]  # the parsers have no types
        for sample in family.samples
    }


def ours(samples: dict[tuple[str, tuple[tuple[str, str], ...]], Sample]) -> dict[object, float]:
    return {key: sample.value for key, sample in samples.items() if key[0].startswith("saga_")}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT_OLD),
        ("*/*", TEXT_OLD),
        ("text/html,*/*;q=0.8", TEXT_OLD),
        ("text/plain;version=0.0.4", TEXT_OLD),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", TEXT),
        ("text/plain;version=1.0.0;escaping=values", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; escaping=dots", OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", TEXT_OLD),
        ("application/openmetrics-text;version=nonsense", TEXT_OLD),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
    ],
)
def test_the_format_is_what_was_asked_for(accept: str, expected: str) -> None:
    assert content_type_for(accept) == expected
    page = Metrics().render(accept)[1].decode()
    assert page.endswith("# EOF\n") == (expected == OPENMETRICS)


def test_both_formats_say_the_same_to_their_readers() -> None:
    metrics = full()
    text, openmetrics = ours(samples_of(metrics, "")), ours(samples_of(metrics, OPENMETRICS))
    assert text == openmetrics
    assert text["saga_forwarded_total", (("outcome", "done"), ("way", AWKWARD))] == 1
    assert text["saga_forgotten_total", (("definition", "epro"),)] == 7
    assert text["saga_event_loop_stalls_total", ()] == 1
    assert text["saga_event_loop_stalled_seconds_total", ()] == 0.25
    assert text["saga_api_refused_total", (("reason", "QUEUE_FULL"),)] == 1


def test_every_metric_has_a_number_once_something_happened() -> None:
    metrics = full()
    seen = {re.sub("_(bucket|count|sum)$", "", key[0]) for key in samples_of(metrics, OPENMETRICS)}
    rare = {instruments.ROLLBACKS, instruments.SIGNALS, instruments.ITEMS, instruments.ATTENTIONS, instruments.POLLS}
    rare |= {instruments.OPERATOR_ACTIONS, instruments.RETRIES, instruments.PROBES}
    sampled = {instruments.SAGAS_LIVE, instruments.NEEDING_ATTENTION}
    assert {metric.name for metric in set(instruments.METRICS) - rare - sampled} <= seen


def test_the_process_and_the_collector_are_on_the_page() -> None:
    seen = {key[0] for key in samples_of(Metrics(), "")}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= seen
    assert {"python_gc_collections_total", "python_gc_objects_collected_total"} <= seen


def test_the_figures_are_the_page() -> None:
    metrics = full()
    figures = {(each.name, tuple(sorted(each.labels.items()))): each.value for each in metrics.figures()}
    page = samples_of(metrics, "")
    assert figures.keys() == page.keys()
    assert {key: value for key, value in figures.items() if key in ours(page)} == ours(page)


def test_a_histogram_counts_what_is_on_a_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for amount in (0.0, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(amount)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 7.0


def test_buckets_add_up_and_infinity_is_the_count() -> None:
    samples = samples_of(full(), "")
    labels = (("method", "epro.v1.Scoring/Do"), ("target", "scoring"))
    buckets = [s for (name, _), s in samples.items() if name == "saga_call_duration_seconds_bucket"]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts)
    assert [sample.value for sample in buckets if sample.labels["le"] == "0.025"] == [1]
    assert [sample.value for sample in buckets if sample.labels["le"] == "0.01"] == [0]
    assert samples["saga_call_duration_seconds_count", labels].value == counts[-1] == 1


# --- exemplars -------------------------------------------------------------------------------------------------------


def exemplars(metrics: Metrics, name: str) -> list[tuple[dict[str, str], float, float]]:
    """Labels, value and instant of a metric's exemplars, by bucket."""
    found = [sample.exemplar for key, sample in samples_of(metrics, OPENMETRICS).items() if key[0] == name]
    return [(each.labels, each.value, float(each.timestamp or 0.0)) for each in found if each is not None]


def at(trace_id: int, span_id: int) -> dict[str, str]:
    return {"trace_id": f"{trace_id:032x}", "span_id": f"{span_id:016x}"}


def test_a_saga_leads_from_its_duration_and_its_turning_back_to_its_trace() -> None:
    metrics, teller = Metrics(), Teller(2)
    watch(metrics, teller, notify_refused)
    ended = teller.state.ended_at
    assert ended is not None
    where = at(CALLER.trace_id, ids.root_span_id(teller.state.uid))
    ((told, seconds, told_at),) = exemplars(metrics, "saga_duration_seconds_bucket")
    assert told == where
    assert seconds == pytest.approx(ended - teller.state.started_at)
    assert told_at == pytest.approx(ended, abs=0.001)
    ((told, count, told_at),) = exemplars(metrics, "saga_compensations_total")
    assert (told, count) == (where, 1.0)
    assert told_at == pytest.approx(teller.state.compensation_began_at, abs=0.001)


def test_a_saga_that_nobody_traced_leads_to_the_trace_of_its_own() -> None:
    metrics, teller = Metrics(), Teller(1, trace=TraceContext(trace_id=0, span_id=0, sampled=True))
    watch(metrics, teller)
    uid = teller.state.uid
    (told,) = exemplars(metrics, "saga_duration_seconds_bucket")
    assert told[0] == at(ids.trace_id(uid), ids.root_span_id(uid))


def called_at(metrics: Metrics, ended_at: float, took_s: float, trace: TraceContext = CALLER) -> None:
    call: CallRequest = call_of(trace=trace)
    metrics.called(call, Report(code="OK", phase=Phase.REPLIED, sent_at=ended_at - took_s, ended_at=ended_at))


def test_a_call_leads_to_its_own_span() -> None:
    metrics = Metrics()
    called_at(metrics, 100.0, 0.25)
    assert exemplars(metrics, "saga_call_duration_seconds_bucket") == [(at(CALLER.trace_id, CALLER.span_id), 0.25, 100)]


def test_what_is_not_sampled_leads_nowhere() -> None:
    metrics, untraced = Metrics(), TraceContext(trace_id=7, span_id=8, sampled=False)
    called_at(metrics, 100.0, 0.25, untraced)
    watch(metrics, Teller(2, trace=untraced), notify_refused)
    metrics.answered("m", "OK", 5.0, 0.004, lambda: untraced)
    metrics.answered("m", "OK", 5.0, 0.004, lambda: None)
    assert " # " not in metrics.render(OPENMETRICS)[1].decode().replace("# HELP", "").replace("# TYPE", "")


def test_each_bucket_takes_one_exemplar_a_second() -> None:
    metrics = Metrics()
    called_at(metrics, 100.0, 0.25)
    called_at(metrics, 100.0 + EXEMPLAR_S / 2, 0.2)
    called_at(metrics, 100.0 + EXEMPLAR_S / 2, 5.0)  # rare and slow: another bucket, so it is told at once
    assert [told[1] for told in exemplars(metrics, "saga_call_duration_seconds_bucket")] == [0.25, 5.0]
    called_at(metrics, 100.0 + EXEMPLAR_S, 0.125)
    assert [told[1] for told in exemplars(metrics, "saga_call_duration_seconds_bucket")] == [0.125, 5.0]


def test_a_caller_is_asked_for_its_trace_only_where_it_is_told() -> None:
    metrics, asked_count = Metrics(), 0

    def trace() -> TraceContext:
        nonlocal asked_count
        asked_count += 1
        return CALLER

    for tenth in range(10):
        metrics.answered("m", "OK", 100.0 + tenth / 10, 0.004, trace)
    assert asked_count == 1
    where = at(CALLER.trace_id, CALLER.span_id)
    assert exemplars(metrics, "saga_api_request_seconds_bucket") == [(where, 0.004, 100.0)]


def test_the_older_format_has_no_exemplars() -> None:
    metrics = Metrics()
    called_at(metrics, 100.0, 0.25)
    assert "trace_id" not in metrics.render("")[1].decode()
    assert "trace_id" in metrics.render(OPENMETRICS)[1].decode()


# --- how large it gets -----------------------------------------------------------------------------------------------


def test_a_page_has_a_largest_size_whatever_happens() -> None:
    metrics = Metrics()
    for number in range(2 * METRIC_LABEL_SETS_MAX):
        metrics.called(call_of(f"a.B/M{number}"), Report(code="OK", phase=Phase.REPLIED, sent_at=1.0, ended_at=1.1))
        metrics.forgotten(f"definition-{number}", 1)
    of_calls = [key for key in samples_of(metrics, "") if key[0].startswith("saga_call_duration_seconds")]
    per_child = len(instruments.CALL_DURATION.buckets) + 3
    assert len(of_calls) == (METRIC_LABEL_SETS_MAX + 1) * per_child
    assert (
        len([key for key in samples_of(metrics, "") if key[0] == "saga_forgotten_total"]) == METRIC_LABEL_SETS_MAX + 1
    )


async def test_the_backlog_is_looked_at_while_the_process_runs() -> None:
    metrics, looked = Metrics(), asyncio.Event()

    async def backlog() -> Backlog:
        looked.set()
        return Backlog(runnable=12, oldest_age_s=3.5)

    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(metrics.sample(MemoryJournal(), backlog))
        await looked.wait()
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
    samples = ours(samples_of(metrics, ""))
    assert samples["saga_runnable", ()] == 12
    assert samples["saga_oldest_runnable_age_seconds", ()] == 3.5


def test_a_page_of_a_hundred_definitions_is_bounded_and_made_by_few_steps() -> None:
    """Not by time, which a busy machine has its own opinion of: by samples, bytes, and calls of Python functions.

    A call of a function is what is dear in Python. A writer that calls one for every sample, as prometheus-client's
    does several, takes ten times as long as one that calls one for every histogram.
    """
    metrics = filled(100)
    text, openmetrics = metrics.render("")[1], metrics.render(OPENMETRICS)[1]
    samples = [line for line in text.splitlines() if not line.startswith(b"#")]
    assert 8_000 < len(samples) < 12_000
    assert len(text) < 1_000_000
    assert len(openmetrics) < 1_200_000
    for accept in ("", OPENMETRICS):
        assert calls_during(lambda accept=accept: metrics.render(accept)) < 0.7 * len(samples)  # type: ignore[misc]


def calls_during(work: Callable[[], object]) -> int:
    """Return how many Python functions a piece of work calls."""
    count = 0

    def heard(_frame: object, event: str, _given: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(heard)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
