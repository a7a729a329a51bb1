"""A value that does not fit its field, and how it is told: to an author with the value, to anybody else without.

What an author wrote stands in a file of theirs. What a caller sent, or a service answered, may be somebody's secret,
and the sentence goes into records, spans and errors.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import Message

# As much of a wrong text as a sentence can bear.
_SHOWN_CHARS: Final = 40


class Misfit(Exception):
    """A value does not fit its field; private to this package. `path` is relative to where putting began."""

    def __init__(self, why: str, path: str = "", fix: str = "", told: str = "") -> None:
        """Keep the reason and the place; `told` is the reason for the author of the value."""
        super().__init__(why)
        self.why = why
        self.told = told or why
        self.path = path
        self.fix = fix

    def below(self, part: str) -> "Misfit":
        """Return the same reason, seen from one level up."""
        return Misfit(self.why, joined(part, self.path), self.fix, self.told)


def needed(what: str, value: object, fix: str = "") -> Misfit:
    """Return the misfit of a value of the wrong kind; `what` is `int32 is`, `bytes are`."""
    return Misfit(f"{what} needed, not {kind(value)}", fix=fix, told=f"{what} needed, not {literal(value)}")


def joined(path: str, below: str) -> str:
    """Return two parts of a field path as one: `items`, `[2].value` -> `items[2].value`."""
    return path + below if not below or below.startswith("[") else f"{path}.{below}"


def clipped(text: str) -> str:
    """Return as much of a text as a sentence can bear."""
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def literal(value: object) -> str:
    """Return a value that stands in a definition, for a sentence that ends with it."""
    match value:
        case bool():
            return f"the boolean {str(value).lower()}"
        case int():
            return f"the whole number {value}"
        case float():
            return f"the number {repr(value).removesuffix('.0')}"
        case str():
            return f"the text `{clipped(value)}`"
        case _:
            return kind(value)


def kind(value: object) -> str:
    """Return what a value is and nothing of what is in it, for a sentence that ends with it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "a whole number"
        case float() if not math.isfinite(value):
            return "no finite number"
        case float() if not value.is_integer():
            return "a number with a fraction"
        case float():
            return "a number" if abs(value) <= 2**53 else "a number too large to be exact"
        case str():
            return "a text"
        case bytes() | bytearray():
            return "bytes"
        case Message():
            return f"a {value.DESCRIPTOR.full_name}"
        case Mapping():
            return "a mapping"
        case datetime.datetime():
            return "a timestamp"
        case datetime.timedelta():
            return "a duration"
        case Sequence():
            return "a list"
        case _:
            return f"a value of another type ({type(value).__name__})"
