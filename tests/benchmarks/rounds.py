"""Rounds: so many sagas, so many at a time; the sides of a comparison take turns, and medians are compared.

Every side is a process of its own, a `Worker`. In each round all sides do the same work, one after the other, in an
order that rotates, so that nobody always follows the same neighbour. Ratios are taken within a round, before the
median: what the machine has for others changes from minute to minute, and less from second to second.
"""

import asyncio
import gc
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.flows import Flow
from tests.benchmarks.programs import Meter, Worker, cpu_s, passed, read, rss_mib


@dataclass(frozen=True, slots=True)
class Run:
    """One round of one side, as its process tells it."""

    sagas_s: float
    cpu_ms: float
    """CPU of the measured process per saga."""
    latencies_ms: list[float]
    counts: dict[str, float] = field(default_factory=dict[str, float])
    """What it counted beside, per saga."""


async def run(flow: Flow, sagas: int, concurrency: int) -> Run:
    """Keep `concurrency` sagas going until `sagas` are done."""
    left = sagas
    latencies: list[float] = []

    async def one_after_the_other() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await flow()
            latencies.append((time.perf_counter() - began) * 1e3)

    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(one_after_the_other())
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Run(sagas / took, cpu / sagas * 1e3, latencies)


def told(answer: Any) -> Run:
    """Return the round that a worker told."""
    return Run(**answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Who takes part in a comparison."""

    name: str
    worker: Worker
    sagas: int
    wanted: Mapping[str, object]
    """What it is asked to do, beside the number of sagas."""
    meter: Meter = field(default_factory=dict[str, Callable[[], float]])
    """What else is spent in its turn: processor time of other processes, bytes of a log."""
    reads: Callable[[Any], Run] = told
    settles: bool = False
    """Whether its work goes on after its answer: it is asked until it has settled, within its turn."""
    holds: int = 0
    """The process whose memory is told; the worker's own where none is named."""
    stands_still: bool = False
    """Whether it is stopped while others have their turn, because it would work all the time."""

    async def turn(self, sagas: int) -> "Turn":
        """Do so many sagas."""
        if self.stands_still:
            os.kill(self.worker.pid, signal.SIGCONT)
        own, before = cpu_s(self.worker.pid), read(self.meter)
        done = self.reads(await self.worker.ask({**self.wanted, "sagas": sagas}))
        cpu_ms = done.cpu_ms
        if self.settles:
            await self.worker.ask({"settle": True})
            cpu_ms = (cpu_s(self.worker.pid) - own) / sagas * 1e3
        costs = passed(before, read(self.meter), sagas)
        if self.stands_still:
            os.kill(self.worker.pid, signal.SIGSTOP)
        return Turn(run=done, cpu_ms=cpu_ms, costs=costs, rss_mib=rss_mib(self.holds or self.worker.pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side did in one round, and what that cost others, per saga."""

    run: Run
    cpu_ms: float
    """Of its own process per saga, until it has settled."""
    costs: dict[str, float]
    rss_mib: float


Turns = Mapping[str, Sequence[Turn]]


async def in_turns(sides: Sequence[Side], rounds: int) -> Turns:
    """Let every side warm up, then let them take turns."""
    turns: dict[str, list[Turn]] = {side.name: [] for side in sides}
    for side in sides:
        await side.turn(max(side.sagas // 4, 1))
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", file=sys.stderr)
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            turns[side.name].append(await side.turn(side.sagas))
    return turns


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; of one value, that."""
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest, by name."""
    return {name: statistics.median(values), f"{name}_low": min(values), f"{name}_high": max(values)}


def compared(turns: Turns, base: str) -> dict[str, dict[str, Any]]:
    """Return each side's medians and spreads, and its ratios to the base within each round.

    `ratio` is of rates, `p50_ratio` of median times, `over_ms` the processor time of its own beyond the base's.
    """
    beside = turns[base]
    return {name: _summary(of_side, beside) for name, of_side in turns.items()}


def _summary(mine: Sequence[Turn], beside: Sequence[Turn]) -> dict[str, Any]:
    pairs = [(one.run, other.run) for one, other in zip(mine, beside, strict=True)]
    p50s = [(percentile(one.latencies_ms, 50), percentile(other.latencies_ms, 50)) for one, other in pairs]
    return {
        **spread("sagas_s", [each.run.sagas_s for each in mine]),
        **spread("ratio", [one.sagas_s / other.sagas_s for one, other in pairs]),
        **spread("p50_ms", [one for one, _ in p50s]),
        **spread("p50_ratio", [one / other for one, other in p50s]),
        "p99_ms": statistics.median(percentile(each.run.latencies_ms, 99) for each in mine),
        **spread("cpu_ms", [each.cpu_ms for each in mine]),
        **spread("cpu_ratio", [one.cpu_ms / other.cpu_ms for one, other in zip(mine, beside, strict=True)]),
        **spread("over_ms", [one.cpu_ms - other.cpu_ms for one, other in zip(mine, beside, strict=True)]),
        "rss_mib": max(each.rss_mib for each in mine),
        "per_saga": {
            **{name: statistics.median(each.costs[name] for each in mine) for name in mine[0].costs},
            **{name: statistics.median(each.run.counts[name] for each in mine) for name in mine[0].run.counts},
        },
    }
