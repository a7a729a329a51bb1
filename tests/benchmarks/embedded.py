"""The orchestrator as a program embeds it, in a process of its own, traced where a collector is named.

Reads one JSON object a line and answers each with one, as `bare` does. `{"settle": true}` is answered when the
collector has taken every span; `{"park": N}` when so many sagas have begun that wait at the services' gate.
`python -m tests.benchmarks.embedded CONFIG [COLLECTOR]`.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import uvloop

from orchestrator.bootstrap import Node, calm_collector
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.runtime import StartRequest, retention
from orchestrator.values import Payload
from tests.benchmarks import flows
from tests.benchmarks.database import Statements
from tests.benchmarks.programs import Meter, passed, read
from tests.benchmarks.rounds import run
from tests.benchmarks.sagas import node

LOOK_S = 0.02
STARTING = 64
"""Parked sagas that are started at a time."""
FIRST_LOOK_S = 0.1
"""Until retention begins, where it is on; a bench does not wait for the usual minute."""
_COUNTED = {
    "commits": "saga_journal_commit_streams_count",
    "streams": "saga_journal_commit_streams_sum",
    "forgotten": "saga_forgotten_total",
}


async def main(config: str, collector: str = "") -> None:
    """Serve until the input ends."""
    setattr(retention, "RETENTION_INTERVAL_S", FIRST_LOOK_S)  # noqa: B010  # no setting
    async with node(Path(config), collector) as running:
        with ExitStack() as stack:
            statements = Statements()
            if not isinstance(running.store, SqliteJournal):
                stack.enter_context(statements.counted())
            meter: Meter = {
                **{name: _reading(running, of) for name, of in _COUNTED.items()},
                "statements": lambda: statements.count,
            }
            print("listening", config)
            sys.stdout.flush()
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await _answer(running, json.loads(line), meter)))
                sys.stdout.flush()


async def _answer(running: Node, wanted: dict[str, Any], meter: Meter) -> dict[str, Any]:
    if wanted.get("settle"):
        return {"position": await _settled(running)}
    if "park" in wanted:
        return {"parked": await _park(running, wanted["park"])}
    definition = wanted.get("definition", flows.EPRO)
    flow = flows.embedded(running.orchestrator, failing=wanted["failing"], definition=definition)
    before = read(meter)
    done = await run(flow, wanted["sagas"], wanted["concurrency"])
    return asdict(replace(done, counts=passed(before, read(meter), wanted["sagas"])))


def _reading(running: Node, name: str) -> Callable[[], float]:
    """Return what reads the sum of a metric over its labels."""

    def reading() -> float:
        page = running.metrics.render()[1].decode()
        found = [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    return reading


async def _settled(running: Node) -> int:
    """Wait until every span of what is recorded has left."""
    assert isinstance(running.store, SqliteJournal)
    last = await running.store.last_position()
    while running.tracing is not None and running.tracing.position() < last:  # noqa: ASYNC110  # leaving tells nobody
        await asyncio.sleep(LOOK_S)  # poll: the collector, which has all of it some time
    return last


async def _park(running: Node, count: int) -> int:
    """Begin so many sagas whose second call nobody answers yet."""
    left = iter(range(count))
    given = Payload("epro.v1.Report", flows.report(parked=True).SerializeToString())

    async def one_after_the_other() -> None:
        for _ in left:
            await running.orchestrator.start(StartRequest(definition=flows.PARKED, input=given))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(STARTING):
            tasks.create_task(one_after_the_other())
    return count


if __name__ == "__main__":
    calm_collector()  # as `saga serve` does
    uvloop.run(main(*sys.argv[1:]))
