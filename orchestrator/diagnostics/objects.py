"""Which types of objects grow: everything that the garbage collector knows, counted by type, twice.

Counting is done by a thread of its own, so that sagas go on. It takes the interpreter for one list of all objects at
once, and after that for some milliseconds at a time. What was loaded before the process began to serve is not counted:
it was set aside from the collector then, and does not grow.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.limits import OBJECTS_SLICE, SUSPECT_OBJECTS, SUSPECT_OBJECTS_TIMES, SUSPECT_TYPES_MAX
from orchestrator.ports.diagnostics import Suspect


class ObjectCounts:
    """Remembers the last count."""

    def __init__(self) -> None:
        """Begin with none: the first count is what the second one is held against."""
        self._last: Mapping[str, int] | None = None
        self._lock = asyncio.Lock()

    async def grown(self) -> Sequence[Suspect]:
        """Count, and return the types of which there are many more than last time, those first that grew by most."""
        async with self._lock:  # two lists of all objects at once would be two too many
            now = await asyncio.to_thread(_counted)
            last, self._last = self._last, now
        if last is None:
            return []
        grown = [
            (count - last.get(name, 0), name, count)
            for name, count in now.items()
            if count - last.get(name, 0) >= SUSPECT_OBJECTS and count >= last.get(name, 0) * SUSPECT_OBJECTS_TIMES
        ]
        why = "{more:,} more than when they were counted last; under the same load that is a leak, so count again"
        return [
            Suspect(kind="object", name=name, count=count, why=why.format(more=more))
            for more, name, count in sorted(grown, reverse=True)[:SUSPECT_TYPES_MAX]
        ]


def _counted() -> Mapping[str, int]:
    counts: Counter[type] = Counter()
    everything = gc.get_objects()
    while everything:
        # The list is taken apart on the way: nothing is kept alive by being counted for longer than a slice.
        counts.update(map(type, everything[-OBJECTS_SLICE:]))
        del everything[-OBJECTS_SLICE:]
    named: Counter[str] = Counter()
    for kind, count in counts.items():
        named[f"{kind.__module__}.{kind.__qualname__}"] += count
    return named
