"""The clock of a real machine: steady wall time, and luck from the operating system."""

import os
import random  # noqa: TID251  # the one home of luck: the system clock below
import time
from collections.abc import Callable
from uuid import UUID

from orchestrator.ports.clock import SteadyTime

_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that counts the time suspended, too; elsewhere `monotonic` has to do."""


def elapsed() -> float:
    """Return seconds since some instant before the process; they never go back."""
    return time.monotonic() if _SINCE_BOOT is None else time.clock_gettime(_SINCE_BOOT)  # noqa: TID251  # as below


wall_clock = time.time  # noqa: TID251  # this is the clock
"""What this machine's wall clock shows, Unix seconds."""


class SystemClock:
    """`ports.clock.Clock` of a real machine: steady wall time, and luck from the operating system."""

    def __init__(self, wall: Callable[[], float] = wall_clock, elapsed: Callable[[], float] = elapsed) -> None:
        """Read the wall clock, and seed from the operating system; tests give both readings."""
        self._time = SteadyTime(wall, elapsed)
        self.now = self._time.now
        # Jitter needs no secrets, and asking the kernel for each draw costs more than the decision it is for.
        self._luck = random.Random(os.urandom(16))  # noqa: S311

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()  # noqa: TID251  # this is the clock

    def entropy(self) -> float:
        """Return a uniform draw from [0, 1)."""
        return self._luck.random()

    def new_uid(self) -> UUID:
        """Return a fresh version-4 UUID."""
        return UUID(bytes=os.urandom(16), version=4)
