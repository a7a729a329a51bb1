"""In which part of its trace each thing of a saga is told (T9).

A saga may last for months, and no viewer shows a trace of months. So its trace has parts, each a trace of its own and
linked to the one before. A part that has lasted too long, or has too many records, is followed by the next one when
something begins that belongs to nothing under way: a step, the undoing of what is run again from a step, the
compensation. Everything else stays where it belongs: attempts and items with their step, the rollback of a scope with
the scope, an undo with the rollback or the compensation that it began under.

The runtime tells a called service its place in the trace before any span exists (T5), and the trace is made from the
records afterwards. Both fold this value, by these functions, at the same records; so they agree without a word between
them, and no record says it.

    step a ───────┐   step b ──┐                      step c ──┐            what begins
    part 1 ───────┴────────────┴───── too long ─────> part 2 ──┴──────>
      a, b, their items and attempts, for ever          c, …
"""

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Final, Protocol

from immutables import Map

from orchestrator.frozen import changed, frozen
from orchestrator.ids import StepId, item_of
from orchestrator.limits import TRACE_PART_RECORDS_MAX, TRACE_PART_S_MAX
from orchestrator.saga.events import CompensationBegan, RollbackBegan
from orchestrator.saga.plan import COMPENSATE, Operation


@frozen
class TraceBounds:
    """How long one part may go on before the next thing that begins begins another."""

    part_s_max: float = TRACE_PART_S_MAX
    part_records_max: int = TRACE_PART_RECORDS_MAX


@frozen
class TraceParts:
    """The parts of a saga's trace so far. What is in no mapping is in the first part, as nearly all is."""

    bounds: TraceBounds = TraceBounds()
    number: int = 1
    """Of the part in which things begin now."""
    begin_at: float = 0.0
    """When it began; of the first part 0, which began with the saga."""
    begin_version: int = 1
    """The record that began it."""
    steps: Map[StepId, int] = field(default_factory=Map[StepId, int])
    """Step -> the part in which it began, where that is not the first."""
    rollbacks: Map[StepId, int] = field(default_factory=Map[StepId, int])
    """By what caused it, the part to which the last undoing of a part of the saga belongs."""
    undos: Map[StepId, int] = field(default_factory=Map[StepId, int])
    """Path -> the part to which its undo belongs, where it began in such a rollback."""
    backward: int = 1
    """The part in which the compensation began."""

    def part_of(self, path: StepId, operation: Operation) -> int:
        """Return the part to which the attempts of an operation belong."""
        if operation is COMPENSATE:
            return self.undos.get(path, self.backward)
        return 1 if self.number == 1 else self.steps.get(item_of(path)[0], 1)


ONE_PART: Final = TraceParts()


class OfStep(Protocol):
    """The record with which a step begins, whatever it is."""

    @property
    def at(self) -> float:
        """Return its instant."""
        ...

    @property
    def step(self) -> StepId:
        """Return whose it is."""
        ...


class Undone(Protocol):
    """A part of the saga that is being undone, as the machine and as telemetry know it."""

    @property
    def steps(self) -> frozenset[StepId]:
        """Return what is undone."""
        ...


def step_begins(parts: TraceParts, event: OfStep, version: int, started_at: float) -> TraceParts:
    """Return the parts after a step began its way forward with a record; not an item of one."""
    bounds = parts.bounds
    if parts.number == 1 and version <= bounds.part_records_max and event.at - started_at <= bounds.part_s_max:
        return parts  # as `_rolled` would say; nearly every saga stays in its first part
    parts = _rolled(parts, event.at, version, started_at)
    return parts if parts.number == 1 else changed(parts, steps=parts.steps.set(event.step, parts.number))


def rollback_begins(parts: TraceParts, event: RollbackBegan, version: int, started_at: float) -> TraceParts:
    """Return the parts after a part of the saga began to be undone: of a scope that is under way, or from a step on."""
    if event.step in event.steps:
        parts = _rolled(parts, event.at, version, started_at)
        part = parts.number
    else:
        part = parts.steps.get(event.step, 1)
    return changed(parts, rollbacks=parts.rollbacks.set(event.step, part))


def compensation_begins(parts: TraceParts, event: CompensationBegan, version: int, started_at: float) -> TraceParts:
    """Return the parts after the saga as a whole began to be undone."""
    parts = _rolled(parts, event.at, version, started_at)
    return parts if parts.backward == parts.number else changed(parts, backward=parts.number)


def undo_begins(parts: TraceParts, path: StepId, rollbacks: Mapping[StepId, Undone]) -> TraceParts:
    """Return the parts after the undo of a path began, while parts of the saga are being undone."""
    root = rollback_of(rollbacks, path)
    return parts if root is None else changed(parts, undos=parts.undos.set(path, parts.rollbacks[root]))


def steps_begin_anew(parts: TraceParts, steps: Collection[StepId]) -> TraceParts:
    """Return the parts after a part of the saga has been undone: its next undo is another one."""
    if not parts.undos:
        return parts
    stay = {path: part for path, part in parts.undos.items() if item_of(path)[0] not in steps}
    return changed(parts, undos=Map[StepId, int](stay))


def rollback_of(rollbacks: Mapping[StepId, Undone], path: StepId) -> StepId | None:
    """Return which of the rollbacks, in the order in which they began, holds a path: the last; None where none does."""
    step, found = item_of(path)[0], None
    for root, rollback in rollbacks.items():
        if step in rollback.steps:
            found = root
    return found


def _rolled(parts: TraceParts, at: float, version: int, started_at: float) -> TraceParts:
    bounds = parts.bounds
    is_long = at - (parts.begin_at or started_at) > bounds.part_s_max
    if not is_long and version - parts.begin_version < bounds.part_records_max:
        return parts
    return changed(parts, number=parts.number + 1, begin_at=at, begin_version=version)
