"""Where code stands: places in short words, stacks of threads, and of whatever a coroutine awaits.

A place is `path:line in function`. The path is as an import would find it (`orchestrator/runtime/actor.py`,
`asyncio/tasks.py`, `grpc/aio/_server.py`): it says the same on every machine, and nothing about this one. There is no
value of a variable anywhere.
"""

import gc
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType

from orchestrator.diagnostics.thread import short_path
from orchestrator.limits import STACK_FRAMES_MAX

Place = tuple[CodeType, int]
"""Code, and the line that it has come to: what two tasks that wait for the same thing have in common."""

_OUTERMOST = STACK_FRAMES_MAX // 3


def shown(places: Sequence[Place]) -> list[str]:
    """Return places for people, innermost last; of a very deep stack both ends, which say where from and where to."""
    if len(places) <= STACK_FRAMES_MAX:
        return [place(*each) for each in places]
    left_out = len(places) - STACK_FRAMES_MAX
    return [
        *(place(*each) for each in places[:_OUTERMOST]),
        f"({left_out} frames left out)",
        *(place(*each) for each in places[_OUTERMOST + left_out :]),
    ]


def place(code: CodeType, line: int) -> str:
    """Return `path:line in function`."""
    return f"{short_path(code.co_filename)}:{line} in {code.co_qualname}"


def places_of_frame(frame: FrameType | None) -> list[Place]:
    """Return where a thread stands that runs: the frame and its callers, innermost last."""
    places: list[Place] = []
    while frame is not None:
        places.append(_spot(frame))
        frame = frame.f_back
    places.reverse()
    return places


def _spot(frame: FrameType) -> Place:
    line: int | None = frame.f_lineno  # None in compiled code, which knows where it begins and no more
    return frame.f_code, line or frame.f_code.co_firstlineno


def places_awaited(awaited: object) -> list[Place]:
    """Return where a suspended coroutine stands, through whatever it awaits, innermost last.

    `Task.get_stack` gives the outermost frame of it alone.
    """
    return [_spot(frame) for frame in _frames(awaited)]


def _frames(awaited: object) -> Iterator[FrameType]:
    step: object | None = awaited
    while step is not None:
        frame: FrameType | None
        match step:
            case CoroutineType():
                frame, step = step.cr_frame, step.cr_await
            case GeneratorType():
                frame, step = step.gi_frame, step.gi_yieldfrom
            case AsyncGeneratorType():
                frame, step = step.ag_frame, step.ag_await
            case _:
                frame, step = getattr(step, "cr_frame", None), _behind(step)
        if frame is not None:
            yield frame


def _behind(step: object) -> object | None:
    """Return the coroutine behind what only wraps it: `__await__()` of one, `anext()` of a stream, or compiled code."""
    awaited: object | None = getattr(step, "cr_await", None)
    if awaited is not None:
        return awaited
    if type(step).__name__ not in _WRAPPERS:
        return None
    return next((each for each in gc.get_referents(step) if isinstance(each, CoroutineType | AsyncGeneratorType)), None)


_WRAPPERS = frozenset({"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"})
"""What CPython puts between two coroutines and gives no attribute to look through."""


def threads(limit: int) -> Mapping[str, Sequence[str]]:
    """Return each thread's name, of at most so many, and where it stands: first our own, which is the event loop's.

    Of two threads of one name the second has a number.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    frames = sorted(sys._current_frames().items(), key=lambda each: each[0] != own)  # noqa: SLF001  # the one way to see other threads
    found: dict[str, Sequence[str]] = {}
    for ident, frame in frames[:limit]:
        name = names.get(ident, "a thread that Python did not start")
        again = sum(each == name or each.startswith(f"{name} (") for each in found)
        found[f"{name} ({again + 1})" if again else name] = shown(places_of_frame(frame))
    return found
