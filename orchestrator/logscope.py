"""What the work of this moment is about: asked when a line of the log is written, so that no call site has to say it.

::

    a saga's turn      `turn.subject = actor`       synchronous: whatever it calls, on this thread, is about that saga
    an API request     `begin(request)` … `end`     a task of its own: whatever that task does is about that request

Both only note *who could say it*; the words are made when a line is really written. What a turn or a request leaves
running in the background (a timer, a connection, a group of appends) is about nobody in particular, so neither is
inherited: a turn ends with its last statement, and a request counts in its own task alone.
"""

import asyncio
import threading
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Protocol

from orchestrator.values import TraceContext

About = Mapping[str, str]
"""Names of fields to their values: `saga_id`, `definition`, `step`, `trace_id`, `span_id`, `trace_flags`,
`request_id`, `method`. What is not known is left out."""


OF_TRACE = frozenset({"trace_id", "span_id", "trace_flags"})
"""The fields that are a place in a trace together."""


class Subject(Protocol):
    """Whatever can say what the work on it is about."""

    def about(self) -> About:
        """Return the fields that a line gets."""
        ...


class _Turn(threading.local):
    subject: Subject | None = None


turn = _Turn()
"""Whose turn it is on this thread. Whoever sets it puts back what was there."""


class _Asked:
    """A request under way; one that is over has no task and keeps nothing alive where a context was copied."""

    __slots__ = ("subject", "task")

    def __init__(self, subject: Subject, task: "asyncio.Task[object] | None") -> None:
        self.subject: Subject | None = subject
        self.task = task


_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)


def begin(request: Subject) -> Token[_Asked | None]:
    """Note that the running task answers a request."""
    return _asked.set(_Asked(request, asyncio.current_task()))


def end(token: Token[_Asked | None]) -> None:
    """Note that it has been answered; called in the task that began it."""
    asked = _asked.get()
    if asked is not None:
        asked.subject = asked.task = None
    _asked.reset(token)


def about() -> About:
    """Return what the work of this moment is about; where a saga has its turn in a request, what both say."""
    subject, asked = turn.subject, _asked.get()
    fields: About = {}
    if asked is not None and asked.subject is not None and asked.task is _task():
        fields = asked.subject.about()
    return fields if subject is None else both(fields, subject.about())


def both(wider: About, closer: About) -> dict[str, str]:
    """Return what either says, the closer one's word for what both say; a place in a trace is never made of two."""
    if "trace_id" in closer:
        wider = {name: value for name, value in wider.items() if name not in OF_TRACE}
    return {**wider, **closer}


def of_trace(trace: TraceContext | None) -> dict[str, str]:
    """Return a place in a trace as fields, by the names of OpenTelemetry's log data model; empty where there is none.

    `trace_flags` says whether anybody recorded the trace: `01`, or `00`.
    """
    if trace is None or not trace.trace_id:
        return {}
    fields = {"trace_id": f"{trace.trace_id:032x}", "trace_flags": "01" if trace.sampled else "00"}
    return fields | {"span_id": f"{trace.span_id:016x}"} if trace.span_id else fields


def of_saga(saga_id: str, step: str = "", trace: TraceContext | None = None, **more: str) -> dict[str, str]:
    """Return the fields of a line that is about a saga outside of its turn, for `extra`."""
    known = {"saga_id": str(saga_id), "step": str(step), **more, **of_trace(trace)}
    return {name: value for name, value in known.items() if value}


def _task() -> "asyncio.Task[object] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop
        return None
