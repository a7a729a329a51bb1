"""Every request is counted: by method and status, how long it took, and why it was turned away.

What is meant to last is counted and not timed: a stream, a long poll and a start that waits for the end take as long as
their caller likes or a saga needs, and among them the latency of everything else could not be seen.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpc.aio

from orchestrator.api import caller, status
from orchestrator.api.admission import Room
from orchestrator.api.forwarding import Refused
from orchestrator.api.watch import AGE
from orchestrator.errors import BusyError
from orchestrator.ports.clock import Clock
from orchestrator.ports.observer import Observer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_BUSY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_AGED = "STREAM_AGED"
"""Counted instead of its reason, DRAINING: every stream ends so after an hour, and nobody is to look for who stops."""


@dataclass(slots=True)
class Course:
    """A request while it is under way, as far as it matters here."""

    room: Room
    """The bound that it counts against."""


class Counting:
    """Tells the observer of requests."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        """`clock` says how long they take."""
        self._observer = observer
        self._clock = clock

    @contextmanager
    def counted(self, method: str, context: Context, *, is_stream: bool) -> Iterator[Course]:
        """Count a request by how it ends; whatever it raises goes on."""
        course = Course(Room.WAIT if is_stream else Room.CALL)
        began = self._clock.monotonic()
        code = grpc.StatusCode.OK.name
        try:
            yield course
        except BaseException as error:
            code, reason = _ended_by(error, context)
            if reason:
                self._observer.refused(reason)
            raise
        finally:
            seconds = None if course.room is Room.WAIT else self._clock.monotonic() - began
            trace = partial(caller.trace_of, context)
            self._observer.answered(method.removeprefix("/"), code, self._clock.now(), seconds, trace)


def _ended_by(error: BaseException, context: Context) -> tuple[str, str]:
    """Return the status that an error becomes, and its reason where nothing was wrong with the request."""
    if isinstance(error, Refused):
        code = status.passed(error.details).code
        return code.name, status.info_of(error.details).reason if code in _BUSY else ""
    if isinstance(error, grpc.aio.AbortError):  # a standard service said its own status
        return status.name_of(context.code()), ""
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED.name, ""
    return status.code_of(error).name, _reason_of(error) if isinstance(error, BusyError) else ""


def _reason_of(error: BusyError) -> str:
    return _AGED if AGE in error.metadata else error.reason
