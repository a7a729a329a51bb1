"""What happened, in the past tense: the journal's vocabulary.

Every event is a frozen value with the instant `at` which the machine was given. Names and fields are a published
contract (`protos/orchestrator/v1/journal.proto`): fields may be added, none is renamed or reused, and journals of old
releases stay readable for ever (`tests/golden/`).

The life of one attempt is two records: `AttemptOpened` is committed *before* bytes are sent (R1), `AttemptSettled`
closes it with what the wire said and what that means. Around them, `StepSettled` is the fold of a step's attempts
(R8a) and carries the rendered undo request (R3).
"""

from enum import StrEnum
from uuid import UUID

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.plan import Operation
from orchestrator.values import Attributes, Payload, TraceContext


class Outcome(StrEnum):
    """Whether an effect took place."""

    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"


class Phase(StrEnum):
    """How far an attempt got on the wire."""

    NOT_SENT = "NOT_SENT"
    """No stream was ever opened: the peer cannot have seen it (R9)."""
    SENT = "SENT"
    """The request may have arrived; the status was made on our side."""
    REPLIED = "REPLIED"
    """The status came from the peer."""
    LOST = "LOST"
    """The orchestrator stopped before it saw the end."""


class SettleReason(StrEnum):
    """Why a step settled as it did."""

    REPLIED = "REPLIED"
    """The peer's status decided."""
    UNANSWERED = "UNANSWERED"
    """No answer came, and asking twice is not safe here."""
    REFUSED = "REFUSED"
    """An OK reply that means no, by the step's `refuse` expression."""
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    EXPRESSION_FAILED = "EXPRESSION_FAILED"
    """The request could not be rendered, so nothing was sent; or a reply could not be judged."""
    UNDO_NOT_RENDERED = "UNDO_NOT_RENDERED"
    """The call was applied, but its undo request could not be rendered."""
    STOPPED = "STOPPED"
    """The saga stopped before the step came to its own end."""


class SkipReason(StrEnum):
    """Why a step was passed over."""

    GUARD_FALSE = "GUARD_FALSE"
    TRIGGER_UNMET = "TRIGGER_UNMET"


class CauseKind(StrEnum):
    """Why a saga went backward."""

    STEP_FAILED = "STEP_FAILED"
    CANCELLED = "CANCELLED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    EXPRESSION_FAILED = "EXPRESSION_FAILED"


class AttentionReason(StrEnum):
    """Why a person must look."""

    UNDO_REFUSED = "UNDO_REFUSED"
    """The service answered the undo with a refusal (R24)."""
    UNDO_NOT_RENDERED = "UNDO_NOT_RENDERED"
    """There is no undo request: what it needs was never known."""
    COMPENSATION_OVERDUE = "COMPENSATION_OVERDUE"
    """The compensation budget is over and something is still not undone; trying goes on (R23, R24)."""
    DATA_LOSS = "DATA_LOSS"
    """The service reported data loss (R6)."""
    ATTEMPTS_EXCEEDED = "ATTEMPTS_EXCEEDED"
    """An operation reached the limit of recorded attempts."""


@frozen
class Report:
    """What the invoker says about one attempt: what the wire said, not yet what it means."""

    code: str
    """gRPC status name, `OK`, `UNAVAILABLE`, …"""
    phase: Phase
    message: str = ""
    reply: Payload | None = None
    """Present with `OK` only."""
    applied: bool | None = None
    """The service's own word in `google.rpc.ErrorInfo` metadata `applied`; None where it said nothing (R8)."""
    error_reason: str = ""
    """`google.rpc.ErrorInfo.reason`."""
    retry_after_s: float | None = None
    """`RetryInfo.retry_delay` or `grpc-retry-pushback-ms`; negative: do not retry."""
    parked: bool = False
    """The invoker held the call back (its target is paused); such an attempt costs no retry budget (R7)."""
    sent_at: float | None = None
    ended_at: float | None = None


@frozen
class Cause:
    """Why a saga stopped going forward; shown to callers as its failure."""

    kind: CauseKind
    message: str
    step: StepId | None = None
    code: str = ""
    """gRPC status name of the deciding answer, where there was one."""
    reason: str = ""
    """`SettleReason`, or the service's own ErrorInfo reason, or the caller's cancel reason."""


@frozen
class SagaStarted:
    """A saga was accepted; everything it will ever need to know about its start is here."""

    at: float
    saga_id: SagaId
    uid: UUID
    definition: str
    revision: str
    input: Payload
    attributes: Attributes
    request_id: str
    forward_deadline_at: float
    compensation_s: float
    trace: TraceContext


@frozen
class StepSkipped:
    """A step will not run: its guard was false, or its trigger can no longer be met."""

    at: float
    step: StepId
    reason: SkipReason


@frozen
class AttemptOpened:
    """The intent to call: committed before any byte is sent (R1)."""

    at: float
    step: StepId
    operation: Operation
    attempt: int
    """1, 2, 3, … per step and operation, without a gap (M9)."""
    epoch: int
    key: str
    """The idempotency key, the same for every attempt of the operation (R11)."""
    request: Payload | None
    """On the first attempt; later attempts send the same bytes, whatever has changed since."""
    deadline_at: float


@frozen
class AttemptSettled:
    """An attempt came to its end: what the wire said, and what that alone means."""

    at: float
    step: StepId
    operation: Operation
    attempt: int
    opened_at: float
    outcome: Outcome
    report: Report


@frozen
class RetryScheduled:
    """The operation will be tried again at `due_at`."""

    at: float
    step: StepId
    operation: Operation
    due_at: float
    parked: bool
    """The target is paused or misconfigured: waiting costs no attempt (R7)."""
    reason: str


@frozen
class StepSettled:
    """The forward operation came to its end: the fold of its attempts (R8a)."""

    at: float
    step: StepId
    started_at: float
    outcome: Outcome
    reason: SettleReason
    code: str
    message: str
    undo_request: Payload | None
    """The rendered compensation request (R3), where there is something to undo."""


@frozen
class CancelRequested:
    """Somebody asked for the saga to be undone (R22)."""

    at: float
    reason: str


@frozen
class CompensationBegan:
    """Nothing new starts any more (R14); what is in flight is stopped, what was done is undone."""

    at: float
    cause: Cause
    deadline_at: float
    """The end of the compensation budget (R23); undo goes on past it, but a person is told."""


@frozen
class StepUndone:
    """A step's effect is gone, or was never there (R10)."""

    at: float
    step: StepId
    started_at: float
    nothing_to_undo: bool


@frozen
class StepStuck:
    """A step cannot go on without a person; what depends on it waits (R24)."""

    at: float
    step: StepId
    operation: Operation
    reason: AttentionReason
    message: str


@frozen
class AttentionRaised:
    """A person must look; the saga is never silently done."""

    at: float
    reason: AttentionReason
    step: StepId | None
    message: str


@frozen
class SagaCompleted:
    """Every required step was applied."""

    at: float
    started_at: float
    output: Payload | None


@frozen
class SagaCompensated:
    """The saga failed or was cancelled, and nothing of it is left."""

    at: float
    started_at: float
    compensation_began_at: float
    undone_count: int
    """Zero where the saga failed before anything was done: callers have one failure shape."""


Event = (
    SagaStarted
    | StepSkipped
    | AttemptOpened
    | AttemptSettled
    | RetryScheduled
    | StepSettled
    | CancelRequested
    | CompensationBegan
    | StepUndone
    | StepStuck
    | AttentionRaised
    | SagaCompleted
    | SagaCompensated
)
