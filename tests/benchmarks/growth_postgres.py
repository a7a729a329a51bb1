"""The lines of `growth` that a database bears, on PostgreSQL: what a saga costs the engine, and what the database.

Each place has a server of its own, so that its processor time is its own too. A store that has grown is the SQLite one
of as many sagas, poured over.
"""

from functools import partial
from typing import Any, Final

from tests.benchmarks import growth, prefilled
from tests.benchmarks.growth import FINISHED, PLACES, RUNNING, SLEEPING, Made, Make
from tests.benchmarks.pouring import pour
from tests.benchmarks.stage import Stage

NAME: Final = "growth-postgres"
_WHOSE: Final[dict[str, growth.Costs]] = {
    "engine": lambda turn: turn.cpu_ms,
    "PostgreSQL": lambda turn: turn.costs["database_cpu_s"] * 1e3,
}


async def _finished(on: Stage, count: int) -> Made:
    return await _poured(on, count, 0)


async def _sleeping(on: Stage, count: int) -> Made:
    return await _poured(on, 1, count)


async def _poured(on: Stage, finished: int, sleeping: int) -> Made:
    database = on.database()
    await pour(await prefilled.kept(finished, sleeping), database.dsn)
    return on.embedded(database.dsn), {"database_cpu_s": database.cpu_s}


async def _running(on: Stage, count: int) -> Made:
    database = on.database()
    return await growth.parked(on.embedded(database.dsn), count), {"database_cpu_s": database.cpu_s}


MAKERS: dict[str, Make] = {FINISHED: _finished, SLEEPING: _sleeping, RUNNING: _running}


def _row(line: str, whose: str) -> str:
    return f"{line}: {whose}"


LINES = tuple(_row(line, whose) for line in MAKERS for whose in _WHOSE)


async def prepare() -> None:
    """Have the SQLite stores ready."""
    for finished in PLACES[FINISHED]:
        await prefilled.kept(finished, 0)
    for sleeping in PLACES[SLEEPING]:
        await prefilled.kept(1, sleeping)


async def measure() -> dict[str, Any]:
    """Measure line after line."""
    figures: dict[str, Any] = {}
    for line, make in MAKERS.items():
        turns = await growth.of_processes(PLACES[line], make)
        figures |= {_row(line, whose): growth.points(PLACES[line], turns, cost) for whose, cost in _WHOSE.items()}
    return figures


shown = partial(growth.shown, case=NAME)
pictures = partial(growth.pictures, case=NAME)
