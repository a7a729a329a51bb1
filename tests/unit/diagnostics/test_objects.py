"""A type of which there are many more objects than last time is suspect."""

import asyncio
import threading

from orchestrator.diagnostics.objects import ObjectCounts
from orchestrator.limits import SUSPECT_OBJECTS


class Leaked:
    """Kept by somebody."""

    def __init__(self) -> None:
        self.itself = self


class Steady(Leaked):
    """As many as before."""


async def test_what_grew_since_the_last_count_is_named_with_how_many() -> None:
    counts = ObjectCounts()
    kept: list[Leaked] = [Steady() for _ in range(2 * SUSPECT_OBJECTS)]
    assert await counts.grown() == []
    kept += [Leaked() for _ in range(SUSPECT_OBJECTS)]
    found = {each.name: each for each in await counts.grown()}
    suspect = found[f"{__name__}.Leaked"]
    assert (suspect.kind, suspect.count) == ("object", SUSPECT_OBJECTS)
    assert suspect.why.startswith(f"{SUSPECT_OBJECTS:,} more than when they were counted last")
    assert f"{__name__}.Steady" not in found
    assert f"{__name__}.Leaked" not in {each.name for each in await counts.grown()}


async def test_a_type_that_grew_by_few_or_by_a_small_part_is_not_suspect() -> None:
    counts = ObjectCounts()
    kept: list[Leaked] = [Steady() for _ in range(20 * SUSPECT_OBJECTS)]
    await counts.grown()
    kept += [Steady() for _ in range(4 * SUSPECT_OBJECTS)]  # a fifth more
    kept += [Leaked() for _ in range(SUSPECT_OBJECTS - 1)]
    names = {each.name for each in await counts.grown()}
    assert not names & {f"{__name__}.Steady", f"{__name__}.Leaked"}


async def test_the_loop_goes_on_while_objects_are_counted() -> None:
    counts, turns = ObjectCounts(), 0
    counting = asyncio.get_running_loop().create_task(counts.grown())
    while not counting.done():
        turns += 1
        await asyncio.sleep(0)  # one turn
    assert turns > 1
    assert threading.current_thread() is threading.main_thread()
