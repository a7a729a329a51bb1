"""Time and luck, given from outside so that tests own both."""

from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """The only place where the engine learns what time it is."""

    def now(self) -> float:
        """Return wall-clock time, Unix seconds: for what is recorded and compared over restarts."""
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
