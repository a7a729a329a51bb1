"""How long a piece of work takes, whoever else is at work on the machine."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time

QUICK_S = 0.05
"""Some ten times what it takes to read the longest header or filter there can be."""
LENGTH = 128
"""Signs of a short hostile text: too many for work that doubles every few signs, which fails here and does not hang."""
_TRIES = 3


def is_quick(work: Callable[[], object]) -> bool:
    """Return whether the work is done in `QUICK_S`; a collection of garbage falls into one try, not into each."""
    return any(_took_s(work) < QUICK_S for _ in range(_TRIES))


class Watch:
    """Measures time that passes, but for that in which a thread of a process waits for a processor that others have.

    Where the system counts no such waits, all time that passes is measured.
    """

    def __init__(self, pid: int = 0) -> None:
        """Begin to measure; `pid` is another process, 0 this one."""
        self._pid = pid or os.getpid()
        self._starved_s = _starved_s(self._pid)
        self._began = perf_counter()
        self._waited_s = 0.0

    def starved_s(self) -> float:
        """Return for how long the threads together have waited so far; ask now and then: of a gone one nobody knows."""
        self._waited_s = max(self._waited_s, _starved_s(self._pid) - self._starved_s)
        return self._waited_s

    def took_s(self) -> float:
        """Return the seconds since the beginning."""
        took_s = perf_counter() - self._began
        return max(took_s - self.starved_s(), 0.0)


def _starved_s(pid: int) -> float:
    waited_ns = 0
    for task in _tasks(Path(f"/proc/{pid}/task")):
        with suppress(OSError, IndexError, ValueError):  # the thread has ended; or the system counts differently
            waited_ns += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    return waited_ns / 1e9


def _tasks(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # no Linux, or the process has ended
        return []


def _took_s(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began
