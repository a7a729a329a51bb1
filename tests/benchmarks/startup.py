"""How long it takes to begin: `saga --help`, and `saga serve` until it listens, on an empty store and on a full one."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.kept import ROUNDS
from tests.benchmarks.prefilled import MANY, work
from tests.benchmarks.programs import program
from tests.benchmarks.rounds import spread
from tests.benchmarks.shown import between, table
from tests.benchmarks.stage import stage

SAGA = Path(sys.executable).with_name("saga")
HELP, EMPTY, FULL = "`saga --help`", "`saga serve`, an empty store", "`saga serve`, the full store"


async def measure() -> dict[str, Any]:
    """Begin each in turn; a first round fills the system's caches."""
    took: dict[str, list[float]] = {HELP: [], EMPTY: [], FULL: []}
    with stage() as on:
        full = on.configured(f"sqlite:{work(*MANY)}")
        for number in range(-1, ROUNDS):
            ways = {
                HELP: await asyncio.to_thread(_help_s),
                EMPTY: await asyncio.to_thread(_serve_s, on.configured()),
                FULL: await asyncio.to_thread(_serve_s, full),
            }
            if number >= 0:
                for way, seconds in ways.items():
                    took[way].append(seconds)
    return {way: spread("s", seconds) for way, seconds in took.items()}


def _help_s() -> float:
    began = time.perf_counter()
    subprocess.run([SAGA, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _serve_s(config: Path) -> float:
    began = time.perf_counter()
    with program("orchestrator", "serve", "--config", str(config)):
        return time.perf_counter() - began


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    return table(("", "s (of the rounds)"), [(way, between(took, "s")) for way, took in figures.items()])
