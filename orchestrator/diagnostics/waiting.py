"""Where asyncio tasks stand, and how many at each place: a thousand that wait for the same thing are one line."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest

from orchestrator.diagnostics.frames import Place, places_awaited, shown
from orchestrator.ports.diagnostics import TaskFacts

_Spot = tuple[str, tuple[Place, ...]]
"""Name of the coroutine, and where it stands."""


class Waiting:
    """Tasks by where they stand. Give it all of them, then ask."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Counter[_Spot] = Counter()
        self._names: dict[_Spot, str] = {}
        self.kinds: Counter[str] = Counter()
        """Name of the coroutine -> how many tasks run it."""

    def add(self, task: asyncio.Task[object]) -> None:
        """Look where one stands; nothing is put into words yet, most of them stand where others do."""
        coroutine = task.get_coro()
        name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
        spot = (name, tuple(places_awaited(coroutine)))
        self.kinds[name] += 1
        self._counts[spot] += 1
        if spot not in self._names:
            self._names[spot] = task.get_name()

    def fullest(self, limit: int) -> Sequence[TaskFacts]:
        """Return the places, at most so many, where most stand first."""
        return [
            TaskFacts(name=self._names[spot], coroutine=spot[0], stack=shown(spot[1]), count=count)
            for spot, count in nsmallest(limit, self._counts.items(), key=lambda each: (-each[1], each[0][0]))
        ]
