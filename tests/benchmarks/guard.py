"""Holds what a saga costs to what it cost when somebody last looked: `guard.json`, which tests hold every commit to.

Counted work may be `ROOM` over its figure: it does not depend on the machine. What is measured may fall to `FLOOR` of
its figure: less cannot be told from noise in seconds (`floor.py`).

`python -m tests.benchmarks.guard` prints where both are. `--write` makes this the new figure, with all else
idle: after a change that is meant to cost more, and after one that made it cheaper, or the next loss hides in the gain.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.benchmarks.beside import Beside
from tests.benchmarks.database import Database
from tests.benchmarks.floor import PAIRS_MAX, PAIRS_MIN, chance_of_alarm, judged
from tests.benchmarks.rounds import Side
from tests.benchmarks.stage import stage

FILE = Path(__file__).with_name("guard.json")
ROOM = 0.03
"""Of what is counted; a saga's share of timers that belong to all of them is in it."""
ROOM_BYTES = 0.10
"""Of memory, and of what blocks are left: tables grow in leaps."""
BLOCKS_MAX = 2.0
"""Allocations left by a saga that has ended: not one, but for what the counting itself leaves."""
FLOOR = 0.85
SAGAS = 300
"""Of a round: half a second."""
ROUND_TRIPS_SAGAS, ROUND_TRIPS_TIMES = 5, 20
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Another minor version of Python makes other calls."""


def kept() -> dict[str, Any]:
    """Return the figures that hold."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def counted() -> dict[str, dict[str, float]]:
    """Count, in a process of its own where nothing else was imported, patched or left behind."""
    command = [sys.executable, "-m", "tests.benchmarks.counted"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": "0"})
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def over(limits: Mapping[str, Mapping[str, float]], counts: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what costs more than it may, a sentence each; what has no figure may cost nothing."""
    return [
        f"{name}, {how}: {count:,.1f}, at most {_most(name, figure):,.1f} ({figure:,.1f} when it was last written)"
        for how, found in counts.items()
        for name, count in found.items()
        if count > _most(name, figure := limits.get(how, {}).get(name, 0.0))
    ]


def _most(name: str, figure: float) -> float:
    if name == "blocks":
        return BLOCKS_MAX
    return figure * (1 + (ROOM_BYTES if name == "bytes_at_peak" else ROOM))


async def round_trips() -> float:
    """Return the statements of a saga on PostgreSQL, alone: the least of some batches, as timers only add."""
    with closing(Database()) as database, stage() as on:
        worker = on.embedded(database.dsn)
        wanted = {"sagas": ROUND_TRIPS_SAGAS, "concurrency": 1, "failing": False}
        runs = [await worker.ask(wanted) for _ in range(1 + ROUND_TRIPS_TIMES)]
        return min(float(each["counts"]["statements"]) for each in runs[1:])


async def pairs(figures: Mapping[str, float] | None) -> dict[str, list[float]]:
    """Return ratios of pairs to the bare client: of rates, and of processor time (bare's over ours).

    As many as it takes to tell both from their floors; without figures as many as there may be.
    """
    usual = Beside(concurrency=64)
    found: dict[str, list[float]] = {"ratio": [], "cpu_ratio": []}
    with stage() as on:
        sides = [
            Side(name=name, worker=worker, sagas=SAGAS, wanted=usual.wanted)
            for name, worker in (("bare", on.bare()), ("ours", on.embedded()))
        ]
        for side in sides:
            await side.turn(SAGAS)
        for number in range(PAIRS_MAX):
            turns = {side.name: await side.turn(SAGAS) for side in (sides if number % 2 else reversed(sides))}
            found["ratio"].append(turns["ours"].run.sagas_s / turns["bare"].run.sagas_s)
            found["cpu_ratio"].append(turns["bare"].cpu_ms / turns["ours"].cpu_ms)
            if figures and number + 1 >= PAIRS_MIN and all(_verdicts(figures, found).values()):
                break
    return found


def _verdicts(figures: Mapping[str, float], found: Mapping[str, list[float]]) -> dict[str, bool]:
    return {name: judged(ratios, FLOOR * figures[name]).is_decided for name, ratios in found.items()}


def lost(figures: Mapping[str, float], found: Mapping[str, list[float]]) -> list[str]:
    """Return which ratios are lost beyond doubt, a sentence each."""
    verdicts = {name: judged(ratios, FLOOR * figures[name]) for name, ratios in found.items()}
    return [
        f"{name}: between {of.low:.3f} and {of.high:.3f} by {len(found[name])} pairs, under its floor of {of.floor:.3f}"
        f" ({figures[name]:.3f} when it was last written)"
        for name, of in verdicts.items()
        if of.is_loss
    ]


def main() -> None:
    """Print, or write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.guard", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make today's figures those that hold")
    is_written = parser.parse_args().write
    counts, measured, spreads = counted(), dict[str, float](), dict[str, float]()
    for name, ratios in asyncio.run(pairs(None)).items():
        median, spread = statistics.median(ratios), statistics.stdev(map(math.log, ratios))
        measured[name], spreads[name] = round(median, 3), round(spread, 3)
        alarm = chance_of_alarm(median, FLOOR * median, spread)
        print(f"{name}: {median:.3f}, spread {spread:.3f}: a false alarm in {1 / max(alarm, 1e-15):.0e} runs")
    figures = {
        "python": PYTHON,
        "counted": counts,
        "round_trips": round(asyncio.run(round_trips()), 2),
        "measured": measured,
        "spread": spreads,
    }
    told = json.dumps(figures, indent=1) + "\n"
    print(told)
    if FILE.exists():
        for sentence in over(kept()["counted"], counts):
            print(f"over: {sentence}")
    if is_written:
        FILE.write_text(told, encoding="utf-8")
        print(f"written to {FILE}: say in the commit why")


if __name__ == "__main__":
    main()
