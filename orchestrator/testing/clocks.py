"""Simulated clocks: of a machine, of a process that has it to itself, and of a node that tells its store's time."""

import asyncio
from hashlib import blake2b
from uuid import UUID

from orchestrator.cluster.clock import StoreTime
from orchestrator.ports.clock import SteadyTime
from orchestrator.testing.fates import Fates

BEGIN_AT = 1_767_225_600.0
"""2026-01-01T00:00:00Z: a simulated run has no date of its own."""


class WallClock:
    """The wall clock of a machine, which can be set, and goes too fast or too slow."""

    def __init__(self) -> None:
        """Begin in step with the loop."""
        self.step_s = 0.0
        self.drift = 0.0
        """By which share of the time that passes it gains, or loses."""

    def at(self) -> float:
        """Return what it shows, Unix seconds."""
        return BEGIN_AT + self.step_s + self.elapsed()

    def elapsed(self) -> float:
        """Return seconds since the machine began, as it counts them."""
        return asyncio.get_running_loop().time() * (1.0 + self.drift)


class SimulatedClock:
    """`Clock` of one life: as steady as the real one, with luck and ids out of the seed."""

    def __init__(self, wall: WallClock, fates: Fates, life: str) -> None:
        """Read the wall clock, as a starting process does."""
        self._wall = wall
        self._fates = fates
        self._life = life
        self._drawn = 0
        self._tell(SteadyTime(wall.at, self.monotonic))

    def follow(self, store: StoreTime) -> None:
        """Tell the store's time from now on; nobody has asked for the time yet."""
        self._tell(SteadyTime(store.wall, store.elapsed))

    def _tell(self, steady: SteadyTime) -> None:
        self.now = steady.now
        self.off_s = steady.off_s

    def monotonic(self) -> float:
        return self._wall.elapsed()

    def entropy(self) -> float:
        self._drawn += 1
        return self._fates.draw(f"entropy/{self._life}/{self._drawn}")

    def new_uid(self) -> UUID:
        self._drawn += 1
        name = f"{self._fates.seed}/{self._life}/{self._drawn}".encode()
        return UUID(bytes=blake2b(name, digest_size=16).digest(), version=4)
