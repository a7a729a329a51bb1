"""What a saga that sleeps costs, and how late it wakes.

One process on an SQLite journal starts COUNT sagas that sleep for ever so long, then a thousand that are due within
ten seconds; a second process opens the same journal, as after a restart. Memory is the process's resident size after
a collection and `malloc_trim`, before and after.
"""

import asyncio
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.bootstrap import SystemClock, calm_collector
from orchestrator.ids import StepId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator, StartRequest
from orchestrator.saga import SagaState
from orchestrator.saga.plan import Plan, Sleep, Step, StepKind
from orchestrator.testing import FixedPlans
from orchestrator.values import Payload
from tests.benchmarks.kept import IS_SMOKE
from tests.benchmarks.shown import table
from tests.kit.runtime import ScriptedInvoker

COUNT = 2_000 if IS_SMOKE else 100_000
DUE = 100 if IS_SMOKE else 1_000
SPREAD_S = 1.0 if IS_SMOKE else 10.0
AHEAD_S = 6.0
"""Until the first is due: above what keeps a saga in memory."""
AT_ONCE = 256


def seconds(state_input: Payload) -> float:
    """Return how long a saga is to sleep: its input is the number."""
    return float(state_input.data)


PLAN = Plan(
    definition="test",
    revision="r1",
    input_type="Input",
    steps={
        StepId("z"): Step(
            id=StepId("z"),
            kind=StepKind.READ,
            needs=frozenset(),
            body=Sleep(duration=lambda facts: seconds(facts.input)),
        )
    },
    forward_s=1e8,
    compensation_s=60.0,
)


class Ends(Silence):
    """Notes how late each saga ended, until as many have as are awaited."""

    def __init__(self, clock: SystemClock, awaited: int) -> None:
        self.late_ms: list[float] = []
        self.all = asyncio.Event()
        self._awaited = awaited
        self._clock = clock

    def recorded(self, state: SagaState, records: object) -> None:
        if state.ended_at is not None:
            slept = state.steps[StepId("z")]
            due_at = slept.began_at + seconds(state.input)
            self.late_ms.append((self._clock.now() - due_at) * 1e3)
            if len(self.late_ms) == self._awaited:
                self.all.set()


def resident_bytes() -> int:
    """Return the resident size after giving back what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def put_together(file: Path, awaited: int) -> tuple[Orchestrator, SqliteJournal, Ends]:
    """Return an orchestrator on the file."""
    clock = SystemClock()
    ends = Ends(clock, awaited)
    journal = SqliteJournal.open(file)
    orchestrator = Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=FixedPlans(PLAN),
        invoker=ScriptedInvoker(lambda _call: None),
        clock=clock,
        observer=ends,
        on_failed=print,
    )
    return orchestrator, journal, ends


async def start(orchestrator: Orchestrator, durations: list[float]) -> None:
    """Start sagas that sleep so long each."""
    left = iter(durations)

    async def one_after_the_other() -> None:
        for sleep_s in left:
            request = StartRequest(definition="test", input=Payload("Input", f"{sleep_s:.3f}".encode()))
            await orchestrator.start(request)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one_after_the_other())


async def first_life(file: Path, count: int) -> dict[str, float]:
    """Start the sleepers and wake some."""
    orchestrator, journal, ends = put_together(file, DUE)
    async with orchestrator.running():
        await start(orchestrator, [1e6] * 1_000)  # what every process has once, whatever its sleepers
        before = resident_bytes()
        began = time.perf_counter()
        await start(orchestrator, [1e6] * count)
        took_s = time.perf_counter() - began
        grown = resident_bytes() - before
        active, tasks = orchestrator.stats().active_actors, len(asyncio.all_tasks())
        await start(orchestrator, [AHEAD_S + number * SPREAD_S / DUE for number in range(DUE)])
        await ends.all.wait()
        late = sorted(ends.late_ms)
    await journal.close()
    return {
        "sleepers": count,
        "starts_s": count / took_s,
        "bytes_each": grown / count,
        "active_actors": active,
        "tasks": tasks,
        "late_p50_ms": late[DUE // 2],
        "late_p99_ms": late[DUE * 99 // 100],
        "late_max_ms": late[-1],
    }


async def second_life(file: Path) -> dict[str, float]:
    """Open the journal of many sleepers, and wake one."""
    began = time.perf_counter()
    orchestrator, journal, ends = put_together(file, 1)
    async with orchestrator.running():
        ready_s = time.perf_counter() - began
        await start(orchestrator, [AHEAD_S])
        answered_s = time.perf_counter() - began
        await ends.all.wait()
        stats = orchestrator.stats()
        memory = resident_bytes()
    await journal.close()
    return {
        "restart_ready_ms": ready_s * 1e3,
        "restart_first_start_ms": answered_s * 1e3,
        "restart_taken_up": stats.recovered,
        "restart_late_ms": ends.late_ms[0],
        "restart_resident_mib": memory / 2**20,
    }


async def measure() -> dict[str, float]:
    """Run both lives, each in a process of its own."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        for which in ("first", "second"):
            command = [sys.executable, "-m", "tests.benchmarks.sleepers", which, f"{folder}/saga.sqlite"]
            done = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE)
            figures |= json.loads(done.stdout)
    return figures


def shown(figures: dict[str, float]) -> str:
    """Return the table."""
    late = ", ".join(f"{figures[f'late_{name}_ms']:.1f} ms" for name in ("p50", "p99", "max"))
    return table(
        (f"{figures['sleepers']:,} asleep", "figure"),
        [
            (f"starts, {AT_ONCE} at a time, in one process with their journal", f"{figures['starts_s']:,.0f} sagas/s"),
            ("resident memory for each sleeper, after a collection and `malloc_trim`", _bytes(figures["bytes_each"])),
            ("actors and tasks while they sleep", f"{figures['active_actors']:.0f}, {figures['tasks']:.0f}"),
            ("from due to recorded: p50, p99, longest", late),
            ("restart: journal open and runtime ready", f"{figures['restart_ready_ms']:.1f} ms"),
            ("... until the first start is answered", f"{figures['restart_first_start_ms']:.1f} ms"),
            ("... sagas read back", f"{figures['restart_taken_up']:.0f}"),
        ],
    )


def _bytes(count: float) -> str:
    return f"{count:,.0f} bytes"


if __name__ == "__main__":
    calm_collector()
    life = first_life(Path(sys.argv[2]), COUNT) if sys.argv[1] == "first" else second_life(Path(sys.argv[2]))
    print(json.dumps(asyncio.run(life)))
