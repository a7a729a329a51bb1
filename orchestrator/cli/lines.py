"""A saga's events as lines, the items of a list folded: what `saga history` and `saga watch` print. Pure.

The calls of a list's items, and their good or bad ends, make one line for as long as nothing else happens:
`reserve: 16 of 100 items done, 2 failed (…)`. What needs a person, and what a person did, has a line of its own always.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.cli.output import duration, seconds_of, tame
from orchestrator.cli.story import Items, split
from orchestrator.v1 import saga_pb2 as pb

ITEMS = "items"
"""What stands for the type of the events that a line folds."""
_FOLDED = frozenset({"AttemptOpened", "AttemptSettled", "RetryScheduled", "StepSettled", "StepUndone"})
_SHARES = 10
"""A list tells of itself so often while it is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One line: an event, or several of a list's items."""

    first: int
    last: int
    at: float
    """Of the last, Unix seconds."""
    kind: str
    text: str

    @property
    def sequence(self) -> str:
        """Return the events' numbers, `17` or `17-203`."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def told(events: Iterable[pb.SagaEvent], *, is_live: bool = False) -> Iterator[EventLine]:
    """Yield events as lines; `is_live`: a list also tells of itself at each tenth of its items, not at its end only."""
    folding = _Folding()
    for event in events:
        step, index = split(event)
        if index is None or event.type not in _FOLDED:
            yield from folding.end()
            folding.look(step, index, event)
            yield line_of(event)
            continue
        if not folding.fits(step, event):
            yield from folding.end()
        folding.take(step, event)
        if is_live and folding.is_due():
            yield from folding.end()
    yield from folding.end()


def line_of(event: pb.SagaEvent) -> EventLine:
    """Return one event as a line."""
    return EventLine(
        first=event.sequence,
        last=event.sequence,
        at=seconds_of(event.event_time),
        kind=event.type,
        text=tame(event.summary) + _when(event),
    )


def _when(event: pb.SagaEvent) -> str:
    """Return how long what an event begins will take, where that is what it is about."""
    if not event.HasField("due_time"):
        return ""
    left = duration(seconds_of(event.due_time) - seconds_of(event.event_time))
    return {"StepBegan": f", for {left} at most", "RetryScheduled": f", in {left}"}.get(event.type, "")


class _Folding:
    """The items' events that are not printed yet, and how each list is doing."""

    def __init__(self) -> None:
        self._items: dict[str, Items] = {}
        self._step = ""
        self._is_undo = False
        self._first = self._last = 0
        self._at = 0.0
        self._told: dict[tuple[str, bool], int] = {}

    def look(self, step: str, index: int | None, event: pb.SagaEvent) -> None:
        """Hear what an event that is printed by itself means for a list."""
        fields = event.details.fields
        if event.type == "StepBegan" and "count" in fields:
            self._items[step] = Items(count=int(fields["count"].number_value))
            self._told.pop((step, False), None)
            self._told.pop((step, True), None)
        elif index is not None:
            self._of(step).take(event)

    def fits(self, step: str, event: pb.SagaEvent) -> bool:
        """Return whether an event belongs to the line that is being folded."""
        return not self._first or (step, _is_undo(event)) == (self._step, self._is_undo)

    def take(self, step: str, event: pb.SagaEvent) -> None:
        """Fold an event in."""
        self._of(step).take(event)
        self._step, self._is_undo = step, _is_undo(event)
        self._first = self._first or event.sequence
        self._last, self._at = event.sequence, seconds_of(event.event_time)

    def is_due(self) -> bool:
        """Return whether a tenth more of the items has come to an end."""
        items = self._of(self._step)
        over, of = (items.undone, items.to_undo) if self._is_undo else (items.done + items.failed, items.count)
        share = over * _SHARES // max(of, 1)
        key = self._step, self._is_undo
        if share <= self._told.get(key, 0):
            return False
        self._told[key] = share
        return True

    def end(self) -> Iterator[EventLine]:
        """Yield the line that is being folded, if there is one."""
        if not self._first:
            return
        items = self._of(self._step)
        words = items.undo_words() if self._is_undo else items.words()
        first, self._first = self._first, 0
        yield EventLine(first=first, last=self._last, at=self._at, kind=ITEMS, text=f"{self._step}: {words}")

    def _of(self, step: str) -> Items:
        return self._items.setdefault(step, Items())


def _is_undo(event: pb.SagaEvent) -> bool:
    return event.operation == pb.OPERATION_KIND_COMPENSATE or event.type == "StepUndone"
