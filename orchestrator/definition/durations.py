"""How long: durations as an author writes them, `250ms`, `2s`, `5m`, `1h`, `1d`."""

import datetime
import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from orchestrator.limits import API_DEADLINE_S_MAX, CALL_TIMEOUT_S_MAX, SLEEP_S_MAX

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """Return the seconds of `250ms`, `2s`, `5m`, `1h` or `1d`; `ValueError` says what is expected."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d")
    return round(float(match[1]) * _UNITS_S[match[2]], 9)


def duration_text(value_s: float) -> str:
    """Return the shortest text that `seconds` reads as the same number."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = round(value_s / _UNITS_S[unit], 9)
        if count == int(count) and seconds(f"{int(count)}{unit}") == value_s:
            return f"{int(count)}{unit}"
    return f"{value_s:.9f}".rstrip("0") + "s"


def lasting(value: str | datetime.timedelta | None) -> str | None:
    """Return a duration as the language writes it."""
    return duration_text(value.total_seconds()) if isinstance(value, datetime.timedelta) else value


def _duration(value: object) -> object:
    if isinstance(value, str):
        return seconds(value)
    raise ValueError("a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d")


def _sensible(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than zero")
    if value > API_DEADLINE_S_MAX:
        raise ValueError(f"must be at most {duration_text(API_DEADLINE_S_MAX)}")
    return value


def _asleep(value: str) -> str:
    """Check what `sleep` says: a duration, or an expression that gives one."""
    if "${" not in value and not 0 < seconds(value) <= SLEEP_S_MAX:
        raise ValueError(f"must be longer than zero and at most {duration_text(SLEEP_S_MAX)}")
    return value


_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$",
    "examples": ["250ms", "2s", "1h"],
}
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    AfterValidator(_sensible),
    PlainSerializer(duration_text),
    WithJsonSchema(_SCHEMA),
]
"""Seconds; written as a text with its unit."""
Timeout = Annotated[Duration, Field(le=CALL_TIMEOUT_S_MAX)]
Asleep = Annotated[str, AfterValidator(_asleep)]
"""A duration as written, or one `${ … }`: what it gives is known when the step begins."""
