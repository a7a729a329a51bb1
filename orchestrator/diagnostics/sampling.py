"""Where the event loop's thread spends its time: looked at from another thread, many times a second.

Sampling, not tracing: what runs is not changed, and a look costs some ten microseconds. What it shows is where the time
went, within the square root of the samples; what it cannot show is native code that keeps the interpreter to itself:
that is told of the Python function that called it, whose line the thread comes back to.

A tick that came late stands for those that were missed meanwhile, because whoever kept the interpreter from this thread
is whom it sees then. Where the process was not run at all, nobody had that time, and it is left out.
"""

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from types import CodeType, FrameType

from orchestrator.diagnostics.thread import LoopThread, Rest, module_of
from orchestrator.errors import Overloaded
from orchestrator.limits import PROFILE_FRAMES_MAX, PROFILE_SHARE_MAX, PROFILE_STACKS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import Profile

OTHER = "(other)"
"""Stacks past the bound."""
DEEPER = "(outer frames)"
"""Stands for the outermost frames of a stack that is too deep."""
NATIVE = "(native code of the event loop)"
"""The loop's own work, which has no Python frame: on uvloop, reading, writing and accepting."""


class Sampler:
    """Takes profiles of the loop that asks for them, one at a time."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nobody asking."""
        self._clock = clock
        self._busy_until: float | None = None

    async def sample(self, seconds: float, hz: float) -> Profile:
        """Look for so long, so often; raise `Overloaded` where somebody else is having it done."""
        if self._busy_until is not None:
            left_s = max(self._busy_until - self._clock.monotonic(), 1.0)
            message = f"the process is being sampled already; ask again in {left_s:.0f} s"
            raise Overloaded("PROFILE_RUNNING", message, left_s)
        self._busy_until = self._clock.monotonic() + seconds
        stop = threading.Event()
        try:
            thread = await LoopThread.running()
            return await asyncio.to_thread(_sample, thread, self._clock, seconds, hz, stop)
        finally:
            stop.set()
            self._busy_until = None


class Pace:
    """When the next look is due, and for how many ticks it stands."""

    def __init__(self, now: float, seconds: float, hz: float) -> None:
        """Begin now; all instants are of the same clock."""
        self._begun = now
        self._hz = hz
        self._ticks = 0
        self._ticks_max = max(1, round(seconds * hz))
        self.stride = 1
        """Ticks to the next look: more than one where looking costs too much."""
        self.lost = 0
        """Ticks in which the process was not run."""

    @property
    def is_over(self) -> bool:
        """Return whether all ticks have passed."""
        return self._ticks >= self._ticks_max

    @property
    def due(self) -> float:
        """Return when the next look is due."""
        return self._begun + min(self._ticks + self.stride, self._ticks_max) / self._hz

    def looked(self, now: float, *, was_run: bool) -> int:
        """Return for how many ticks a look stands that is taken now."""
        wanted = min(self.stride, self._ticks_max - self._ticks)
        passed = min(int((now - self._begun) * self._hz + 0.5), self._ticks_max) - self._ticks
        passed = max(passed, wanted)
        self._ticks += passed
        if was_run:
            return passed
        self.lost += passed - wanted
        return wanted

    def costs(self, look_s: float) -> None:
        """Hear what a look costs, and take so few that it stays within the share."""
        self.stride = max(1, math.ceil(look_s * self._hz / PROFILE_SHARE_MAX))


class Stacks:
    """Stacks seen, each with its count; functions are named once, at the end."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: dict[tuple[int, ...], int] = {}
        self._functions: dict[int, tuple[CodeType, str]] = {}
        """By identity: a code object is compared and hashed by its whole text. Held, so that no other one gets it."""
        self._others = 0

    def add(self, frames: Sequence[FrameType], count: int) -> None:
        """Count a stack, outermost frame first."""
        key = tuple([id(frame.f_code) for frame in frames])
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = known + count
        elif len(self._counts) < PROFILE_STACKS_MAX:
            self._counts[key] = count
            for frame in frames:
                if id(frame.f_code) not in self._functions:
                    self._functions[id(frame.f_code)] = frame.f_code, module_of(frame)
        else:
            self._others += count

    def folded(self) -> dict[str, int]:
        """Return `outermost;…;innermost` -> count; stacks that differ in nothing that is shown are one."""
        found: dict[str, int] = {}
        for key, count in self._counts.items():
            names = [self._name(function) for function in key[-PROFILE_FRAMES_MAX:]]
            text = ";".join([DEEPER, *names] if len(key) > PROFILE_FRAMES_MAX else names)
            found[text] = found.get(text, 0) + count
        return found | {OTHER: self._others} if self._others else found

    def _name(self, function: int) -> str:
        code, module = self._functions[function]
        return f"{module}:{code.co_qualname}".replace(";", ",")


def _sample(thread: LoopThread, clock: Clock, seconds: float, hz: float, stop: threading.Event) -> Profile:
    """Take a profile; runs in a thread of its own."""
    begun = clock.monotonic()
    pace, stacks, rest = Pace(begun, seconds, hz), Stacks(), Rest()
    processor_s, own_s = thread.processor_s(), time.thread_time()
    samples = frameless = looks = 0
    while not pace.is_over and not stop.wait(max(0.0, pace.due - clock.monotonic())):
        late_s = clock.monotonic() - pace.due
        count = pace.looked(clock.monotonic(), was_run=rest.was_run(late_s))
        frames = thread.stack()
        samples += count
        looks += 1
        if frames:
            stacks.add(frames, count)
        else:
            frameless += count
        del frames
        pace.costs((time.thread_time() - own_s) / looks)
    took_s = max(clock.monotonic() - begun, 1e-9)
    native = _native(frameless, samples, (thread.processor_s() - processor_s) / took_s)
    folded = stacks.folded()
    if native:
        folded[NATIVE] = native
    return Profile(seconds=took_s, hz=hz, samples=samples, idle_samples=frameless - native, stacks=folded)


def _native(frameless: int, samples: int, processor_share: float) -> int:
    """Return how many looks that saw no frame cannot have met a sleeping loop: it had the processor for longer."""
    asleep_max = round(samples * max(0.0, 1.0 - processor_share))
    return max(0, frameless - asleep_max)
