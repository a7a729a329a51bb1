"""A type of which there are more and more objects, count after count, is suspect; and nobody waits for a count."""

import asyncio
import gc
import threading
from collections.abc import Callable, Sequence

import pytest

from orchestrator.diagnostics import objects
from orchestrator.diagnostics.objects import ObjectCounts
from orchestrator.errors import Overloaded
from orchestrator.limits import OBJECTS_INTERVAL_S, SUSPECT_OBJECTS, SUSPECT_OBJECTS_COUNTS, SUSPECT_OBJECTS_S
from orchestrator.ports.diagnostics import Suspect
from tests.unit.diagnostics.planted import FakeClock, RealClock

PACE_S = SUSPECT_OBJECTS_S / SUSPECT_OBJECTS_COUNTS
"""Between two counts: after as many as are asked for the time is up as well."""


class Leaked:
    """Kept by somebody."""

    def __init__(self) -> None:
        self.itself = self


class Steady(Leaked):
    """As many as before."""


async def counted(
    grow: Callable[[int], object], counts: int = SUSPECT_OBJECTS_COUNTS, pace_s: float = PACE_S
) -> Sequence[dict[str, Suspect]]:
    """Count, and again so many times, each time after something has happened and time has passed."""
    clock = FakeClock()
    counting = ObjectCounts(clock)
    assert await counting.grown() == []
    found: list[dict[str, Suspect]] = []
    for number in range(counts):
        grow(number)
        clock.ticks += pace_s
        found.append({each.name.rpartition(".")[2]: each for each in await counting.grown()})
    return found


async def test_what_grew_in_one_count_after_the_other_is_named_with_how_much() -> None:
    kept: list[Leaked] = [Steady() for _ in range(2 * SUSPECT_OBJECTS)]
    *earlier, last = await counted(lambda _: kept.extend(Leaked() for _ in range(SUSPECT_OBJECTS)))
    assert not any("Leaked" in each for each in earlier), "twice is no proof"
    suspect = last["Leaked"]
    assert (suspect.kind, suspect.count) == ("object", SUSPECT_OBJECTS_COUNTS * SUSPECT_OBJECTS)
    assert suspect.why.startswith(f"{suspect.count:,} more than 10 min ago, and more in each of 3 counts since")
    assert "Steady" not in last


async def test_what_fills_and_is_full_is_not_suspect() -> None:
    kept: list[Leaked] = []
    found = await counted(
        lambda number: kept.extend(Leaked() for _ in range(10 * SUSPECT_OBJECTS if number < 2 else 0)), counts=5
    )
    assert not any("Leaked" in each for each in found)


async def test_what_grows_for_a_short_while_is_not_suspect_however_often_it_is_counted() -> None:
    kept: list[Leaked] = []
    counts = int(SUSPECT_OBJECTS_S / OBJECTS_INTERVAL_S)
    *early, last = await counted(
        lambda _: kept.extend(Leaked() for _ in range(SUSPECT_OBJECTS)), counts=counts, pace_s=OBJECTS_INTERVAL_S
    )
    assert len(early) > SUSPECT_OBJECTS_COUNTS
    assert not any("Leaked" in each for each in early)
    assert "Leaked" in last


async def test_a_type_that_grew_by_few_or_by_a_small_part_is_not_suspect() -> None:
    few = SUSPECT_OBJECTS // SUSPECT_OBJECTS_COUNTS - 1
    kept: list[Leaked] = [Steady() for _ in range(20 * SUSPECT_OBJECTS)]

    def grow(_: int) -> None:
        kept.extend(Steady() for _ in range(SUSPECT_OBJECTS))  # three twentieths in all
        kept.extend(Leaked() for _ in range(few))

    assert not set((await counted(grow))[-1]) & {"Steady", "Leaked"}


async def test_garbage_that_waits_for_the_collector_is_not_suspect() -> None:
    def drop(number: int) -> None:
        for _ in range((number + 1) * SUSPECT_OBJECTS):
            Leaked()

    gc.disable()
    try:
        found = await counted(drop)
    finally:
        gc.enable()
    assert not any("Leaked" in each for each in found)


async def test_whoever_asks_while_objects_are_counted_is_sent_away_even_after_the_first_one_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> dict[str, int]:
        begun.set()
        go_on.wait()
        return {}

    monkeypatch.setattr(objects, "_counted", slow)
    clock = FakeClock()
    counts = ObjectCounts(clock)
    first = asyncio.get_running_loop().create_task(counts.grown())
    await asyncio.to_thread(begun.wait)
    clock.ticks += OBJECTS_INTERVAL_S
    for _ in range(2):
        with pytest.raises(Overloaded, match="being counted already") as refused:
            await counts.grown()
        assert refused.value.reason == "OBJECTS_COUNTED"
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    counting = counts._counting
    assert counting is not None
    go_on.set()
    await counting
    assert await counts.grown() == []


async def test_objects_are_counted_once_in_a_while_and_no_more_often() -> None:
    clock = FakeClock()
    counts = ObjectCounts(clock)
    await counts.grown()
    clock.ticks += OBJECTS_INTERVAL_S - 7.0
    with pytest.raises(Overloaded, match="ask again in 7 s") as refused:
        await counts.grown()
    assert refused.value.reason == "OBJECTS_COUNTED"
    assert refused.value.retry_after_s == pytest.approx(7.0)
    clock.ticks += 7.0
    await counts.grown()


async def test_the_loop_goes_on_while_objects_are_counted() -> None:
    counts, turns = ObjectCounts(RealClock()), 0
    counting = asyncio.get_running_loop().create_task(counts.grown())
    while not counting.done():
        turns += 1
        await asyncio.sleep(0)  # one turn
    assert turns > 1
    assert threading.current_thread() is threading.main_thread()
