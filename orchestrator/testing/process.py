"""A simulated process: the whole runtime, unchanged, on a disk, a network and a clock that fail."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol, TypeVar

from orchestrator.ports.journal import Journal
from orchestrator.ports.observer import Observer
from orchestrator.ports.ownership import Ownership, SoleOwnership, Tenant
from orchestrator.ports.plans import Plans
from orchestrator.runtime import Orchestrator
from orchestrator.testing.clocks import SimulatedClock, WallClock
from orchestrator.testing.disk import Disk, SimulatedJournal
from orchestrator.testing.fates import Faults, Kind
from orchestrator.testing.heed import Heed
from orchestrator.testing.loop import Life
from orchestrator.testing.network import Network, SimulatedInvoker

T = TypeVar("T")

GRACE_S = 10.0
"""How long a process that was told to stop lets calls end."""
TURNS_MEAN = 400
"""Of a life that is killed at an await: a saga of five steps takes about fifty turns."""


class ConnectionLost(Exception):
    """Nobody knows whether what was asked was done: the process died, or was not there."""


class Ground(Protocol):
    """What a process stands on: its store, its clock, and what of the store it may write."""

    clock: SimulatedClock
    is_ready: bool
    """It needs no look at anything before the process begins."""

    @property
    def journal(self) -> "Groups":
        """Return the store."""
        ...

    @property
    def ownership(self) -> Ownership:
        """Return what of the store is the process's."""
        ...

    async def ready(self) -> None:
        """Return when the process can begin."""
        ...

    def living(self, tenant: Tenant) -> AbstractAsyncContextManager[object]:
        """Return a context for the life of a process that runs the sagas of what is owned."""
        ...

    async def drain(self, orchestrator: Orchestrator, grace_s: float) -> None:
        """Have a runtime begin nothing new and end what it can; hand over what others may go on with."""
        ...

    def store(self) -> Journal:
        """Return where what has been left can be looked at, when the process has left."""
        ...


class Groups(Journal, Protocol):
    """A journal that counts."""

    @property
    def groups(self) -> int:
        """Return how many groups it was handed."""
        ...


class Alone:
    """A disk of one's own."""

    is_ready = True

    def __init__(self, disk: Disk, life: Life, wall: WallClock, faults: Faults, outside: Context) -> None:
        """Open the store; `outside` is the context of what no process's death ends."""
        self.clock = SimulatedClock(wall, faults.fates, life.name)
        self.journal = SimulatedJournal(disk, life, faults, outside)
        self.ownership = SoleOwnership(self.journal.epoch)

    async def ready(self) -> None:
        """Nothing is to be waited for."""

    def living(self, tenant: Tenant) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    async def drain(self, orchestrator: Orchestrator, grace_s: float) -> None:
        await orchestrator.drain(grace_s)

    def store(self) -> Journal:
        return self.journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all processes of a run share."""

    network: Network
    plans: Plans
    faults: Faults
    observer: Observer
    broken: list[str]
    """Violations are added."""


class Process:
    """One life, from its start to its end by whatever ends it."""

    def __init__(self, life: Life, ground: Ground, around: Around, *, turns_mean: int = TURNS_MEAN) -> None:
        """Put the runtime together; `start` runs it. `turns_mean`: about when it dies, where it is to die at a turn."""
        self.name = life.name
        self.life = life
        self._faults = around.faults
        self._turns_mean = turns_mean
        self._ground = ground
        self.is_ready = ground.is_ready
        self.journal = ground.journal
        self.invoker = SimulatedInvoker(around.network, life, ground.clock)
        self.heed = Heed(around.observer, self.invoker, life, around.broken)
        self.orchestrator = Orchestrator(
            journal=self.journal,
            ownership=ground.ownership,
            plans=around.plans,
            invoker=self.invoker,
            clock=ground.clock,
            observer=self.heed,
            on_failed=self._failed,
        )
        self.ended = asyncio.get_running_loop().create_future()
        """Done when the process is gone."""
        self._told_to_stop = asyncio.Event()
        self._asked: dict[asyncio.Future[object], None] = {}
        self.failure = ""
        self.life.on_death = self._died
        self.life.dies_at_turn = self._turn_of_death()

    def _turn_of_death(self) -> int | None:
        return self._faults.pass_of(Kind.KILL_TURN, self.name, self._turns_mean)

    def start(self) -> None:
        """Begin to run, in a context of its own."""
        asyncio.get_running_loop().create_task(self._live(), context=self.life.context, name=self.name)

    async def _live(self) -> None:
        await self._ground.ready()
        self.is_ready = True
        async with (
            self.orchestrator.running(),
            self._ground.living(Tenancy(self.orchestrator, self.heed, self._ground)),
        ):
            await self._told_to_stop.wait()
            if not self.failure:
                await self._ground.drain(self.orchestrator, GRACE_S)
        if not self.failure:
            await self.heed.check_left(self._ground.store())
        await self.invoker.close(0.0)
        self.life.on_death = lambda: None
        self.life.kill()
        self._is_gone()

    def stop(self) -> None:
        """Ask it to drain, as SIGTERM does; one that has not begun yet is gone at once."""
        self._told_to_stop.set()
        if not self.is_ready:
            self.life.kill()

    def _failed(self, why: str) -> None:
        self.failure = why
        self._told_to_stop.set()

    def _died(self) -> None:
        if self.life.turns == self.life.dies_at_turn:
            self._faults.note(Kind.KILL_TURN, self.name, self.life.turns)
        self._is_gone()

    def _is_gone(self) -> None:
        """Break the connections of whoever still waits for an answer."""
        waiting, self._asked = self._asked, {}
        for answer in waiting:
            if not answer.done():
                answer.set_exception(ConnectionLost(f"{self.name} is gone"))
        if not self.ended.done():
            self.ended.set_result(None)

    async def ask(self, work: Callable[[Orchestrator], Coroutine[None, None, T]]) -> T:
        """Ask the process for something, as a client of its API does; raise `ConnectionLost` where it dies over it."""
        if self.life.is_over or not self.is_ready:
            raise ConnectionLost(f"{self.name} is {'gone' if self.life.is_over else 'not there yet'}")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._asked[answer] = None  # type: ignore[index]  # of many types

        def told(done: asyncio.Task[T]) -> None:
            """Pass it on, where the connection still stands."""
            if answer.done() or done.cancelled():
                return
            error = done.exception()
            if error is None:
                answer.set_result(done.result())
            else:
                answer.set_exception(error)

        serving = loop.create_task(work(self.orchestrator), context=self.life.context, name="request")
        serving.add_done_callback(told, context=self.life.context)
        serving.add_done_callback(_heard)
        try:
            return await answer
        finally:
            self._asked.pop(answer, None)  # type: ignore[arg-type]  # as above
            if not self.life.is_over:
                serving.cancel()  # its client has gone away


class Tenancy:
    """`Tenant`: passes on to a process's runtime what comes and goes, and looks whether it has heeded everything."""

    def __init__(self, orchestrator: Orchestrator, heed: Heed, ground: Ground) -> None:
        """What a runtime knew of a shard that goes is nothing to go by when it comes back."""
        self._orchestrator = orchestrator
        self._heed = heed
        self._ground = ground

    def took(self, shards: Collection[int]) -> None:
        self._heed.forget()
        self._orchestrator.took(shards)

    async def leave(self, shards: Collection[int], grace_s: float) -> None:
        await self._orchestrator.leave(shards, grace_s)
        await self._heed.check_left(self._ground.store())
        self._heed.forget()

    def lost(self, shards: Collection[int]) -> None:
        self._orchestrator.lost(shards)
        self._heed.forget()


def _heard(done: asyncio.Task[T]) -> None:
    """Take note of an error that nobody is there to be told of."""
    if not done.cancelled():
        done.exception()
