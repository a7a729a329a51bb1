"""The orchestrator as a program embeds it, on a store of its own, traced where a collector is named.

Reads one JSON object a line and answers each with one, as `bare` does; `{"settle": true}` is answered when the
collector has taken every span. `python -m tests.benchmarks.embedded SERVICES [COLLECTOR]`.
"""

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import uvloop

from orchestrator.bootstrap import Node, calm_collector
from orchestrator.journal.sqlite import SqliteJournal
from tests.benchmarks import flows
from tests.benchmarks.rounds import run
from tests.benchmarks.sagas import configured, node

LOOK_S = 0.02


async def main(services: str, collector: str = "") -> None:
    """Serve rounds until the input ends."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        async with node(configured(services, Path(folder)), collector) as running:
            flow = flows.embedded(running.orchestrator, failing=False)
            print("listening", services)
            sys.stdout.flush()
            while line := await asyncio.to_thread(sys.stdin.readline):
                wanted = json.loads(line)
                if wanted.get("settle"):
                    answer = {"position": await _settled(running)}
                else:
                    answer = asdict(await run(flow, wanted["sagas"], wanted["concurrency"]))
                print(json.dumps(answer))
                sys.stdout.flush()


async def _settled(running: Node) -> int:
    """Wait until every span of what is recorded has left."""
    assert isinstance(running.store, SqliteJournal)
    last = await running.store.last_position()
    while running.tracing is not None and running.tracing.position() < last:  # noqa: ASYNC110  # leaving tells nobody
        await asyncio.sleep(LOOK_S)  # poll: the collector, which has all of it some time
    return last


if __name__ == "__main__":
    calm_collector()  # as `saga serve` does
    uvloop.run(main(*sys.argv[1:]))
