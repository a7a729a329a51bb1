"""What tracing costs: the same sagas bare, untraced, traced, and traced to a collector that never answers.

Each side is a process of its own, and so is the collector; they take turns, and whoever traces has its spans taken
before the next one begins. The one whose collector hangs has filled its queue before the first round.
"""

import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import partial

from rich.console import Console
from rich.table import Table

from tests.benchmarks.kept import ROUNDS, SAGAS, keep
from tests.benchmarks.programs import Listening, Worker, cpu_s, passed, program, read
from tests.benchmarks.rounds import Run

CONCURRENCY = 64
SIDES = ("bare", "untraced", "traced", "hanging")
# More than fill the queue of spans, so that the reader stands still where nobody takes them.
FILL_SAGAS = 500


async def main() -> None:
    """Run the rounds, print a table and keep the figures."""
    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
    costs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        services = stack.enter_context(program("tests.benchmarks.stubs"))
        taking = stack.enter_context(program("tests.benchmarks.collector"))
        hanging = stack.enter_context(program("tests.benchmarks.collector", "--hang"))
        workers = {
            side: stack.enter_context(closing(worker)) for side, worker in _workers(services, taking, hanging).items()
        }
        for side, worker in workers.items():
            await worker.ask(_wanted(FILL_SAGAS))
            if side == "traced":
                await worker.ask({"settle": True})
        for number in range(ROUNDS):
            print(f"tracing: round {number + 1} of {ROUNDS} …", file=sys.stderr)
            first = number % len(SIDES)  # nobody always follows the same
            for side in (*SIDES[first:], *SIDES[:first]):
                worker = workers[side]
                meter = {"cpu_s": partial(cpu_s, worker.pid), "collector_cpu_s": partial(cpu_s, taking.pid)}
                before = read(meter)
                runs[side].append(Run(**await worker.ask(_wanted(SAGAS))))
                if side == "traced":
                    await worker.ask({"settle": True})
                costs[side].append(passed(before, read(meter), SAGAS))
    figures = {side: _figures(runs, costs, side) for side in SIDES}
    _show(figures)
    keep("tracing", figures)


def _workers(services: Listening, taking: Listening, hanging: Listening) -> Mapping[str, Worker]:
    return {
        "bare": Worker("tests.benchmarks.bare", services.address),
        "untraced": Worker("tests.benchmarks.embedded", services.address),
        "traced": Worker("tests.benchmarks.embedded", services.address, taking.address),
        "hanging": Worker("tests.benchmarks.embedded", services.address, hanging.address),
    }


def _wanted(sagas: int) -> dict[str, object]:
    return {"sagas": sagas, "concurrency": CONCURRENCY, "failing": False}


def _figures(runs: Mapping[str, list[Run]], costs: Mapping[str, list[dict[str, float]]], side: str) -> dict[str, float]:
    def over(other: str) -> float:
        pairs = zip(runs[side], runs[other], strict=True)
        return statistics.median(mine.sagas_s / theirs.sagas_s for mine, theirs in pairs)

    return {
        "sagas_s": statistics.median(each.sagas_s for each in runs[side]),
        "of_bare": over("bare"),
        "of_untraced": over("untraced"),
        "cpu_ms": statistics.median(each["cpu_s"] for each in costs[side]) * 1e3,
        "collector_cpu_ms": statistics.median(each["collector_cpu_s"] for each in costs[side]) * 1e3,
    }


def _show(figures: Mapping[str, Mapping[str, float]]) -> None:
    table = Table(title=f"what tracing costs, C={CONCURRENCY}")
    for heading in ("side", "sagas/s", "of bare", "of untraced", "CPU ms a saga", "of untraced", "collector CPU ms"):
        table.add_column(heading, justify="left" if heading == "side" else "right")
    for side, row in figures.items():
        table.add_row(
            side,
            f"{row['sagas_s']:,.0f}",
            f"{row['of_bare']:.2f}",
            f"{row['of_untraced']:.2f}",
            f"{row['cpu_ms']:.2f}",
            f"{row['cpu_ms'] / figures['untraced']['cpu_ms']:.2f}",
            f"{row['collector_cpu_ms']:.2f}",
        )
    Console(width=120).print(table)
