"""What may be asked of a saga, or reported to it.

A command changes nothing by itself: `decide` turns it into events or rejects it. The moment it arrives at is given
with it, so the machine reads no clock and draws no luck.
"""

from uuid import UUID

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.effects import Timer
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.values import Attributes, Payload, TraceContext


@frozen
class Moment:
    """The time and the luck a decision is made with, and the writer's right to make it."""

    at: float
    """Wall clock, Unix seconds."""
    entropy: float
    """A uniform draw from [0, 1); all jitter of one decision comes from it."""
    epoch: int
    """The writer's fencing token (R2)."""
    is_draining: bool = False
    """The process is about to stop: record what comes in, begin nothing new; recovery goes on from there."""


@frozen
class StartSaga:
    """Begin. Identity is chosen by the caller (`saga_id`) and by the runtime (`uid`)."""

    saga_id: SagaId
    uid: UUID
    input: Payload
    request_id: str
    trace: TraceContext
    attributes: Attributes
    """Given by the caller; the definition's own are added to them."""
    forward_s: float | None = None
    """Overrides the definition's forward budget; shorter or longer."""


@frozen
class CancelSaga:
    """Undo what was done and end (R22). Idempotent while the saga goes backward."""

    reason: str


@frozen
class AttemptReported:
    """The invoker's word about an attempt that this epoch opened (M16)."""

    step: StepId
    operation: Operation
    attempt: int
    report: Report


@frozen
class TimerFired:
    """An instant the machine had asked for has come. A timer that is no longer owed changes nothing."""

    timer: Timer


@frozen
class Recovered:
    """A new activation took over: every attempt still open belongs to a writer that is gone, and is UNKNOWN (R1)."""


Command = StartSaga | CancelSaga | AttemptReported | TimerFired | Recovered
