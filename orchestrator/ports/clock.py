"""Time and luck, given from outside so that tests own both."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from orchestrator.limits import CLOCK_LOOK_S, CLOCK_SLEW_MAX


class Clock(Protocol):
    """The only place where the engine learns what time it is."""

    def now(self) -> float:
        """Return wall-clock time, Unix seconds: for what is recorded and compared over restarts."""
        ...

    def off_s(self) -> float:
        """Return by how much the wall clock is ahead of `now`, seconds, as when `now` was last asked for.

        Other machines do not follow our `now`: what they compare with their wall clocks is an instant of ours and this.
        """
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back: for measuring within one process."""
        ...

    def entropy(self) -> float:
        """Return a uniform draw from [0, 1)."""
        ...

    def new_uid(self) -> UUID:
        """Return a fresh unique id."""
        ...


class SteadyTime:
    """Wall time that no step of the wall clock moves, for whoever makes a `Clock`.

    It is read at start, and goes on from there at the pace of the time that passes. Where the wall clock was set
    meanwhile, this one follows it by at most `CLOCK_SLEW_MAX` of that time: a sleep is then neither frozen for an hour
    nor over an hour early. Over a restart the wall clock counts, because nothing else outlives a process.
    """

    def __init__(self, wall: Callable[[], float], elapsed: Callable[[], float]) -> None:
        """Read both: Unix seconds, and seconds since some instant before, which never go back."""
        self._wall = wall
        self._elapsed = elapsed
        self._looked = elapsed()
        """When the wall clock was last looked at, by time elapsed."""
        self._ahead_s = wall() - self._looked
        """Of this clock before time elapsed, until the next look."""
        self._off_s = 0.0
        """Of the wall clock before this one, at that look: what is not made up for yet."""
        self._said = 0.0

    def now(self) -> float:
        """Return wall-clock time, Unix seconds; it never goes back."""
        elapsed = self._elapsed()
        passed_s = elapsed - self._looked
        if passed_s >= CLOCK_LOOK_S:
            slew_s = passed_s * CLOCK_SLEW_MAX
            off_s = self._wall() - elapsed - self._ahead_s
            followed_s = off_s if -slew_s <= off_s <= slew_s else slew_s if off_s > 0.0 else -slew_s
            self._ahead_s += followed_s
            self._off_s = off_s - followed_s
            self._looked = elapsed
        at = elapsed + self._ahead_s
        if at < self._said:
            return self._said
        self._said = at
        return at

    def off_s(self) -> float:
        """Return by how much the wall clock is ahead, seconds, as of the last look: at most `CLOCK_LOOK_S` ago.

        It is 0 unless the wall clock was set, or gains or loses more than this one follows it by.
        """
        return self._off_s
