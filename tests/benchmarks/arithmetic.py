"""From what one saga costs to what ten thousand, a hundred thousand and a million a second need.

Measured is what a saga costs each part: processor time, log, disk. Assumed, by name, is what a machine has.
"""

import math
from collections.abc import Sequence
from typing import Any

from orchestrator.limits import LEASE_RENEWALS, LEASE_S_MAX, POSTGRES_READERS_MAX

Table = tuple[Sequence[str], list[Sequence[str]]]
RATES = (10_000, 100_000, 1_000_000)
USED = 0.7
"""Share of a core, or of a disk, that is planned for: past it queues grow."""
DATABASE_CORES = 16
DATABASE_LOG_BYTES_S = 300e6
"""What one database server has: cores that are not hyper-threads, and a log disk's sequential bytes per second."""
DATABASE_CONNECTIONS = 500
"""PostgreSQL's own; a pooler in front stretches it, as the store works through one."""
CONNECTIONS_EACH = POSTGRES_READERS_MAX + 2
SHARDS_EACH = 4
"""Shards for each process: what moves is small, and shares differ by a quarter at most."""
LONG_LEASE_S = LEASE_S_MAX
DAY_S = 86_400


def _costs(embedded: dict[str, Any], cluster: list[dict[str, Any]], capacity: dict[str, Any]) -> dict[str, float]:
    """Return what a saga costs, by the runs nearest to how a cluster works."""
    ours = embedded["sides"]["ours"]
    one, two, anywhere = cluster
    return {
        "embedded_cpu_s": ours["cpu_ms"] / 1e3,
        "node_cpu_s": one["nodes_cpu_s"],
        "peer_cpu_s": two["nodes_cpu_s"],
        "forwarding_cpu_s": anywhere["nodes_cpu_s"],
        "database_cpu_s": two["database_cpu_s"],
        "wal_bytes": two["wal_bytes"],
        "disk_bytes": sum(capacity["disk_bytes"].values()),
        "commits": ours["per_saga"]["commits"],
        "group": ours["per_saga"]["streams"] / ours["per_saga"]["commits"],
    }


def carries(embedded: dict[str, Any], cluster: list[dict[str, Any]], capacity: dict[str, Any]) -> Table:
    """Return what one of each carries."""
    costs = _costs(embedded, cluster, capacity)
    alone = max((row for row in capacity["appends"] if row["group"] == 1), key=lambda row: float(row["commits_s"]))
    disk = costs["disk_bytes"]
    best = max(capacity["appends"], key=lambda row: float(row["sagas_s"]))
    inside, peer, forwarding = (costs[f"{name}_cpu_s"] for name in ("embedded", "peer", "forwarding"))
    rows = [
        ("a core with a process, sagas asked for inside it", _ms(inside), _rate(inside)),
        ("a core with a process, asked over the API at the owner", _ms(peer), _rate(peer)),
        ("the same, asked at any of two", _ms(forwarding), _rate(forwarding)),
        ("a core of the database, under two processes", _ms(costs["database_cpu_s"]), _rate(costs["database_cpu_s"])),
        ("a core of the database, in its best groups", _ms(best["database_cpu_s"]), _rate(best["database_cpu_s"])),
        (
            "100 MB/s of the database's log",
            f"{costs['wal_bytes'] / 1e3:.1f} KB",
            f"{100e6 / costs['wal_bytes']:,.0f}",
        ),
        (
            "this machine's disk, a commit for each append",
            f"{alone['streams_s'] / alone['sagas_s']:.1f} commits",
            f"{alone['sagas_s']:,.0f}",
        ),
        ("1 TB of disk, sagas kept", f"{disk / 1e3:.1f} KB", f"{1e6 / disk:,.0f} million in all"),
    ]  # fmt: skip
    return ("what", "one saga costs", "sagas/s"), [list(row) for row in rows]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _rate(seconds: float) -> str:
    return f"{1 / seconds:,.0f}"


def arithmetic(embedded: dict[str, Any], cluster: list[dict[str, Any]], capacity: dict[str, Any]) -> Table:
    """Return what each rate needs."""
    costs = _costs(embedded, cluster, capacity)
    columns = [_needs(rate, costs) for rate in RATES]
    rows: list[Sequence[str]] = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return ("", *(f"{rate:,} sagas/s" for rate in RATES)), rows


def _needs(rate: int, costs: dict[str, float]) -> dict[str, str]:
    nodes = math.ceil(rate * costs["peer_cpu_s"] / USED)
    cores = rate * costs["database_cpu_s"] / USED
    log = rate * costs["wal_bytes"]
    wanted = {
        "processor": cores / DATABASE_CORES,
        "log": log / (DATABASE_LOG_BYTES_S * USED),
        "connections": nodes * CONNECTIONS_EACH / DATABASE_CONNECTIONS,
    }
    binding = max(wanted, key=lambda name: wanted[name])
    databases = math.ceil(max(wanted["processor"], wanted["log"], 1))
    members = math.ceil(nodes / databases)
    shards = members * SHARDS_EACH
    views = members * shards * 60 / (LONG_LEASE_S / LEASE_RENEWALS)
    return {
        "processes, a core each": f"{nodes:,}",
        "database cores": f"{math.ceil(cores):,}",
        "log": _bytes(log) + "/s",
        "group commits": f"{rate * costs['commits']:,.0f}/s of {costs['group']:.0f} appends",
        "databases": f"{databases:,}",
        "what binds them first": f"{binding} ({', '.join(f'{name} {value:.1f}' for name, value in wanted.items())})",
        "connections to each": f"{members * CONNECTIONS_EACH:,}",
        "views read from each, lease 60 s": _bytes(views) + "/s",
        "disk, if all is kept": _bytes(rate * costs["disk_bytes"] * DAY_S) + " a day",
    }


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1_000:  # the next unit reads better
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:,.1f} PB"
