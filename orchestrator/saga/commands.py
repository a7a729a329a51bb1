"""What may be asked of a saga, or reported to it.

A command changes nothing by itself: `decide` turns it into events or rejects it. The moment it arrives at is given
with it, so the machine reads no clock and draws no luck.
"""

from uuid import UUID

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.effects import Timer
from orchestrator.saga.events import Parent, Report
from orchestrator.saga.plan import Operation, Outcome
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
    parent: Parent | None = None
    baggage: str = ""
    """Of the caller's W3C baggage what is kept."""
    signal: "SignalSaga | None" = None
    """A signal that comes with the start, in the same append (SignalWithStart)."""


@frozen
class CancelSaga:
    """Undo what was done and end (R22). Idempotent while the saga goes backward."""

    reason: str
    if_version: int | None = None
    """Reject where the saga is not at this version (AIP-154)."""
    trace: TraceContext | None = None
    """The canceller's place in its own trace, where it was traced."""


@frozen
class UndoChild:
    """Undo a child saga that has completed (R21); only its parent asks for it."""

    reason: str
    trace: TraceContext | None = None
    """The parent's undo attempt."""


@frozen
class SignalSaga:
    """Hand a message to the saga, for the step that waits for it or will wait for it."""

    signal: str
    request_id: str
    """Never empty: the same one again is the same signal."""
    payload: Payload
    trace: TraceContext | None = None
    """The sender's place in its own trace, where it was traced."""


@frozen
class Audit:
    """Who wants it and why, and on which version of the saga they looked."""

    by: str
    reason: str
    if_version: int | None = None
    """Reject where the saga is not at this version (AIP-154)."""
    trace: TraceContext | None = None
    """Their place in their own trace, where they were traced."""


@frozen
class RetryStep:
    """Try the step's operation again now, with a fresh budget.

    A step that could not even be rendered is begun again.
    """

    audit: Audit
    step: StepId
    as_new: bool = False
    """Under a new key; refused where an attempt under the old one may have been applied."""


@frozen
class ResolveStep:
    """Say what is true of a step that is stuck: of its undo, where that is what is stuck."""

    audit: Audit
    step: StepId
    outcome: Outcome
    """APPLIED or NOT_APPLIED."""
    reply: Payload | None = None
    """Of a forward call that was applied."""


@frozen
class SkipStep:
    """Go on without the step; of an undo: leave the effect as it is."""

    audit: Audit
    step: StepId


@frozen
class OverrideStepRequest:
    """Send something else, under a new key, where what was sent so far is known not to have been applied."""

    audit: Audit
    step: StepId
    request: Payload


@frozen
class ForceComplete:
    """End a saga that goes forward as COMPLETED, with what is there; what is not done stays undone."""

    audit: Audit


@frozen
class TerminateSaga:
    """End the saga as it is (R22)."""

    audit: Audit


@frozen
class PauseSaga:
    """Begin nothing new until resumed; calls that are open come to their end."""

    audit: Audit


@frozen
class ResumeSaga:
    """Go on."""

    audit: Audit


@frozen
class RerunFromStep:
    """Undo the step and what lies after it, then run them again under new keys."""

    audit: Audit
    step: StepId


Repair = (
    RetryStep
    | ResolveStep
    | SkipStep
    | OverrideStepRequest
    | ForceComplete
    | TerminateSaga
    | PauseSaga
    | ResumeSaga
    | RerunFromStep
)
"""What only a person, or a program in a person's place, may ask (R25)."""


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
    """A new activation took over: every attempt still open belongs to a writer that is gone, and is UNKNOWN (R1).

    Except for children of its own epoch, which go on. Whatever was held back begins: the first command of every life.
    """


Request = StartSaga | CancelSaga | UndoChild | SignalSaga | Repair
"""What somebody asked for, and waits for an answer to."""
Command = Request | AttemptReported | TimerFired | Recovered
