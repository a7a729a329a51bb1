"""`make bench [CASE=postgres-64]`: tables on the screen and `build/bench.json`.

Without a case: one process beside the bare client, on every store. Only by name: `tracing` (untraced, traced, to a
collector that hangs); `scrape` (what `/metrics` costs); `cluster` (one process against two), `joining` (throughput
while one joins, leaves and dies), `failover`, `forwarding`, `capacity` (what one database carries), and `scale`, which
is these five. `ROUNDS` and `SAGAS` of the environment make it shorter or longer.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable

import uvloop

from orchestrator.bootstrap import calm_collector
from tests.benchmarks import capacity, cluster, failover, forwarding, joining, sagas, scrape, tracing

SCALE: dict[str, Callable[[], Awaitable[None]]] = {
    "cluster": cluster.main,
    "joining": joining.main,
    "failover": failover.main,
    "forwarding": forwarding.main,
    "capacity": capacity.main,
}
BESIDES: dict[str, Callable[[], Awaitable[None]]] = {"tracing": tracing.main, "scrape": scrape.main}


async def main(case: str) -> None:
    """Run what is wanted."""
    of_sagas = [f"{each.name}-{each.concurrency}" for each in sagas.CASES if each.is_meant(case)]
    by_name = {**SCALE, **BESIDES}
    named = [name for name in by_name if case == name or (case == "scale" and name in SCALE)]
    if not of_sagas and not named:
        known = ", ".join([*(f"{each.name}-{each.concurrency}" for each in sagas.CASES), *by_name, "scale"])
        sys.exit(f"no case {case!r}; there are {known}")
    calm_collector()  # as `saga serve` does
    if of_sagas:
        await sagas.main(case)
    for name in named:
        print(f"{name} …", file=sys.stderr)
        await by_name[name]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("case", nargs="?", default="", help="one case, e.g. epro or postgres-64; see above")
    uvloop.run(main(parser.parse_args().case))
