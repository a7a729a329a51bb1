"""What happened, in the past tense: the journal's vocabulary.

Every event is a frozen value with the instant `at` which the machine was given. Names and fields are a published
contract (`protos/orchestrator/v1/journal.proto`): fields may be added, none is renamed or reused, and journals of old
releases stay readable for ever (`tests/golden/`).

The life of one attempt is two records: `AttemptOpened` is committed *before* bytes are sent (R1), `AttemptSettled`
closes it with what the wire said and what that means. Around them, `StepSettled` is the fold of a step's attempts
(R8a) and carries the rendered undo request (R3).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from uuid import UUID

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.values import Attributes, Payload, TraceContext

_APPLIED: Final = Outcome.APPLIED


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
    """The saga, or its scope, stopped before the step came to its own end."""
    DONE = "DONE"
    """A step without a call of its own came to its good end: time passed, a signal came, its items or members ended."""
    PROBED = "PROBED"
    """The peer was asked whether the call had taken place."""
    RESOLVED = "RESOLVED"
    """A person said what is true."""
    TIMED_OUT = "TIMED_OUT"
    """What was waited or polled for did not come in time."""
    ITEM_FAILED = "ITEM_FAILED"
    """More items failed than the step tolerates."""
    SCOPE_FAILED = "SCOPE_FAILED"
    """A member of the scope failed, and the scope was undone."""


POLL = "POLL"
"""The reason of a `RetryScheduled` after an answer that says "not yet"."""
FOUND = {Outcome.NOT_APPLIED: "FOUND_NOT_APPLIED", Outcome.UNKNOWN: "FOUND_UNKNOWN", Outcome.APPLIED: "FOUND_APPLIED"}
"""The reason of a `RetryScheduled` of a forward call, after another operation has found out what became of it."""
GOOD_REASONS = frozenset({SettleReason.REPLIED, SettleReason.DONE, SettleReason.PROBED, SettleReason.RESOLVED})
"""A step that was applied for one of these reasons has not failed."""


def is_good(outcome: Outcome | None, reason: SettleReason | None) -> bool:
    """Return whether a step that ended so went well."""
    return outcome is _APPLIED and reason in GOOD_REASONS


class SkipReason(StrEnum):
    """Why a step was passed over."""

    GUARD_FALSE = "GUARD_FALSE"
    TRIGGER_UNMET = "TRIGGER_UNMET"
    OPERATOR = "OPERATOR"
    """A person said that the saga goes on without it."""


class CauseKind(StrEnum):
    """Why a saga went backward."""

    STEP_FAILED = "STEP_FAILED"
    CANCELLED = "CANCELLED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    EXPRESSION_FAILED = "EXPRESSION_FAILED"
    PARENT = "PARENT"
    """The parent saga undoes its completed child (R21)."""
    OPERATOR = "OPERATOR"
    """A person had a part of the saga undone and run again."""


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
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """A step that has to succeed, or whose failure a person is asked about, may have been applied (R8, R16 to R18)."""
    FAILED = "FAILED"
    """A step failed whose definition says `on_failure: ask` (R18)."""
    EXPRESSION_FAILED = "EXPRESSION_FAILED"
    """Past the pivot, or where a person is to be asked, an expression could not be evaluated."""
    RETRYING = "RETRYING"
    """What is asked until it succeeds, or tells what happened, has failed many times; trying goes on (R17, R24)."""


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


class Verb(StrEnum):
    """What a person did to a saga (R22, R25)."""

    RETRY = "RETRY"
    RESOLVE = "RESOLVE"
    SKIP = "SKIP"
    OVERRIDE_REQUEST = "OVERRIDE_REQUEST"
    FORCE_COMPLETE = "FORCE_COMPLETE"
    TERMINATE = "TERMINATE"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    RERUN = "RERUN"


@frozen
class Parent:
    """The saga that a child belongs to, and the step of it that the child is."""

    saga_id: SagaId
    uid: UUID
    step: StepId
    trace_id: int
    span_id: int
    """The parent's attempt that started the child: what the child's trace is linked to (T7)."""


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
    parent: Parent | None = None
    baggage: str = ""
    """What of the caller's W3C baggage is kept: the members that the configuration names, as they are sent on."""


@frozen
class StepBegan:
    """A step without a call of its own is under way: it sleeps, waits, or has items or members."""

    at: float
    step: StepId
    due_at: float | None
    """When it has slept enough, or waited too long."""
    count: int | None
    """How many items it has."""


@frozen
class SignalReceived:
    """Somebody signalled the saga; it is kept until a step takes it, in order of arrival (M14)."""

    at: float
    signal: str
    request_id: str
    """The sender's; the same one again is the same signal."""
    payload: Payload
    trace: TraceContext | None = None
    """The sender's place in its own trace, where it was traced: what the saga's trace is linked to (T7)."""


@frozen
class RollbackBegan:
    """A part of the saga stops and is undone, while the saga as a whole goes on."""

    at: float
    step: StepId
    """The scope that failed (R18), or the step that is run again from (R25)."""
    steps: tuple[StepId, ...]
    """What is undone: the scope's members, or the step and what lies after it."""
    cause: Cause


@frozen
class ElseBegan:
    """A scope has been undone and its alternative begins."""

    at: float
    step: StepId


@frozen
class StepsReset:
    """A part of the saga has been undone and begins anew, under new keys."""

    at: float
    step: StepId
    steps: tuple[StepId, ...]


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
    manual_epoch: int = 0
    """How often a person had the operation run as new; part of the key (R11)."""


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
    reply: Payload | None = None
    """Where it is not the last attempt's own: from a probe, a finished operation, a signal, or a person."""


@frozen
class CancelRequested:
    """Somebody asked for the saga to be undone (R22)."""

    at: float
    reason: str
    trace: TraceContext | None = None
    """Their place in their own trace, where they were traced (T7); of a parent saga, its undo attempt."""


@frozen
class CompensationBegan:
    """Nothing new starts any more (R14); what is in flight is stopped, what was done is undone."""

    at: float
    cause: Cause
    deadline_at: float
    """The end of the compensation budget (R23); undo goes on past it, but a person is told."""
    trace: TraceContext | None = None
    """Of a completed child: the undo attempt of its parent that caused it, what the trace is linked to (T7)."""


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
class StepReopened:
    """A person had an operation tried again; its budget is fresh."""

    at: float
    step: StepId
    operation: Operation
    request: Payload | None = None
    """What is sent from now on, where the person changed it."""
    as_new: bool = False
    """Under a new key: the peer will take it for another operation."""


@frozen
class StepLeft:
    """A person said that a step's effect stays as it is; the saga will not undo it."""

    at: float
    step: StepId


@frozen
class AttentionCleared:
    """Nothing asks for a person any more."""

    at: float


@frozen
class OperatorActed:
    """Who did what, and why: the audit's entry; what followed from it stands in the records after it."""

    at: float
    verb: Verb
    by: str
    """The person's or the program's name, as the surface knows it."""
    reason: str
    step: StepId | None = None
    operation: Operation | None = None
    outcome: Outcome | None = None
    """What was said to be true, where the verb says so."""
    trace: TraceContext | None = None
    """Their place in their own trace, where they were traced: what the saga's trace is linked to (T7)."""


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


@frozen
class SagaTerminated:
    """A person ended the saga as it was (R22)."""

    at: float
    started_at: float
    left: tuple[StepId, ...]
    """Steps whose effect stays, or may stay."""


Event = (
    SagaStarted
    | StepBegan
    | SignalReceived
    | RollbackBegan
    | ElseBegan
    | StepsReset
    | StepSkipped
    | AttemptOpened
    | AttemptSettled
    | RetryScheduled
    | StepSettled
    | CancelRequested
    | CompensationBegan
    | StepUndone
    | StepStuck
    | StepReopened
    | StepLeft
    | AttentionRaised
    | AttentionCleared
    | OperatorActed
    | SagaCompleted
    | SagaCompensated
    | SagaTerminated
)


def touched(events: Iterable[Event]) -> frozenset[StepId]:
    """Return the steps and items that the events name."""
    return frozenset([step for event in events if (step := getattr(event, "step", None)) is not None])
