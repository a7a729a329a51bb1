"""Throughput while a process joins, leaves and dies: sagas ended in each quarter of a second, as one client sees it.

The client asks one process, which stays, for sagas whose ids lie anywhere. It keeps so many going and no more: where
half of the shards have no owner, soon all of its sagas are there, and it stands still until somebody takes them over.
"""

import asyncio
import signal
import statistics
from collections.abc import Sequence
from typing import Any

from orchestrator.bootstrap.clock import elapsed
from tests.benchmarks import plots
from tests.benchmarks.kept import IS_SMOKE
from tests.benchmarks.nodes import STOP_S_MAX, Nodes, cluster
from tests.benchmarks.shown import table
from tests.benchmarks.stage import stage

BIN_S = 0.25
CONCURRENCY = 64
CALM_S = 2.0 if IS_SMOKE else 8.0
"""Between two events, and before the first: what a level is taken from."""
WARM_S = 1.0 if IS_SMOKE else 5.0
PICTURE = "joining.svg"
JOINS, LEAVES, BACK, DIES = EVENTS = ("starts", "is told to leave", "starts again", "is killed")


async def measure() -> dict[str, Any]:
    """Run the story."""
    with stage() as on:
        client = on.client()
        async with cluster(on.services) as nodes:
            first = await nodes.start("a")
            await nodes.shared("a")
            client.tell(
                {
                    "address": first.address,
                    "concurrency": CONCURRENCY,
                    "is_named": True,
                    "prefix": "j",
                    "until_told": True,
                }
            )
            marks = await _story(nodes)
            client.tell({})
            answer = await client.told()
    begin = answer["began"] + WARM_S
    rates = binned([at - begin for at in answer["ended"]])
    seen = {what: at - begin for what, at in marks.items()}
    return {
        "bin_s": BIN_S,
        "concurrency": CONCURRENCY,
        "rates": rates,
        "marks": seen,
        "refused": answer["refused"],
        "dips": dips(rates, seen),
    }


def shown(figures: dict[str, Any]) -> str:
    """Return the table, under the picture."""
    rows = [
        (
            f"a second process {what}", f"{dip['before_s']:,.0f}", f"{dip['after_s']:,.0f}", f"{dip['lowest_s']:,.0f}",
            f"{dip['below_80_percent_s']:.2f} s", f"{dip['below_half_s']:.2f} s",
        )
        for what, dip in figures["dips"].items()
    ]  # fmt: skip
    headings = ("event", "sagas/s before", "after", "lowest quarter of a second", "below 80 %", "below half")
    told = f"Requests refused meanwhile: {sum(figures['refused'].values())}."
    return f"![sagas ended per second]({PICTURE})\n\n{table(headings, rows)}\n\n{told}"


def pictures(figures: dict[str, Any]) -> dict[str, str]:
    """Return the picture."""
    title = f"sagas ended per second while a second process starts, leaves and dies (C={figures['concurrency']})"
    return {PICTURE: plots.series(figures["rates"], figures["bin_s"], figures["marks"], title)}


async def _story(nodes: Nodes) -> dict[str, float]:
    """Let the second process come, go, come again and die; return what happened when."""
    marks: dict[str, float] = {}
    await _calm(WARM_S + CALM_S)
    marks[JOINS] = elapsed()
    started = await nodes.start("b")
    marks["listens"] = elapsed()
    marks["has its half"] = await nodes.shared("a", "b")
    await _calm(CALM_S)
    marks[LEAVES] = elapsed()
    started.signal(signal.SIGTERM)
    marks["has given all"] = await nodes.shared("a")
    await started.ended(STOP_S_MAX)
    await _calm(CALM_S)
    marks[BACK] = elapsed()
    await nodes.start("b")
    marks["listens again"] = elapsed()
    marks["has its half again"] = await nodes.shared("a", "b")
    await _calm(CALM_S)
    marks[DIES] = elapsed()
    await nodes.kill("b")
    marks["the other has all"] = await nodes.shared("a")
    await _calm(CALM_S)
    return marks


async def _calm(seconds: float) -> None:
    await asyncio.sleep(seconds)  # poll: nothing, this is the time that is measured


def binned(ends: Sequence[float]) -> list[float]:
    """Return sagas per second, bin by bin, without the last bin, which is not whole."""
    counts = [0] * (int(max(ends) / BIN_S) + 1)
    for at in ends:
        if at >= 0:
            counts[int(at / BIN_S)] += 1
    return [count / BIN_S for count in counts[:-1]]


def dips(rates: Sequence[float], marks: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return for each event the levels around it, the lowest bin until the next event, and how long it was low.

    Low is against the lower of the two levels: fewer processes may carry less, and that is no dip.
    """
    calm = int(CALM_S / BIN_S)
    events = [what for what in marks if what in EVENTS]
    ends = [*(int(marks[what] / BIN_S) for what in events[1:]), len(rates)]
    found: dict[str, dict[str, float]] = {}
    for what, end in zip(events, ends, strict=True):
        at = int(marks[what] / BIN_S)
        before = statistics.median(rates[max(0, at - calm) : at])
        during = rates[at:end]
        after = statistics.median(during[-(calm // 2) :])
        level = min(before, after)
        found[what] = {
            "before_s": before,
            "after_s": after,
            "lowest_s": min(during),
            "below_80_percent_s": sum(rate < 0.8 * level for rate in during) * BIN_S,
            "below_half_s": sum(rate < 0.5 * level for rate in during) * BIN_S,
        }
    return found
