"""The event loop's thread, as another thread sees it: what it does, whether it sleeps, and why one came late to look.

A look is `sys._current_frames()`: it needs the interpreter, and stops nobody for longer than the look takes. Only what
the loop has called is of interest, so a stack begins beneath the loop; of a loop that sleeps nothing is left.

::

    asyncio    … Runner.run > run_until_complete > run_forever | _run_once > Handle._run > our callback > …
    uvloop     … Runner.run                                    | our callback > …
                                       the loop is native code ^ and sleeps without a frame of its own
"""

import asyncio
import os
import sys
import threading
import time
from contextlib import suppress
from dis import opmap
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Self

from orchestrator.limits import PLACES_KEPT_MAX

_PACKAGE = __name__.partition(".")[0]
_RESUME = opmap["RESUME"]
_WAIT_S, _WAITS_MIN = 0.02, 5
"""Who waits for the interpreter asks for it every 5 ms (`sys.getswitchinterval`); here at least a quarter as often."""


class LoopThread:
    """The thread that an event loop runs in. Made there, and asked from another one."""

    __slots__ = ("_beneath", "_processor", "_schedule", "ident")

    def __init__(self, beneath: CodeType) -> None:
        """Take the calling thread; `beneath` is the function that the loop is run by."""
        self.ident = threading.get_ident()
        self._beneath = beneath
        self._schedule = _Schedule()
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        self._processor: int | None = None if clock_of is None else clock_of(self.ident)

    @classmethod
    async def running(cls) -> Self:
        """Return the thread of the running loop."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[CodeType] = loop.create_future()
        loop.call_soon(lambda: found.set_result(_beneath(sys._getframe(1))))  # noqa: SLF001  # its public name
        return cls(await found)

    def stack(self) -> list[FrameType]:
        """Return what the loop has called, innermost last; nothing where it sleeps, or is in native code.

        Hold the frames no longer than the look takes: they hold local variables.
        """
        return self.called(sys._current_frames().get(self.ident))  # noqa: SLF001  # its public name

    def is_asleep(self) -> bool:
        """Return whether `stack` would be empty, at the price of one frame."""
        frame = sys._current_frames().get(self.ident)  # noqa: SLF001  # its public name
        if frame is None or frame.f_code is self._beneath:
            return True
        return frame.f_code.co_name == "select" and not self.called(frame)

    def called(self, frame: FrameType | None) -> list[FrameType]:
        """Return the part of a stack of this thread that the loop has called, from its innermost frame."""
        frames: list[FrameType] = []
        while frame is not None and frame.f_code is not self._beneath:
            frames.append(frame)
            frame = frame.f_back
        frames.reverse()
        is_asleep = len(frames) == 2 and frames[1].f_code.co_name == "select"  # noqa: PLR2004  # `_run_once` calls it
        return [] if is_asleep else frames

    def processor_s(self) -> float:
        """Return the processor time that the thread has had; of the whole process where threads are not told apart."""
        return time.process_time() if self._processor is None else time.clock_gettime(self._processor)

    def starved_s(self) -> float:
        """Return for how long the thread has waited for a processor that others had; 0 where nobody counts it."""
        return self._schedule.starved_s()


class _Schedule:
    """How the thread that makes it is scheduled, as the system counts. Held open: it is read at every look."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):
            self._descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def starved_s(self) -> float:
        """Return for how long the thread has waited for a processor that others had; 0 where nobody counts it."""
        if self._descriptor is None:
            return 0.0
        try:
            return int(os.pread(self._descriptor, 64, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0


def _beneath(caller: FrameType) -> CodeType:
    """Return the function that a loop is run by, from what calls a callback of it."""
    frame: FrameType | None = caller
    while frame is not None:
        if frame.f_code.co_name == "run_forever":
            return frame.f_code
        frame = frame.f_back
    return caller.f_code


class Late(Enum):
    """Why a thread that slept came late to look."""

    STARVED = "others had the processors"
    KEPT = "another thread had the interpreter, and worked"
    HELD = "another thread had the interpreter, and did not work"
    NOT_RUN = "the process was stopped, or frozen"


class Rest:
    """A thread's own sleep, and why it was too long."""

    __slots__ = ("_processor_s", "_schedule", "_starved_s", "_waits")

    def __init__(self) -> None:
        """Begin a sleep of the calling thread."""
        self._schedule = _Schedule()
        self._waits = _waits()
        self._processor_s = time.process_time()
        self._starved_s = self._schedule.starved_s()

    def ended(self, late_s: float) -> Late:
        """Return why the thread woke so late; and begin the next sleep."""
        waits, self._waits = self._waits, _waits()
        processor_s, self._processor_s = self._processor_s, time.process_time()
        starved_s, self._starved_s = self._starved_s, self._schedule.starved_s()
        return why_late(
            late_s,
            starved_s=self._starved_s - starved_s,
            processor_s=self._processor_s - processor_s,
            waits=self._waits - waits,
        )


def why_late(late_s: float, *, starved_s: float, processor_s: float, waits: int) -> Late:
    """Return why a thread woke so late: what it waited for itself, what its whole process did, how often it asked.

    A thread that sleeps does not wait for a processor: if it did, it was due. One that waits for the interpreter asks
    for it again and again, and whoever has it works, or else waits for something, a processor perhaps. In a process
    that is stopped or frozen nothing of this happens.
    """
    if starved_s > late_s / 2:
        return Late.STARVED
    if processor_s > late_s / 2:
        return Late.KEPT
    return Late.HELD if waits > _WAITS_MIN + late_s / _WAIT_S else Late.NOT_RUN


if sys.platform == "linux":
    import resource

    def _waits() -> int:
        """Return how often the calling thread has waited for something."""
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

else:

    def _waits() -> int:
        """Return that it is not known."""
        return 0


def has_begun(frame: FrameType) -> bool:
    """Return whether a function has done anything since it was called, or resumed.

    A thread is interrupted where Python looks up: where a function is called, and at the end of a loop. One that was
    just entered did not have the time until then: its caller had.
    """
    at = frame.f_lasti
    return at < 0 or frame.f_code.co_code[at] != _RESUME


def module_of(frame: FrameType) -> str:
    """Return the name of the module that a frame's function is written in."""
    return str(frame.f_globals.get("__name__", "?"))


def is_own(frame: FrameType) -> bool:
    """Return whether a frame is of this program, and not of a library."""
    return module_of(frame).partition(".")[0] == _PACKAGE


@lru_cache(maxsize=PLACES_KEPT_MAX)
def short_path(path: str) -> str:
    """Return a source file's path as an import would find it, `asyncio/events.py`; else its name."""
    fitting = [root for root in sys.path if root and path.startswith(root.rstrip("/") + "/")]
    root = max(fitting, key=len, default="")
    return path[len(root.rstrip("/")) + 1 :] if root else Path(path).name
