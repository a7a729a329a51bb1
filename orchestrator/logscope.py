"""Which saga and step a log line is about, without every call having to say so.

Whoever works on behalf of one saga says so once, around the work; the log formatter reads it. It lives at the bottom
because the runtime writes it and telemetry reads it, and the two have never met.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogScope:
    """The saga, and the step where there is one."""

    saga_id: str = ""
    step: str = ""


_SCOPE: ContextVar[LogScope] = ContextVar("log_scope", default=LogScope())  # noqa: B039  (frozen)


def log_scope() -> LogScope:
    """Return what the current task works on."""
    return _SCOPE.get()


@contextmanager
def log_scoped(saga_id: str, step: str = "") -> Iterator[None]:
    """Name the saga, for every line logged inside and in tasks begun inside."""
    token = _SCOPE.set(LogScope(saga_id, step))
    try:
        yield
    finally:
        _SCOPE.reset(token)
