"""The clock of a real machine: steady wall time, and luck from the operating system."""

import asyncio
import logging
import os
import random  # noqa: TID251  # the one home of luck: the system clock below
import time
from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from orchestrator.limits import CLOCK_SKEW_S, CLOCK_SLEW_MAX, CLOCK_WATCH_S
from orchestrator.ports.clock import Clock, SteadyTime

logger = logging.getLogger("orchestrator.bootstrap")

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
        steady = SteadyTime(wall, elapsed)
        self.now = steady.now
        self.off_s = steady.off_s
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


async def tell_when_set(clock: Clock) -> None:
    """For ever: tell the operator each time the wall clock is set away from the process's own, and when it is over."""
    is_apart = False
    before_s = 0.0
    while True:
        clock.now()
        off_s = clock.off_s()
        was_apart, is_apart = is_apart, abs(off_s) > CLOCK_SKEW_S
        if is_apart and not (was_apart and abs(off_s - before_s) <= CLOCK_SKEW_S):
            logger.warning(
                "the wall clock is %.1f s %s this process's own, which makes that up within %.1f h: services are told"
                " deadlines by the wall clock, timers and what is shown are by the own; if the wall clock is wrong,"
                " set it right; if it is right and that is too long, restart the process",
                abs(off_s),
                "ahead of" if off_s > 0.0 else "behind",
                abs(off_s) / CLOCK_SLEW_MAX / 3_600.0,
            )
        elif was_apart and not is_apart:
            logger.info("the wall clock and this process's own agree again")
        before_s = off_s
        await asyncio.sleep(CLOCK_WATCH_S)
