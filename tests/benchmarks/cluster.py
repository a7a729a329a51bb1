"""One process against two on one PostgreSQL, asked over the gRPC API by client processes.

Everything shares the machine's cores, so the rates say what the cores carry in all. What a second process is worth
where it has a core of its own follows from the processor time of each process per saga, which is measured too.
"""

import statistics
from typing import Any

from tests.benchmarks.kept import ROUNDS, SAGAS
from tests.benchmarks.nodes import Nodes, cluster
from tests.benchmarks.programs import Listening, Meter, Worker, cpu_s, passed, read
from tests.benchmarks.rounds import Run, percentile
from tests.benchmarks.shown import table
from tests.benchmarks.stage import stage

CONCURRENCY = 64
"""Of the bare client, and of all clients together."""
SIDES = ("one process", "two processes", "two processes, any id")


async def measure() -> list[dict[str, Any]]:
    """Take the sides in turn."""
    with stage() as on:
        bare, clients = on.bare(), [on.client() for _ in range(2)]
        async with cluster(on.services) as nodes:
            await nodes.start("a")
            await nodes.shared("a")
            await _ask(nodes, clients, SAGAS // 4, "warm")
            rounds = [await _round(nodes, bare, clients, number) for number in range(min(ROUNDS, 3))]
    return [_row(side, [each[side] for each in rounds]) for side in SIDES]


async def _round(nodes: Nodes, bare: Worker, clients: list[Worker], number: int) -> dict[str, dict[str, float]]:
    """Measure bare, one, two, and two whose clients name their sagas without knowing who owns them."""
    wanted = {"sagas": SAGAS, "concurrency": CONCURRENCY, "failing": False}
    beside = Run(**await bare.ask(wanted)).sagas_s
    found: dict[str, dict[str, float]] = {}
    found[SIDES[0]] = await _measured(nodes, clients, None)
    await nodes.start("b")
    await nodes.shared("a", "b")
    await _ask(nodes, clients, SAGAS // 4, f"warm-{number}")  # the second one is as fresh as its first saga
    found[SIDES[1]] = await _measured(nodes, clients, None)
    found[SIDES[2]] = await _measured(nodes, clients, f"any-{number}")
    await nodes.stop("b")
    await nodes.shared("a")
    return {side: {**each, "bare_sagas_s": beside, "ratio": each["sagas_s"] / beside} for side, each in found.items()}


async def _measured(nodes: Nodes, clients: list[Worker], prefix: str | None) -> dict[str, float]:
    meter = _meter(nodes, nodes.services, clients)
    before = read(meter)
    answers = await _ask(nodes, clients, SAGAS, prefix)
    costs = passed(before, read(meter), SAGAS)
    took = [ms for answer in answers for ms in answer["took_ms"]]
    whole_s = max(answer["ended"][-1] for answer in answers) - min(answer["began"] for answer in answers)
    return {
        "sagas_s": len(took) / whole_s,
        "p50_ms": percentile(took, 50),
        "p99_ms": percentile(took, 99),
        "refused": sum(sum(answer["refused"].values()) for answer in answers),
        **costs,
    }


async def _ask(nodes: Nodes, clients: list[Worker], sagas: int, prefix: str | None) -> list[Any]:
    """Let each client ask its own process, or both the only one."""
    addresses = [program.address for program in nodes.running.values()]
    for number, client in enumerate(clients):
        client.tell(
            {
                "address": addresses[number % len(addresses)],
                "sagas": sagas // len(clients),
                "concurrency": CONCURRENCY // len(clients),
                "is_named": prefix is not None,
                "prefix": f"{prefix}-{number}",
            }
        )
    return [await client.told() for client in clients]


def _meter(nodes: Nodes, services: Listening, clients: list[Worker]) -> Meter:
    return {
        "nodes_cpu_s": lambda: sum(cpu_s(program.pid) for program in nodes.running.values()),
        "database_cpu_s": nodes.database.cpu_s,
        "services_cpu_s": lambda: cpu_s(services.pid),
        "clients_cpu_s": lambda: sum(cpu_s(client.pid) for client in clients),
        "wal_bytes": nodes.database.wal_bytes,
        "transactions": lambda: nodes.database.number(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ),
    }


def _row(side: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "side": side,
        "concurrency": CONCURRENCY,
        **{name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
    }


def own_cores(rows: list[dict[str, Any]]) -> float:
    """Return two processes over one where each has a core of its own, and all else is elsewhere."""
    by_side = {row["side"]: row["nodes_cpu_s"] for row in rows}
    return float(2 * by_side[SIDES[0]] / by_side[SIDES[1]])


def shown(rows: list[dict[str, Any]]) -> str:
    """Return the table, and what follows from it."""
    told = table(
        ("", "sagas/s", "ratio to bare", "p50 ms", "p99 ms", "CPU ms: processes", "database", "services", "clients"),
        [
            (
                row["side"], f"{row['sagas_s']:,.0f}", f"{row['ratio']:.2f}", f"{row['p50_ms']:.0f}",
                f"{row['p99_ms']:.0f}",
                *(f"{row[f'{name}_cpu_s'] * 1e3:.2f}" for name in ("nodes", "database", "services", "clients")),
            )
            for row in rows
        ],
    )  # fmt: skip
    one, two, anywhere = (row["nodes_cpu_s"] for row in rows)
    return (
        f"{told}\n\nBy processor time a process carries {1 / one:,.0f} sagas/s on a core of its own where it is "
        f"alone, and {1 / two:,.0f} where it is one of two. Two on two free cores, with all else elsewhere, are then "
        f"{own_cores(rows):.2f} of one; {2 * one / anywhere:.2f} where clients ask either for any saga."
    )
