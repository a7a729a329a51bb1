"""A saga's waterfall in text: every call it made, when, how long, and how it ended. Pure: events in, lines out.

::

    validate       ███                                       6 ms  APPLIED
    archive           ██████                                12 ms  APPLIED
    adverse_event        ▒▒▒▒                                8 ms  NOT_APPLIED
    undo archive             █████                          10 ms  UNDONE

One row per operation. Its bar is made of its attempts, drawn by what each of them meant, with dots while it waited
to try again; a row of more than one attempt has them listed below it. A line is a sequence of (text, colour).
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from orchestrator.cli.output import STYLES, duration, seconds_of, tame, width_of, word
from orchestrator.v1.saga_pb2 import OPERATION_KIND_COMPENSATE, SagaEvent, StepOutcome

Segment = tuple[str, str]
Line = Sequence[Segment]

LABEL_CHARS_MAX = 28
BAR_CHARS_MIN = 10
ATTEMPTS_LISTED_MAX = 8
UNDO = "undo "


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


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One call on the wire; `ended_at` is None while nobody knows its end."""

    number: int
    opened_at: float
    ended_at: float | None = None
    outcome: str = ""
    code: str = ""


@dataclass(slots=True, kw_only=True)
class Row:
    """One operation of one step, or a step that was passed over."""

    step: str
    is_undo: bool
    started_at: float
    ended_at: float | None = None
    ending: str = ""
    note: str = ""
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    @property
    def label(self) -> str:
        """Return the row's name."""
        return f"{UNDO}{self.step}" if self.is_undo else self.step


@dataclass(slots=True, kw_only=True)
class Waterfall:
    """A saga as its events drew it."""

    saga_id: str
    definition: str = ""
    trace_id: str = ""
    status: str = "RUNNING"
    started_at: float = 0.0
    last_at: float = 0.0
    is_ended: bool = False
    cause: str = ""
    backward_at: float | None = None
    restarted_at: list[float] = field(default_factory=list[float])
    rows: list[Row] = field(default_factory=list[Row])

    def to_values(self) -> dict[str, object]:
        """Return plain values for programs; times are Unix seconds."""
        return asdict(self)


def fold(saga_id: str, events: Iterable[SagaEvent]) -> Waterfall:
    """Read a saga's events from the first on."""
    drawn = Waterfall(saga_id=saga_id)
    open_rows: dict[tuple[str, bool], Row] = {}
    epoch = 0
    for event in events:
        at = seconds_of(event.event_time)
        if epoch and event.epoch > epoch:
            drawn.restarted_at.append(at)
        epoch, drawn.last_at = event.epoch, at
        if event.step and event.type not in _SAGA_EVENTS:
            _fold_step(drawn, open_rows, event, at)
        else:
            _fold_saga(drawn, event, at)
    return drawn


_SAGA_EVENTS = frozenset({"CompensationBegan", "AttentionRaised"})


def _fold_saga(drawn: Waterfall, event: SagaEvent, at: float) -> None:
    match event.type:
        case "SagaStarted":
            drawn.started_at = at
            drawn.definition = event.details.fields["definition"].string_value
            drawn.trace_id = event.details.fields["trace_id"].string_value
        case "CompensationBegan":
            drawn.status, drawn.backward_at = "COMPENSATING", at
            where = f"{event.step} " if event.step else ""
            drawn.cause = where + tame(event.summary.removeprefix("going backward").removeprefix(": "))
        case "AttentionRaised":
            drawn.status = "NEEDS_ATTENTION"
        case "SagaCompleted":
            drawn.status, drawn.is_ended = "COMPLETED", True
        case "SagaCompensated":
            drawn.status, drawn.is_ended = "COMPENSATED", True
        case _:
            pass  # an event type of a newer server says nothing to this drawing


def _fold_step(drawn: Waterfall, rows: dict[tuple[str, bool], Row], event: SagaEvent, at: float) -> None:
    key = (event.step, event.operation == OPERATION_KIND_COMPENSATE or event.type == "StepUndone")
    row = rows.get(key)
    if row is None:
        row = rows[key] = Row(step=event.step, is_undo=key[1], started_at=at)
        drawn.rows.append(row)
    match event.type:
        case "AttemptOpened":
            row.attempts.append(Attempt(number=event.attempt, opened_at=at))
        case "AttemptSettled":
            _settle(row, event, at)
        case "StepSettled":
            row.ended_at, row.ending = at, word(StepOutcome.Name(event.outcome), "STEP_OUTCOME_")
            reason = event.details.fields["reason"].string_value
            row.note = "" if reason == "REPLIED" else reason
        case "StepUndone":
            row.ended_at, row.ending = at, "UNDONE"
            row.note = "nothing was there" if event.details.fields["nothing_to_undo"].bool_value else ""
        case "StepStuck":
            row.ending, row.note = "STUCK", event.details.fields["reason"].string_value
        case "StepSkipped":
            row.ended_at, row.ending = at, "SKIPPED"
            row.note = event.details.fields["reason"].string_value
        case _:
            pass  # RetryScheduled shows as the gap between two attempts


def _settle(row: Row, event: SagaEvent, at: float) -> None:
    for attempt in row.attempts:
        if attempt.number == event.attempt:
            attempt.ended_at, attempt.code = at, event.code
            attempt.outcome = word(StepOutcome.Name(event.outcome), "STEP_OUTCOME_")
            if event.details.fields["phase"].string_value == "LOST":
                attempt.code = "lost in a restart"


def draw(drawn: Waterfall, width: int, glyphs: Glyphs = UNICODE) -> list[Line]:
    """Lay a waterfall out in so many columns."""
    lines = _head(drawn, width)
    if not drawn.rows:
        return lines
    labels = [_fit(row.label, LABEL_CHARS_MAX) for row in drawn.rows]
    label_width = max(map(width_of, labels))
    ending_width = max(len(row.ending) for row in drawn.rows)
    bar_width = max(width - label_width - ending_width - 14, BAR_CHARS_MIN)
    total_s = max(drawn.last_at - drawn.started_at, 1e-6)
    scale = f"0{duration(total_s):>{bar_width - 1}}"
    lines += [[], [(" " * (label_width + 2) + scale, "bright_black")]]
    for row, label in zip(drawn.rows, labels, strict=True):
        took = "" if row.ending == "SKIPPED" else duration((row.ended_at or drawn.last_at) - row.started_at)
        bar = _bar(row, drawn, bar_width, total_s, glyphs)
        lines.append(
            [
                (label + " " * (label_width - width_of(label) + 2), ""),
                *bar,
                (f"  {took:>8}  ", ""),
                (row.ending, STYLES.get(row.ending, "")),
            ]
        )
        lines += _footnotes(row, drawn, label_width + 2, width)
    legend = _legend(drawn, glyphs)
    return [*lines, [], [(legend, "bright_black")]] if legend else lines


def _head(drawn: Waterfall, width: int) -> list[Line]:
    took = duration(drawn.last_at - drawn.started_at)
    first: list[Segment] = [(f"{drawn.saga_id}  {drawn.definition}  ", "")]
    first += [(drawn.status, STYLES.get(drawn.status, "")), (f" {'in' if drawn.is_ended else 'since'} {took}", "")]
    lines: list[Line] = [first]
    if drawn.trace_id:
        lines.append([(f"trace {drawn.trace_id}", "bright_black")])
    if drawn.backward_at is not None:
        began = duration(drawn.backward_at - drawn.started_at)
        text = f"went backward after {began}{': ' + drawn.cause if drawn.cause else ''}"
        lines += [[(part, "")] for part in textwrap.wrap(text, width, subsequent_indent="  ")]
    for at in drawn.restarted_at:
        lines.append([(f"the orchestrator restarted, and went on after {duration(at - drawn.started_at)}", "yellow")])
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

    if row.attempts:
        fill(cells_of(row.attempts[0].opened_at, row.ended_at or drawn.last_at), glyphs.waiting, "bright_black")
    for attempt in row.attempts:
        glyph, colour = _glyph(attempt, glyphs)
        if row.is_undo and attempt.outcome == "APPLIED":
            colour = STYLES["UNDONE"]
        fill(cells_of(attempt.opened_at, attempt.ended_at or drawn.last_at), glyph, colour)
    return _joined(cells)


def _glyph(attempt: Attempt, glyphs: Glyphs) -> Segment:
    match attempt.outcome:
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
    if len(row.attempts) > 1:
        listed = row.attempts[:ATTEMPTS_LISTED_MAX]
        said = [
            f"{one.number} {one.code or 'open'} {duration((one.ended_at or drawn.last_at) - one.opened_at)}"
            for one in listed
        ]
        if more := len(row.attempts) - len(listed):
            said.append(f"{more} more")
        said[0] = f"attempt {said[0]}"
    text = "; ".join(filter(None, (row.note, ", ".join(said))))
    room = max(width - indent, BAR_CHARS_MIN)
    return [[(" " * indent + part, "bright_black")] for part in textwrap.wrap(text, room)]


def _legend(drawn: Waterfall, glyphs: Glyphs) -> str:
    seen = {attempt.outcome for row in drawn.rows for attempt in row.attempts}
    known = {
        "NOT_APPLIED": f"{glyphs.not_applied} not applied",
        "UNKNOWN": f"{glyphs.unknown} unknown",
        "": f"{glyphs.open} open",
    }
    shown = [text for outcome, text in known.items() if outcome in seen]
    if any(len(row.attempts) > 1 for row in drawn.rows):
        shown.append(f"{glyphs.waiting} waiting")
    return "   ".join([f"{glyphs.applied} applied", *shown]) if shown else ""


def _fit(label: str, width: int) -> str:
    return label if len(label) <= width else label[: width - 1] + "…"
