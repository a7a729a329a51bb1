"""The clock of a real machine: steady wall time, and luck from the operating system."""

import os
import random  # noqa: TID251  # the one home of luck: the system clock below
import time
from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from orchestrator.ports.clock import SteadyTime

_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that counts the time suspended, too; elsewhere `monotonic` has to do."""


elapsed: Callable[[], float] = time.monotonic if _SINCE_BOOT is None else partial(time.clock_gettime, _SINCE_BOOT)  # noqa: TID251  # as below
"""Seconds since some instant before the process; they never go back."""


wall_clock = time.time  # noqa: TID251  # this is the clock
"""What this machine's wall clock shows, Unix seconds."""

_AT_MS_MAX: Final = 2**48 - 1
_UUID_MARKS_MASK: Final = 0xF << 76 | 0b11 << 62
_UUID_MARKS: Final = 7 << 76 | 0b10 << 62
"""Of a UUID: its version and its variant."""


class SystemClock:
    """`ports.clock.Clock` of a real machine: steady wall time, and luck from the operating system."""

    def __init__(self, wall: Callable[[], float] = wall_clock, elapsed: Callable[[], float] = elapsed) -> None:
        """Read the wall clock, and seed from the operating system; tests give both readings."""
        self.now = SteadyTime(wall, elapsed).now
        self.monotonic = time.monotonic  # noqa: TID251  # this is the clock
        # Jitter needs no secrets, and asking the kernel for each draw costs more than the decision it is for.
        self.entropy = random.Random(os.urandom(16)).random  # noqa: S311

    def new_uid(self) -> UUID:
        """Return a fresh version-7 UUID (RFC 9562): milliseconds first, then 74 random bits.

        Those of one time stand side by side in every index by id: however many sagas a store holds, a new one is
        written beside the last, and not to a page of its own.
        """
        at_ms = int(self.now() * 1_000) & _AT_MS_MAX
        luck = int.from_bytes(os.urandom(10), "big") & ~_UUID_MARKS_MASK
        return UUID(int=at_ms << 80 | luck | _UUID_MARKS)
