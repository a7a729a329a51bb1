"""Which types of objects grow: everything that the garbage collector knows, counted by type, again and again.

A cache that fills grows like a leak, until it is full; so does a process that is given more to do. What grew in one
count after the other, over many minutes, and never shrank in between, is worth a person's time. Each count comes right
after a collection, or garbage that waits for one would look like growth.

Counting is done by a thread of its own, so that sagas go on. It takes the interpreter for the collection and for one
list of all objects, and after that for some milliseconds at a time. What was loaded before the process began to serve
is not counted: it was set aside from the collector then, and does not grow.

Counting is dear, and anybody may ask for it. So it is done once at a time and once in a while, and whoever comes in
between is sent away at once, with when to come back: callers that waited here would keep the few places of this service
from everybody else.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from orchestrator.errors import Overloaded
from orchestrator.frozen import frozen
from orchestrator.limits import (
    OBJECTS_COUNT_S,
    OBJECTS_INTERVAL_S,
    OBJECTS_SLICE,
    SUSPECT_OBJECTS,
    SUSPECT_OBJECTS_COUNTS,
    SUSPECT_OBJECTS_S,
    SUSPECT_OBJECTS_TIMES,
    SUSPECT_TYPES_MAX,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import Suspect


@frozen
class _Growth:
    """How a type has grown since it last did not."""

    since_s: float
    """By the clock that only runs forward."""
    before: int
    """Objects by then."""
    counts: int
    """In so many counts in a row there were more of them."""
    now: int


class ObjectCounts:
    """Counts, and remembers what grew from one count to the next."""

    def __init__(self, clock: Clock, counting: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Begin with none: the first count is what later ones are held against. Each is made inside `counting()`."""
        self._clock = clock
        self._around = counting
        self._counting: asyncio.Future[Mapping[str, int]] | None = None
        self._counted_s: float | None = None
        """When the last count began, by the clock that only runs forward."""
        self._growths: Mapping[str, _Growth] = {}

    async def grown(self) -> Sequence[Suspect]:
        """Count, and return the types that keep growing, those first that grew by most.

        Raise `Overloaded` where they are being counted, or were a short while ago.
        """
        before_s, now_s = self._counted_s, self._clock.monotonic()
        self._refuse_too_many(now_s)
        self._counted_s = now_s
        self._counting = asyncio.get_running_loop().run_in_executor(None, self._count)
        # Whoever asked may leave; the thread cannot, and there must not be two.
        counts = await asyncio.shield(self._counting)
        self._growths = {name: self._growth(name, count, before_s, now_s) for name, count in counts.items()}
        return self._told(now_s)

    def _count(self) -> Mapping[str, int]:
        with self._around():
            return _counted()

    def _refuse_too_many(self, now_s: float) -> None:
        if self._counting is not None and not self._counting.done():
            message = f"the objects are being counted already; ask again in {OBJECTS_COUNT_S:.0f} s, or without them"
            raise Overloaded("OBJECTS_COUNTED", message, OBJECTS_COUNT_S)
        if self._counted_s is not None and (left_s := self._counted_s + OBJECTS_INTERVAL_S - now_s) > 0.0:
            message = (
                f"the objects were counted {now_s - self._counted_s:.0f} s ago, and that is done every"
                f" {OBJECTS_INTERVAL_S:.0f} s at most; ask again in {left_s:.0f} s, or without them"
            )
            raise Overloaded("OBJECTS_COUNTED", message, left_s)

    def _growth(self, name: str, count: int, before_s: float | None, now_s: float) -> _Growth:
        if before_s is None:
            return _Growth(since_s=now_s, before=count, counts=0, now=count)
        last = self._growths.get(name) or _Growth(since_s=before_s, before=0, counts=0, now=0)
        if count <= last.now:
            return _Growth(since_s=now_s, before=count, counts=0, now=count)
        return _Growth(since_s=last.since_s, before=last.before, counts=last.counts + 1, now=count)

    def _told(self, now_s: float) -> Sequence[Suspect]:
        grown = [
            (growth.now - growth.before, name, growth)
            for name, growth in self._growths.items()
            if growth.counts >= SUSPECT_OBJECTS_COUNTS
            and now_s - growth.since_s >= SUSPECT_OBJECTS_S
            and growth.now - growth.before >= SUSPECT_OBJECTS
            and growth.now >= growth.before * SUSPECT_OBJECTS_TIMES
        ]
        grown.sort(key=lambda each: (-each[0], each[1]))
        return [
            Suspect(
                kind="object",
                name=name,
                count=growth.now,
                why=f"{more:,} more than {(now_s - growth.since_s) / 60:.0f} min ago, and more in each of"
                f" {growth.counts} counts since: it may be a leak, more to do, or a cache that is not full yet; see"
                " whether it ends",
            )
            for more, name, growth in grown[:SUSPECT_TYPES_MAX]
        ]


def _counted() -> Mapping[str, int]:
    gc.collect()
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
