"""Every request is counted: by method and status, how long it took, and why it was turned away.

What is meant to last is counted and not timed: a stream, a long poll and a start that waits for the end take as long as
their caller likes or a saga needs, and among them the latency of everything else could not be seen.
"""

import asyncio
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio

from orchestrator.api import caller, status
from orchestrator.api.admission import Room
from orchestrator.api.forwarding import Refused
from orchestrator.api.watch import AGE
from orchestrator.errors import BusyError
from orchestrator.ports.clock import Clock
from orchestrator.ports.observer import Observer
from orchestrator.values import TraceContext

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_OK = grpc.StatusCode.OK.name
_BUSY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_AGED = "STREAM_AGED"
"""Counted instead of its reason, DRAINING: every stream ends so after an hour, and nobody is to look for who stops."""


class Counting:
    """Tells the observer of requests."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        """`clock` says how long they take."""
        self._observer = observer
        self._clock = clock

    def counted(self, method: str, context: Context, *, is_stream: bool) -> "Course":
        """Count a request by how the block ends; whatever it raises goes on."""
        return Course(self._observer, self._clock, method.removeprefix("/"), context, is_stream=is_stream)


class Course:
    """A request while it is under way, as far as it matters here."""

    __slots__ = ("_began", "_clock", "_context", "_method", "_observer", "room")

    def __init__(self, observer: Observer, clock: Clock, method: str, context: Context, *, is_stream: bool) -> None:
        self._observer = observer
        self._clock = clock
        self._method = method
        self._context = context
        self._began = clock.monotonic()
        self.room = Room.WAIT if is_stream else Room.CALL
        """The bound that it counts against."""

    def __enter__(self) -> Self:
        """Begin; how long it takes is counted from when this was made."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Say how it ended."""
        code = _OK
        if error is not None:
            code, reason = _ended_by(error, self._context)
            if reason:
                self._observer.refused(reason)
        seconds = None if self.room is Room.WAIT else self._clock.monotonic() - self._began
        self._observer.answered(self._method, code, self._clock.now(), seconds, self._trace)

    def _trace(self) -> TraceContext | None:
        return caller.trace_of(self._context)


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
