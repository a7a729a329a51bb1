"""`make bench [CASE=epro]`: a table on the screen and `build/bench.json`."""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import uvloop
from rich.console import Console
from rich.table import Table

from orchestrator.bootstrap import Node, calm_collector, open_node
from orchestrator.config import Settings
from tests.benchmarks import flows
from tests.benchmarks.flows import Flow
from tests.benchmarks.rounds import Run, run

ROUNDS = 5
SAGAS_AT_ONE = 200
SAGAS = 1_500
OUT = Path("build/bench.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured against its bare twin."""

    name: str
    concurrency: int
    failing: bool = False
    traced: bool = False
    api: bool = False
    """Started by a client of the gRPC API; the server is a process of its own."""


CASES = (
    Case(name="epro", concurrency=1),
    Case(name="epro", concurrency=16),
    Case(name="epro", concurrency=64),
    Case(name="epro", concurrency=256),
    Case(name="failing", concurrency=64, failing=True),
    Case(name="traced", concurrency=64, traced=True),
    Case(name="api", concurrency=64, api=True),
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


class Bare:
    """The bare client in its own process, asked for a round at a time."""

    def __init__(self, address: str) -> None:
        arguments = [sys.executable, "-m", "tests.benchmarks.bare", address]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    async def run(self, case: Case, sagas: int) -> Run:
        """Let it do a round; this process is idle meanwhile."""
        wanted = {"sagas": sagas, "concurrency": case.concurrency, "failing": case.failing}
        return Run(**json.loads(await asyncio.to_thread(self._ask, json.dumps(wanted))))

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


async def measure(case: Case, ours: Flow, bare: Bare) -> Measured:
    """Take both sides in turn; the first round of each only warms up."""
    sagas = SAGAS_AT_ONE if case.concurrency == 1 else SAGAS
    await bare.run(case, sagas // 4)
    await run(ours, sagas // 4, case.concurrency)
    pairs = [(await bare.run(case, sagas), await run(ours, sagas, case.concurrency)) for _ in range(ROUNDS)]
    bare_runs, our_runs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Measured(
        case=case.name,
        concurrency=case.concurrency,
        journal="sqlite",
        ours_sagas_s=statistics.median(r.sagas_s for r in our_runs),
        bare_sagas_s=statistics.median(r.sagas_s for r in bare_runs),
        ratio=statistics.median(ours.sagas_s / bare.sagas_s for bare, ours in pairs),
        p50_ms=statistics.median(_percentile(r, 50) for r in our_runs),
        p99_ms=statistics.median(_percentile(r, 99) for r in our_runs),
        bare_p50_ms=statistics.median(_percentile(r, 50) for r in bare_runs),
        bare_p99_ms=statistics.median(_percentile(r, 99) for r in bare_runs),
        ours_cpu_ms=statistics.median(r.cpu_ms for r in our_runs),
        bare_cpu_ms=statistics.median(r.cpu_ms for r in bare_runs),
    )


def _percentile(of: Run, percent: int) -> float:
    return statistics.quantiles(of.latencies_ms, n=100)[percent - 1]


@contextmanager
def program(module: str, *arguments: str) -> Generator[str]:
    """Run a module that prints `listening HOST:PORT`, and give its address."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"{module} ended before it listened, with exit code {process.wait()}"
        yield said.split()[-1]
    finally:
        process.terminate()
        process.wait()


def configured(address: str, folder: Path) -> Path:
    """Write the configuration of an orchestrator on a fresh store, and its definition."""
    (folder / "epro_bench.yaml").write_text(flows.DEFINITION)
    values = {
        "api": {"port": 0},
        "http": {"port": 0},
        "store": f"sqlite:{folder / 'saga.sqlite'}",
        "targets": {"epro": {"address": address, "idempotent": True, "barrier": True}},
        "definitions": [str(folder / "epro_bench.yaml")],
    }
    file = folder / "orchestrator.yaml"
    file.write_text(json.dumps(values))
    return file


async def run_case(case: Case, address: str, bare: Bare) -> Measured:
    """Measure one case on a fresh store."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        file = configured(address, Path(name))
        if case.api:
            with program("orchestrator", "serve", "--config", str(file)) as server:
                async with grpc.aio.insecure_channel(server) as client:
                    return await measure(case, flows.over_api(client), bare)
        async with _collector(traced=case.traced) as collector, node(file, collector) as running:
            return await measure(case, flows.embedded(running.orchestrator, failing=case.failing), bare)


@asynccontextmanager
async def node(file: Path, collector: str) -> AsyncGenerator[Node]:
    """Run an embedded orchestrator, traced where a collector is given."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}"} if collector else {}
    os.environ.update(environ)  # the exporter reads the process's own
    settings = Settings.model_validate(json.loads(file.read_text()))  # noqa: ASYNC240  # before anything is measured
    try:
        async with open_node(settings, environ=environ) as running:
            yield running
    finally:
        for name in environ:
            del os.environ[name]


@asynccontextmanager
async def _collector(*, traced: bool) -> AsyncGenerator[str]:
    if not traced:
        yield ""
        return
    with program("tests.benchmarks.collector") as address:
        yield address


def show(rows: list[Measured]) -> None:
    """Print the table of performance figures."""
    table = Table(title="sagas per second beside the bare client of the same run")
    for heading in (
        "case",
        "C",
        "ours/s",
        "bare/s",
        "ratio",
        "p50 ms",
        "bare p50",
        "p50 ratio",
        "p99 ms",
        "CPU ms over bare",
    ):
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
        )
    Console(width=120).print(table)


async def main(case: str) -> None:
    """Run the wanted cases one after the other."""
    wanted = [each for each in CASES if case in {"", each.name, f"{each.name}-{each.concurrency}"}]
    if not wanted:
        sys.exit(f"no case {case!r}; there are {', '.join(f'{c.name}-{c.concurrency}' for c in CASES)}")
    rows: list[Measured] = []
    calm_collector()  # as `saga serve` does
    with program("tests.benchmarks.stubs") as address, closing(Bare(address)) as bare:
        for each in wanted:
            print(f"{each.name} at C={each.concurrency} …", file=sys.stderr)
            rows.append(await run_case(each, address, bare))
    show(rows)
    write(rows)


def write(rows: list[Measured]) -> None:
    """Leave the figures for programs."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(f"written to {OUT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("case", nargs="?", default="", help="one case, e.g. epro or epro-64; all where absent")
    uvloop.run(main(parser.parse_args().case))
