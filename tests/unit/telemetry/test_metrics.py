"""What sagas do is counted, under labels that stay few."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import StepId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import LOOP_LAG_SAMPLE_S, METRIC_LABEL_SETS_MAX
from orchestrator.ports.cluster import Standing
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record, SearchQuery
from orchestrator.ports.observer import Backlog, Observer
from orchestrator.saga.commands import CancelSaga, PauseSaga, TerminateSaga
from orchestrator.saga.events import AttentionRaised, AttentionReason, Phase, Report, RetryScheduled
from orchestrator.saga.plan import Await, Operation, Probe
from orchestrator.saga.state import SagaStatus
from orchestrator.telemetry import Metrics, Observers, asked, instruments, names
from tests.unit.telemetry.histories import Teller, notify_refused, ok, unavailable
from tests.unit.telemetry.many import call_of
from tests.unit.telemetry.shapes import AUDIT, Guide, call, guide, no, plan_of, read, replied, run, step

METRICS_PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def value(metrics: Metrics, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", metrics.render()[1].decode(), re.MULTILINE)
    assert found is not None, f"no sample {sample}"
    return float(found[1])


async def nothing_waits() -> Backlog:
    return Backlog()


def watch(metrics: Metrics, teller: Teller, answer: object = ok) -> None:
    for append in teller.run(answer):  # type: ignore[arg-type]  # one of the tellers' answers
        metrics.recorded(teller.state, append.records)


def test_sagas_are_counted_by_definition_and_end() -> None:
    metrics = Metrics()
    watch(metrics, Teller(1))
    watch(metrics, Teller(2), notify_refused)
    assert value(metrics, 'saga_started_total{definition="epro"}') == 2
    assert value(metrics, 'saga_ended_total{definition="epro",status="COMPLETED"}') == 1
    assert value(metrics, 'saga_ended_total{definition="epro",status="COMPENSATED"}') == 1
    assert value(metrics, 'saga_compensations_total{cause="STEP_FAILED",definition="epro"}') == 1
    assert value(metrics, 'saga_duration_seconds_count{definition="epro",status="COMPLETED"}') == 1


def test_a_saga_that_ends_by_an_earlier_clock_than_it_began_by_took_no_time() -> None:
    metrics, teller = Metrics(), Teller(1)
    appends = teller.run(ok)
    metrics.recorded(teller.state, next(appends).records)
    teller.at -= 3_600.0
    for append in appends:
        metrics.recorded(teller.state, append.records)
    labels = 'definition="epro",status="COMPLETED"'
    assert value(metrics, f"saga_duration_seconds_count{{{labels}}}") == 1
    assert value(metrics, f"saga_duration_seconds_sum{{{labels}}}") == 0.0


def test_attempts_are_counted_by_what_they_called_and_brought() -> None:
    metrics = Metrics()
    watch(metrics, Teller(1), notify_refused)
    refused = 'code="FAILED_PRECONDITION",operation="forward",outcome="NOT_APPLIED",target="notifier"'
    undone = 'code="OK",operation="compensate",outcome="APPLIED",target="archive"'
    assert value(metrics, f"saga_step_attempts_total{{{refused}}}") == 1
    assert value(metrics, f"saga_step_attempts_total{{{undone}}}") == 1


def test_how_the_process_stands_is_asked_at_every_scrape() -> None:
    metrics = Metrics()
    standing = Standing(
        shards=8, shards_in_store=16, members=2, trust_s=3.5, terms=1, taken=16, given=8, renewals_missed=1
    )
    metrics.show(lambda: asked.standing(standing))
    for _ in range(2):
        assert value(metrics, "saga_cluster_shards") == 8
        assert value(metrics, "saga_cluster_shards_in_store") == 16
        assert value(metrics, "saga_cluster_members") == 2
        assert value(metrics, "saga_cluster_trust_seconds") == 3.5
        assert value(metrics, 'saga_cluster_shard_moves_total{how="taken"}') == 16
        assert value(metrics, 'saga_cluster_shard_moves_total{how="lost"}') == 0
    standing = replace(standing, shards=0, trust_s=0.0, lost=8, terms=2, fenced=1, renewals_missed=5)
    assert value(metrics, "saga_cluster_shards") == 0
    assert value(metrics, 'saga_cluster_shard_moves_total{how="taken"}') == 16
    assert value(metrics, 'saga_cluster_shard_moves_total{how="given"}') == 8
    assert value(metrics, 'saga_cluster_shard_moves_total{how="lost"}') == 8
    assert value(metrics, "saga_cluster_terms_total") == 2
    assert value(metrics, "saga_cluster_fenced_total") == 1
    assert value(metrics, "saga_cluster_renewals_missed_total") == 5


def test_retries_and_calls_for_a_person_are_counted() -> None:
    metrics = Metrics()
    state = Teller(1).state
    retry = RetryScheduled(
        at=1.0, step=StepId("archive"), operation=Operation.COMPENSATE, due_at=2.0, parked=True, reason="away"
    )
    raised = AttentionRaised(at=1.0, reason=AttentionReason.UNDO_REFUSED, step=None, message="no")
    gone = replace(retry, step=StepId("gone"))
    metrics.recorded(state, [Record(version=1, epoch=1, event=event) for event in (retry, raised, gone)])
    assert value(metrics, 'saga_step_retries_total{parked="true",target="archive"}') == 1
    assert value(metrics, 'saga_step_retries_total{parked="true",target="other"}') == 1
    assert value(metrics, 'saga_attention_total{definition="epro",reason="UNDO_REFUSED"}') == 1


def test_a_call_is_timed_on_the_wire_only() -> None:
    metrics = Metrics()
    metrics.called(call_of(), Report(code="OK", phase=Phase.REPLIED, sent_at=10.0, ended_at=10.02))
    metrics.called(call_of(), Report(code="UNAVAILABLE", phase=Phase.NOT_SENT))
    labels = 'method="epro.v1.Scoring/Do",target="scoring"'
    assert value(metrics, f"saga_call_duration_seconds_count{{{labels}}}") == 1
    assert value(metrics, f"saga_call_duration_seconds_sum{{{labels}}}") == pytest.approx(0.02)


def test_the_engine_is_measured() -> None:
    metrics = Metrics()
    metrics.committed(streams=3, records=7, seconds=0.002)
    metrics.activated(5)
    metrics.mailbox(2)
    metrics.quarantined("report-1", "whatever a bug says")
    metrics.spans_exported(4)
    metrics.spans_dropped(1)
    metrics.spans_waiting(6)
    assert value(metrics, "saga_journal_commit_seconds_count") == 1
    assert value(metrics, "saga_journal_commit_streams_sum") == 3
    assert value(metrics, "saga_journal_records_total") == 7
    assert value(metrics, "saga_actors") == 5
    assert value(metrics, "saga_mailbox_depth_sum") == 2
    assert value(metrics, "saga_quarantined_total") == 1
    assert value(metrics, "saga_spans_exported_total") == 4
    assert value(metrics, "saga_spans_dropped_total") == 1
    assert value(metrics, "saga_spans_waiting") == 6


async def test_live_sagas_are_counted_in_the_journal_and_the_loop_is_timed() -> None:
    metrics, journal = Metrics(), MemoryJournal()
    await journal.append([Teller(1).start(), Teller(2).start()])
    with suppress(TimeoutError):
        async with asyncio.timeout(2 * LOOP_LAG_SAMPLE_S):
            await metrics.sample(journal, nothing_waits)
    assert value(metrics, "saga_event_loop_lag_seconds_count") >= 1
    assert value(metrics, 'saga_live{status="RUNNING"}') == 2
    assert value(metrics, 'saga_live{status="NEEDS_ATTENTION"}') == 0


async def test_counting_goes_on_when_a_store_that_was_away_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.telemetry.sampling.SAGA_COUNT_S", 0.001)

    class Away(MemoryJournal):
        asked = 0

        async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
            self.asked += 1
            if self.asked == 1:
                raise JournalUnavailable("the database is away")
            return await super().count(query, group_by)

    metrics, journal = Metrics(), Away()
    await journal.append([Teller(1).start()])
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOP_LAG_SAMPLE_S):
            await metrics.sample(journal, nothing_waits)
    assert journal.asked > 1
    assert value(metrics, 'saga_live{status="RUNNING"}') == 1


def test_no_label_holds_a_saga_or_what_a_peer_said() -> None:
    metrics = Metrics()
    watch(metrics, Teller(1), notify_refused)
    metrics.quarantined("report-1", "reason text")
    page = metrics.render()[1].decode()
    assert "report-1" not in page
    assert "reason text" not in page
    assert "xxxx" not in page


def test_label_combinations_are_bounded() -> None:
    metrics = Metrics()
    report = Report(code="OK", phase=Phase.REPLIED, sent_at=1.0, ended_at=1.1)
    for number in range(METRIC_LABEL_SETS_MAX + 5):
        metrics.called(call_of(f"a.B/M{number}"), report)
    assert value(metrics, 'saga_call_duration_seconds_count{method="other",target="other"}') == 5


def test_two_metrics_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.activated(1)
    assert value(second, "saga_actors") == 0


def test_a_target_is_shown_as_paused_for_as_long_as_it_is() -> None:
    metrics, paused = Metrics(), {"scoring": 1, "archive/epro.v1.Archive/Store": 1}
    metrics.show(lambda: asked.paused(paused))
    assert value(metrics, 'saga_target_paused{method="",target="scoring"}') == 1
    assert value(metrics, 'saga_target_paused{method="epro.v1.Archive/Store",target="archive"}') == 1
    paused.clear()
    assert "saga_target_paused{" not in metrics.render()[1].decode()


def test_an_observation_costs_microseconds() -> None:
    metrics, call = Metrics(), call_of()
    report = Report(code="OK", phase=Phase.REPLIED, sent_at=10.0, ended_at=10.02)
    best = min(_seconds_of(metrics, call, report) for _ in range(5))
    assert best / 10_000 < 15e-6  # about 1.5 µs


def _seconds_of(metrics: Metrics, call: CallRequest, report: Report) -> float:
    began = process_time()
    for _ in range(10_000):
        metrics.called(call, report)
    return process_time() - began


def test_every_metric_is_on_the_page_with_its_help() -> None:
    page = Metrics().render()[1].decode()
    for metric in instruments.METRICS:
        assert f"# HELP {metric.name} {metric.meaning}\n" in page
        assert f"# TYPE {metric.name} {metric.kind}\n" in page
    assert len(re.findall("^# TYPE saga_", page, re.MULTILINE)) == len(instruments.METRICS)


def test_the_manual_names_every_metric_and_span_with_its_unit() -> None:
    text = METRICS_PAGE.read_text(encoding="utf-8")
    for metric in instruments.METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        assert f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning} |" in text
    for name in (*names.SPANS, *names.EVENTS, *names.ATTRIBUTES):
        assert f"| `{name.name}` | {name.where} | {name.meaning} |" in text
    advice = text[text.index("### What to do") : text.index("## Spans")]
    rows = len(re.findall(r"^\| `", text.replace(advice, ""), re.MULTILINE))
    assert rows == len(instruments.METRICS) + len(names.SPANS) + len(names.EVENTS) + len(names.ATTRIBUTES)
    advised = set(re.findall(r"`(saga_[a-z_]+)", advice))
    assert advised == {metric.name for metric in instruments.METRICS}, "what moves, and what to do then"


class _Broken:
    def __getattr__(self, name: str) -> object:
        def fail(*_args: object) -> None:
            raise ZeroDivisionError(name)

        return fail


def test_a_broken_observer_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    broken: Observer = _Broken()  # type: ignore[assignment]  # every method of it fails
    observers = Observers(broken, metrics)
    teller = Teller(1)
    observers.recorded(teller.state, teller.start().records)
    observers.committed(1, 1, 0.001)
    observers.called(call_of(), Report(code="OK", phase=Phase.REPLIED, sent_at=1.0, ended_at=2.0))
    observers.activated(7)
    observers.mailbox(1)
    observers.quarantined("report-1", "bug")
    assert value(metrics, "saga_actors") == 7
    assert value(metrics, "saga_quarantined_total") == 1
    assert len(caplog.records) == 1


def seen(teller: Guide) -> Metrics:
    """The numbers after a history, in one piece as its records lie in the journal."""
    metrics = Metrics()
    for append in teller.appends:
        metrics.recorded(teller.state, append.records)
    return metrics


def test_what_a_saga_of_every_shape_did_is_counted() -> None:
    metrics = seen(run(guide()))
    assert value(metrics, 'saga_signals_total{definition="everything",signal="approved"}') == 1
    assert value(metrics, 'saga_items_total{definition="everything",result="applied",step="reserve"}') == 4
    assert "reserve[" not in metrics.render()[1].decode(), "a path of an item is never a label"
    assert value(metrics, 'saga_ended_total{definition="everything",status="COMPLETED"}') == 1


def test_items_that_are_undone_and_scopes_that_are_rolled_back_are_counted() -> None:
    teller = guide()
    while not any(call.step == "hotel" for call in teller.calls()):
        teller.report(teller.calls()[0], replied())
    teller.reply("hotel", no())
    teller.tell(CancelSaga(reason=""))
    metrics = seen(run(teller))
    assert value(metrics, 'saga_rollbacks_total{definition="everything",step="trip"}') == 1
    assert value(metrics, 'saga_items_total{definition="everything",result="undone",step="reserve"}') == 4


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([b"yes"], {"APPLIED": 1}),
        ([b"later", b"yes"], {"AGAIN": 1, "APPLIED": 1}),
        ([b"later", b"later"], {"AGAIN": 1, "UNKNOWN": 1}),
        ([b"no", b"no"], {"AGAIN": 1, "NOT_APPLIED": 1}),  # the first was asked while the lost call could still arrive
    ],
)
def test_probes_are_counted_by_what_they_found_out(answers: list[bytes], expected: dict[str, int]) -> None:
    teller = guide(plan_of("probed", step("pay", probe=Probe(call=call("DidPay"), read=read))))
    teller.reply("pay", unavailable(teller.calls()[0], teller.at))
    teller.at += 5.0  # the call can no longer be on its way, but it could when the probe was sent
    for data in answers:
        if not teller.calls():
            teller.wait()
        teller.reply("pay", replied(data), Operation.PROBE)
    metrics = seen(teller)
    for answer, count in expected.items():
        assert value(metrics, f'saga_probe_answers_total{{answer="{answer}",target="shop"}}') == count
    page = metrics.render()[1].decode()
    assert page.count("saga_probe_answers_total{") == len(expected)


def test_an_answer_that_says_not_yet_is_no_retry() -> None:
    teller = guide(plan_of("loading", step("load", awaits=Await(read=read, call=call("Look"), stop=None, every_s=1.0))))
    teller.reply("load", replied(b"later"))
    teller.reply("load", replied(b"later"))
    metrics = seen(teller)
    assert value(metrics, 'saga_step_polls_total{target="shop"}') == 1
    assert "saga_step_retries_total{" not in metrics.render()[1].decode()


def test_people_and_what_they_end_are_counted() -> None:
    teller = guide()
    teller.tell(PauseSaga(audit=AUDIT))
    teller.tell(TerminateSaga(audit=AUDIT))
    metrics = seen(teller)
    assert value(metrics, 'saga_operator_actions_total{definition="everything",verb="PAUSE"}') == 1
    assert value(metrics, 'saga_operator_actions_total{definition="everything",verb="TERMINATE"}') == 1
    assert value(metrics, 'saga_ended_total{definition="everything",status="TERMINATED"}') == 1
    assert "ada" not in metrics.render()[1].decode()


async def test_sagas_that_sleep_or_wait_for_a_person_are_counted_in_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.telemetry.sampling.ATTENTION_ROWS_MAX", 2)
    metrics, journal = Metrics(), MemoryJournal()
    appends = [Teller(number).start() for number in range(1, 7)]
    asking = [replace(a, row=replace(a.row, status=SagaStatus.NEEDS_ATTENTION, attention=why)) for a, why in zip(
        appends[:3], ["UNDO_REFUSED,RETRYING", "UNDO_REFUSED", "UNDO_REFUSED"], strict=True
    )]  # fmt: skip
    await journal.append([*asking, *appends[3:]])
    metrics.activated(2)
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOP_LAG_SAMPLE_S):
            await metrics.sample(journal, nothing_waits)
    assert value(metrics, "saga_sleeping") == 4
    assert value(metrics, 'saga_needing_attention{reason="DATA_LOSS"}') == 0
    assert value(metrics, 'saga_needing_attention{reason="UNDO_REFUSED"}') == 2
    assert value(metrics, 'saga_needing_attention{reason="other"}') == 1, "past the bound they are counted, unread"
