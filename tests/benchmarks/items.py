"""One `for_each` step over very many items, on an SQLite journal, with hands that answer at once: all is the engine's.

Told are items per second, by tenths, which shows anything that grows with what was done before; memory beside the
process before; how late the event loop was; and how long the saga takes to be read back from its records. Undone means
that the step after the items is refused, so that every item is undone.
`python -m tests.benchmarks.items [COUNT] [fail]` is one such life under a profiler.
"""

import asyncio
import cProfile
import os
import pstats
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from orchestrator.bootstrap import SystemClock, calm_collector
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator, StartRequest, Until
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing import FixedPlans
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.benchmarks.kept import IS_SMOKE
from tests.benchmarks.rounds import percentile
from tests.benchmarks.shown import table
from tests.benchmarks.sleepers import resident_bytes
from tests.kit.machine import report
from tests.kit.parts import each, item_request
from tests.kit.runtime import ScriptedInvoker

COUNT = 2_000 if IS_SMOKE else 100_000
PARALLEL = 64
TICK_S = 0.005


async def measure() -> dict[str, Any]:
    """Run the items forward."""
    return await life(COUNT, fails=False)


async def measure_undone() -> dict[str, Any]:
    """Run them, and undo them all."""
    return await life(COUNT, fails=True)


def plan_of(count: int) -> Plan:
    """Return a saga of so many items, and a step after them."""
    items = each(step("c", idempotent=True, request=item_request), count, parallel=PARALLEL)
    return replace(plan(items, step("b", "c", idempotent=True)), forward_s=1e6, compensation_s=1e6)


class Progress(Silence):
    """Notes when each tenth of the items was begun, forward and backward."""

    def __init__(self, count: int) -> None:
        self.marks: list[tuple[str, float]] = []
        self._tenth = max(count // 10, 1)
        self._called = 0

    def called(self, call: CallRequest, report: Report) -> None:
        self._called += 1
        if self._called % self._tenth == 0:
            self.marks.append((call.operation.value, time.perf_counter()))

    def rates(self, began: float) -> dict[str, list[float]]:
        """Return items per second of each tenth, by what was done."""
        found: dict[str, list[float]] = {}
        for operation, at in self.marks:
            found.setdefault(operation, []).append(self._tenth / (at - began))
            began = at
        return found


async def life(count: int, *, fails: bool) -> dict[str, Any]:
    """Run the saga on a journal of its own, then read it back."""

    def answer(call: CallRequest) -> Report | None:
        refused = fails and call.step == "b" and call.operation is Operation.FORWARD
        return report("FAILED_PRECONDITION" if refused else "OK")

    progress = Progress(count)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        journal = SqliteJournal.open(Path(folder) / "saga.sqlite")
        orchestrator = Orchestrator(
            journal=journal,
            ownership=SoleOwnership(journal.epoch),
            plans=FixedPlans(plan_of(count)),
            invoker=ScriptedInvoker(answer),
            clock=SystemClock(),
            observer=progress,
            on_failed=print,
        )
        before = resident_bytes()
        async with orchestrator.running():
            late_ms: list[float] = []
            cpu, began = time.process_time(), time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                ticking = tasks.create_task(_tick(late_ms))
                await orchestrator.start(StartRequest(definition="test", input=Payload("Input", b""), saga_id="s"))
                state = await orchestrator.wait("s", Until.TERMINAL, 0, 1e5)
                ticking.cancel()
            took_s, spent_s = time.perf_counter() - began, time.process_time() - cpu
            figures = {
                "items": count,
                "status": state.status.value,
                "items_s": count / took_s,
                "cpu_us": spent_s / count * 1e6,
                "tenths": progress.rates(began),
                "records": state.version,
                "record_us": spent_s / state.version * 1e6,
                "bytes_each": (resident_bytes() - before) / count,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
                "late_p50_ms": percentile(late_ms or [0.0], 50),
                "late_p99_ms": percentile(late_ms or [0.0], 99),
                "late_max_ms": max(late_ms, default=0.0),
            }
            del state
            orchestrator._directory._ended.forget(SagaId("s"))  # the state is to be read from the records
            began = time.perf_counter()
            await orchestrator.get(SagaId("s"))
            figures["read_back_s"] = time.perf_counter() - began
        await journal.close()
    return figures


async def _tick(late_ms: list[float]) -> None:
    """Note how late the loop is, for ever."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK_S)  # poll: the loop itself, which is the thing measured
        late_ms.append((time.perf_counter() - began - TICK_S) * 1e3)


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    tenths = [
        (f"... {operation}, each tenth of them", f"{min(rates):,.0f} to {max(rates):,.0f} items/s")
        for operation, rates in figures["tenths"].items()
    ]
    return table(
        (f"{figures['items']:,} items, {figures['status']}", "figure"),
        [
            ("in all", f"{figures['items_s']:,.0f} items/s"),
            *tenths,
            (
                "processor time of an item, and of a record",
                f"{figures['cpu_us']:.0f} us, {figures['record_us']:.0f} us",
            ),
            ("records", f"{figures['records']:,}"),
            ("memory for each item, and the process's peak", _memory(figures)),
            ("the loop is late by: median, p99, longest", _late(figures)),
            ("read back from its records", f"{figures['read_back_s']:.1f} s"),
        ],
    )


def _memory(figures: dict[str, Any]) -> str:
    return f"{figures['bytes_each'] / 1e3:.1f} KB, {figures['peak_rss_mib']:,.0f} MiB"


def _late(figures: dict[str, Any]) -> str:
    return ", ".join(f"{figures[f'late_{name}_ms']:.1f} ms" for name in ("p50", "p99", "max"))


def main() -> None:
    """Run one life under a profiler."""
    calm_collector()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        profile = cProfile.Profile()
        print(shown(profile.runcall(runner.run, life(count, fails="fail" in sys.argv))))
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
