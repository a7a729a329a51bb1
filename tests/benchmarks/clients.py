"""A client of the gRPC API, a process of its own; it asks one address as often as it is told.

Reads one JSON object a line. `{"address": A, "sagas": N, "concurrency": C, "is_named": false}` is a round. With
`"until_told": true` it goes on until the next line, whatever that says. It answers with when each saga ended, by a
clock that all processes of a machine share, how long each took, and what was refused meanwhile: a client asks again.
`python -m tests.benchmarks.clients`.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from typing import Any

import grpc
import uvloop

from orchestrator.bootstrap.clock import elapsed
from tests.benchmarks import flows
from tests.benchmarks.flows import Flow
from tests.benchmarks.programs import cpu_s

AGAIN_S = 0.05
_NO_END = 10**9


class Client:
    """What is asked for, and what has come of it."""

    def __init__(self, flow: Flow, sagas: int) -> None:
        self._flow = flow
        self._left = sagas
        self.ended: list[float] = []
        self.took_ms: list[float] = []
        self.refused: Counter[str] = Counter()

    def stop(self) -> None:
        """Begin nothing new."""
        self._left = 0

    async def run(self, concurrency: int) -> None:
        """Keep so many sagas going."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(self._one_after_the_other())

    async def _one_after_the_other(self) -> None:
        while self._left > 0:
            self._left -= 1
            began = elapsed()
            try:
                await self._flow()
            except grpc.aio.AioRpcError as error:
                self.refused[error.code().name] += 1
                await asyncio.sleep(AGAIN_S)  # poll: the server, which said no
                continue
            self.ended.append(elapsed())
            self.took_ms.append((self.ended[-1] - began) * 1e3)


async def do(channel: grpc.aio.Channel, wanted: dict[str, Any]) -> dict[str, Any]:
    """Do a round."""
    flow = flows.over_api(
        channel,
        prefix=wanted.get("prefix", "") if wanted["is_named"] else None,
        definition=wanted.get("definition", flows.EPRO),
        waits=wanted.get("waits", True),
    )
    until_told = wanted.get("until_told", False)
    client = Client(flow, _NO_END if until_told else wanted["sagas"])
    began, cpu_before = elapsed(), cpu_s(os.getpid())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run(wanted["concurrency"]))
        if until_told:
            await asyncio.to_thread(sys.stdin.readline)
            client.stop()
    return {
        "began": began,
        "ended": client.ended,
        "took_ms": client.took_ms,
        "refused": client.refused,
        "cpu_s": cpu_s(os.getpid()) - cpu_before,
    }


async def main() -> None:
    """Serve rounds until the input ends."""
    channels: dict[str, grpc.aio.Channel] = {}
    print("ready")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        address = wanted["address"]
        if address not in channels:
            channels[address] = grpc.aio.insecure_channel(address)
        print(json.dumps(await do(channels[address], wanted)))
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
