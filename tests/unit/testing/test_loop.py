import asyncio
from collections.abc import Coroutine
from random import Random  # noqa: TID251  (seeded: the order of turns)

import pytest

from orchestrator.testing.loop import Life, SimulatedLoop, Stalled
from tests.unit.testing.worlds import passes


def loop_of(seed: int | None = None) -> SimulatedLoop:
    """A loop whose order is drawn from a seed, or first come, first served."""
    return SimulatedLoop(None if seed is None else Random(seed))  # type: ignore[abstract]  # what can be had


def now() -> float:
    return asyncio.get_running_loop().time()


def starts(life: Life, story: Coroutine[None, None, None]) -> None:
    """Begin a task in a life, that nobody waits for."""
    asyncio.get_running_loop().create_task(story, context=life.context)


# --- time ------------------------------------------------------------------------------------------------------------


def test_time_jumps_to_the_next_timer_however_far_it_is() -> None:
    seen: list[float] = []

    async def story() -> str:
        seen.append(now())
        await passes(3_600)
        seen.append(now())
        await passes(0.25)
        seen.append(now())
        return "told"

    assert loop_of().run(story()) == "told"
    assert seen == [0.0, 3_600.0, 3_600.25]


def test_a_timer_in_the_past_runs_now_and_time_never_goes_back() -> None:
    seen: list[float] = []

    async def story() -> None:
        await passes(5)
        asyncio.get_running_loop().call_at(1.0, lambda: seen.append(now()))
        await passes(1)

    loop_of().run(story())
    assert seen == [5.0]


def test_timers_run_in_the_order_of_their_instants_and_then_of_their_arming() -> None:
    seen: list[str] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for name, delay in (("c", 2.0), ("a", 1.0), ("b", 1.0)):
            loop.call_later(delay, seen.append, name)
        await passes(3)

    loop_of().run(story())
    assert seen == ["a", "b", "c"]


def test_a_cancelled_timer_neither_runs_nor_makes_time_pass() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(50, pytest.fail, "it was cancelled").cancel()
        late = loop.call_later(1, pytest.fail, "it was cancelled too")
        loop.call_later(1, late.cancel)
        await passes(0.5)
        late.cancel()
        await passes(2)
        return now()

    assert loop_of().run(story()) == 2.5


def test_what_stands_still_for_ever_is_stalled_and_not_hung() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled, match="nothing is left that could ever happen"):
        loop_of().run(story())


def test_what_runs_in_circles_at_one_instant_is_stalled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.testing.loop.SIMULATED_TURNS_AT_ONCE_MAX", 1_000)

    async def story() -> None:
        while True:
            await passes(0)

    with pytest.raises(Stalled, match="turns at one instant"):
        loop_of().run(story())


# --- order -----------------------------------------------------------------------------------------------------------


def order_of(seed: int | None) -> str:
    seen: list[str] = []

    async def note(name: str) -> None:
        seen.append(name)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abcdefgh":
                group.create_task(note(name))

    loop_of(seed).run(story())
    return "".join(seen)


def test_without_a_seed_first_come_is_first_served() -> None:
    assert order_of(None) == "abcdefgh"


def test_a_seed_draws_the_order_and_the_same_seed_the_same_one() -> None:
    drawn = {seed: order_of(seed) for seed in range(5)}
    assert drawn == {seed: order_of(seed) for seed in range(5)}
    assert len(set(drawn.values())) == 5
    assert {"".join(sorted(order)) for order in drawn.values()} == {"abcdefgh"}


# --- lives -----------------------------------------------------------------------------------------------------------


def test_a_killed_life_runs_nothing_more_not_even_finally() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append("began")
            await passes(1)
            seen.append("went on")
        finally:
            seen.append("finally")

    async def story() -> list[str]:
        life = Life("one")
        starts(life, work())
        await passes(0.5)
        life.kill()
        await passes(10)
        return list(seen)

    assert loop_of().run(story()) == ["began"]


def test_what_a_life_starts_belongs_to_it_and_dies_with_it() -> None:
    seen: list[str] = []

    async def grandchild() -> None:
        await passes(1)
        seen.append("grandchild")

    async def child() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(grandchild())
            asyncio.get_running_loop().call_later(1, seen.append, "timer")

    async def story() -> None:
        doomed, other = Life("doomed"), Life("other")
        starts(doomed, child())
        starts(other, child())
        await passes(0.5)
        doomed.kill()
        await passes(10)

    loop_of().run(story())
    assert sorted(seen) == ["grandchild", "timer"], "those of the other life alone"


def test_timers_of_a_dead_life_do_not_make_time_pass() -> None:
    async def story() -> None:
        life = Life("one")
        life.context.run(lambda: asyncio.get_running_loop().call_later(100, pytest.fail, "it is dead"))
        life.kill()
        await asyncio.get_running_loop().create_future()

    loop = loop_of()
    with pytest.raises(Stalled):
        loop.run(story())
    assert loop.time() == 0.0


def test_a_life_that_is_to_die_at_a_turn_dies_before_it_and_says_so_once() -> None:
    deaths: list[int] = []
    seen: list[int] = []

    async def work() -> None:
        for number in range(1, 10):
            seen.append(number)
            await passes(0)

    async def story() -> Life:
        life = Life("one")
        life.dies_at_turn = 4
        life.on_death = lambda: deaths.append(life.turns)
        starts(life, work())
        await passes(1)
        life.kill()
        return life

    life = loop_of().run(story())
    assert life.is_over
    assert seen == [1, 2, 3]
    assert deaths == [4]


def test_a_life_that_stands_still_goes_on_with_all_that_came_meanwhile() -> None:
    seen: list[tuple[str, float]] = []

    async def work(inbox: "asyncio.Queue[str]") -> None:
        while True:
            seen.append((await inbox.get(), now()))

    async def story() -> list[tuple[str, float]]:
        life, inbox = Life("one"), asyncio.Queue[str]()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        starts(life, work(inbox))
        life.context.run(lambda: loop.call_later(2, inbox.put_nowait, "its own timer"))
        inbox.put_nowait("before")
        await passes(1)
        life.is_frozen = True
        inbox.put_nowait("meanwhile")
        await passes(4)
        assert [what for what, _ in seen] == ["before"]
        loop.thaw(life)
        await passes(1)
        return list(seen)

    assert loop_of().run(story()) == [("before", 0.0), ("meanwhile", 5.0), ("its own timer", 5.0)]


def test_a_life_that_is_killed_while_it_stands_still_never_goes_on() -> None:
    async def work() -> None:
        await passes(1)
        pytest.fail("it went on")

    async def story() -> None:
        life, loop = Life("one"), asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        starts(life, work())
        await passes(0)
        life.is_frozen = True
        await passes(2)
        life.kill()
        loop.thaw(life)
        await passes(2)

    loop_of().run(story())


# --- what asyncio is -------------------------------------------------------------------------------------------------


def test_a_timeout_strikes_in_virtual_time_and_one_in_time_does_not() -> None:
    async def story() -> float:
        async with asyncio.timeout(5):
            await passes(4)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await passes(10)
        return now()

    assert loop_of().run(story()) == 9.0


def test_one_failure_cancels_its_group_and_is_told() -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await passes(100)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def fails() -> None:
        await passes(1)
        raise LookupError("nothing there")

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        loop_of(3).run(story())
    assert [str(each) for each in caught.value.exceptions] == ["nothing there"]
    assert seen == ["cancelled"]


def test_events_queues_and_shields_work() -> None:
    async def story() -> tuple[str, float]:
        rung, inbox = asyncio.Event(), asyncio.Queue[str](maxsize=1)
        loop = asyncio.get_running_loop()
        loop.call_later(2, rung.set)

        async def speaks() -> None:
            await rung.wait()
            await inbox.put("heard")

        speaking = loop.create_task(speaks())
        said = await asyncio.shield(inbox.get())
        await speaking
        return said, now()

    assert loop_of().run(story()) == ("heard", 2.0)


def test_what_an_executor_is_given_is_done_here_in_a_later_turn() -> None:
    seen: list[str] = []

    async def story() -> int:
        asyncio.get_running_loop().call_soon(seen.append, "first")
        length = await asyncio.to_thread(lambda: len(seen))
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return length

    assert loop_of().run(story()) == 1


def test_an_error_that_nobody_caught_is_kept_and_the_story_goes_on() -> None:
    async def story() -> str:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await passes(1)
        return "went on"

    loop = loop_of()
    assert loop.run(story()) == "went on"
    (error,) = loop.errors
    assert "ZeroDivisionError" in error


def test_a_loop_can_be_run_beside_one_that_runs_and_gives_it_back() -> None:
    async def inner() -> float:
        await passes(7)
        return now()

    async def outer() -> tuple[float, float]:
        before = asyncio.get_running_loop()
        inside = loop_of().run(inner())
        assert asyncio.get_running_loop() is before
        return inside, now()

    assert loop_of().run(outer()) == (7.0, 0.0)


def test_what_is_left_at_the_end_is_ended_then_and_not_when_memory_is_swept() -> None:
    seen: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("ended")

    async def story() -> None:
        asyncio.get_running_loop().create_task(endless())
        await passes(1)
        assert seen == []

    loop_of().run(story())
    assert seen == ["ended"]
