"""Where code stands is said in short words: through every await, of every thread, and with no path of this machine."""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from types import CodeType

import pytest

from orchestrator.diagnostics.frames import place, places_awaited, places_of_frame, shown, threads
from orchestrator.limits import STACK_FRAMES_MAX


class Wire:
    """Something to wait for that never comes, through three more calls."""

    async def read(self) -> None:
        await self._parse()

    async def _parse(self) -> None:
        await asyncio.get_running_loop().create_future()


def functions(places: list[tuple[CodeType, int]]) -> list[str]:
    return [code.co_qualname for code, _ in places]


@asynccontextmanager
async def waiting(work: Coroutine[object, object, None]) -> AsyncIterator[object]:
    """A task that has come to where it waits; its coroutine."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.sleep(0)  # one turn: it runs to its first wait
    try:
        yield task.get_coro()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_task_stands_where_the_innermost_coroutine_that_it_awaits_does() -> None:
    async def serve() -> None:
        async with asyncio.timeout(60):
            await Wire().read()

    async with waiting(serve()) as coroutine:
        places = places_awaited(coroutine)
    assert [name.rpartition(".")[2] for name in functions(places)] == ["serve", "read", "_parse"]
    assert shown(places)[-1].startswith("tests/unit/diagnostics/test_frames.py:")
    assert shown(places)[-1].endswith(" in Wire._parse")


async def test_a_chain_goes_on_through_streams_context_managers_and_generators() -> None:
    async def numbers() -> AsyncGenerator[int]:
        await Wire().read()
        yield 1

    async def over_a_stream() -> None:
        async for _ in numbers():
            pass

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        await Wire().read()
        yield

    async def into_a_manager() -> None:
        async with slow():
            pass

    class Old:
        def __await__(self) -> Generator[object, None, None]:
            yield from Wire().read().__await__()

    async def on_an_old_awaitable() -> None:
        await Old()

    for work, expected in (
        (over_a_stream, ["over_a_stream", "numbers", "read", "_parse"]),
        (into_a_manager, ["into_a_manager", "__aenter__", "slow", "read", "_parse"]),
        (on_an_old_awaitable, ["on_an_old_awaitable", "__await__", "read", "_parse"]),
    ):
        async with waiting(work()) as coroutine:
            assert [name.rpartition(".")[2] for name in functions(places_awaited(coroutine))] == expected


async def test_a_coroutine_that_is_over_stands_nowhere() -> None:
    async with waiting(asyncio.sleep(0)) as coroutine:  # one turn: of the task itself
        await asyncio.sleep(0)  # one turn: it ends
        assert places_awaited(coroutine) == []


async def test_of_a_very_deep_stack_both_ends_are_shown() -> None:
    async def deeper(levels: int) -> None:
        await (deeper(levels - 1) if levels else Wire().read())

    async with waiting(deeper(200)) as coroutine:
        places = places_awaited(coroutine)
    lines = shown(places)
    assert len(places) == 203
    assert len(lines) == STACK_FRAMES_MAX + 1
    assert lines[0] == place(*places[0])
    assert lines[-1].endswith(" in Wire._parse")
    assert f"({203 - STACK_FRAMES_MAX} frames left out)" in lines


def test_a_path_is_as_an_import_would_find_it_and_a_file_from_nowhere_is_its_name_alone() -> None:
    def at(path: str) -> str:
        return place(compile("x", path, "eval"), 7)

    assert at(asyncio.locks.__file__) == "asyncio/locks.py:7 in <module>"
    assert at(pytest.__file__) == "pytest/__init__.py:7 in <module>"
    assert at("/nowhere/at/all/secret.py") == "secret.py:7 in <module>"
    assert at("<string>") == "<string>:7 in <module>"


def test_a_running_frame_shows_who_called_whom() -> None:
    def inner() -> list[str]:
        return functions(places_of_frame(sys._getframe()))

    names = inner()
    assert names[-2:] == [
        "test_a_running_frame_shows_who_called_whom",
        "test_a_running_frame_shows_who_called_whom.<locals>.inner",
    ]


def test_every_thread_is_shown_by_its_name_and_a_name_twice_has_a_number() -> None:
    go_on, begun = threading.Event(), threading.Barrier(3)

    def idle() -> None:
        begun.wait()
        go_on.wait()

    workers = [threading.Thread(target=idle, name="reader") for _ in range(2)]
    for worker in workers:
        worker.start()
    begun.wait()
    try:
        found = threads(100)
        few = threads(2)
    finally:
        go_on.set()
        for worker in workers:
            worker.join()
    for name in ("reader", "reader (2)"):
        assert any(line.endswith(".idle") for line in found[name])
    assert any("test_every_thread_is_shown" in line for line in found["MainThread"])
    assert next(iter(few)) == "MainThread"
    assert len(few) == 2
