"""The process's clock: wall time that no step of the wall clock moves."""

import asyncio
import functools
import operator
from collections.abc import Callable, Coroutine
from uuid import RFC_4122

import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.bootstrap.clock import tell_when_set
from orchestrator.limits import CLOCK_SLEW_MAX, CLOCK_WATCH_S
from tests.kit.runtime import run

HOUR_S = 3_600.0


class Machine:
    """A wall clock that somebody sets, and the time that really passes."""

    def __init__(self) -> None:
        self.wall_at = 1_000_000.0
        self.elapsed_s = 50.0

    def passes(self, seconds: float, *, drift: float = 0.0) -> None:
        self.elapsed_s += seconds
        self.wall_at += seconds * (1.0 + drift)

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall_at, lambda: self.elapsed_s)


def test_it_begins_with_the_wall_clock_and_keeps_up_with_it() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        machine.passes(7.0)
        assert clock.now() == pytest.approx(machine.wall_at)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 86_400.0, -86_400.0])
def test_a_step_is_followed_by_one_percent_of_the_time_that_passes(step_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    machine.wall_at += step_s
    assert clock.now() == before, "a step alone moves nothing"
    said = before
    for _ in range(60):
        machine.passes(1.0)
        now = clock.now()
        assert now - said == pytest.approx(1.0, rel=CLOCK_SLEW_MAX + 1e-6)
        said = now
    drift_s = said - before - 60.0
    assert drift_s == pytest.approx(60.0 * CLOCK_SLEW_MAX * (1 if step_s > 0 else -1))


def test_a_step_is_made_up_for_in_the_end() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_at -= 5.0
    machine.passes(600.0)
    assert clock.now() == pytest.approx(machine.wall_at)


def test_a_clock_that_drifts_within_the_bound_is_followed_exactly() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(50):
        machine.passes(10.0, drift=0.005)
        assert clock.now() == pytest.approx(machine.wall_at)


def test_it_never_goes_back_and_counts_a_suspension() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(1.0)
    said = clock.now()
    machine.elapsed_s -= 0.5
    assert clock.now() == said
    machine.elapsed_s += 0.5
    machine.passes(8 * HOUR_S)
    assert clock.now() == pytest.approx(machine.wall_at)
    assert clock.now() - said == pytest.approx(8 * HOUR_S)


def test_the_real_one_tells_the_time() -> None:
    clock = SystemClock()
    first = clock.now()
    assert clock.now() >= first
    assert clock.monotonic() <= clock.monotonic()


def test_an_id_is_a_uuid_that_begins_with_its_time() -> None:
    machine = Machine()
    clock = machine.clock()

    first, second = clock.new_uid(), clock.new_uid()
    machine.passes(1.0)
    later = clock.new_uid()

    assert (first.version, first.variant) == (7, RFC_4122)
    assert first.int >> 80 == second.int >> 80 == 1_000_000_000
    assert first != second
    assert later.int >> 80 == 1_000_001_000


def test_what_follows_its_time_in_an_id_is_luck() -> None:
    clock = Machine().clock()

    drawn = [clock.new_uid().int for _ in range(200)]

    ever, always = functools.reduce(operator.or_, drawn), functools.reduce(operator.and_, drawn)
    assert (ever ^ always).bit_count() == 74


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_an_instant_of_ours_and_the_offset_is_what_the_wall_clock_shows(step_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.off_s() == 0.0
    machine.wall_at += step_s
    for passed_s in (1.0, 60.0, HOUR_S, 90 * HOUR_S):
        machine.passes(passed_s)
        assert clock.now() + clock.off_s() == pytest.approx(machine.wall_at)
        assert abs(clock.off_s()) == pytest.approx(HOUR_S - CLOCK_SLEW_MAX * (machine.elapsed_s - 50.0))
    machine.passes(10 * HOUR_S)
    clock.now()
    assert clock.off_s() == 0.0, "it is made up for"


def test_a_clock_that_is_followed_exactly_has_no_offset() -> None:
    machine = Machine()
    clock = machine.clock()
    for drift in (0.005, -0.005, 0.0):
        machine.passes(10.0, drift=drift)
        clock.now()
        assert clock.off_s() == 0.0


def told_while(story: Callable[[Machine], Coroutine[None, None, None]], caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what is told of a clock while a story goes on, in virtual time."""

    async def telling() -> None:
        loop = asyncio.get_running_loop()
        machine = Machine()
        clock = SystemClock(lambda: machine.wall_at + loop.time(), loop.time)
        teller = loop.create_task(tell_when_set(clock))
        await story(machine)
        teller.cancel()

    with caplog.at_level("INFO", "orchestrator.bootstrap"):
        run(telling())
    return [f"{record.levelname} {record.getMessage().partition(',')[0]}" for record in caplog.records]


def test_it_is_told_once_when_the_wall_clock_is_set_and_once_when_that_is_made_up_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(HOUR_S)  # poll: no fact, time is virtual here
        machine.wall_at += 60.0
        await asyncio.sleep(3 * HOUR_S)  # poll: no fact, time is virtual here

    assert told_while(story, caplog) == [
        "WARNING the wall clock is 60.0 s ahead of this process's own",
        "INFO the wall clock and this process's own agree again",
    ]


def test_it_is_told_again_when_the_wall_clock_is_set_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story(machine: Machine) -> None:
        for step_s in (HOUR_S, -2 * HOUR_S, HOUR_S):
            machine.wall_at += step_s
            await asyncio.sleep(1.5 * CLOCK_WATCH_S)  # poll: no fact, time is virtual here

    told = told_while(story, caplog)
    assert [each.split(" s ")[1][:6] for each in told[:2]] == ["ahead ", "behind"]
    assert [each.split()[0] for each in told] == ["WARNING", "WARNING", "INFO"]


def test_what_clocks_differ_by_anyway_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story(machine: Machine) -> None:
        for step_s in (0.9, -0.9, -0.9, 0.9):
            machine.wall_at += step_s
            await asyncio.sleep(2 * HOUR_S)  # poll: no fact, time is virtual here

    assert told_while(story, caplog) == []
