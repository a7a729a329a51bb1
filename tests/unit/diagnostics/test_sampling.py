import asyncio
import ctypes
import math
import signal
import sys
from types import FrameType

import pytest

from orchestrator.diagnostics import sampling
from orchestrator.diagnostics.sampling import DEEPER, OTHER, Sampler, Stacks, Ticks, native_of
from orchestrator.diagnostics.thread import LoopThread, has_begun
from orchestrator.errors import Overloaded, Rejected
from orchestrator.limits import PROFILE_FRAMES_MAX, PROFILE_SHARE_MAX, PROFILE_STACKS_MAX
from orchestrator.ports.diagnostics import Profile
from tests.unit.diagnostics.planted import LOOPS, Factory, FakeClock, RealClock, planted

interrupt = ctypes.CDLL(None)["raise"]
"""Raises a signal as a timer does: Python learns of it where it looks next, not at once as from its own function."""

pytestmark = pytest.mark.timeout(180, method="thread")
"""What watches over tests uses SIGALRM as well, unless it is told otherwise."""


@LOOPS
def test_what_the_loop_does_is_seen_and_begins_beneath_the_loop(factory: Factory) -> None:
    evaluate, decide = planted("evaluate"), planted("decide")

    async def run() -> Profile:
        loop = asyncio.get_running_loop()

        def work() -> None:
            for _ in range(500):
                pass

        def spin() -> None:
            loop.call_soon(spin)
            decide(lambda: evaluate(work))

        loop.call_soon(spin)
        return await Sampler(RealClock()).sample(0.5, 200.0)

    with asyncio.Runner(loop_factory=factory) as runner:
        profile = runner.run(run())
    assert 10 <= profile.samples <= 120  # fewer than a hundred where the machine has no time for this test
    assert sum(profile.stacks.values()) + profile.idle_samples == profile.samples
    spinning = {stack: count for stack, count in profile.stacks.items() if "orchestrator.pretend:evaluate" in stack}
    assert sum(spinning.values()) > profile.samples * 0.5
    for stack in spinning:
        assert "orchestrator.pretend:decide;" in stack
        assert stack.index("decide") < stack.index("evaluate")
        assert "run_forever" not in stack
        assert "Runner" not in stack


@LOOPS
def test_a_loop_that_sleeps_is_idle(factory: Factory) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        profile = runner.run(Sampler(RealClock()).sample(0.2, 200.0))
    assert 4 <= profile.samples <= 50
    assert profile.idle_samples >= profile.samples - 3  # the end is work, too
    assert profile.seconds > 0.19
    assert profile.hz == 200.0


async def test_one_at_a_time() -> None:
    sampler = Sampler(RealClock())
    first = asyncio.get_running_loop().create_task(sampler.sample(60.0, 99.0))
    await asyncio.sleep(0)  # one turn: the first one begins
    with pytest.raises(Overloaded) as refused:
        await sampler.sample(0.1, 99.0)
    assert refused.value.reason == "PROFILE_RUNNING"
    assert 50.0 < refused.value.retry_after_s <= 60.0
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await sampler.sample(0.01, 100.0)).samples == 1


async def test_a_tick_after_the_end_does_no_harm() -> None:
    await Sampler(RealClock()).sample(0.01, 100.0)
    signal.raise_signal(signal.SIGALRM)


@pytest.mark.parametrize("hz", [1e-300, 1e-20, math.nan])
async def test_a_profile_after_one_whose_timer_could_not_be_set_works(hz: float) -> None:
    sampler = Sampler(RealClock())
    with pytest.raises((OverflowError, ValueError)):
        await sampler.sample(0.01, hz)
    signal.raise_signal(signal.SIGALRM)  # does nothing any more
    assert (await sampler.sample(0.01, 100.0)).samples == 1


async def test_a_loop_beside_the_main_thread_cannot_be_sampled() -> None:
    with pytest.raises(Rejected, match="not in the main thread") as refused:
        await asyncio.to_thread(asyncio.run, Sampler(RealClock()).sample(0.1, 99.0))
    assert refused.value.reason == "PROFILE_UNAVAILABLE"


async def test_somebody_else_s_alarm_is_left_alone() -> None:
    before = signal.signal(signal.SIGALRM, mine := lambda *_: None)
    try:
        with pytest.raises(Rejected, match="SIGALRM"):
            await Sampler(RealClock()).sample(0.1, 99.0)
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("native", [True, False])
def test_a_function_that_was_just_entered_did_not_have_the_time(native: bool) -> None:
    """What comes back from a long native call is interrupted only where the next function begins."""
    seen: list[tuple[str, bool]] = []

    def interrupted(number: int, frame: FrameType | None) -> None:
        assert frame is not None
        seen.append((frame.f_code.co_name, has_begun(frame)))

    def entered(_: object) -> None:
        if not native:
            interrupt(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        if native:
            list(map(entered, map(interrupt, [signal.SIGALRM])))  # from one to the other without a line of Python
        else:
            entered(None)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == [("entered", not native)]


async def test_the_time_until_a_function_was_entered_is_its_caller_s() -> None:
    """As above, at the ticks themselves."""
    ticks = Ticks(await LoopThread.running(), RealClock(), 100.0)

    def entered(_: object) -> None:
        pass

    def caller() -> None:
        list(map(entered, map(interrupt, [signal.SIGALRM])))

    with ticks:
        caller()
    [stack] = [stack for stack in ticks.stacks.folded() if "caller" in stack]
    assert stack.endswith("<locals>.caller")


# --- ticks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def ticks() -> Ticks:
    """Ticks of a hundred a second, of a clock and a processor that stand at 0."""

    class Thread(LoopThread):
        def processor_s(self) -> float:
            return 0.0

    beneath = (await LoopThread.running())._beneath
    return Ticks(Thread(beneath), FakeClock(), 100.0)


async def test_in_good_time_every_tick_counts_once(ticks: Ticks) -> None:
    for number in range(1, 11):
        ticks.tick(None, number / 100, 0.0)
    assert ticks.samples == 10


async def test_a_tick_after_native_code_stands_for_those_that_were_missed(ticks: Ticks) -> None:
    ticks.tick(None, 0.25, 0.25)
    assert ticks.samples == 25


async def test_a_process_that_was_stopped_had_nothing(ticks: Ticks) -> None:
    ticks.tick(None, 5.0, 0.0)
    assert ticks.samples == 1
    ticks.tick(None, 6.0, 0.5)
    assert ticks.samples == 51


async def test_where_looking_is_dear_it_is_done_less_often_and_counts_for_more() -> None:
    class Slow(LoopThread):
        spent_s = 0.0

        def processor_s(self) -> float:
            self.spent_s += 0.001
            return self.spent_s

    ticks = Ticks(Slow((await LoopThread.running())._beneath), RealClock(), 500.0)
    with ticks:
        signal.raise_signal(signal.SIGALRM)
        first = ticks.samples
        signal.raise_signal(signal.SIGALRM)
    assert ticks.stride == math.ceil(0.001 * 500.0 / PROFILE_SHARE_MAX) == 10
    assert (first, ticks.samples) == (1, 11)


# --- the stacks ------------------------------------------------------------------------------------------------------


def frame_of(depth: int, name: str = "dig", module: str = "orchestrator.pretend") -> list[FrameType]:
    """Frames of a function that calls itself, outermost first."""
    found: list[FrameType] = []
    function = planted(name, module)

    def look() -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and len(found) < depth:
            if frame.f_code is function.__code__:
                found.append(frame)
            frame = frame.f_back

    def dig(left: int) -> None:
        function(look if left == 1 else lambda: dig(left - 1))

    dig(depth)
    found.reverse()
    return found


def test_equal_stacks_are_counted_together() -> None:
    stacks = Stacks()
    first, second = frame_of(1, "a"), frame_of(1, "b")
    stacks.add(first + second, 2)
    stacks.add(first + second, 3)
    stacks.add(second, 1)
    assert stacks.folded() == {
        "orchestrator.pretend:a;orchestrator.pretend:b": 5,
        "orchestrator.pretend:b": 1,
    }


def test_functions_that_nothing_shown_tells_apart_are_one() -> None:
    stacks = Stacks()
    stacks.add(frame_of(1, "a"), 1)
    stacks.add(frame_of(1, "a"), 1)
    assert stacks.folded() == {"orchestrator.pretend:a": 2}


def test_a_stack_too_deep_loses_its_outermost_frames_and_says_so() -> None:
    stacks = Stacks()
    stacks.add(frame_of(1, "outer") + frame_of(PROFILE_FRAMES_MAX), 1)
    [text] = stacks.folded()
    names = text.split(";")
    assert names[0] == DEEPER
    assert names[1:] == ["orchestrator.pretend:dig"] * PROFILE_FRAMES_MAX


def test_stacks_past_the_bound_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROFILE_STACKS_MAX >= 1_000
    monkeypatch.setattr(sampling, "PROFILE_STACKS_MAX", 2)
    stacks = Stacks()
    for name in ("a", "b", "c", "d", "a"):
        stacks.add(frame_of(1, name) if name != "a" else A, 1)
    assert stacks.folded() == {"orchestrator.pretend:a": 2, "orchestrator.pretend:b": 1, OTHER: 2}


A = frame_of(1, "a")


@pytest.mark.parametrize(
    ("frameless", "processor_share", "native"),
    [(80, 0.2, 0), (80, 0.5, 30), (80, 1.0, 80), (0, 1.0, 0), (80, math.inf, 80), (80, 0.0, 0)],
)
def test_a_thread_that_had_the_processor_did_not_sleep(frameless: int, processor_share: float, native: int) -> None:
    assert native_of(frameless, 100, processor_share) == native
