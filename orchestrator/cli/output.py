"""What a command prints: columns for people, JSON or YAML for programs, colour on a terminal only.

Programs get the API's own messages in proto3 JSON with the names of the `.proto` files (`saga_id`, `start_time`), every
field present; 64-bit numbers are strings there, as that mapping says. Warnings and progress go to standard error, so
standard output is always exactly what was asked for.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orchestrator.limits import CLI_CELL_CHARS_MAX

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

FORMATS = ("table", "json", "yaml")
STYLES = {
    "COMPLETED": "green",
    "APPLIED": "green",
    "OK": "green",
    "COMPENSATED": "blue",
    "UNDONE": "blue",
    "UNDOING": "blue",
    "COMPENSATING": "blue",
    "NEEDS_ATTENTION": "red",
    "STUCK": "red",
    "NOT_APPLIED": "red",
    "ERROR": "red",
    "UNSETTLED": "yellow",
    "UNKNOWN": "yellow",
    "BACKING_OFF": "yellow",
    "PARKED": "yellow",
    "WARNING": "yellow",
    "SKIPPED": "bright_black",
    "PENDING": "bright_black",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Printer:
    """Prints in the format that the user chose."""

    format: str = "table"
    quiet: bool = False

    @property
    def is_table(self) -> bool:
        """Return whether a person reads."""
        return self.format == "table"

    def values(self, values: object, *, stream: bool = False) -> None:
        """Print plain values for a program; one line each where they come as a stream."""
        if self.format == "yaml":
            from orchestrator.config import to_yaml

            click.echo(("---\n" if stream else "") + to_yaml(values).rstrip("\n"))  # in UTF-8 where ASCII is spoken
        else:
            echo(json.dumps(values, ensure_ascii=False, indent=None if stream else 2))

    def message(self, message: "Message") -> None:
        """Print one API message for a program."""
        self.values(plain(message))

    def messages(self, messages: "Sequence[Message]") -> None:
        """Print API messages for a program, as one list."""
        self.values([plain(message) for message in messages])

    def columns(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
        """Print rows for a person, or their first cells alone where that is all they want."""
        if self.quiet:
            for row in rows:
                echo(row[0])
            return
        for line in columns(header, rows, indent=indent):
            echo(line)

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print names and values for a person; empty values are left out."""
        present = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in present), default=0)
        for name, value in present:
            echo(f"{click.style(name.ljust(width), dim=True)}  {paint(value)}")


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> list[str]:
    """Lay cells out in columns, the last one ragged; long cells end in an ellipsis, except in the last column."""
    last = len(header) - 1
    short = [[cell if at == last else _shorten(cell) for at, cell in enumerate(row)] for row in rows]
    widths = [max(width_of(cell) for cell in column) for column in zip(header, *short, strict=True)]
    pad = " " * indent
    head = "  ".join(name.upper().ljust(width) for name, width in zip(header, widths, strict=True)).rstrip()
    lines = [pad + click.style(head, dim=True)]
    for row in short:
        cells = [
            paint(cell) + " " * (width - width_of(cell) if at != last else 0)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(pad + "  ".join(cells).rstrip())
    return lines


def paint(text: str) -> str:
    """Colour a status word; anything else stays as it is."""
    style = STYLES.get(text)
    return click.style(text, fg=style) if style else text


def tame(text: str) -> str:
    """Return a service's or a caller's words with whatever a terminal would act on written as an escape.

    A line break in a message could otherwise forge a line of ours, and an escape sequence the whole screen.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def echo(text: str) -> None:
    """Print a line on standard output; colour where a terminal shows it and NO_COLOR is unset."""
    # a stream that is named is written in its own encoding; click tells True from truthy
    click.echo(text, file=sys.stdout, color=True if wants_colour() else False)  # noqa: SIM210


def note(text: str) -> None:
    """Print a line on standard error: for people, never part of the answer. Where it is full, nothing is said."""
    with suppress(OSError):
        click.echo(text, file=sys.stderr, color=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))


def wants_colour() -> bool:
    """Return whether standard output is a terminal that shows colour to somebody who likes it."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plain(message: "Message") -> object:
    """Return an API message as plain values, proto3 JSON with the `.proto` file's own names."""
    from google.protobuf import json_format

    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def word(enum_name: str, prefix: str) -> str:
    """Return an enum value's word, `RUNNING` for `SAGA_STATUS_RUNNING`; empty where unspecified."""
    short = enum_name.removeprefix(prefix)
    return "" if short == "UNSPECIFIED" else short


def instant(stamp: "Timestamp") -> str:
    """Return a time as UTC to the millisecond; empty where absent."""
    seconds = seconds_of(stamp)
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(stamp: "Timestamp") -> float:
    """Return Unix seconds."""
    return float(stamp.seconds) + float(stamp.nanos) / 1e9


def duration(seconds: float) -> str:
    """Return a duration in the unit that a person would use: `870 us`, `12 ms`, `3.4 s`, `2 min 5 s`."""
    if seconds < 0.000_999_5:  # noqa: PLR2004  (below, microseconds round to 1,000)
        return f"{max(seconds, 0) * 1e6:.0f} us"
    if seconds < 0.999_5:  # noqa: PLR2004  (below, milliseconds round to 1,000)
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:  # noqa: PLR2004  (below, it would round to 60.0 s)
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def width_of(text: str) -> int:
    """Return the columns that a terminal gives a text: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _shorten(cell: str) -> str:
    return cell if len(cell) <= CLI_CELL_CHARS_MAX else cell[: CLI_CELL_CHARS_MAX - 1] + "…"
