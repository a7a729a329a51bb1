"""How long sagas stand still when their process dies, or leaves: on real processes, by the facts in the database.

A process is given 2,000 sagas, each parked in a call that nobody answers, and is killed with SIGKILL. The clock runs
until the other process owns all shards, and until all sagas are done there. Then one leaves under load, with SIGTERM.
"""

import signal
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc

from orchestrator.bootstrap.clock import elapsed
from orchestrator.limits import LEASE_S_DEFAULT, LEASE_S_MIN
from tests.benchmarks import flows
from tests.benchmarks.kept import IS_SMOKE, ROUNDS
from tests.benchmarks.nodes import STOP_S_MAX, Nodes, cluster, until
from tests.benchmarks.programs import Worker
from tests.benchmarks.shown import table
from tests.benchmarks.stage import stage

PARKED = 40 if IS_SMOKE else 2_000
KILLS = min(ROUNDS, 3)
"""For each length of a lease; a few seconds each."""
STARTING, WORKING = 64, 16
"""Clients at once that start what is parked, and that work while one leaves."""


class Gate:
    """What the parked calls wait at."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def ask(self, what: str) -> bytes:
        """Shut it, open it, or count who waits."""
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/bench.Gate/{what}")
        return await ask(b"")


async def measure() -> dict[str, Any]:
    """Measure each length of a lease."""
    figures: dict[str, Any] = {"parked": PARKED, "killed": [], "left": []}
    async with AsyncExitStack() as stack:
        on = stack.enter_context(stage())
        services, client = on.services, on.client()
        gate = Gate(await stack.enter_async_context(grpc.aio.insecure_channel(services.address)))
        for lease_s in (LEASE_S_DEFAULT, LEASE_S_MIN):
            async with cluster(services, lease_s) as nodes:
                await nodes.start("a")
                await nodes.start("b")
                await nodes.shared("a", "b")
                kills = [await _kill(nodes, client, gate, number) for number in range(KILLS)]
                leaves = [await _leave(nodes, client, number) for number in range(KILLS)]
            figures["killed"].append({"lease_s": lease_s, **_middle(kills)})
            figures["left"].append({"lease_s": lease_s, **_middle(leaves)})
    return figures


async def _kill(nodes: Nodes, client: Worker, gate: Gate, number: int) -> dict[str, float]:
    """Park sagas at one process, kill it, and start it again when all are done."""
    database = nodes.database
    before = database.number("SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL")
    await gate.ask("Shut")
    await client.ask(
        {
            "address": nodes.running["a"].address,
            "sagas": PARKED,
            "concurrency": STARTING,
            "is_named": False,
            "definition": flows.PARKED,
            "waits": False,
        }
    )
    while int(await gate.ask("Parked")) < PARKED:  # a question a turn: the calls are on their way
        assert nodes.running["a"].process is not None
        assert nodes.running["a"].process.returncode is None, nodes.running["a"].log[-2000:]
    await nodes.kill("a")
    killed = elapsed()
    await gate.ask("Open")
    owned = await nodes.shared("b")
    done = await until(
        lambda: database.number("SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL") >= before + PARKED
    )
    failed = database.number("SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL AND status <> 'COMPLETED'")
    assert not failed, f"{failed} sagas did not complete in round {number}"
    await nodes.start("a")
    await nodes.shared("a", "b")
    return {"owned_s": owned - killed, "done_s": done - killed, "work_s": done - owned}


async def _leave(nodes: Nodes, client: Worker, number: int) -> dict[str, float]:
    """Let one process leave while the other is asked for sagas of all shards."""
    client.tell(
        {
            "address": nodes.running["b"].address,
            "concurrency": WORKING,
            "is_named": True,
            "prefix": f"leave-{nodes.lease_s:g}-{number}",
            "until_told": True,
        }
    )
    busy = nodes.database.number("SELECT count(*) FROM sagas")
    await until(lambda: nodes.database.number("SELECT count(*) FROM sagas") > busy + 10 * WORKING)
    leaving = nodes.running.pop("a")
    told = elapsed()
    leaving.signal(signal.SIGTERM)
    handed = await nodes.shared("b")
    await leaving.ended(STOP_S_MAX)
    ended = elapsed()
    client.tell({})
    answer = await client.told()
    await nodes.start("a")
    await nodes.shared("a", "b")
    return {
        "handed_s": handed - told,
        "ended_s": ended - told,
        "longest_saga_s": max(answer["took_ms"]) / 1e3,
        "refused": sum(answer["refused"].values()),
    }


def _middle(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median and the longest of each."""
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return middle | {f"{name}_max": max(each[name] for each in rounds) for name in rounds[0]}


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    sagas = f"{figures['parked']:,.0f}"
    rows = [
        (f"killed, lease {row['lease_s']:g} s: all its shards are another's", *_both(row, "owned_s"))
        for row in figures["killed"]
    ]
    rows += [
        (f"... all of its {sagas} parked sagas are done there, lease {row['lease_s']:g} s", *_both(row, "done_s"))
        for row in figures["killed"]
    ]
    rows += [
        (f"... of which taking up and doing them, lease {row['lease_s']:g} s", *_both(row, "work_s"))
        for row in figures["killed"]
    ]
    left = figures["left"][0]
    rows += [
        ("drained under load: all its shards are another's", *_both(left, "handed_s")),
        ("... its process has ended", *_both(left, "ended_s")),
        ("... the longest of all sagas asked for meanwhile", *_both(left, "longest_saga_s")),
    ]
    return table(("from the signal until", "median", "longest"), rows)


def _both(row: dict[str, float], name: str) -> tuple[str, str]:
    return f"{row[name]:.2f} s", f"{row[f'{name}_max']:.2f} s"
