"""The saga as its records tell it: frozen values, folded by `evolve`, never changed in place.

Invariants stand at the fields they bind; `check.py` enforces them under the same numbers.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from uuid import UUID

from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.events import AttentionReason, Cause, Outcome, Report, SettleReason
from orchestrator.saga.plan import Operation, Plan
from orchestrator.values import Attributes, Payload, TraceContext


class SagaStatus(StrEnum):
    """Where a saga is; WAITING and PAUSED are derived by the surfaces, never stored."""

    QUEUED = "QUEUED"
    """Nothing is recorded yet."""
    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"


class StepStatus(StrEnum):
    """Where a step is."""

    PENDING = "PENDING"
    IN_FLIGHT = "IN_FLIGHT"
    BACKING_OFF = "BACKING_OFF"
    PARKED = "PARKED"
    """Waiting for a paused target, at no cost in attempts."""
    UNSETTLED = "UNSETTLED"
    """The forward call may or may not have been applied, and nobody asks any more."""
    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    SKIPPED = "SKIPPED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    STUCK = "STUCK"


@frozen
class AttemptState:
    """An attempt that has no end yet."""

    number: int
    epoch: int
    """M16: a report under another epoch changes nothing."""
    opened_at: float
    deadline_at: float
    """M12: never after the saga's forward deadline, for a forward attempt."""


@frozen
class OperationState:
    """One operation of one step: its request, its attempts, and the fold of what they brought."""

    request: Payload
    """What every attempt sends, byte for byte."""
    key: str
    """M10: a function of saga, step, operation and manual epoch."""
    started_at: float
    attempts: int = 0
    """M9: the number of the last opened attempt; numbers are dense."""
    spent: int = 0
    """Attempts that count against the retry policy: not the parked, not the lost."""
    open: AttemptState | None = None
    """M2: at most one at a time."""
    retry_at: float | None = None
    """When the next attempt is due; None while one is open or the operation is over."""
    parked: bool = False
    unknown: bool = False
    """Some attempt ended UNKNOWN, so the peer may have applied it (R8a)."""
    drained_at: float = 0.0
    """The latest deadline of an attempt that ended UNKNOWN: until then (and the clock skew) it may still run (R12)."""
    last: Report | None = None


@frozen
class StepState:
    """One step of one saga."""

    id: StepId
    status: StepStatus = StepStatus.PENDING
    forward: OperationState | None = None
    undo: OperationState | None = None
    """M4: present only where the outcome is APPLIED or UNKNOWN."""
    outcome: Outcome | None = None
    """None until the step settles."""
    settle_reason: SettleReason | None = None
    code: str = ""
    message: str = ""
    reply: Payload | None = None
    undo_request: Payload | None = None
    """M7: rendered and stored when the step settles."""
    started_version: int = 0
    settled_version: int = 0
    """Versions of the records that opened the first attempt and settled the step: the order of completion (R19)."""
    stuck: AttentionReason | None = None


@frozen
class SagaState:
    """One saga. `version` is the number of its last record; the fold of records 1..version is this value (M15)."""

    plan: Plan
    status: SagaStatus = SagaStatus.QUEUED
    version: int = 0
    saga_id: SagaId = SagaId("")
    uid: UUID = UUID(int=0)
    input: Payload = field(default_factory=lambda: Payload("", b""))
    attributes: Attributes = field(default_factory=dict[str, str | int | float | bool])
    request_id: str = ""
    trace: TraceContext = field(default_factory=lambda: TraceContext(trace_id=0, span_id=0, sampled=False))
    started_at: float = 0.0
    updated_at: float = 0.0
    ended_at: float | None = None
    forward_deadline_at: float = 0.0
    compensation_s: float = 0.0
    compensation_deadline_at: float | None = None
    epoch: int = 0
    """M11: never decreases."""
    steps: Mapping[StepId, StepState] = field(default_factory=dict[StepId, StepState])
    """In plan order; one entry per step of the plan."""
    live: frozenset[StepId] = frozenset()
    """Steps with an operation that is open, waiting to be retried, or draining: all that `owed` must look at."""
    cause: Cause | None = None
    """Why the saga goes backward; None while it goes forward."""
    compensation_began_at: float | None = None
    cancel_reason: str | None = None
    attention: tuple[AttentionReason, ...] = ()
    output: Payload | None = None

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing can change this saga any more (R4)."""
        return self.status in TERMINAL

    @property
    def is_backward(self) -> bool:
        """Return whether the saga stopped going forward."""
        return self.cause is not None


TERMINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})
SETTLED = frozenset({StepStatus.APPLIED, StepStatus.NOT_APPLIED, StepStatus.UNSETTLED, StepStatus.SKIPPED})
"""The forward operation has come to its end and nothing was undone yet."""


def blank(plan: Plan) -> SagaState:
    """Return the state before the first record."""
    return SagaState(plan=plan, steps={step: StepState(id=step) for step in plan.steps})


def operation_of(step: StepState, operation: Operation) -> OperationState | None:
    """Return the step's state for one operation."""
    return step.forward if operation is Operation.FORWARD else step.undo


@frozen_tuple
class RecordedFacts:
    """`plan.Facts` over a state: what the expressions of one step may read."""

    state: SagaState
    own_reply: Payload | None = None

    @property
    def saga_id(self) -> SagaId:
        """Return the caller's name of the saga."""
        return self.state.saga_id

    @property
    def uid(self) -> UUID:
        """Return the saga's unique id."""
        return self.state.uid

    @property
    def started_at(self) -> float:
        """Return when the saga was accepted, Unix seconds."""
        return self.state.started_at

    @property
    def input(self) -> Payload:
        """Return the saga's input."""
        return self.state.input

    def reply_of(self, step: StepId) -> Payload | None:
        """Return the recorded reply of a step."""
        return self.state.steps[step].reply

    def status_of(self, step: StepId) -> str:
        """Return the step's status word."""
        return self.state.steps[step].status.value
