"""Values as they are typed on a command line: durations, attributes, and input from a file or a pipe."""

import json
import math
import re
import sys
from pathlib import Path
from typing import cast

import click

from orchestrator.cli.streams import is_text
from orchestrator.limits import API_DEADLINE_S_MAX, CLI_COLUMNS_MAX

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "": 1.0}
_NO_TEXT = "a text that UTF-8 cannot hold: a stray byte, or half a character such as \\ud800"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")


class DurationType(click.ParamType[float]):
    """A duration such as `500ms`, `30s`, `5m`, `1h`; a bare number is seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration; write 500ms, 30s, 5m, 1h or 2d", param, ctx)
        seconds = float(found[1]) * _UNITS[found[2]]
        if seconds > API_DEADLINE_S_MAX:
            self.fail(f"a duration is at most {API_DEADLINE_S_MAX / 86_400:,.0f} days", param, ctx)
        return seconds


class FiniteType(click.FloatRange):
    """A number within bounds, both of them given. NaN is within any, as `FloatRange` alone has it: not here."""

    def __init__(self, lowest: float, highest: float, *, min_open: bool = False) -> None:
        """Take the bounds; the lower one is itself refused with `min_open`."""
        super().__init__(lowest, highest, min_open=min_open)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(cast("float", value), param, ctx))  # what was typed, whatever its types say
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that can be compared", param, ctx)
        return number


class AttributeType(click.ParamType[tuple[str, str | float | bool]]):
    """`name=value`; a number or `true`/`false` is taken as such, `name="7"` (with the quotes) is text."""

    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | float | bool]:
        """Return the name and the value."""
        key, found, text = str(value).partition("=")
        if not found or not key:
            self.fail(f"{value!r} is not name=value", param, ctx)
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            return key, text
        if isinstance(read, str) and not is_text(read):
            self.fail(f"{key}: {_NO_TEXT}", param, ctx)
        return key, read if isinstance(read, str | int | float | bool) else text


class InputType(click.ParamType[dict[str, object]]):
    """A JSON object: itself, `@FILE`, or `-` for standard input."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, object]:
        """Return the object."""
        if isinstance(value, dict):
            return value
        text, where = str(value), "the input"
        if text == "-":
            try:
                text, where = sys.stdin.read(), "standard input"
            except UnicodeDecodeError:
                self.fail("cannot read standard input: it is not UTF-8 text", param, ctx)
        elif text.startswith("@"):
            path, where = Path(text[1:]), text[1:]
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as failed:
                why = failed.strerror if isinstance(failed, OSError) else "it is not UTF-8 text"
                self.fail(f"cannot read {path}: {why}", param, ctx)
        try:
            read = json.loads(text)
            is_whole = is_text(json.dumps(read, ensure_ascii=False))
        except json.JSONDecodeError as broken:
            self.fail(f"{where}:{broken.lineno}:{broken.colno}: not JSON: {broken.msg}", param, ctx)
        except RecursionError:
            self.fail(f"{where}: nested too deeply", param, ctx)
        except ValueError:  # Python's own bound
            self.fail(f"{where}: a number of too many digits", param, ctx)
        if not is_whole:
            self.fail(f"{where}: {_NO_TEXT}", param, ctx)
        if not isinstance(read, dict):
            self.fail(f"{where} is not a JSON object", param, ctx)
        return read


DURATION = DurationType()
ATTRIBUTE = AttributeType()
INPUT = InputType()
COLUMNS = click.IntRange(min=40, max=CLI_COLUMNS_MAX)
"""How wide a drawing is."""
SEQUENCE = click.IntRange(min=0, max=2**63 - 1)
"""A record of a saga, as wide as the API has it."""
