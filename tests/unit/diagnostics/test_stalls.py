import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from orchestrator.diagnostics import stalls
from orchestrator.diagnostics.stalls import NOT_RUN, STARVED, StallDetector
from orchestrator.logscope import turn
from orchestrator.ports.observer import Silence
from tests.unit.diagnostics.planted import LOOPS, Factory, RealClock, planted

STALL_S = 0.02
WHERE = "orchestrator/pretend.py:2 in evaluate"


class Hearing(Silence):
    """Lets a loop wait until a stall was told."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.heard: asyncio.Queue[float] = asyncio.Queue()

    def stalled(self, seconds: float) -> None:
        self.loop.call_soon_threadsafe(self.heard.put_nowait, seconds)


class Saga7:
    def about(self) -> dict[str, str]:
        return {"saga_id": "saga-7", "definition": "pretend"}


def in_a_turn(work: Callable[[], object]) -> None:
    """Do the work as the directory lets an actor do its own."""
    turn.subject = Saga7()
    try:
        work()
    finally:
        turn.subject = None


def seen_stall(make: Factory, work: Callable[[StallDetector], object]) -> StallDetector:
    """Plant a callback that does the work, and return the detector once it has told of a stall."""

    async def run() -> StallDetector:
        observer = Hearing()
        detector = StallDetector(clock=RealClock(), observer=observer, stall_s=STALL_S)
        async with detector.running():
            # A busy machine may not run the process just then, which is nobody's fault: then once more.
            while not any("pretend" in stall.culprit for stall in detector.latest):
                asyncio.get_running_loop().call_soon(planted(), lambda: in_a_turn(lambda: work(detector)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await observer.heard.get()
        return detector

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(run())


def is_seen(detector: StallDetector) -> bool:
    """Whether the detector has looked at the loop twice since it found that it does not turn."""
    return detector.held_s >= 2 * STALL_S and detector._beat is not None and detector._beat.seen._looks >= 2


def block(detector: StallDetector) -> None:
    """Wait for something until the detector has noticed."""
    never = threading.Event()
    while not is_seen(detector):
        never.wait(STALL_S / 10)


def compute(detector: StallDetector) -> None:
    while not is_seen(detector):
        pass


@LOOPS
@pytest.mark.parametrize("work", [block, compute])
def test_a_callback_that_does_not_end_is_named(factory: Factory, work: Callable[[StallDetector], None]) -> None:
    detector = seen_stall(factory, work)
    stall = next(each for each in detector.latest if "orchestrator/pretend" in each.culprit)
    assert WHERE in stall.culprit
    assert stall.held_s >= STALL_S
    assert stall.saga_id == "saga-7"
    assert any(place.startswith("orchestrator/pretend") for place in stall.stack)
    assert f" in {work.__name__}" in " ".join(stall.stack)
    assert not any("run_forever" in place or "Runner" in place for place in stall.stack)


@LOOPS
def test_native_code_that_keeps_the_interpreter_is_told_of_its_caller(factory: Factory) -> None:
    detector = seen_stall(factory, lambda _: sum(range(10_000_000)))
    assert any(WHERE in stall.culprit for stall in detector.latest)


def test_a_collection_of_garbage_is_called_that() -> None:
    kept: list[object] = [[] for _ in range(1_000_000)]
    detector = seen_stall(asyncio.SelectorEventLoop, lambda _: gc.collect())
    kept.clear()
    stall = next(each for each in detector.latest if "pretend" in each.culprit)
    # Or the machine is blamed, where it had no processor for the collection.
    assert stall.culprit.startswith(("a collection of garbage (generation 2, ", STARVED))
    assert WHERE in stall.culprit


@LOOPS
def test_a_loop_that_sleeps_is_neither_told_of_nor_woken(factory: Factory) -> None:
    asked = itertools.count()

    def monotonic() -> float:
        if next(asked) == 40:
            loop.call_soon_threadsafe(enough.set)
        return time.perf_counter()

    class Counting(StallDetector):
        beats = 0

        def _beats(self, beat: stalls._Beat) -> None:
            self.beats += 1
            super()._beats(beat)

    async def run() -> tuple[int, int]:
        detector = Counting(clock=RealClock(), observer=Silence(), stall_s=STALL_S, monotonic=monotonic)
        async with detector.running():
            await enough.wait()
        by_us = [stall for stall in detector.latest if NOT_RUN not in stall.culprit and STARVED not in stall.culprit]
        return detector.beats, len(by_us)

    with asyncio.Runner(loop_factory=factory) as runner:
        loop, enough = runner.get_loop(), asyncio.Event()
        beats, told = runner.run(run())
    assert told == 0
    assert beats <= 2  # for the beginning, when the loop entered the block


async def test_nobody_watches_where_it_is_turned_off() -> None:
    async with StallDetector(clock=RealClock(), observer=Silence(), stall_s=0.0).running():
        assert "stalls" not in [thread.name for thread in threading.enumerate()]


async def test_the_watcher_leaves_with_its_block() -> None:
    before = list(gc.callbacks)
    async with StallDetector(clock=RealClock(), observer=Silence()).running():
        assert "stalls" in [thread.name for thread in threading.enumerate()]
        assert len(gc.callbacks) == len(before) + 1
    assert "stalls" not in [thread.name for thread in threading.enumerate()]
    assert gc.callbacks == before
