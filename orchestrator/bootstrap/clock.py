"""The clock of a real machine: steady wall time, and luck from the operating system."""

import os
import random  # noqa: TID251  # the one home of luck: the system clock below
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

from orchestrator.ports.clock import SteadyTime

_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that counts the time suspended, too; elsewhere `monotonic` has to do."""


elapsed: Callable[[], float] = time.monotonic if _SINCE_BOOT is None else partial(time.clock_gettime, _SINCE_BOOT)  # noqa: TID251  # as below
"""Seconds since some instant before the process; they never go back."""


wall_clock = time.time  # noqa: TID251  # this is the clock
"""What this machine's wall clock shows, Unix seconds."""


class SystemClock:
    """`ports.clock.Clock` of a real machine: steady wall time, and luck from the operating system."""

    def __init__(self, wall: Callable[[], float] = wall_clock, elapsed: Callable[[], float] = elapsed) -> None:
        """Read the wall clock, and seed from the operating system; tests give both readings."""
        self.now = SteadyTime(wall, elapsed).now
        self.monotonic = time.monotonic  # noqa: TID251  # this is the clock
        # Jitter needs no secrets, and asking the kernel for each draw costs more than the decision it is for.
        self.entropy = random.Random(os.urandom(16)).random  # noqa: S311

    def new_uid(self) -> UUID:
        """Return a fresh version-4 UUID."""
        return UUID(bytes=os.urandom(16), version=4)
