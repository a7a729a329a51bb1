"""Where the event loop's thread spends its time: interrupted by a timer, and asked where it is, many times a second.

A thread beside the loop could not tell. It needs the interpreter to look, and gets it where the loop gives it up of its
own accord: in `select`, and in the system calls that read and write. Of a loop whose turns took no time but in Python,
it saw 280 of 300 in `select`. A signal is taken between two lines of Python, wherever the loop is, and on both loops
the shares were true to a few percent.

So it works where the loop runs in the main thread, and nobody else uses `SIGALRM`. A tick costs some ten microseconds.
Native code that does not return is not interrupted: the next tick stands for those that were missed, as far as the
thread had the processor meanwhile. A process that was stopped had nothing.
"""

import asyncio
import math
import signal
import threading
from collections.abc import Sequence
from types import CodeType, FrameType

from orchestrator.diagnostics.thread import LoopThread, has_begun, module_of
from orchestrator.errors import Overloaded, Rejected
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
        """Look for so long, so often.

        Raise `Overloaded` where somebody else is having it done, and `Rejected` where it cannot be done here.
        """
        if self._busy_until is not None:
            left_s = max(self._busy_until - self._clock.monotonic(), 1.0)
            message = f"the process is being sampled already; ask again in {left_s:.0f} s"
            raise Overloaded("PROFILE_RUNNING", message, left_s)
        _refuse_where_no_signal_comes()
        self._busy_until = self._clock.monotonic() + seconds
        try:
            ticks = Ticks(await LoopThread.running(), self._clock, hz)
            with ticks:
                await asyncio.sleep(seconds)
            return ticks.profile()
        finally:
            self._busy_until = None


class Ticks:
    """A timer that interrupts the main thread while the block runs, and what was seen at each tick."""

    def __init__(self, thread: LoopThread, clock: Clock, hz: float) -> None:
        """Be ready to begin."""
        self._thread = thread
        self._clock = clock
        self._hz = hz
        self.stacks = Stacks()
        self.samples = 0
        self.stride = 1
        """Ticks from one look to the next: more than one where looking costs too much."""
        self._frameless = 0
        self._is_looking = False
        self._looks = 0
        self._cost_s = 0.0
        self._begun = self._ended = self._seen_at = clock.monotonic()
        self._processor_s = self._seen_processor_s = thread.processor_s()

    def __enter__(self) -> None:
        """Begin. Where the timer cannot be set the signal is left as it is after every profile: the next one works."""
        self._begun = self._seen_at = self._clock.monotonic()
        self._processor_s = self._seen_processor_s = self._thread.processor_s()
        signal.signal(signal.SIGALRM, self._interrupted)
        try:
            signal.siginterrupt(signal.SIGALRM, False)
            self._arm()
        except BaseException:
            signal.signal(signal.SIGALRM, _ignore)
            raise

    def __exit__(self, *_: object) -> None:
        """End. The handler stays one that does nothing: a tick that is on its way would otherwise end the process."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, _ignore)
        self._ended = self._clock.monotonic()

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self.stride / self._hz, self.stride / self._hz)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._is_looking:  # so slow is this machine that the next tick came before this one was done with
            return
        self._is_looking = True
        began_s = self._thread.processor_s()
        self.tick(frame, self._clock.monotonic(), began_s)
        self._cost_s += self._thread.processor_s() - began_s
        self._looks += 1
        self._is_looking = False
        stride = max(1, math.ceil(self._cost_s / self._looks * self._hz / PROFILE_SHARE_MAX))
        if stride != self.stride:
            self.stride = stride
            self._arm()

    def tick(self, frame: FrameType | None, now: float, processor_s: float) -> None:
        """Count where the thread was interrupted; `processor_s` is what it has had of the processor until now."""
        passed = round((now - self._seen_at) * self._hz)
        worked = round((processor_s - self._seen_processor_s) * self._hz)
        count = max(self.stride, min(passed, worked))
        self._seen_at, self._seen_processor_s = now, processor_s
        self.samples += count
        frames = self._thread.called(frame)
        if frames and not has_begun(frames[-1]):
            frames.pop()
        if frames:
            self.stacks.add(frames, count)
        else:
            self._frameless += count

    def profile(self) -> Profile:
        """Return what was seen."""
        took_s = max(self._ended - self._begun, 1e-9)
        worked = (self._seen_processor_s - self._processor_s) / took_s
        native = native_of(self._frameless, self.samples, worked)
        folded = self.stacks.folded() | ({NATIVE: native} if native else {})
        idle = self._frameless - native
        return Profile(seconds=took_s, hz=self._hz, samples=self.samples, idle_samples=idle, stacks=folded)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Take a signal that nobody waits for any more."""


def _refuse_where_no_signal_comes() -> None:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        why = "its event loop is not in the main thread, which alone can be interrupted"
    elif signal.getsignal(signal.SIGALRM) not in {signal.SIG_DFL, _ignore}:
        why = "something else in it uses SIGALRM"
    else:
        return
    raise Rejected("PROFILE_UNAVAILABLE", f"the process cannot be sampled: {why}; use a profiler from outside")


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


def native_of(frameless: int, samples: int, processor_share: float) -> int:
    """Return how many looks that saw no frame cannot have met a sleeping loop: it had the processor for longer."""
    asleep_max = round(samples * max(0.0, 1.0 - processor_share))
    return max(0, frameless - asleep_max)
