"""A live process, asked about itself: puts together what its parts say."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from heapq import nsmallest
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

from orchestrator.diagnostics.frames import threads
from orchestrator.diagnostics.objects import ObjectCounts
from orchestrator.diagnostics.suspects import Suspicion, crowds, descriptors
from orchestrator.diagnostics.waiting import Waiting
from orchestrator.limits import DUMP_SLICE
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import (
    Acting,
    ActorFacts,
    CallFacts,
    Calling,
    Counting,
    Dump,
    Figure,
    Profile,
    StallFacts,
)

_Facts = TypeVar("_Facts")


class Sampling(Protocol):
    """Who samples where the event loop's thread is."""

    async def sample(self, seconds: float, hz: float) -> Profile:
        """Do so; raise `Overloaded` where somebody else has it done now."""
        ...


class Stalling(Protocol):
    """Who noticed that the event loop was held up."""

    @property
    def total(self) -> int:
        """Return how often, since the process began."""
        ...

    @property
    def latest(self) -> Sequence[StallFacts]:
        """Return the latest, newest first."""
        ...

    def counting(self) -> AbstractContextManager[None]:
        """Know that all objects are counted while the block runs."""
        ...


class LiveProcess:
    """`ports.diagnostics.Diagnostics` of the process it runs in."""

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        acting: Acting,
        calling: Calling,
        counting: Counting,
        sampler: Sampling,
        stalls: Stalling | None = None,
    ) -> None:
        """Take the parts; nothing is looked at before somebody asks. Without `stalls` nobody watches for any."""
        self.name = name
        self.begun_at = clock.now()
        self._clock = clock
        self._acting = acting
        self._calling = calling
        self._counting = counting
        self._sampler = sampler
        self._stalls = stalls
        self._objects = ObjectCounts(clock, nullcontext if stalls is None else stalls.counting)

    def figures(self, prefixes: Sequence[str]) -> Sequence[Figure]:
        wanted = tuple(prefixes) or ("",)
        return [figure for figure in self._counting.figures() if figure.name.startswith(wanted)]

    async def dump(self, limit: int, *, objects: bool = False) -> Dump:
        grown = await self._objects.grown() if objects else ()  # first: most who ask are sent away
        at = self._clock.now()
        suspicion = Suspicion(at)
        actors = _Kept(limit, _fullest_then_oldest)
        timers = 0
        async for some_actors in _slices(self._acting.actors()):
            actors.add(some_actors)
            for actor in some_actors:
                timers += actor.timers
                suspicion.actor(actor)
        calls, by_target = _Kept(limit, _longest_overdue), Counter[str]()
        async for some_calls in _slices(self._calling.calls()):
            calls.add(some_calls)
            for call in some_calls:
                by_target[call.target] += 1
                suspicion.call(call)
        waiting = await _waiting()
        suspects = [*suspicion.told(), *crowds(waiting.kinds, calls.total), *descriptors()]
        return Dump(
            at=at,
            actors=actors.first,
            actors_total=actors.total,
            timers_total=timers,
            calls=calls.first,
            calls_total=calls.total,
            calls_by_target=by_target,
            tasks=waiting.fullest(limit),
            tasks_total=waiting.kinds.total(),
            stalls=() if self._stalls is None else self._stalls.latest[:limit],
            stalls_total=0 if self._stalls is None else self._stalls.total,
            suspects=[*suspects, *grown][:limit],
            threads=threads(limit),
        )

    async def profile(self, seconds: float, hz: float) -> Profile:
        return await self._sampler.sample(seconds, hz)


class _Kept(Generic[_Facts]):
    """The first of many, by a measure, and how many there were."""

    def __init__(self, limit: int, measure: Callable[[_Facts], tuple[float, ...]]) -> None:
        self._limit = limit
        self._measure = measure
        self.first: Sequence[_Facts] = ()
        self.total = 0

    def add(self, some: Sequence[_Facts]) -> None:
        self.total += len(some)
        self.first = nsmallest(self._limit, chain(self.first, some), key=self._measure)


def _fullest_then_oldest(actor: ActorFacts) -> tuple[float, ...]:
    return -actor.mailbox, actor.since_at


def _longest_overdue(call: CallFacts) -> tuple[float, ...]:
    return call.deadline_at, call.begun_at


async def _waiting() -> Waiting:
    """Look at every task but the one that looks."""
    waiting, looking = Waiting(), asyncio.current_task()
    async for tasks in _slices(iter(asyncio.all_tasks())):
        for task in tasks:
            if task is not looking:
                waiting.add(task)
    return waiting


async def _slices(facts: Iterator[_Facts]) -> AsyncIterator[Sequence[_Facts]]:
    """Yield what there is, a millisecond's worth at a time: sagas go on in between."""
    while some := tuple(islice(facts, DUMP_SLICE)):
        yield some
        await asyncio.sleep(0)  # one turn
