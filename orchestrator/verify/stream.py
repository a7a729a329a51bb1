"""The records of one saga, sorted into what the checks ask for.

A step that is run again begins a new *life* with `StepsReset`: its attempts are numbered from 1 again, under new keys,
and what the last life did must have been undone. Lives are kept apart, so that every check reads one at a time. A path
is a step's id or an item's, `reserve[17]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from orchestrator.ids import StepId
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.saga import SagaState
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    Cause,
    ElseBegan,
    Event,
    OperatorActed,
    Parent,
    RetryScheduled,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SignalReceived,
    StepReopened,
    StepSettled,
    Verb,
)
from orchestrator.saga.plan import Call, Operation, Outcome, Plan
from orchestrator.verify.findings import Violation

Ending = SagaCompleted | SagaCompensated | SagaTerminated
ENDINGS = (SagaCompleted, SagaCompensated, SagaTerminated)


@dataclass(slots=True, kw_only=True)
class Life:
    """What one path did between its beginning and its end, or until it was reset; numbers are versions of records."""

    path: StepId
    began: int | None = None
    due_at: float | None = None
    """When it has slept enough, or waited too long."""
    count: int = 0
    """How many items it has."""
    opened: dict[Operation, list[tuple[int, AttemptOpened]]] = field(default_factory=dict)
    settled: dict[Operation, list[tuple[int, AttemptSettled]]] = field(default_factory=dict)
    renewed: list[tuple[int, RetryScheduled | StepReopened]] = field(default_factory=list)
    """Records after which an operation's budget may be fresh."""
    stuck: list[int] = field(default_factory=list)
    ended: list[tuple[int, StepSettled]] = field(default_factory=list)
    """More than one where a person resolved what had been left unknown."""
    skipped: int | None = None
    undone: int | None = None
    left: int | None = None
    reset: int | None = None

    @property
    def over(self) -> int | None:
        """Return when it came to its end forward, or a person went on without it."""
        return self.ended[0][0] if self.ended else self.skipped

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
    started: SagaStarted | None = None
    ending: Ending | None = None
    """Its last record, where that ends it."""
    lives: dict[StepId, list[Life]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    turned: dict[StepId, list[tuple[int, ElseBegan]]] = field(default_factory=dict)
    """Scope -> when its alternative began."""
    signals: list[tuple[int, SignalReceived]] = field(default_factory=list)
    acted: list[tuple[int, OperatorActed]] = field(default_factory=list)
    raised: list[tuple[int, AttentionRaised]] = field(default_factory=list)
    cancelled: int | None = None
    """Version of CancelRequested."""
    backward_from: int | None = None
    """Version of CompensationBegan."""
    cause: Cause | None = None
    backward_due_at: float = 0.0
    """The end of the compensation budget."""
    turned_round: list[int] = field(default_factory=list)
    """Records that have no place in a saga that is being undone."""
    deeds: list[tuple[int, str, StepId | None, Event | None]] = field(default_factory=list)
    """What only a person brings about, with its step and the record before it."""
    foreign: list[int] = field(default_factory=list)
    """Attempts opened under another epoch than their record's."""
    crossed: list[tuple[int, int]] = field(default_factory=list)
    """Attempts that another writer than their own has ended, and not as lost."""

    @property
    def uid(self) -> UUID | None:
        """Return the saga's uid, where its start is there."""
        return None if self.started is None else self.started.uid

    @property
    def parent(self) -> Parent | None:
        """Return the saga's parent, where it has one."""
        return None if self.started is None else self.started.parent

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

    def event(self, version: int) -> Event | None:
        """Return the event of a record; None past the ends, and where numbers have gaps, which I1 tells."""
        at = version - 1
        found = self.records[at] if 0 <= at < len(self.records) else None
        return None if found is None or found.version != version else found.event

    def call_of(self, path: StepId, operation: Operation) -> Call | None:
        """Return what an operation of a path calls; None where the plan does not have it, whatever records say."""
        step = self.plan.step_of(path)
        if operation is Operation.FORWARD:  # nearly always
            return step.body if isinstance(step.body, Call) else None
        match operation:
            case Operation.COMPENSATE:
                return None if step.compensation is None else step.compensation.call
            case Operation.PROBE:
                return None if step.probe is None else step.probe.call
            case Operation.AWAIT:
                return None if step.awaits is None else step.awaits.call
            case Operation.STOP:
                return None if step.awaits is None else step.awaits.stop
            case _:
                assert_never(operation)

    def resolved(self) -> set[StepId]:
        """Return the paths of which a person said what is true."""
        return {event.step for _, event in self.acted if event.verb is Verb.RESOLVE and event.step is not None}

    def broken(self, invariant: str, message: str, *versions: int) -> Violation:
        """Return a violation in this saga."""
        return Violation(invariant=invariant, saga_id=self.row.saga_id, message=message, versions=versions)
