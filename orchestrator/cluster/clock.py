"""The store's clock as this process tells it: what every node of a cluster agrees on.

Each answer that carries the store's time says that the store's clock stood at `at` at some instant between the question
and the answer. Taken to be in the middle, the error is at most half of the round trip, so the quickest of the last
answers counts: on an ordinary network that is a millisecond, and a store that is busy for a while moves nobody's clock.
An answer that no slowness explains says that the store's clock was set, and those before it count no more.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable

from orchestrator.limits import CLOCK_SKEW_S, STORE_TIME_ERROR_S, STORE_TIME_LOOKS_MAX, STORE_TIME_SAMPLES
from orchestrator.ports.leases import View

logger = logging.getLogger("orchestrator.cluster")


class StoreTime:
    """What the store's clock shows now; give its `wall` and `elapsed` to `SteadyTime`."""

    def __init__(self, elapsed: Callable[[], float], wall: Callable[[], float]) -> None:
        """`elapsed` never goes back; `wall` is this machine's, and counts until the store's has been heard."""
        self.elapsed = elapsed
        self._own_wall = wall
        self._samples: deque[tuple[float, float]] = deque(maxlen=STORE_TIME_SAMPLES)
        """Round trip, and the store's clock minus `elapsed`."""
        self._best: tuple[float, float] | None = None

    @property
    def offset_s(self) -> float | None:
        """Return the store's clock minus `elapsed`; None before it was heard."""
        return None if self._best is None else self._best[1]

    @property
    def error_s(self) -> float | None:
        """Return by how much the offset may be wrong."""
        return None if self._best is None else self._best[0] / 2

    def heard(self, sent: float, at: float, received: float) -> None:
        """Hear the store's clock, Unix seconds; `sent` and `received` are by `elapsed`."""
        if received < sent:
            return
        took_s, offset_s = received - sent, at - (sent + received) / 2
        if self._best is not None and abs(offset_s - self._best[1]) > (took_s + self._best[0]) / 2 + CLOCK_SKEW_S:
            self._samples.clear()
        self._samples.append((took_s, offset_s))
        self._best = min(self._samples)

    def wall(self) -> float:
        """Return what the store's clock shows, Unix seconds; it may step, which `SteadyTime` follows slowly."""
        return self._own_wall() if self._best is None else self.elapsed() + self._best[1]

    async def learn(self, look: Callable[[], Awaitable[View]]) -> None:
        """Ask for the store's clock until one answer is quick enough, before anything is recorded by it.

        A process whose first answer took seconds would be off by half of them for minutes, and hold a call to be over
        (R12) which another one, that made it, knows to be on its way.
        """
        for _ in range(STORE_TIME_LOOKS_MAX):
            sent = self.elapsed()
            view = await look()
            self.heard(sent, view.at, self.elapsed())
            if self.error_s is not None and self.error_s <= STORE_TIME_ERROR_S:
                return
        logger.warning("the store answers slowly: its clock is known to %.1f s only", self.error_s or 0.0)
