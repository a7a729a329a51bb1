"""The bare client, a process of its own with the settings Python gives to any program.

Reads one JSON object a line, `{"sagas": N, "concurrency": C, "failing": false}`, and answers each with the figures of a
round; `"definition"` names another saga than the usual one. `python -m tests.benchmarks.bare HOST:PORT`.
"""

import asyncio
import json
import sys
from dataclasses import asdict

import grpc
import uvloop

from tests.benchmarks import flows
from tests.benchmarks.rounds import run


async def main(address: str) -> None:
    """Serve rounds until the input ends."""
    async with grpc.aio.insecure_channel(address) as channel:
        print("listening", address)
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            definition = wanted.get("definition", flows.EPRO)
            if definition == flows.EPRO:
                flow = flows.bare(channel, failing=wanted["failing"])
            else:
                flow = flows.bare_long(channel, definition=definition)
            print(json.dumps(asdict(await run(flow, wanted["sagas"], wanted["concurrency"]))))
            sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
