"""The compiled definition the machine runs.

A plan is what `definition/compile.py` makes of an author's tree: names resolved, types checked, data edges merged
into `needs`, every expression turned into a pure and total function over recorded facts. The machine may call those
functions; what they gave is recorded in the event, so `evolve` never evaluates anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.ids import SagaId, StepId
from orchestrator.values import Attributes, Payload


class StepKind(StrEnum):
    """What a step's effect means for undoing (Richardson)."""

    COMPENSATABLE = "compensatable"
    READ = "read"


class Operation(StrEnum):
    """What a step does now; part of its idempotency key."""

    FORWARD = "forward"
    COMPENSATE = "compensate"


class TriggerRule(StrEnum):
    """When a step with several predecessors may start (R14)."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_DONE = "one_done"
    ALL_FAILED = "all_failed"
    NONE_FAILED = "none_failed"
    AT_LEAST = "at_least"


class UndoOrder(StrEnum):
    """Whether independent branches are undone at the same time (R19)."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


@frozen_tuple
class ExpressionFailure:
    """An expression that could not be evaluated: a value, because author errors are business facts here."""

    message: str


class Facts(Protocol):
    """What an expression may read: recorded values only, so it gives the same answer for ever."""

    @property
    def saga_id(self) -> SagaId: ...
    @property
    def uid(self) -> UUID: ...
    @property
    def started_at(self) -> float: ...
    @property
    def input(self) -> Payload: ...
    @property
    def own_reply(self) -> Payload | None:
        """Return the reply of the step the expression belongs to; None where there is none."""

    def reply_of(self, step: StepId) -> Payload | None:
        """Return the recorded reply of a step; None where it was skipped, failed, or has not settled."""

    def status_of(self, step: StepId) -> str:
        """Return the step's status word, e.g. `APPLIED`."""
        ...


Guard = Callable[[Facts], bool | ExpressionFailure]
Render = Callable[[Facts], Payload | ExpressionFailure]
RenderText = Callable[[Facts], str | ExpressionFailure]
RenderAttributes = Callable[[Facts], Attributes | ExpressionFailure]


@frozen
class Trigger:
    """A rule and, for AT_LEAST, how many successes it wants."""

    rule: TriggerRule = TriggerRule.ALL_SUCCESS
    count: int = 0


@frozen
class RetryPolicy:
    """How often and how patiently an operation is tried; the words are the gRPC service config's."""

    max_attempts: int
    """Attempts that count (a parked or lost one does not); 0 means without limit."""
    initial_backoff_s: float
    max_backoff_s: float
    multiplier: float
    explicit: bool = False
    """The author wrote it down: an unknown outcome may be retried even where the method is not known to keep keys."""


@frozen
class Call:
    """One method and how to ask it."""

    target: str
    """Name of a configured target; its address is configuration, never part of a plan."""
    method: str
    """Full method name, `epro.v1.Scoring/Score`."""
    reply_type: str
    """Full message type of the reply, `epro.v1.ScoreResponse`."""
    render: Render
    timeout_s: float
    retry: RetryPolicy
    idempotent: bool = False
    """The method honours the idempotency key: asked again, it replays its first reply (R8a)."""
    barrier: bool = False
    """The method keeps the barrier contract (R13), so an unknown call may be undone at once (R12a)."""


@frozen
class Compensation:
    """How a step is undone, and when relative to others (R19)."""

    call: Call
    after: tuple[StepId, ...] = ()
    """Steps that must be undone before this one, beyond the natural order."""
    first: bool = False
    """Undo this step before every other one that is not marked so."""


@frozen
class Step:
    """One node of the plan."""

    id: StepId
    kind: StepKind
    needs: frozenset[StepId]
    """Direct predecessors: written `after:` edges and edges inferred from expressions."""
    call: Call
    trigger: Trigger = field(default_factory=Trigger)
    when: Guard | None = None
    refuse: Guard | None = None
    reason: RenderText | None = None
    compensation: Compensation | None = None
    """None: nothing to undo, because the kind is `read` or because the author said `compensate: none`."""
    optional: bool = False

    @property
    def is_undoable(self) -> bool:
        """Return whether the step has an undo at all: not a read, and not `compensate: none` (R20)."""
        return self.compensation is not None and self.kind is not StepKind.READ

    def call_of(self, operation: Operation) -> Call:
        """Return what an operation calls; a step without compensation is never asked for its undo."""
        if operation is Operation.FORWARD:
            return self.call
        assert self.compensation is not None  # backward.py undoes only what has a compensation
        return self.compensation.call


@frozen
class Plan:
    """A definition's revision, compiled. Immutable; a saga keeps the plan it started with."""

    definition: str
    revision: str
    """Content address of the source and of the descriptors it was checked against."""
    input_type: str
    steps: Mapping[StepId, Step]
    """In the order of the source, which is also a topological order's tie-break."""
    forward_s: float
    compensation_s: float
    undo_order: UndoOrder = UndoOrder.PARALLEL
    attributes: RenderAttributes | None = None
    output: Render | None = None
    dependents: Mapping[StepId, frozenset[StepId]] = field(init=False)
    """Step -> every step that needs it, directly or not: the reversed edges of R19."""

    def __post_init__(self) -> None:
        """Derive the reversed, transitively closed edges once."""
        object.__setattr__(self, "dependents", _close(self.steps))


def _close(steps: Mapping[StepId, Step]) -> Mapping[StepId, frozenset[StepId]]:
    direct: dict[StepId, set[StepId]] = {step: set() for step in steps}
    for step in steps.values():
        for need in step.needs:
            direct[need].add(step.id)
    closed: dict[StepId, frozenset[StepId]] = {}
    for root in steps:
        seen: set[StepId] = set()
        todo = list(direct[root])
        while todo:
            found = todo.pop()
            if found not in seen:
                seen.add(found)
                todo.extend(direct[found])
        closed[root] = frozenset(seen)
    return closed
