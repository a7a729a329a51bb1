"""Who held up the event loop: one callback that does not end stops every saga, and here it is named.

::

    looks      .       .       . . . . . . .       .  a thread: once per `stall_s`, more often where a beat is awaited
    loop       zzzzz run zzzz [--- held ---] zzzzzz   asleep: fine. At work: it is sent a beat, and looked at until then
    beat                       sent ...... run        from sent to run nothing else could run either

A loop that sleeps is sent nothing, and one with nothing to do is looked at half as often. A stall is measured from the
look that found the loop at work: what is told is what it was at least, and one twice as long as `stall_s` is always
found, unless the process had nothing to do before. The culprit is who was seen most often while it lasted: the
innermost function of this program, and the innermost one at all.

What looks like a stall and has no function to blame is called what it is: a collection of garbage, a count of all
objects; a machine that has no processor to spare; a process that was not run, because it was stopped or frozen; another
thread that kept the interpreter to itself. Each by evidence: for how long the threads waited for a processor, how long
the process and the loop worked meanwhile, how often the interpreter was asked for.
"""

import asyncio
import gc
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from types import CodeType, FrameType

from orchestrator.diagnostics.frames import Place, place, shown
from orchestrator.diagnostics.pauses import Pauses
from orchestrator.diagnostics.thread import Late, LoopThread, Rest, is_own, module_of
from orchestrator.frozen import changed, frozen
from orchestrator.limits import (
    STALL_IDLE,
    STALL_LASTS_S,
    STALL_LOG_S,
    STALL_LOOKS,
    STALL_PLACES_MAX,
    STALL_S_DEFAULT,
    STALLS_KEPT_MAX,
)
from orchestrator.logscope import of_saga, turn
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import StallFacts
from orchestrator.ports.observer import Observer

logger = logging.getLogger("orchestrator.loop")

_IDLE, _WORKING = 0.01, 0.5
"""Shares of a processor: below the one a loop has nothing to do, above the other it works even where no frame shows."""
_WATCHING = frozenset({__name__, Pauses.__module__})
"""What the loop and the collector call for the detector is nobody's work."""
NOT_RUN = "nobody: the process was not run (stopped, frozen, or the machine had no time for it)"
STARVED = "the machine, which had no processor for it"
NATIVE = "native code of the event loop"
ANOTHER = "another thread, which kept the interpreter to itself"
HELD = "another thread, which kept the interpreter and did not work: it waited for something, or for a processor"
COUNTED = "a count of all objects, which somebody asked for"

_Send = Callable[[Callable[["_Beat"], None], "_Beat"], object]
"""Has the loop call a function; asked from another thread."""


@frozen
class Blame:
    """Who held the loop up."""

    culprit: str
    saga_id: str = ""
    """Whose work it was; empty where it was nobody's, or several sagas'."""
    stack: Sequence[str] = ()


@frozen
class _Look:
    """When the loop was looked at, and what its thread had had of the processor, at this look and at the one before."""

    now: float
    period_s: float
    """Since the one before, as it was meant to be."""
    late_s: float
    """The look was due so long ago: whoever kept the interpreter did not let it be taken."""
    before_s: float
    processor_s: float
    starved_s: float
    """For how long the thread had waited for a processor, at the look before."""
    kept_by: str = ANOTHER
    """Who kept the interpreter, where the look was late."""


class _Beat:
    """Sent to the loop when it is busy; until it has run, the loop is in one turn."""

    __slots__ = ("is_told", "processor_s", "ran_at", "seen", "since", "starved_s")

    def __init__(self, since: float, processor_s: float, starved_s: float) -> None:
        self.since = since
        self.processor_s = processor_s
        """What the loop's thread had had of the processor by then."""
        self.starved_s = starved_s
        """And for how long it had waited for one."""
        self.ran_at: float | None = None
        self.is_told = False
        self.seen = _Seen()


class _Seen:
    """What was seen while the loop was in one turn. Put into words only where it was a stall."""

    __slots__ = ("_functions", "_lines", "_looks", "_sagas", "_stacks")

    def __init__(self) -> None:
        self._looks = 0
        self._functions: Counter[CodeType | str] = Counter()
        """Who is to blame, a function or what has no frame, and how often it was seen."""
        self._lines: dict[CodeType | str, Counter[int]] = {}
        self._sagas: dict[CodeType | str, set[str]] = {}
        self._stacks: dict[CodeType | str, Sequence[Place]] = {}

    def add(self, frames: Sequence[FrameType], saga_id: str) -> None:
        """Take what the loop has called, innermost frame last."""
        blamed = next((frame for frame in reversed(frames) if is_own(frame)), frames[-1])
        stack = [(frame.f_code, frame.f_lineno) for frame in frames]
        self._add(blamed.f_code, blamed.f_lineno, stack, saga_id)

    def add_frameless(self, what: str) -> None:
        """Take what has no frame to blame."""
        self._add(what, 0, (), "")

    def _add(self, blamed: CodeType | str, line: int, stack: Sequence[Place], saga_id: str) -> None:
        self._looks += 1
        if blamed not in self._functions and len(self._functions) == STALL_PLACES_MAX:
            return
        self._functions[blamed] += 1
        self._lines.setdefault(blamed, Counter())[line] += 1
        self._sagas.setdefault(blamed, set()).add(saga_id)
        self._stacks[blamed] = stack

    def blame(self) -> Blame:
        """Return who was seen most often."""
        if not self._functions:
            return Blame(culprit=NATIVE)
        [(blamed, count)] = self._functions.most_common(1)
        [(line, _)] = self._lines[blamed].most_common(1)
        where = blamed if isinstance(blamed, str) else place(blamed, line)
        if count < self._looks:
            where += f" in {count} of {self._looks} looks"
        sagas = self._sagas[blamed]
        saga_id = next(iter(sagas)) if len(sagas) == 1 else ""
        return Blame(culprit=where, saga_id=saga_id, stack=shown(self._stacks[blamed]))


class StallDetector:
    """Watches the running loop from a thread of its own."""

    def __init__(
        self,
        *,
        clock: Clock,
        observer: Observer,
        stall_s: float = STALL_S_DEFAULT,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Tell of turns longer than `stall_s`; 0: never. What is measured is real time, whatever the clock shows."""
        self._clock = clock
        self._monotonic = monotonic
        self._observer = observer
        self._stall_s = stall_s
        self._whose: Callable[[], str] = lambda: ""
        """Tells, on any thread, whose saga's turn it is on the loop's."""
        self._pauses = Pauses(monotonic)
        self._latest: deque[StallFacts] = deque(maxlen=STALLS_KEPT_MAX)
        self._beat: _Beat | None = None
        self._log = _Log()
        self.total = 0
        """Stalls since the process began."""

    @property
    def latest(self) -> Sequence[StallFacts]:
        """Return the latest stalls, newest first."""
        return tuple(reversed(self._latest))

    @property
    def held_s(self) -> float:
        """Return for how long the loop has been in its present turn, as far as is known; 0 where it turns or sleeps."""
        beat = self._beat
        return 0.0 if beat is None or beat.ran_at is not None else self._monotonic() - beat.since

    def tell_time_by(self, clock: Clock) -> None:
        """Say from now on by this clock when stalls were: the one of a store is known only once that is open."""
        self._clock = clock

    def counting(self) -> AbstractContextManager[None]:
        """Know that all objects are counted while the block runs, which stops everything else for a while."""
        return self._pauses.counting()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Watch the running loop while the block runs."""
        if self._stall_s <= 0.0:
            yield
            return
        stop, self._whose = threading.Lock(), _turns_here()
        stop.acquire()
        thread, send = await LoopThread.running(), asyncio.get_running_loop().call_soon_threadsafe
        watcher = threading.Thread(target=self._watch, args=(thread, send, stop), name="stalls", daemon=True)
        gc.callbacks.append(self._pauses.heard)
        watcher.start()
        try:
            yield
        finally:
            gc.callbacks.remove(self._pauses.heard)
            stop.release()
            await asyncio.to_thread(watcher.join)

    def _watch(self, thread: LoopThread, send: _Send, stop: threading.Lock) -> None:
        """Look until the lock can be had: an `Event` would cost more than a look does."""
        period_s = self._stall_s
        due = self._monotonic() + period_s
        rest, processor_s, starved_s = Rest(), thread.processor_s(), thread.starved_s()
        while not stop.acquire(timeout=period_s):
            now, before_s, processor_s = self._monotonic(), processor_s, thread.processor_s()
            waited_s, starved_s = starved_s, thread.starved_s()
            look = _Look(
                now=now,
                period_s=period_s,
                late_s=max(now - due, 0.0),
                before_s=before_s,
                processor_s=processor_s,
                starved_s=waited_s,
            )
            look = self._judged(look, rest.ended(look.late_s), starved_s - waited_s)
            period_s = self._look(thread, send, look) * self._stall_s
            due = now + period_s  # and not from here: what stops the process in the middle of a look is told as well

    def _judged(self, look: _Look, why: Late, starved_s: float) -> _Look:
        """Hear why a look was late, and for how long the loop waited for a processor since the one before.

        Return it late only where the loop worked or somebody kept the interpreter: else nothing of the process was run.
        """
        if why is Late.KEPT or look.processor_s - look.before_s > look.late_s / 2:
            return look
        if why is Late.HELD:
            return changed(look, kept_by=HELD)
        culprit = NOT_RUN if why is Late.NOT_RUN else f"{STARVED} ({look.late_s:.2f} s)"
        self._was_not_run(look.now, look.late_s, starved_s, culprit)
        return changed(look, late_s=0.0)

    def _look(self, thread: LoopThread, send: _Send, look: _Look) -> float:
        """Look once; return how many times `stall_s` it is to the next look."""
        beat = self._beat
        if beat is not None and beat.ran_at is not None:
            self._turned(beat, beat.ran_at, thread)
            beat = self._beat = None
        share = (look.processor_s - look.before_s) / (look.period_s + look.late_s)
        is_working, is_kept = share > _WORKING, look.late_s > self._stall_s / STALL_LOOKS
        if beat is None and not is_kept:
            # Most looks end here: the loop is asleep, or will beat at once.
            if not is_working and thread.is_asleep():
                return 1.0 if share > _IDLE else STALL_IDLE
            self._send(send, look)
            return 1.0
        beat = beat or self._send(send, look)
        frames = thread.stack()
        while frames and module_of(frames[-1]) in _WATCHING:
            frames.pop()
        if frames:
            beat.seen.add(frames, self._whose())
        elif is_working or is_kept:
            beat.seen.add_frameless(NATIVE if is_working else look.kept_by)
        if not beat.is_told and look.now - beat.since >= STALL_LASTS_S:
            beat.is_told = True
            self._log.lasts(look.now - beat.since, beat.seen.blame())
        return 1.0 / STALL_LOOKS

    def _send(self, send: _Send, look: _Look) -> _Beat:
        beat = self._beat = _Beat(look.now - look.late_s, look.before_s, look.starved_s)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            send(self._beats, beat)
        return beat

    def _beats(self, beat: _Beat) -> None:
        beat.ran_at = self._monotonic()

    def _turned(self, beat: _Beat, ran_at: float, thread: LoopThread) -> None:
        """Hear that the loop has ended a turn, and when."""
        held_s = ran_at - beat.since
        if held_s < self._stall_s:
            return
        blame = beat.seen.blame()
        worked_s = min(thread.processor_s() - beat.processor_s, held_s)
        starved_s = thread.starved_s() - beat.starved_s
        collecting_s, generation = self._pauses.collecting_s(beat.since, ran_at)
        if starved_s >= held_s / 2:
            blame = _because(f"{STARVED} ({starved_s:.2f} s)", blame)
        elif worked_s < held_s / 2 and self._pauses.is_counting(beat.since, ran_at):
            blame = _because(COUNTED, blame)
        elif collecting_s >= held_s / 2:
            blame = _because(f"a collection of garbage (generation {generation}, {collecting_s:.2f} s)", blame)
        self._keep(ran_at, held_s, blame)
        self._log.ended(ran_at, held_s, worked_s, blame, is_urgent=beat.is_told)

    def _was_not_run(self, now: float, late_s: float, starved_s: float, culprit: str) -> None:
        """Hear that the whole process was not run; a turn that was under way is not to blame for it."""
        if (beat := self._beat) is not None and beat.ran_at is None:
            beat.since += late_s
            beat.starved_s += starved_s
        if late_s < self._stall_s:
            return
        blame = Blame(culprit=COUNTED if self._pauses.is_counting(now - late_s, now) else culprit)
        self._keep(now, late_s, blame)
        self._log.ended(now, late_s, 0.0, blame)

    def _keep(self, ended: float, held_s: float, blame: Blame) -> None:
        at = self._clock.now() - (self._monotonic() - ended) - held_s
        stall = StallFacts(at=at, held_s=held_s, culprit=blame.culprit, saga_id=blame.saga_id, stack=blame.stack)
        self._latest.append(stall)
        self.total += 1
        self._observer.stalled(held_s)


def _because(what: str, blame: Blame) -> Blame:
    """Blame what kept a function from its work, and say which function that was where there is one."""
    return changed(blame, culprit=f"{what}, in {blame.culprit}" if blame.stack else what)


def _turns_here() -> Callable[[], str]:
    """Return what tells, on any thread, whose saga's turn it is on this one."""
    noted = vars(turn)  # this thread's own

    def whose() -> str:
        subject = noted.get("subject")
        return "" if subject is None else str(subject.about().get("saga_id", ""))

    return whose


class _Log:
    """A line for each stall, and no more than a person reads."""

    def __init__(self) -> None:
        self._untold = 0
        self._told_at = -STALL_LOG_S

    def lasts(self, held_s: float, blame: Blame) -> None:
        """Tell of a stall that is not over."""
        self._tell(f"the event loop is held up, for {held_s:.1f} s until now,", blame)

    def ended(self, now: float, held_s: float, worked_s: float, blame: Blame, *, is_urgent: bool = False) -> None:
        """Tell of a stall that is over; with `is_urgent`, however much was told lately."""
        if now - self._told_at < STALL_LOG_S and not is_urgent:
            self._untold += 1
            return
        more = f"; {self._untold} more since the last of these lines" if self._untold else ""
        self._untold, self._told_at = 0, now
        self._tell(f"the event loop was held up for {held_s:.2f} s, {worked_s:.2f} s of it at work,", blame, more)

    def _tell(self, what: str, blame: Blame, more: str = "") -> None:
        saga = f", saga {blame.saga_id}" if blame.saga_id else ""
        inner = blame.stack[-1] if blame.stack else ""
        innermost = f" (innermost: {inner})" if inner and inner not in blame.culprit else ""
        told = what, blame.culprit, innermost, saga, more
        logger.warning("%s by %s%s%s%s", *told, extra=of_saga(blame.saga_id))
