"""A simulated process: the whole runtime, unchanged, on a disk, a network and a clock that fail."""

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import TypeVar
from uuid import UUID

from orchestrator.ports.clock import SteadyTime
from orchestrator.ports.observer import Observer
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.ports.plans import Plans
from orchestrator.runtime import Orchestrator
from orchestrator.testing.disk import Disk, SimulatedJournal
from orchestrator.testing.fates import Fates, Faults, Kind
from orchestrator.testing.heed import Heed
from orchestrator.testing.loop import Life
from orchestrator.testing.network import Network, SimulatedInvoker

T = TypeVar("T")

BEGIN_AT = 1_767_225_600.0
"""2026-01-01T00:00:00Z: a simulated run has no date of its own."""
GRACE_S = 10.0
"""How long a process that was told to stop lets calls end."""
_TURNS_MEAN = 400
"""Of a life that is killed at an await: a saga of five steps takes about fifty turns."""


class ConnectionLost(Exception):
    """Nobody knows whether what was asked was done: the process died, or was not there."""


class WallClock:
    """The wall clock of the machine, which can be set."""

    def __init__(self) -> None:
        """Begin in step with the loop."""
        self.step_s = 0.0

    def at(self) -> float:
        """Return what it shows, Unix seconds."""
        return BEGIN_AT + self.step_s + asyncio.get_running_loop().time()


class SimulatedClock:
    """`Clock` of one life: as steady as the real one, with luck and ids out of the seed."""

    def __init__(self, wall: WallClock, fates: Fates, life: str) -> None:
        """Read the wall clock, as a starting process does."""
        self.now = SteadyTime(wall.at, self.monotonic).now
        self._fates = fates
        self._life = life
        self._drawn = 0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def entropy(self) -> float:
        self._drawn += 1
        return self._fates.draw(f"entropy/{self._life}/{self._drawn}")

    def new_uid(self) -> UUID:
        self._drawn += 1
        name = f"{self._fates.seed}/{self._life}/{self._drawn}".encode()
        return UUID(bytes=blake2b(name, digest_size=16).digest(), version=4)


class Process:
    """One life, from its start to its end by whatever ends it."""

    def __init__(
        self,
        name: str,
        *,
        disk: Disk,
        network: Network,
        wall: WallClock,
        plans: Plans,
        faults: Faults,
        observer: Observer,
        broken: list[str],
    ) -> None:
        """Open the store and put the runtime together; `live` runs it, and what it fails to do is added to `broken`."""
        self.name = name
        self.life = Life(name)
        self._faults = faults
        self.clock = SimulatedClock(wall, faults.fates, name)
        self.journal = SimulatedJournal(disk, self.life, faults, network.outside)
        self.invoker = SimulatedInvoker(network, self.life, self.clock)
        self.heed = Heed(observer, self.invoker, self.life, broken)
        self.orchestrator = Orchestrator(
            journal=self.journal,
            ownership=SoleOwnership(self.journal.epoch),
            plans=plans,
            invoker=self.invoker,
            clock=self.clock,
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
        return self._faults.pass_of(Kind.KILL_TURN, self.name, _TURNS_MEAN)

    def start(self) -> None:
        """Begin to run, in a context of its own."""
        asyncio.get_running_loop().create_task(self._live(), context=self.life.context, name=self.name)

    async def _live(self) -> None:
        async with self.orchestrator.running():
            await self._told_to_stop.wait()
            if not self.failure:
                await self.orchestrator.drain(GRACE_S)
        if not self.failure:
            await self.heed.check_left(self.journal)
        await self.invoker.close(0.0)
        self.life.on_death = lambda: None
        self.life.kill()
        self._is_gone()

    def stop(self) -> None:
        """Ask it to drain, as SIGTERM does."""
        self._told_to_stop.set()

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
        if self.life.is_over:
            raise ConnectionLost(f"{self.name} is gone")
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


def _heard(done: asyncio.Task[T]) -> None:
    """Take note of an error that nobody is there to be told of."""
    if not done.cancelled():
        done.exception()
