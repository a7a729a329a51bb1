"""How a sentence about a saga holds its names, its numbers and its instants."""

from collections.abc import Iterable
from datetime import UTC, datetime

from orchestrator.limits import SENTENCE_NAMES_MAX


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence holds them: the first few, and how many more there are."""
    told = list(names)
    more = len(told) - SENTENCE_NAMES_MAX
    return ", ".join(told[:SENTENCE_NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd` and so on."""
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def instant(at: float) -> str:
    """Return an instant as people read it: UTC, to the millisecond."""
    try:
        told = datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return "the end of time"
    return told.replace("+00:00", "Z")
