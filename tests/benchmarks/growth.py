"""What a saga costs as the work grows, over decades of: finished, sleeping and running sagas, definitions, history.

Each line has a process for each of its places, and these take turns at the saga of five calls; the last line is one
saga that grows long. The cost is processor time of the engine's process, its client included, by which a busy
machine shows least. Ratios are to the first place of the line.
"""

import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tests.benchmarks import flows, plots, prefilled
from tests.benchmarks.beside import Beside
from tests.benchmarks.failover import Gate
from tests.benchmarks.items import life
from tests.benchmarks.kept import IS_SMOKE, ROUNDS
from tests.benchmarks.programs import Meter, Worker
from tests.benchmarks.rounds import Side, Turn, in_turns
from tests.benchmarks.shown import table
from tests.benchmarks.stage import Stage, stage

DECADES = 2 if IS_SMOKE else 5
"""Places of a line; a smoke run has the first ones."""
FINISHED, SLEEPING, RUNNING, DEFINITIONS, HISTORY = LINES = (
    "finished sagas in the store",
    "sleeping sagas in the store",
    "sagas running at once, each with an open call",
    "definitions loaded",
    "records of one saga",
)
PLACES: dict[str, Sequence[int]] = {
    FINISHED: [10**n for n in range(2, 7)][:DECADES],
    SLEEPING: [10**n for n in range(1, 6)][:DECADES],
    RUNNING: [10**n for n in range(5)][:DECADES],
    DEFINITIONS: [10**n for n in range(4)][:DECADES],
    HISTORY: [3, 33, 333, 3_333, 33_333][:DECADES],  # items, of three records each
}
LIVES_RECORDS = 30_000
"""Of short histories so many lives are run that they have some so many records in all."""
SMALL_MS = "records of one saga, ten of them"


async def prepare() -> None:
    """Have the stores ready."""
    for finished in PLACES[FINISHED]:
        await prefilled.fresh(finished, 0)
    for sleeping in PLACES[SLEEPING]:
        await prefilled.fresh(1, sleeping)


async def measure() -> dict[str, Any]:
    """Measure line after line."""
    figures = {line: points(PLACES[line], await of_processes(PLACES[line], make)) for line, make in MAKERS.items()}
    return {**figures, HISTORY: await _history()}


Made = tuple[Worker, Meter]
"""The process of a place, and what else is spent in its turn."""
Make = Callable[[Stage, int], Awaitable[Made]]
Costs = Callable[[Turn], float]


async def of_processes(places: Sequence[int], make: Make) -> list[Sequence[Turn]]:
    """Let a process for each place take turns; return those of each."""
    usual = Beside(concurrency=64)
    async with _gated() as on:
        made = [await make(on, place) for place in places]
        sides = [
            Side(name=str(place), worker=worker, sagas=usual.sagas, wanted=usual.wanted, meter={**on.meter(), **meter})
            for place, (worker, meter) in zip(places, made, strict=True)
        ]
        return list((await in_turns(sides, ROUNDS)).values())


def points(
    places: Sequence[int], turns: Sequence[Sequence[Turn]], cost_ms: Costs = lambda turn: turn.cpu_ms
) -> list[dict[str, float]]:
    """Return what a saga costs at each place, and its ratio to the first within each round."""
    spent = [[cost_ms(turn) for turn in of_place] for of_place in turns]
    return [
        {
            "place": place,
            "cpu_ms": statistics.median(mine),
            "ratio": statistics.median(one / other for one, other in zip(mine, spent[0], strict=True)),
        }
        for place, mine in zip(places, spent, strict=True)
    ]


@asynccontextmanager
async def _gated() -> AsyncGenerator[Stage]:
    """Give a stage whose services keep the calls of parked sagas open."""
    with stage() as on:
        async with grpc.aio.insecure_channel(on.services.address) as channel:
            await Gate(channel).ask("Shut")
            yield on


async def _finished(on: Stage, count: int) -> Made:
    return on.embedded(f"sqlite:{prefilled.work(count, 0)}"), {}


async def _sleeping(on: Stage, count: int) -> Made:
    return on.embedded(f"sqlite:{prefilled.work(1, count)}"), {}


async def _running(on: Stage, count: int) -> Made:
    return await parked(on.embedded(), count), {}


async def parked(worker: Worker, count: int) -> Worker:
    """Have so many sagas wait in an open call."""
    await worker.ask({"park": count})
    return worker


async def _definitions(on: Stage, count: int) -> Made:
    folder = on.folder()
    for number in range(count - 1):
        text = flows.DEFINITION.replace(f"saga: {flows.EPRO}", f"saga: other_{number}")
        (folder / f"other_{number}.yaml").write_text(text)
    (folder / f"{flows.EPRO}.yaml").write_text(flows.DEFINITION)
    return on.embedded(definitions=[str(folder)]), {}


MAKERS: dict[str, Make] = {
    FINISHED: _finished,
    SLEEPING: _sleeping,
    RUNNING: _running,
    DEFINITIONS: _definitions,
}


async def _history() -> list[dict[str, float]]:
    """Run sagas that grow long, without services; the cost is that of a record."""
    found: list[dict[str, float]] = []
    for items in PLACES[HISTORY]:
        times = max(1, min(LIVES_RECORDS // (3 * items), 20))
        lives = [await life(items, fails=False) for _ in range(times)]
        record_us = statistics.median(each["record_us"] for each in lives)
        found.append({"place": lives[0]["records"], "record_us": record_us})
    return [{**each, "ratio": each["record_us"] / found[0]["record_us"]} for each in found]


def shown(figures: dict[str, Any], case: str = "growth") -> str:
    """Return the table, under the pictures."""
    told = "\n".join(f"![{name}]({name})" for name in pictures(figures, case))
    rows = [
        (line, *(_cell(points[number]) if number < len(points) else "" for number in range(5)))
        for line, points in figures.items()
    ]
    headings = ("number of", *(f"{nth} place" for nth in ("first", "second", "third", "fourth", "fifth")))
    return f"{told}\n\n{table(headings, rows)}"


def _cell(point: dict[str, float]) -> str:
    cost = f"{point['cpu_ms']:.2f} ms" if "cpu_ms" in point else f"{point['record_us']:.0f} us a record"
    return f"{point['place']:,.0f}: {cost}, {point['ratio']:.2f}"


def pictures(figures: dict[str, Any], case: str = "growth") -> dict[str, str]:
    """Return the ratios to the first place of each line, and the processor time itself."""
    ratios = {line: [(point["place"], point["ratio"]) for point in points] for line, points in figures.items()}
    spent = {
        line if line != HISTORY else SMALL_MS: [
            (point["place"], point.get("cpu_ms", point.get("record_us", 0.0) / 100)) for point in points
        ]
        for line, points in figures.items()
    }
    return {
        f"{case}.svg": plots.growth(ratios, "what a saga costs, over what it costs at the first place", "number of"),
        f"{case}-cpu.svg": plots.growth(spent, "processor time of a saga of five calls, ms", "number of"),
    }
