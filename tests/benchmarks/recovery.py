"""How long it takes until everything goes on, after `saga serve` died: on real processes, on an SQLite file.

A process is given 2,000 sagas, each parked in a call that nobody answers, and is killed with SIGKILL. Then the services
answer at once again, and the clock runs from the start of the next process on the same file until the last saga is
done: Python's own start, definitions, recovery, the calls that were open asked again, and what follows them.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import grpc

from orchestrator.bootstrap.clock import wall_clock
from tests.benchmarks import flows
from tests.benchmarks.failover import Gate
from tests.benchmarks.kept import IS_SMOKE, ROUNDS
from tests.benchmarks.programs import Worker, cpu_s
from tests.benchmarks.rounds import spread
from tests.benchmarks.shown import between, table
from tests.benchmarks.stage import Stage, stage

PARKED = 40 if IS_SMOKE else 2_000
STARTING = 64
"""Starts at once."""
LOOK_S = 0.05
DONE_S_MAX = 60.0
LISTENS, FIRST, LAST = "until it listens", "until the first saga is done", "until the last saga is done"
CPU = "processor time of the process"


async def measure() -> dict[str, Any]:
    """Kill and begin again, each round on a file of its own."""
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        async with AsyncExitStack() as stack:
            on = stack.enter_context(stage())
            gate = Gate(await stack.enter_async_context(grpc.aio.insecure_channel(on.services.address)))
            rounds.append(await _kill(on, on.client(), gate))
    return {"parked": PARKED, **{name: spread("s", [each[name] for each in rounds]) for name in rounds[0]}}


async def _kill(on: Stage, client: Worker, gate: Gate) -> dict[str, float]:
    """Park sagas, kill their process, and see the next one to the end of all of them."""
    file = on.folder() / "saga.sqlite"
    server = await asyncio.to_thread(on.server, f"sqlite:{file}")
    await gate.ask("Shut")
    await client.ask(
        {
            "address": server.address,
            "sagas": PARKED,
            "concurrency": STARTING,
            "is_named": False,
            "definition": flows.PARKED,
            "waits": False,
        }
    )
    async with asyncio.timeout(DONE_S_MAX):
        while int(await gate.ask("Parked")) < PARKED:  # a question a turn: the calls are on their way
            pass
    os.kill(server.pid, signal.SIGKILL)
    await gate.ask("Open")
    began_at = wall_clock()
    heir = await asyncio.to_thread(on.server, f"sqlite:{file}")
    listened_at = wall_clock()
    first_at, last_at = await _done(file)
    return {
        LISTENS: listened_at - began_at,
        FIRST: first_at - began_at,
        LAST: last_at - began_at,
        CPU: cpu_s(heir.pid),
    }


async def _done(file: Path) -> tuple[float, float]:
    """Wait until every saga has ended well; return when the first and the last had, as they have it themselves."""
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    completed = "SELECT count(*), min(ended_at), max(ended_at) FROM sagas WHERE status = 'COMPLETED'"
    try:
        async with asyncio.timeout(DONE_S_MAX):
            while True:
                ((count, first_at, last_at),) = connection.execute(completed).fetchall()
                if count == PARKED:
                    return float(str(first_at)), float(str(last_at))
                await asyncio.sleep(LOOK_S)  # poll: a fact of another process
    finally:
        connection.close()


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    rows = [(name, between(took, "s")) for name, took in figures.items() if name != "parked"]
    return table((f"{figures['parked']:,} parked sagas, killed, begun again", "s (of the rounds)"), rows)
