"""The records of one saga, sorted into what the checks ask for.

A step that is run again begins a new *life* with `StepsReset`: its attempts are numbered from 1 again, under new keys,
and what the last life did must have been undone. Lives are kept apart, so that every check reads one at a time. A path
is a step's id or an item's, `reserve[17]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from orchestrator.ids import StepId, item_of
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.saga import SagaState
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    ElseBegan,
    OperatorActed,
    Parent,
    RetryScheduled,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepsReset,
    StepUndone,
    Verb,
)
from orchestrator.saga.plan import Operation, Outcome, Plan
from orchestrator.verify.findings import Violation

Ending = SagaCompleted | SagaCompensated | SagaTerminated
ENDINGS = (SagaCompleted, SagaCompensated, SagaTerminated)


@dataclass(slots=True, kw_only=True)
class Life:
    """What one path did between its beginning and its end, or until it was reset; numbers are versions of records."""

    path: StepId
    began: int | None = None
    opened: dict[Operation, list[tuple[int, AttemptOpened]]] = field(default_factory=dict)
    settled: dict[Operation, list[tuple[int, AttemptSettled]]] = field(default_factory=dict)
    renewed: list[tuple[int, RetryScheduled | StepReopened]] = field(default_factory=list)
    """Records after which an operation's budget may be fresh."""
    ended: list[tuple[int, StepSettled]] = field(default_factory=list)
    """More than one where a person resolved what had been left unknown."""
    undone: int | None = None
    left: int | None = None
    reset: int | None = None

    @property
    def outcome(self) -> Outcome | None:
        """Return what is known last of the path's effect."""
        return self.ended[-1][1].outcome if self.ended else None

    @property
    def undo_opened(self) -> int | None:
        """Return when its undo was first tried."""
        opened = self.opened.get(Operation.COMPENSATE)
        return opened[0][0] if opened else None

    def is_settled_back(self, by: int) -> bool:
        """Return whether its effect was gone, or a person had said that it stays, by a version."""
        return any(at is not None and at < by for at in (self.undone, self.left))


@dataclass(slots=True, kw_only=True)
class Part:
    """A part of the saga that was undone alone."""

    event: RollbackBegan
    began: int
    ended: int | None = None
    is_undone: bool = False
    """It came to its own end; otherwise the saga as a whole went backward, or ended."""

    @property
    def is_rerun(self) -> bool:
        """Return whether it is undone so that it can be run again; otherwise because a scope failed."""
        return self.event.step in self.event.steps

    def is_open(self, at: int) -> bool:
        """Return whether it was being undone at a version."""
        return self.began < at and (self.ended is None or at <= self.ended)


@dataclass(slots=True, kw_only=True)
class Stream:
    """The records of one saga."""

    row: SearchRow
    plan: Plan
    records: Sequence[Record]
    state: SagaState | None
    """What the records fold to; None where they do not."""
    uid: UUID | None = None
    parent: Parent | None = None
    ending: Ending | None = None
    """Its last record, where that ends it."""
    lives: dict[StepId, list[Life]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    turned: dict[StepId, list[int]] = field(default_factory=dict)
    """Scope -> when its alternative began."""
    signals: list[tuple[int, SignalReceived]] = field(default_factory=list)
    acted: list[tuple[int, OperatorActed]] = field(default_factory=list)
    backward_from: int | None = None
    """Version of CompensationBegan."""

    @property
    def is_over(self) -> bool:
        """Return whether its last record ends it."""
        return self.ending is not None

    @property
    def was_cut_short(self) -> bool:
        """Return whether a person ended it as it was, so that calls may have been open."""
        verbs = {event.verb for _, event in self.acted}
        return isinstance(self.ending, SagaTerminated) or Verb.FORCE_COMPLETE in verbs

    def every_life(self) -> Iterator[Life]:
        """Yield all lives of all paths."""
        for lives in self.lives.values():
            yield from lives

    def resolved(self) -> set[StepId]:
        """Return the paths of which a person said what is true."""
        return {event.step for _, event in self.acted if event.verb is Verb.RESOLVE and event.step is not None}

    def broken(self, invariant: str, message: str, *versions: int) -> Violation:
        """Return a violation in this saga."""
        return Violation(invariant=invariant, saga_id=self.row.saga_id, message=message, versions=versions)


def sorted_stream(row: SearchRow, plan: Plan, records: Sequence[Record], state: SagaState | None) -> Stream:
    """Return the records by what they are about; steps that the plan does not have are the fold's to complain of."""
    stream = Stream(row=row, plan=plan, records=records, state=state)
    for record in records:
        step = getattr(record.event, "step", None)
        if step is None or item_of(step)[0] in plan.steps:
            _sort(stream, record)
    last = records[-1].event if records else None
    stream.ending = last if isinstance(last, ENDINGS) else None
    return stream


StepRecord = (
    StepBegan | AttemptOpened | AttemptSettled | RetryScheduled | StepReopened | StepSettled | StepUndone | StepLeft
)


def _sort(stream: Stream, record: Record) -> None:
    version = record.version
    match record.event:
        case SagaStarted() as event:
            stream.uid, stream.parent = event.uid, event.parent
        case SignalReceived() as event:
            stream.signals.append((version, event))
        case OperatorActed() as event:
            stream.acted.append((version, event))
        case RollbackBegan() as event:
            stream.parts.append(Part(event=event, began=version))
        case ElseBegan(step=step):
            stream.turned.setdefault(step, []).append(version)
            _close_part(stream, step, version)
        case StepsReset() as event:
            _close_part(stream, event.step, version)
            _reset(stream, event, version)
        case CompensationBegan():
            stream.backward_from = version
            for part in stream.parts:
                part.ended = version if part.ended is None else part.ended
        case (
            StepBegan()
            | AttemptOpened()
            | AttemptSettled()
            | RetryScheduled()
            | StepReopened()
            | StepSettled()
            | StepUndone()
            | StepLeft()
        ) as event:
            _of_step(stream, _life(stream, event.step), event, version)
        case _:
            pass  # the other events bear on no rule that reads single records


def _life(stream: Stream, path: StepId) -> Life:
    lives = stream.lives.setdefault(path, [])
    if not lives or lives[-1].reset is not None:
        lives.append(Life(path=path))
    return lives[-1]


def _of_step(stream: Stream, life: Life, event: StepRecord, version: int) -> None:
    match event:
        case StepBegan():
            life.began = version
        case AttemptOpened(operation=operation):
            life.opened.setdefault(operation, []).append((version, event))
            if operation is Operation.FORWARD and life.began is None:
                life.began = version
        case AttemptSettled(operation=operation):
            life.settled.setdefault(operation, []).append((version, event))
        case RetryScheduled() | StepReopened():
            life.renewed.append((version, event))
        case StepSettled():
            life.ended.append((version, event))
            failed = event.reason is SettleReason.SCOPE_FAILED
            for part in stream.parts:
                # What is run again from a step ends with its reset instead.
                if part.event.step == event.step and part.ended is None and not part.is_rerun:
                    part.ended, part.is_undone = version, failed
        case StepUndone():
            life.undone = version
        case StepLeft():
            life.left = version
        case _:
            assert_never(event)


def _close_part(stream: Stream, step: StepId, version: int) -> None:
    for part in stream.parts:
        if part.event.step == step and part.ended is None:
            part.ended, part.is_undone = version, True


def _reset(stream: Stream, event: StepsReset, version: int) -> None:
    inside = set(event.steps)
    for path, lives in stream.lives.items():
        if (path in inside or item_of(path)[0] in inside) and lives[-1].reset is None:
            lives[-1].reset = version
