"""A saga's waterfall in text: every call it made, when, how long, and how it ended. Pure: events in, lines out.

::

    validate       ███                                       6 ms  APPLIED
    archive           ██████                                12 ms  APPLIED
    adverse_event        ▒▒▒▒                                8 ms  NOT_APPLIED
    undo archive             █████                          10 ms  UNDONE

One row per step and undo. Its bar is made of its attempts, drawn by what each of them meant, with dots while it slept,
waited, or was to be tried again; a row of more than one attempt has them listed below it. The items of a list are one
row together, with how many came to which end. A line is a sequence of (text, colour).
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.cli.output import STYLES, duration, width_of
from orchestrator.cli.story import Attempt, Row, Waterfall

Segment = tuple[str, str]
Line = Sequence[Segment]

LABEL_CHARS_MAX = 28
BAR_CHARS_MIN = 10
TOOK_CHARS_MIN = 8
ATTEMPTS_LISTED_MAX = 8
MARKS_SHOWN_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """What a bar is made of."""

    applied: str = "█"
    not_applied: str = "▒"
    unknown: str = "░"
    open: str = ">"
    waiting: str = "·"


UNICODE = Glyphs()
ASCII = Glyphs(applied="#", not_applied="x", unknown="?", open=">", waiting=".")


def draw(drawn: Waterfall, width: int, glyphs: Glyphs = UNICODE) -> list[Line]:
    """Lay a waterfall out in so many columns."""
    lines = _head(drawn, width)
    if not drawn.rows:
        return lines
    labels = [_fit(row.label, LABEL_CHARS_MAX) for row in drawn.rows]
    label_width = max(map(width_of, labels))
    ending_width = max(len(row.ending) for row in drawn.rows)
    tooks = [_took(row, drawn) for row in drawn.rows]
    took_width = max(TOOK_CHARS_MIN, *map(len, tooks))
    bar_width = max(width - label_width - ending_width - took_width - 6, BAR_CHARS_MIN)
    total_s = max(drawn.last_at - drawn.started_at, 1e-6)
    scale = f"0{duration(total_s):>{bar_width - 1}}"
    lines += [[], [(" " * (label_width + 2) + scale, "bright_black")]]
    for row, label, took in zip(drawn.rows, labels, tooks, strict=True):
        bar = _bar(row, drawn, bar_width, total_s, glyphs)
        lines.append(
            [
                (label + " " * (label_width - width_of(label) + 2), ""),
                *bar,
                (f"  {took:>{took_width}}  ", ""),
                (row.ending, STYLES.get(row.ending, "")),
            ]
        )
        lines += _footnotes(row, drawn, label_width + 2, width)
    legend = _legend(drawn, glyphs)
    return [*lines, [], [(legend, "bright_black")]] if legend else lines


def _took(row: Row, drawn: Waterfall) -> str:
    return "" if row.ending == "SKIPPED" else duration((row.ended_at or drawn.last_at) - row.started_at)


def _head(drawn: Waterfall, width: int) -> list[Line]:
    took = duration(drawn.last_at - drawn.started_at)
    first: list[Segment] = [(f"{drawn.saga_id}  {drawn.definition}  ", "")]
    first += [(drawn.status, STYLES.get(drawn.status, "")), (f" {'in' if drawn.is_ended else 'since'} {took}", "")]
    lines: list[Line] = [first]
    if drawn.parent:
        lines.append([(f"child of {drawn.parent}", "bright_black")])
    if drawn.trace_id:
        lines.append([(f"trace {drawn.trace_id}", "bright_black")])
    if drawn.backward_at is not None:
        began = duration(drawn.backward_at - drawn.started_at)
        text = f"went backward after {began}{': ' + drawn.cause if drawn.cause else ''}"
        lines += [[(part, "")] for part in textwrap.wrap(text, width, subsequent_indent="  ")]
    for at in drawn.restarted_at:
        lines.append([(f"the orchestrator restarted, and went on after {duration(at - drawn.started_at)}", "yellow")])
    for mark in drawn.marks[:MARKS_SHOWN_MAX]:
        text = f"after {duration(mark.at - drawn.started_at)}: {mark.text}"
        lines += [[(part, "cyan")] for part in textwrap.wrap(text, width, subsequent_indent="  ")]
    if more := len(drawn.marks) + drawn.marks_untold - MARKS_SHOWN_MAX:
        lines += [[(f"and {more:,} signals and verbs more", "cyan")]] if more > 0 else []
    return lines


def _bar(row: Row, drawn: Waterfall, width: int, total_s: float, glyphs: Glyphs) -> list[Segment]:
    """One glyph per cell; later attempts are drawn over the waiting before them."""

    def cells_of(began_at: float, ended_at: float) -> slice:
        begin = min(max(int((began_at - drawn.started_at) / total_s * width), 0), width - 1)
        end = min(max(round((ended_at - drawn.started_at) / total_s * width), begin + 1), width)
        return slice(begin, end)

    cells: list[Segment] = [(" ", "")] * width

    def fill(where: slice, glyph: str, colour: str) -> None:
        cells[where] = [(glyph, colour)] * (where.stop - where.start)

    whole = cells_of(row.started_at, row.ended_at or drawn.last_at)
    if row.items is not None:
        fill(whole, *_glyph_of(row, glyphs))
    elif row.waits:
        fill(whole, glyphs.waiting, "bright_black")
    elif row.attempts:
        fill(cells_of(row.attempts[0].opened_at, row.ended_at or drawn.last_at), glyphs.waiting, "bright_black")
    for attempt in row.attempts:
        glyph, colour = _glyph(attempt, glyphs)
        if row.is_undo and attempt.outcome == "APPLIED":
            colour = STYLES["UNDONE"]
        fill(cells_of(attempt.opened_at, attempt.ended_at or drawn.last_at), glyph, colour)
    return _joined(cells)


def _glyph_of(row: Row, glyphs: Glyphs) -> Segment:
    """Return how the items of a list are drawn, all as one."""
    if row.ending == "UNDONE":
        return glyphs.applied, STYLES["UNDONE"]
    return _glyph_by(row.ending, glyphs)


def _glyph(attempt: Attempt, glyphs: Glyphs) -> Segment:
    return _glyph_by(attempt.outcome, glyphs)


def _glyph_by(outcome: str, glyphs: Glyphs) -> Segment:
    match outcome:
        case "APPLIED":
            return glyphs.applied, "green"
        case "NOT_APPLIED":
            return glyphs.not_applied, "red"
        case "UNKNOWN":
            return glyphs.unknown, "yellow"
        case _:
            return glyphs.open, "cyan"


def _joined(cells: Iterable[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for text, colour in cells:
        if joined and joined[-1][1] == colour:
            joined[-1] = (joined[-1][0] + text, colour)
        else:
            joined.append((text, colour))
    return joined


def _footnotes(row: Row, drawn: Waterfall, indent: int, width: int) -> list[Line]:
    said: list[str] = []
    if len(row.attempts) > 1 or any(one.operation for one in row.attempts):
        listed = row.attempts[:ATTEMPTS_LISTED_MAX]
        operation = None
        for one in listed:
            took = duration((one.ended_at or drawn.last_at) - one.opened_at)
            which = f"{one.operation or 'attempt'} " if one.operation != operation else ""
            operation = one.operation
            said.append(f"{which}{one.number} {one.code or 'open'} {took}")
        if more := len(row.attempts) - len(listed):
            said.append(f"{more} more")
    items = "" if row.items is None else row.items.undo_words() if row.is_undo else row.items.words()
    text = "; ".join(filter(None, (row.note, items, ", ".join(said))))
    room = max(width - indent, BAR_CHARS_MIN)
    return [[(" " * indent + part, "bright_black")] for part in textwrap.wrap(text, room)]


def _legend(drawn: Waterfall, glyphs: Glyphs) -> str:
    seen = {attempt.outcome for row in drawn.rows for attempt in row.attempts}
    seen |= {row.ending for row in drawn.rows if row.items is not None}
    known = {
        "NOT_APPLIED": f"{glyphs.not_applied} not applied",
        "UNKNOWN": f"{glyphs.unknown} unknown",
        "": f"{glyphs.open} open",
    }
    shown = [text for outcome, text in known.items() if outcome in seen]
    if any(len(row.attempts) > 1 or (row.waits and row.items is None) for row in drawn.rows):
        shown.append(f"{glyphs.waiting} waiting")
    return "   ".join([f"{glyphs.applied} applied", *shown]) if shown else ""


def _fit(label: str, width: int) -> str:
    return label if len(label) <= width else label[: width - 1] + "…"
