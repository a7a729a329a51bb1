"""A thousand tasks that wait for the same thing are one line, and those of most come first."""

import asyncio

from orchestrator.diagnostics.waiting import Waiting


async def first(event: asyncio.Event) -> None:
    await event.wait()


async def second(event: asyncio.Event) -> None:
    await first(event)


async def third(event: asyncio.Event) -> None:
    await second(event)


async def test_tasks_are_counted_by_where_they_stand_and_by_what_they_run() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    tasks = [loop.create_task(first(event)) for _ in range(3)]
    tasks += [loop.create_task(second(event)) for _ in range(5)]
    tasks += [loop.create_task(third(event), name="the one")]
    await asyncio.sleep(0)  # one turn: all of them wait
    waiting = Waiting()
    for task in tasks:
        waiting.add(task)
    event.set()
    await asyncio.wait(tasks)
    assert waiting.kinds == {"first": 3, "second": 5, "third": 1}
    most, fewer, one = waiting.fullest(10)
    assert (most.coroutine, most.count) == ("second", 5)
    assert [line.rpartition(" in ")[2] for line in most.stack] == ["second", "first", "Event.wait"]
    assert (fewer.coroutine, fewer.count) == ("first", 3)
    assert (one.name, one.count) == ("the one", 1)
    assert waiting.fullest(1) == [most]


async def test_tasks_of_one_kind_that_stand_at_two_places_are_two_lines() -> None:
    loop, event, later = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    async def twice() -> None:
        await event.wait()
        await later.wait()

    early = loop.create_task(twice())
    await asyncio.sleep(0)  # one turn: it waits
    event.set()
    await asyncio.sleep(0)  # one turn: it waits for the other one
    event.clear()
    late = loop.create_task(twice())
    await asyncio.sleep(0)  # one turn
    waiting = Waiting()
    waiting.add(early)
    waiting.add(late)
    later.set()
    event.set()
    await asyncio.wait([early, late])
    assert sorted(waiting.kinds.values()) == [2]
    assert [each.count for each in waiting.fullest(10)] == [1, 1]
