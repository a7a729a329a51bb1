"""`python -m tests.benchmarks.items [COUNT] [fail]`: one `for_each` step over COUNT items, on an SQLite journal.

The hands answer at once, so that all of the time is the engine's. With `fail`, the step after the items is refused and
every item is undone. Printed are items per second by tenths, which shows anything that grows with what was done before,
the resident size beside an empty process, and how long the saga takes to be read back from its records.
"""

import asyncio
import cProfile
import os
import pstats
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

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
from tests.benchmarks.sleepers import resident_bytes
from tests.kit.machine import report
from tests.kit.parts import each, item_request
from tests.kit.runtime import ScriptedInvoker

COUNT = 100_000
PARALLEL = 64


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


async def life(file: Path, count: int, *, fails: bool) -> None:
    """Run the saga, then read it back."""

    def answer(call: CallRequest) -> Report | None:
        refused = fails and call.step == "b" and call.operation is Operation.FORWARD
        return report("FAILED_PRECONDITION" if refused else "OK")

    plans, progress = FixedPlans(plan_of(count)), Progress(count)
    journal = SqliteJournal.open(file)
    orchestrator = Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=plans,
        invoker=ScriptedInvoker(answer),
        clock=SystemClock(),
        observer=progress,
        on_failed=print,
    )
    before = resident_bytes()
    async with orchestrator.running():
        began = time.perf_counter()
        await orchestrator.start(StartRequest(definition="test", input=Payload("Input", b""), saga_id="s"))
        state = await orchestrator.wait("s", Until.TERMINAL, 0, 1e5)
        took_s = time.perf_counter() - began
        print(f"{state.status.value}: {count:,} items in {took_s:.1f} s, {count / took_s:,.0f} items/s")
        last = began
        for operation, at in progress.marks:
            print(f"  {operation:>12} {count / 10 / (at - last):10,.0f} items/s")
            last = at
        print(f"  {(resident_bytes() - before) / count:,.0f} bytes an item in memory, {state.version:,} records")
        del state
        orchestrator._directory._ended.clear()  # the state is to be read from the records
        began = time.perf_counter()
        await orchestrator.get(SagaId("s"))
        print(f"  read back in {time.perf_counter() - began:.1f} s")
    await journal.close()


def main() -> None:
    """Run it, profiled where `PROFILE` is set."""
    calm_collector()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        story = life(Path(folder) / "saga.sqlite", count, fails="fail" in sys.argv)
        if not os.environ.get("PROFILE"):
            runner.run(story)
            return
        profile = cProfile.Profile()
        profile.runcall(runner.run, story)
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
