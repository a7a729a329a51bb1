"""Code that is planted in a running loop to be found again, loops to plant it in, and clocks that count."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
import uvloop

ROOT = Path(__file__).parents[3]
LOOPS = pytest.mark.parametrize(
    "factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
Factory = Callable[[], asyncio.AbstractEventLoop]


def planted(name: str = "evaluate", module: str = "orchestrator.pretend") -> Callable[[Callable[[], object]], None]:
    """Return a function that calls what it is given, and seems to be written in this program."""
    scope: dict[str, object] = {"__name__": module}
    path = ROOT / (module.replace(".", "/") + ".py")
    exec(compile(f"def {name}(work):\n    work()\n", str(path), "exec"), scope)
    return cast("Callable[[Callable[[], object]], None]", scope[name])


class RealClock:
    """Real time."""

    def now(self) -> float:
        return time.time()  # noqa: TID251  # this is the clock

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return time.monotonic()  # noqa: TID251  # this is the clock

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        return UUID(int=0)


class FakeClock(RealClock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ticks = 0.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.ticks

    def monotonic(self) -> float:
        return self.ticks
