"""Clocks of real processes, set from outside."""

import struct
from collections.abc import Mapping
from pathlib import Path


class Offsets:
    """The file that the clocks of all processes are set by which are given this environment."""

    def __init__(self, path: Path, library: Path) -> None:
        """`library`: `set_clock.c`, compiled."""
        self.path = path
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "SET_CLOCK": str(path)}
        self._wall_s = self._asleep_s = 0.0
        self.move()

    def move(self, wall_s: float = 0.0, asleep_s: float = 0.0) -> None:
        """Set the wall clock, or suspend the machine."""
        self._wall_s += wall_s + asleep_s
        self._asleep_s += asleep_s
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("dd", self._wall_s, self._asleep_s))
