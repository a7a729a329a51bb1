"""When the interpreter stood still for what the process does to itself: collections, and counts of objects."""

import math
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from orchestrator.limits import COLLECTIONS_KEPT_MAX


class Pauses:
    """The garbage collector's latest runs, and the latest count of all objects: nobody can look while either works."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin with none; instants are by this clock."""
        self._monotonic = monotonic
        self._began: float | None = None
        self._collections: deque[tuple[float, float, int]] = deque(maxlen=COLLECTIONS_KEPT_MAX)
        self._counted = (0.0, 0.0)

    def heard(self, phase: str, info: Mapping[str, int]) -> None:
        """Be told by the collector, on whatever thread it runs."""
        now = self._monotonic()
        if phase == "start":
            self._began = now
        elif self._began is not None:
            self._collections.append((self._began, now, info["generation"]))
            self._began = None

    @contextmanager
    def counting(self) -> Generator[None]:
        """Know that all objects are counted while the block runs, on whatever thread."""
        began = self._monotonic()
        self._counted = began, math.inf
        try:
            yield
        finally:
            self._counted = began, self._monotonic()

    def collecting_s(self, begin: float, end: float) -> tuple[float, int]:
        """Return for how long the collector ran between two instants, and the oldest generation it went through."""
        took_s, generation = 0.0, 0
        for began, ended, which in tuple(self._collections):
            if (overlap_s := min(ended, end) - max(began, begin)) > 0.0:
                took_s, generation = took_s + overlap_s, max(generation, which)
        return took_s, generation

    def is_counting(self, begin: float, end: float) -> bool:
        """Return whether all objects were being counted for most of the time between two instants."""
        began, ended = self._counted
        return min(ended, end) - max(began, begin) >= (end - begin) / 2
