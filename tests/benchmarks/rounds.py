"""One round: so many sagas, so many at a time."""

import asyncio
import gc
import time
from dataclasses import dataclass

from tests.benchmarks.flows import Flow


@dataclass(frozen=True, slots=True)
class Run:
    """One round of one side."""

    sagas_s: float
    cpu_ms: float
    """CPU of the measured process per saga."""
    latencies_ms: list[float]


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
