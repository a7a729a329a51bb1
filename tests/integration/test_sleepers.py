"""Sleepers on a real store: nothing of them stays in memory, and the next process wakes them."""

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.limits import ENDED_KEPT_MAX, PASSIVATION_WAIT_S_MIN
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator, StartRequest, Until
from orchestrator.saga import SagaStatus
from orchestrator.saga.plan import Plan
from orchestrator.testing import FixedPlans
from orchestrator.testing.shorthand import plan
from orchestrator.values import Payload
from tests.kit.effort import Watch
from tests.kit.parts import sleep, wait
from tests.kit.runtime import ScriptedInvoker

pytestmark = pytest.mark.alone  # lateness and memory are measured

FOREVER = replace(plan(sleep("z", for_s=1e6), wait("w")), forward_s=1e8)
SHORT = replace(plan(sleep("z", for_s=PASSIVATION_WAIT_S_MIN + 1.0)), forward_s=1e8)
BYTES_EACH_MAX = 100
"""Python's own; what is left is the noise of caches that are full already."""


def orchestrator(journal: SqliteJournal, of: Plan) -> Orchestrator:
    return Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=FixedPlans(of),
        invoker=ScriptedInvoker(lambda _call: None),
        clock=SystemClock(),
        observer=Silence(),
        on_failed=print,
    )


async def start(of: Orchestrator, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await of.start(StartRequest(definition="test", input=Payload("Input", b""), saga_id=f"s{number}"))


def allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_a_sleeper_keeps_nothing_in_memory(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path / "saga.sqlite")
    runtime = orchestrator(journal, FOREVER)
    async with runtime.running():
        tracemalloc.start()
        await start(runtime, 2 * ENDED_KEPT_MAX)
        before = allocated()
        await start(runtime, 2 * ENDED_KEPT_MAX, first=2 * ENDED_KEPT_MAX)
        grown = allocated() - before
        tracemalloc.stop()
        assert runtime.stats().active_actors == 0
        assert grown / (2 * ENDED_KEPT_MAX) < BYTES_EACH_MAX
    await journal.close()


async def test_the_next_process_wakes_them_in_time_and_reads_no_other(tmp_path: Path) -> None:
    file = tmp_path / "saga.sqlite"
    journal = SqliteJournal.open(file)
    runtime = orchestrator(journal, SHORT)
    async with runtime.running():
        await start(runtime, 20)
    await journal.close()
    journal = SqliteJournal.open(file)
    runtime = orchestrator(journal, SHORT)
    async with runtime.running():
        assert runtime.stats().recovered == 0
        watch = Watch()
        for number in range(20):
            state = await runtime.wait(f"s{number}", Until.TERMINAL, 0, 30.0)
            assert state.status is SagaStatus.COMPLETED
            assert state.ended_at is not None
            late_s = state.ended_at - state.started_at - PASSIVATION_WAIT_S_MIN - 1.0
            assert late_s >= 0.0
            assert late_s - watch.starved_s() < 0.5, "0.1 is aimed at"
    await journal.close()
