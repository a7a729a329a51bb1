"""A real receiver gets the whole tree: live, after a crash, and when it was away itself."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from orchestrator import ids
from orchestrator.ids import StepId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import Append
from orchestrator.saga.commands import UndoChild
from orchestrator.saga.plan import Operation, Plan
from orchestrator.telemetry import Metrics, Tracing, open_tracing
from tests.integration.telemetry.collector import (
    Received,
    attributes,
    black_hole,
    grpc_collector,
    http_collector,
)
from tests.kit.effort import Watch
from tests.kit.ports import free
from tests.unit.telemetry.doubles import FakeClock, FakePlans
from tests.unit.telemetry.histories import (
    CALLER,
    CANARY,
    PLAN,
    Teller,
    attempt_id,
    compensated,
    happy,
    notify_refused,
    uid_of,
)
from tests.unit.telemetry.shapes import EVERYTHING, PARENT, SENDER, guide, no, run, until
from tests.unit.telemetry.test_metrics import value
from tests.unit.telemetry.test_spans import spans_of

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


def tracing_to(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, metrics: Metrics | None = None, **environ: str
) -> Tracing:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **QUICK, **environ}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    tracing = open_tracing(environ, clock=FakeClock(), meter=metrics or Metrics())
    assert tracing is not None
    return tracing


@asynccontextmanager
async def running(tracing: Tracing, path: Path, plan: Plan = PLAN) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(path)
    await tracing.start(journal, journal, FakePlans(plan))
    yield journal
    await tracing.drain()
    await journal.close()


async def record(journal: SqliteJournal, tracing: Tracing, appends: Iterable[Append]) -> None:
    for append in appends:
        assert list(await journal.append([append])) == [None]
        tracing.recorded(Teller().state, append.records)


def number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


@pytest.mark.parametrize(
    ("collector", "protocol"), [(grpc_collector, "grpc"), (http_collector, "http/protobuf")], ids=["grpc", "http"]
)
async def test_the_received_tree_is_the_saga(
    collector: Callable[[], AbstractContextManager[tuple[str, Received]]],
    protocol: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collector() as (endpoint, received):
        tracing = tracing_to(
            endpoint,
            monkeypatch,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=secret",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        async with running(tracing, tmp_path / "journal.db") as journal:
            await record(journal, tracing, [*happy(1), *compensated(2)])
        received.wait_for(12 + 17)
    assert received.metadata["authorization"] == "secret"
    assert received.resources[0]["service.name"] == "saga-orchestrator"
    assert received.resources[0]["deployment.environment.name"] == "test"
    spans = received.distinct()
    assert CANARY not in str(list(spans.values()))
    assert {number(span.trace_id) for span in spans.values()} == {CALLER.trace_id}
    assert_tree([span for span in spans.values() if is_of(span, 1)], 1, FORWARD_TREE)
    assert_tree([span for span in spans.values() if is_of(span, 2)], 2, FORWARD_TREE | UNDO_TREE)
    undo = next(span for span in spans.values() if span.name == "undo archive")
    assert [number(link.span_id) for link in undo.links] == [attempt_id(2, "archive", Operation.FORWARD, 1)]
    root = next(span for span in spans.values() if span.name == "saga epro" and is_of(span, 2))
    assert root.status.code == Status.STATUS_CODE_ERROR


def links_of(span: Span) -> set[tuple[int, int]]:
    return {(number(link.trace_id), number(link.span_id)) for link in span.links}


async def test_a_saga_of_every_shape_arrives_as_one_tree_with_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = until(guide(parent=PARENT), "hotel")
    told.reply("hotel", no())
    run(told)
    told.tell(UndoChild(reason="the trip is off"))
    run(told)
    expected = spans_of((record.event for record in told.records), plan=EVERYTHING)
    with grpc_collector() as (endpoint, received):
        tracing = tracing_to(endpoint, monkeypatch)
        async with running(tracing, tmp_path / "journal.db", EVERYTHING) as journal:
            await record(journal, tracing, [append for append in told.appends if append.records])
        received.wait_for(len(expected))
    spans = received.distinct()
    assert CANARY not in str(list(spans.values()))
    assert {number(span.span_id) for span in spans.values()} == {span.span_id for span in expected}
    named = {span.name: span for span in spans.values()}
    assert links_of(named["step approval"]) == {(SENDER.trace_id, SENDER.span_id)}
    assert links_of(named["saga everything"]) == {(PARENT.trace_id, PARENT.span_id)}
    assert named["rollback trip"].parent_span_id == named["step trip"].span_id
    assert named["saga.compensation"].parent_span_id == named["saga everything"].span_id
    assert attributes(named["saga everything"])["saga.status"] == "COMPLETED"
    of_items = {attributes(span)["saga.step"]: span for span in spans.values() if span.name == "item reserve"}
    assert of_items["reserve[3]"].parent_span_id == named["step reserve"].span_id


FORWARD_TREE = {
    ("saga epro", "caller"),
    ("saga.start", "saga epro"),
    *((f"step {step}", "saga epro") for step in ("validate", "score", "archive", "record", "notify")),
    ("epro.v1.Validator/Do", "step validate"),
    ("epro.v1.Scoring/Do", "step score"),
    ("epro.v1.Archive/Do", "step archive"),
    ("epro.v1.Safety/Do", "step record"),
    ("epro.v1.Notifier/Do", "step notify"),
}
UNDO_TREE = {
    ("saga.compensation", "saga epro"),
    ("undo archive", "saga.compensation"),
    ("undo record", "saga.compensation"),
    ("epro.v1.Archive/Undo", "undo archive"),
    ("epro.v1.Safety/Undo", "undo record"),
}


def is_of(span: Span, saga: int) -> bool:
    return attributes(span)["saga.id"] == f"report-{saga}"


def assert_tree(spans: list[Span], saga: int, expected: set[tuple[str, str]]) -> None:
    names = {number(span.span_id): span.name for span in spans} | {CALLER.span_id: "caller"}
    assert {(span.name, names[number(span.parent_span_id)]) for span in spans} == expected
    for span in spans:
        if span.kind == Span.SPAN_KIND_CLIENT:
            about = attributes(span)
            step, operation = StepId(str(about["saga.step"])), str(about["saga.operation"])
            injected = ids.attempt_span_id(uid_of(saga), step, operation, int(about["saga.attempt"]))
            assert number(span.span_id) == injected
            assert about["rpc.system.name"] == "grpc"
            assert about["rpc.method"] == span.name


async def test_a_collector_that_comes_late_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, metrics = free(), Metrics()
    tracing = tracing_to(f"http://127.0.0.1:{port}", monkeypatch, metrics, OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
    async with running(tracing, tmp_path / "journal.db") as journal:
        await record(journal, tracing, happy(1))
        with grpc_collector(port) as (_, received):
            await asyncio.to_thread(received.wait_for, 12)
            await record(journal, tracing, happy(2))
            await asyncio.to_thread(received.wait_for, 24)
            await tracing.drain()
    assert len(received.distinct()) == 24
    assert value(metrics, "saga_spans_dropped_total") == 0
    assert value(metrics, "saga_spans_exported_total") == 24


@pytest.mark.alone  # two times are compared
async def test_a_collector_that_never_answers_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sagas = 900  # 10,800 spans
    histories = [append for number in range(sagas) for append in happy(number)]
    without = await _seconds_to_append(histories, tmp_path / "without.db", None)
    with black_hole() as endpoint:
        tracing = tracing_to(endpoint, monkeypatch)
        hindered = await _seconds_to_append(histories, tmp_path / "with.db", tracing)
        watch = Watch()
        await tracing.drain(timeout_s=0.5)
        assert watch.took_s() < 1.5
    assert hindered - without < 1.0


async def _seconds_to_append(appends: list[Append], path: Path, tracing: Tracing | None) -> float:
    journal = SqliteJournal.open(path)
    if tracing is not None:
        await tracing.start(journal, journal, FakePlans())
    waves: dict[int, list[Append]] = {}
    for append in appends:
        waves.setdefault(append.expected_version, []).append(append)
    watch = Watch()
    for wave in waves.values():
        await journal.append(wave)
        if tracing is not None:
            tracing.recorded(Teller().state, wave[0].records)
    took_s = watch.took_s()
    if tracing is None:
        await journal.close()
    return took_s


CHILD = """
import asyncio, os, sys
from pathlib import Path
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.telemetry import Metrics, open_tracing
from tests.unit.telemetry.doubles import FakeClock, FakePlans
from tests.unit.telemetry.histories import Teller, notify_refused

async def main(path, sagas, then):
    journal = SqliteJournal.open(path)
    tracing = open_tracing(os.environ, clock=FakeClock(), meter=Metrics())
    await tracing.start(journal, journal, FakePlans())
    tellers = [Teller(number) for number in range(sagas)]
    for teller in tellers:
        for append in teller.run(notify_refused):
            await journal.append([append])
            tracing.recorded(teller.state, append.records)
    if then == "drain":
        await tracing.drain()
        await journal.close()
        return
    print("recorded", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""
ROOT = Path(__file__).parents[3]


def child(path: Path, sagas: int, then: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(sagas), then], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


async def test_no_span_is_missing_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sagas, path = 40, tmp_path / "journal.db"
    with grpc_collector() as (endpoint, received):
        tracing = tracing_to(endpoint, monkeypatch, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="32", OTEL_BSP_MAX_QUEUE_SIZE="64")
        with child(path, sagas, "wait") as process:
            await asyncio.to_thread(received.wait_for, 100)
            process.send_signal(signal.SIGKILL)
        journal = SqliteJournal.open(path)
        recorded = [found.saga_id for found in await journal.since(0, 100_000)]
        await tracing.start(journal, journal, FakePlans())
        await record(journal, tracing, _rest(recorded))
        await tracing.drain(timeout_s=20.0)
        await journal.close()
    assert all(each == received.resources[0] for each in received.resources), (
        "a span that is sent again is the same one for a backend, which compares where it comes from, too"
    )
    spans = received.distinct().values()
    assert len(spans) == 17 * len({attributes(span)["saga.id"] for span in spans})
    for saga in range(len({*recorded})):
        assert_tree([span for span in spans if is_of(span, saga)], saga, FORWARD_TREE | UNDO_TREE)


def _rest(recorded: list[ids.SagaId]) -> list[Append]:
    """What the killed process had not recorded of the saga it was busy with."""
    last = len({*recorded}) - 1
    done = recorded.count(ids.SagaId(f"report-{last}"))
    teller = Teller(last)
    return [append for append in teller.run(notify_refused) if append.expected_version >= done]


@pytest.mark.alone  # its time is measured
def test_a_process_ends_in_time_although_its_collector_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        with child(tmp_path / "journal.db", 5, "drain") as process:
            watch = Watch(process.pid)
            while process.poll() is None:
                watch.starved_s()
                threading.Event().wait(0.01)  # poll: what the process has waited for
            took_s = watch.took_s()
        assert process.returncode == 0
        assert took_s < 8.0  # two of them for the drain, the rest for starting Python


async def test_the_exporter_does_not_disturb_grpc_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server()
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", {"Echo": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with grpc_collector() as (endpoint, received):
        tracing = tracing_to(endpoint, monkeypatch)
        async with (
            running(tracing, tmp_path / "journal.db") as journal,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/echo.Echo/Echo")

            async def chat() -> None:
                for _ in range(50):
                    assert await call(b"x") == b"x"

            async with asyncio.TaskGroup() as tasks:
                for _ in range(16):
                    tasks.create_task(chat())
                for saga in range(40):
                    tasks.create_task(record(journal, tracing, happy(saga)))
        received.wait_for(40 * 12)
    await server.stop(0)
    assert faults == []
