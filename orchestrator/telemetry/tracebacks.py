"""An exception as text that says where and what kind, and quotes nobody's data.

What Python or a library says of a value (`could not convert string to float: '4111 1111…'`) may quote a payload, so
only errors whose words are known to hold none are told with their text: the orchestrator's own, but for those that
answer a request, and the operating system's. Any other is told by its class and its frames, which is where a bug is
found anyway; frames have no values.
"""

import traceback
from collections.abc import Iterator
from typing import cast

from orchestrator.errors import OrchestratorError, RequestError
from orchestrator.limits import LOG_CAUSES_MAX

_CAUSE = "The exception above caused the next one:\n"
_DURING = "While the exception above was dealt with, there was another one:\n"


def told(error: BaseException) -> str:
    """Return the error with its frames, after whatever caused it."""
    return "".join(_lines(error, LOG_CAUSES_MAX)).rstrip("\n")


def headline(error: BaseException) -> str:
    """Return the class of an error, and its words where they quote no data."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    is_quotable = isinstance(error, OrchestratorError | OSError) and not isinstance(error, RequestError)
    text = str(error) if is_quotable else ""
    return f"{name}: {text}" if text else name


def _lines(error: BaseException, causes: int) -> Iterator[str]:
    earlier, link = _earlier(error)
    if earlier is not None and causes > 0:
        yield from _lines(earlier, causes - 1)
        yield link
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{headline(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", error).exceptions
        for number, each in enumerate(parts[:causes], 1):
            yield f"part {number} of {len(parts)}:\n"
            yield from _lines(each, causes - 1)


def _earlier(error: BaseException) -> tuple[BaseException | None, str]:
    if error.__cause__ is not None:
        return error.__cause__, _CAUSE
    return (None if error.__suppress_context__ else error.__context__), _DURING
