"""A saga's events, folded into what a person would tell of it. Pure: API events in, plain values out.

One row per step and per undo; all items of a `for_each` step are one row together, counted, because a hundred thousand
lines tell nobody anything. A step that is run again has a second row.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from orchestrator.cli.output import seconds_of, tame, word
from orchestrator.ids import StepId, item_of
from orchestrator.v1 import saga_pb2 as pb

MARKS_MAX = 1_000
UNDO = "undo "
ROLLBACK = "rollback "
LOST = "lost in a restart"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One call on the wire; `ended_at` is None while nobody knows its end."""

    number: int
    opened_at: float
    ended_at: float | None = None
    outcome: str = ""
    code: str = ""
    operation: str = ""
    """`await`, `probe` or `stop`; empty for what the row itself is: the forward call, or the undo."""


@dataclass(slots=True, kw_only=True)
class Items:
    """How the items of a `for_each` step are doing."""

    count: int = 0
    done: int = 0
    failed: int = 0
    to_undo: int = 0
    """How many were applied, or may have been."""
    undone: int = 0
    under_way: int = 0
    first_failed: str = ""
    """The first item that failed, and why."""

    def take(self, event: pb.SagaEvent) -> None:
        """Count one event of an item."""
        forward = event.operation == pb.OPERATION_KIND_FORWARD
        match event.type:
            case "AttemptOpened" if forward and event.attempt == 1 and not _manual_epoch(event):
                self.under_way += 1
            case "StepSettled":
                self.under_way = max(0, self.under_way - 1)
                self.to_undo += event.outcome != pb.STEP_OUTCOME_NOT_APPLIED
                if is_good(event):
                    self.done += 1
                else:
                    self.failed += 1
                    self.first_failed = self.first_failed or tame(_about(event))
            case "StepSkipped":
                self.under_way = max(0, self.under_way - 1)
            case "StepUndone":
                self.undone += 1
            case _:
                pass  # the call in between tells nothing that its end does not

    def words(self) -> str:
        """Return what a person reads: `16 of 100 items done, 2 failed (reserve[7] NOT_APPLIED: sold out)`."""
        said = [f"{self.done:,} of {self.count:,} items done"]
        if self.failed:
            said.append(f"{self.failed:,} failed" + (f" ({self.first_failed})" if self.first_failed else ""))
        if self.under_way:
            said.append(f"{self.under_way:,} under way")
        return ", ".join(said)

    def undo_words(self) -> str:
        """Return what a person reads of their undo."""
        return f"{self.undone:,} of {self.to_undo:,} items undone"


@dataclass(slots=True, kw_only=True)
class Row:
    """One step, its undo, or a part of the saga that was rolled back."""

    step: str
    is_undo: bool
    is_rollback: bool = False
    started_at: float
    ended_at: float | None = None
    ending: str = ""
    note: str = ""
    waits: bool = False
    """It began without a call of its own: it sleeps, waits, or has items or members."""
    items: Items | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    @property
    def label(self) -> str:
        """Return the row's name."""
        return f"{ROLLBACK if self.is_rollback else UNDO if self.is_undo else ''}{self.step}"


@dataclass(slots=True, kw_only=True)
class Mark:
    """Something somebody did: a signal, or a person's verb."""

    at: float
    text: str


@dataclass(slots=True, kw_only=True)
class Waterfall:
    """A saga as its events drew it."""

    saga_id: str
    definition: str = ""
    trace_id: str = ""
    parent: str = ""
    """The saga and the step of it that this one is."""
    status: str = "RUNNING"
    started_at: float = 0.0
    last_at: float = 0.0
    is_ended: bool = False
    cause: str = ""
    backward_at: float | None = None
    restarted_at: list[float] = field(default_factory=list[float])
    marks: list[Mark] = field(default_factory=list[Mark])
    marks_untold: int = 0
    rows: list[Row] = field(default_factory=list[Row])

    def to_values(self) -> dict[str, object]:
        """Return plain values for programs; times are Unix seconds."""
        return asdict(self)


OpenRows = dict[tuple[str, str], Row]
"""(step, what the row is) -> the row that events of now belong to."""

STEP_EVENTS = frozenset(
    {
        "StepBegan",
        "AttemptOpened",
        "AttemptSettled",
        "RetryScheduled",
        "StepSettled",
        "StepSkipped",
        "StepUndone",
        "StepStuck",
        "StepReopened",
        "StepLeft",
    }
)
_UNDONE = frozenset({"StepUndone", "StepLeft"})


def fold(saga_id: str, events: Iterable[pb.SagaEvent]) -> Waterfall:
    """Read a saga's events from the first on."""
    drawn = Waterfall(saga_id=saga_id)
    rows: OpenRows = {}
    epoch = 0
    for event in events:
        at = seconds_of(event.event_time)
        if epoch and event.epoch > epoch:
            drawn.restarted_at.append(at)
        epoch, drawn.last_at = event.epoch, at
        if event.type in STEP_EVENTS:
            _fold_step(drawn, rows, event, at)
        elif event.type in {"RollbackBegan", "ElseBegan", "StepsReset"}:
            _fold_part(drawn, rows, event, at)
        else:
            _fold_saga(drawn, event, at)
        if event.type == "CompensationBegan":
            for step in [step for step, kind in rows if kind == ROLLBACK]:
                rows.pop((step, ROLLBACK)).ended_at = at  # from here on the saga as a whole is undone
    return drawn


def is_good(event: pb.SagaEvent) -> bool:
    """Return whether a step's or an item's end is a good one."""
    reason = event.details.fields["reason"].string_value
    return event.outcome == pb.STEP_OUTCOME_APPLIED and reason in {"", "REPLIED", "DONE", "PROBED", "RESOLVED"}


def split(event: pb.SagaEvent) -> tuple[str, int | None]:
    """Return the step an event is about, and the position where it is about an item."""
    return item_of(StepId(event.step))


def _manual_epoch(event: pb.SagaEvent) -> float:
    return event.details.fields["manual_epoch"].number_value


def _about(event: pb.SagaEvent) -> str:
    return event.summary.partition("\n")[0]


def _fold_saga(drawn: Waterfall, event: pb.SagaEvent, at: float) -> None:
    fields = event.details.fields
    match event.type:
        case "SagaStarted":
            drawn.started_at = at
            drawn.definition = fields["definition"].string_value
            drawn.trace_id = fields["trace_id"].string_value
            if fields["parent_saga_id"].string_value:
                drawn.parent = f"{fields['parent_saga_id'].string_value}, step {fields['parent_step'].string_value}"
        case "CompensationBegan":
            drawn.status, drawn.backward_at, drawn.is_ended = "COMPENSATING", at, False
            where = f"{event.step} " if event.step else ""
            drawn.cause = where + tame(event.summary.removeprefix("going backward").removeprefix(": "))
        case "AttentionRaised":
            drawn.status = "NEEDS_ATTENTION"
        case "AttentionCleared":
            drawn.status = "RUNNING" if drawn.backward_at is None else "COMPENSATING"
        case "SagaCompleted" | "SagaCompensated" | "SagaTerminated":
            drawn.status, drawn.is_ended = event.type.removeprefix("Saga").upper(), True
        case "SignalReceived" | "OperatorActed":
            if len(drawn.marks) < MARKS_MAX:
                drawn.marks.append(Mark(at=at, text=tame(event.summary)))
            else:
                drawn.marks_untold += 1
        case _:
            pass  # an event type of a newer server says nothing to this drawing


def _fold_part(drawn: Waterfall, rows: OpenRows, event: pb.SagaEvent, at: float) -> None:
    key = event.step, ROLLBACK
    if event.type == "RollbackBegan":
        row = rows[key] = Row(step=event.step, is_undo=False, is_rollback=True, started_at=at, waits=True)
        row.note = tame(event.summary.partition(": ")[2])
        drawn.rows.append(row)
        return
    _end_rollback(rows, event.step, at)
    if event.type == "StepsReset":
        for value in event.details.fields["steps"].list_value.values:
            for kind in ("", UNDO):
                rows.pop((value.string_value, kind), None)


def _end_rollback(rows: OpenRows, step: str, at: float) -> None:
    row = rows.pop((step, ROLLBACK), None)
    if row is not None:
        row.ended_at, row.ending = at, "UNDONE"


def _fold_step(drawn: Waterfall, rows: OpenRows, event: pb.SagaEvent, at: float) -> None:
    step, index = split(event)
    is_undo = event.operation == pb.OPERATION_KIND_COMPENSATE or event.type in _UNDONE
    key = step, UNDO if is_undo else ""
    row = rows.get(key)
    if row is None:
        row = rows[key] = Row(step=step, is_undo=is_undo, started_at=at)
        drawn.rows.append(row)
        if is_undo and (forward := rows.get((step, ""))) is not None:
            row.items = forward.items
    if index is None:
        _fold_own(rows, row, event, at)
    else:
        _fold_item(row, event, at)


def _fold_item(row: Row, event: pb.SagaEvent, at: float) -> None:
    if row.items is None:
        row.items = Items()
    row.items.take(event)
    if event.type == "StepStuck":
        row.ending, row.note = "STUCK", f"{event.step} {event.details.fields['reason'].string_value}"
    elif event.type in {"StepReopened", "StepSkipped", "StepLeft"} or (row.ending == "STUCK" and not row.is_undo):
        row.ending = row.note = ""
    if row.is_undo:
        row.ended_at = at
        if row.items.undone >= row.items.to_undo:
            row.ending, row.note = "UNDONE", ""


def _fold_own(rows: OpenRows, row: Row, event: pb.SagaEvent, at: float) -> None:
    fields = event.details.fields
    match event.type:
        case "StepBegan":
            row.waits = True
            if "count" in fields:
                row.items = Items(count=int(fields["count"].number_value))
        case "AttemptOpened":
            row.attempts.append(Attempt(number=event.attempt, opened_at=at, operation=_aside(event)))
        case "AttemptSettled":
            _settle(row, event, at)
        case "StepSettled":
            if fields["reason"].string_value == "SCOPE_FAILED":
                _end_rollback(rows, row.step, at)
            row.ended_at, row.ending = at, word(pb.StepOutcome.Name(event.outcome), "STEP_OUTCOME_")
            reason = fields["reason"].string_value
            row.note = "" if reason in {"REPLIED", "DONE"} else reason
        case "StepUndone":
            row.ended_at, row.ending = at, "UNDONE"
            row.note = "nothing was there" if fields["nothing_to_undo"].bool_value else ""
        case "StepLeft":
            row.ended_at, row.ending, row.note = at, "LEFT", "a person said that its effect stays"
        case "StepStuck":
            row.ending, row.note = "STUCK", fields["reason"].string_value
        case "StepReopened":
            row.ending = row.note = ""
        case "StepSkipped":
            row.ended_at, row.ending = at, "SKIPPED"
            row.note = fields["reason"].string_value
        case _:
            pass  # RetryScheduled shows as the gap between two attempts


def _aside(event: pb.SagaEvent) -> str:
    """Return the operation's name where it is not what the row itself is."""
    if event.operation in {pb.OPERATION_KIND_FORWARD, pb.OPERATION_KIND_COMPENSATE, pb.OPERATION_KIND_UNSPECIFIED}:
        return ""
    return word(pb.OperationKind.Name(event.operation), "OPERATION_KIND_").lower()


def _settle(row: Row, event: pb.SagaEvent, at: float) -> None:
    operation = _aside(event)
    for attempt in reversed(row.attempts):
        if attempt.number == event.attempt and attempt.operation == operation:
            attempt.ended_at, attempt.code = at, event.code
            attempt.outcome = word(pb.StepOutcome.Name(event.outcome), "STEP_OUTCOME_")
            if event.details.fields["phase"].string_value == "LOST":
                attempt.code = LOST
            return
