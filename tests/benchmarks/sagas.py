"""The same five calls a saga, bare and orchestrated, in turn: on each store, traced, failing, and from the API."""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from tests.benchmarks import flows
from tests.benchmarks.database import Database, Statements
from tests.benchmarks.flows import Flow
from tests.benchmarks.kept import ROUNDS, SAGAS, keep_rows
from tests.benchmarks.programs import Listening, Meter, Worker, cpu_s, passed, program, read
from tests.benchmarks.rounds import Run, run

SAGAS_AT_ONE = min(200, SAGAS)
SECTION = "sagas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured against its bare twin."""

    name: str
    concurrency: int
    failing: bool = False
    traced: bool = False
    postgres: bool = False
    api: bool = False
    """Started by a client of the gRPC API; the server is a process of its own."""

    def is_meant(self, wanted: str) -> bool:
        """Return whether a case of the command line is this one, or one of these."""
        return wanted in {"", self.name, f"{self.name}-{self.concurrency}", self.name.partition("-")[0]}


CASES = (
    Case(name="epro", concurrency=1),
    Case(name="epro", concurrency=16),
    Case(name="epro", concurrency=64),
    Case(name="epro", concurrency=256),
    Case(name="failing", concurrency=64, failing=True),
    Case(name="traced", concurrency=64, traced=True),
    Case(name="api", concurrency=64, api=True),
    Case(name="postgres", concurrency=1, postgres=True),
    Case(name="postgres", concurrency=16, postgres=True),
    Case(name="postgres", concurrency=64, postgres=True),
    Case(name="postgres", concurrency=256, postgres=True),
    Case(name="postgres-failing", concurrency=64, postgres=True, failing=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row; rates in sagas per second, times in milliseconds."""

    case: str
    concurrency: int
    journal: str
    ours_sagas_s: float
    bare_sagas_s: float
    ratio: float
    p50_ms: float
    p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    ours_cpu_ms: float
    """CPU of this process per saga."""
    bare_cpu_ms: float
    per_saga: dict[str, float] = field(default_factory=dict[str, float])
    """What else a saga costs: `services_cpu_s`, `database_cpu_s`, `commits`, `streams`, `statements`, `wal_bytes`."""


async def measure(case: Case, ours: Flow, bare: Worker, meter: Meter) -> Measured:
    """Take both sides in turn; the first round of each only warms up."""
    sagas = SAGAS_AT_ONE if case.concurrency == 1 else SAGAS
    wanted = {"sagas": sagas, "concurrency": case.concurrency, "failing": case.failing}
    await bare.ask({**wanted, "sagas": max(sagas // 4, 1)})
    await run(ours, max(sagas // 4, 1), case.concurrency)
    bare_runs: list[Run] = []
    our_runs: list[Run] = []
    costs: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        bare_runs.append(Run(**await bare.ask(wanted)))
        before = read(meter)
        our_runs.append(await run(ours, sagas, case.concurrency))
        costs.append(passed(before, read(meter), sagas))
    return Measured(
        case=case.name,
        concurrency=case.concurrency,
        journal="postgres" if case.postgres else "sqlite",
        ours_sagas_s=statistics.median(each.sagas_s for each in our_runs),
        bare_sagas_s=statistics.median(each.sagas_s for each in bare_runs),
        ratio=statistics.median(o.sagas_s / b.sagas_s for o, b in zip(our_runs, bare_runs, strict=True)),
        p50_ms=statistics.median(percentile(each.latencies_ms, 50) for each in our_runs),
        p99_ms=statistics.median(percentile(each.latencies_ms, 99) for each in our_runs),
        bare_p50_ms=statistics.median(percentile(each.latencies_ms, 50) for each in bare_runs),
        bare_p99_ms=statistics.median(percentile(each.latencies_ms, 99) for each in bare_runs),
        ours_cpu_ms=statistics.median(each.cpu_ms for each in our_runs),
        bare_cpu_ms=statistics.median(each.cpu_ms for each in bare_runs),
        per_saga={name: statistics.median(each[name] for each in costs) for name in meter},
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of at least two values."""
    return statistics.quantiles(values, n=100)[percent - 1]


def configured(services: str, folder: Path, store: str = "", **more: Any) -> Path:
    """Write the configuration of an orchestrator on a fresh store, and its definitions."""
    for name, text in flows.DEFINITIONS.items():
        (folder / f"{name}.yaml").write_text(text)
    values = {
        "api": {"port": 0},
        "http": {"port": 0},
        **({"cluster": {"port": 0}} if store.startswith("postgres") else {}),
        "store": store or f"sqlite:{folder / 'saga.sqlite'}",
        "targets": {"epro": {"address": services, "idempotent": True, "barrier": True}},
        "definitions": [str(folder / f"{name}.yaml") for name in flows.DEFINITIONS],
        "log": {"level": "warning"},
        **more,
    }
    file = folder / "orchestrator.yaml"
    file.write_text(json.dumps(values))
    return file


async def run_case(case: Case, services: Listening, bare: Worker) -> Measured:
    """Measure one case on a fresh store."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR"))))
        meter: dict[str, Any] = {"services_cpu_s": lambda: cpu_s(services.pid)}
        store = ""
        if case.postgres:
            database, statements = stack.enter_context(closing(Database())), Statements()
            stack.enter_context(statements.counted())
            store = database.dsn
            meter |= {"database_cpu_s": database.cpu_s, "wal_bytes": database.wal_bytes}
            meter["statements"] = lambda: statements.count
        file = configured(services.address, folder, store)
        if case.api:
            server = stack.enter_context(program("orchestrator", "serve", "--config", str(file)))
            meter["server_cpu_s"] = lambda: cpu_s(server.pid)
            client = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            return await measure(case, flows.over_api(client), bare, meter)
        collector = stack.enter_context(program("tests.benchmarks.collector")).address if case.traced else ""
        running = await stack.enter_async_context(node(file, collector))
        meter |= {name: _reading(running, f"saga_journal_commit_streams_{of}") for name, of in _COMMITS.items()}
        return await measure(case, flows.embedded(running.orchestrator, failing=case.failing), bare, meter)


_COMMITS = {"commits": "count", "streams": "sum"}


def _reading(running: Node, name: str) -> Any:
    def reading() -> float:
        page = running.metrics.render()[1].decode()
        return next(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{name} "))

    return reading


@asynccontextmanager
async def node(file: Path, collector: str) -> AsyncGenerator[Node]:
    """Run an embedded orchestrator, traced where a collector is given."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}"} if collector else {}
    os.environ.update(environ)  # the exporter reads the process's own
    settings = Settings.model_validate(json.loads(file.read_text()))  # noqa: ASYNC240  # before anything is measured
    try:
        async with open_node(settings, environ=environ) as running:
            if running.sharing is not None:
                await running.sharing.membership.joined()
            yield running
    finally:
        for name in environ:
            del os.environ[name]


def show(rows: list[Measured]) -> None:
    """Print the table of performance figures."""
    headings = ("case", "C", "ours/s", "bare/s", "ratio", "p50 ms", "bare p50", "p50 ratio", "p99 ms")
    costs = ("CPU ms over bare", "database CPU ms", "commits", "statements", "log KB")
    table = Table(title="sagas per second beside the bare client of the same run; costs are per saga")
    for heading in (*headings, *costs):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row in rows:
        table.add_row(
            row.case,
            str(row.concurrency),
            f"{row.ours_sagas_s:,.0f}",
            f"{row.bare_sagas_s:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.p50_ms:.1f}",
            f"{row.bare_p50_ms:.1f}",
            f"{row.p50_ms / row.bare_p50_ms:.2f}",
            f"{row.p99_ms:.1f}",
            f"{row.ours_cpu_ms - row.bare_cpu_ms:.2f}",
            *_costs(row.per_saga),
        )
    Console(width=160).print(table)


def _costs(per_saga: dict[str, float]) -> list[str]:
    shapes = (("database_cpu_s", 1e3, 2), ("commits", 1, 2), ("statements", 1, 2), ("wal_bytes", 1e-3, 1))
    return [f"{per_saga[name] * factor:.{digits}f}" if name in per_saga else "" for name, factor, digits in shapes]


async def main(wanted: str) -> None:
    """Run the wanted cases one after the other."""
    rows: list[Measured] = []
    with (
        program("tests.benchmarks.stubs") as services,
        closing(Worker("tests.benchmarks.bare", services.address)) as bare,
    ):
        for case in CASES:
            if case.is_meant(wanted):
                print(f"{case.name} at C={case.concurrency} …", file=sys.stderr)
                rows.append(await run_case(case, services, bare))
    show(rows)
    keep_rows(SECTION, [asdict(row) for row in rows], ("case", "concurrency"))
