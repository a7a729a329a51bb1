"""Did it happen? The fold of attempts into an outcome, and what to do next: settle, ask again, or ask a person.

The invoker says what the wire said (code and phase); here is what it means. Rules R5 to R10::

    what the wire said                                        one attempt   asked again?
    --------------------------------------------------------  ------------  ----------------------------------------
    OK                                                        APPLIED
    no stream was ever opened (R9)                            NOT_APPLIED   yes, within the policy
    INVALID_ARGUMENT NOT_FOUND FAILED_PRECONDITION
      OUT_OF_RANGE                                            NOT_APPLIED   no
    ALREADY_EXISTS                                            NOT_APPLIED   no; APPLIED after an UNKNOWN attempt
    ABORTED                                                   NOT_APPLIED   yes, within the policy
    UNIMPLEMENTED UNAUTHENTICATED PERMISSION_DENIED (R7)      NOT_APPLIED   yes, parked: it costs no attempt
    UNAVAILABLE DEADLINE_EXCEEDED CANCELLED UNKNOWN INTERNAL
      RESOURCE_EXHAUSTED (R8)                                 UNKNOWN       where asking twice is safe
    DATA_LOSS                                                 UNKNOWN       no: a person decides
    nothing, because the orchestrator stopped (R1)            UNKNOWN       at once, where asking twice is safe

An answer made on our side (phase SENT) with a configuration code is UNKNOWN: something in between said no, perhaps
after the request had passed. A service narrows a failure with ErrorInfo metadata `applied=true|false`, DATA_LOSS
excepted: a transient failure that was not applied is asked again, whatever the method. A negative push-back means that
a forward call is not asked again; an undo goes on at its own pace. *Safe* is a read, a method that honours the
idempotency key, or, for UNAVAILABLE and for RESOURCE_EXHAUSTED with push-back, a `retry` the author wrote down.
"""

from orchestrator.frozen import frozen, frozen_tuple
from orchestrator.limits import ATTEMPTS_MAX
from orchestrator.saga.budget import has_attempts_left, retry_delay_s
from orchestrator.saga.commands import Moment
from orchestrator.saga.events import AttentionReason, Outcome, Phase, Report, SettleReason
from orchestrator.saga.plan import Call, Operation, Step, StepKind
from orchestrator.saga.state import OperationState, SagaState

NEVER_FROM_THE_LIBRARY = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
    }
)
REFUSALS = NEVER_FROM_THE_LIBRARY - {"ABORTED"}
"""The application has judged the request: the same request gets the same answer."""
CONFIGURATION = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
NOTHING_TO_UNDO = "SAGA_NOTHING_TO_UNDO"
"""The ErrorInfo reason by which a service says that an undo found nothing, where NOT_FOUND does not fit (R10)."""


@frozen_tuple
class Settle:
    """The operation is over."""

    outcome: Outcome
    reason: SettleReason
    nothing_to_undo: bool = False
    message: str | None = None
    """Replaces the report's text where the reply itself was judged."""


@frozen_tuple
class Again:
    """Ask again with the same key, after a pause."""

    delay_s: float
    parked: bool = False


@frozen_tuple
class Stick:
    """Only a person can decide."""

    reason: AttentionReason


Verdict = Settle | Again | Stick


def meaning(report: Report, *, unknown_before: bool) -> Outcome:
    """Return what one attempt's report alone says about the effect."""
    if report.code == "DATA_LOSS":
        return Outcome.UNKNOWN
    if report.phase is Phase.NOT_SENT:
        return Outcome.NOT_APPLIED
    if report.code == "OK":
        return Outcome.APPLIED
    if report.phase is Phase.LOST:
        return Outcome.UNKNOWN
    if report.applied is not None:
        return Outcome.APPLIED if report.applied else Outcome.NOT_APPLIED
    if report.code == "ALREADY_EXISTS" and unknown_before:
        return Outcome.APPLIED
    if report.code in NEVER_FROM_THE_LIBRARY or (report.code in CONFIGURATION and report.phase is Phase.REPLIED):
        return Outcome.NOT_APPLIED
    return Outcome.UNKNOWN


def is_parked(report: Report) -> bool:
    """Return whether the target, not the request, is to blame (R7): such an attempt costs no retry budget."""
    return report.parked or report.code in CONFIGURATION


@frozen
class AttemptEnd:
    """An attempt that has just settled, and all that bears on what follows from it."""

    state: SagaState
    step: Step
    operation: Operation
    after: OperationState
    """The operation with this attempt folded in."""
    report: Report
    moment: Moment

    @property
    def call(self) -> Call:
        """Return what was called."""
        return self.step.call_of(self.operation)

    @property
    def outcome(self) -> Outcome:
        """Return what this attempt alone says."""
        return meaning(self.report, unknown_before=self.after.unknown)

    @property
    def is_parked(self) -> bool:
        """Return whether the target, not the request, is to blame (R7)."""
        return is_parked(self.report)

    @property
    def is_lost(self) -> bool:
        """Return whether nobody saw the end."""
        return self.report.phase is Phase.LOST


def judge(end: AttemptEnd) -> Verdict:
    """Return what follows from an attempt's end."""
    if end.operation is Operation.COMPENSATE:
        return _judge_undo(end)
    outcome = end.outcome
    if outcome is Outcome.APPLIED:
        return Settle(Outcome.APPLIED, SettleReason.REPLIED)
    settled = folded(end)
    if end.state.is_backward:
        return Settle(settled, SettleReason.STOPPED)
    if end.report.code == "DATA_LOSS":
        return Stick(AttentionReason.DATA_LOSS)
    if not _may_ask_again(end):
        answered = end.report.phase is Phase.REPLIED
        return Settle(settled, SettleReason.REPLIED if answered else SettleReason.UNANSWERED)
    if not _has_budget(end):
        return Settle(settled, SettleReason.ATTEMPTS_EXHAUSTED)
    delay_s = _delay_s(end)
    if end.moment.at + delay_s >= end.state.forward_deadline_at:
        return Settle(settled, SettleReason.DEADLINE_EXCEEDED)
    return Again(delay_s, end.is_parked)


def _judge_undo(end: AttemptEnd) -> Verdict:
    """R10, R24: an undo keeps trying until it is answered; a refusal needs a person."""
    report = end.report
    if end.outcome is Outcome.APPLIED:
        return Settle(Outcome.APPLIED, SettleReason.REPLIED)
    answered = report.phase is Phase.REPLIED
    if answered and (report.code == "NOT_FOUND" or report.error_reason == NOTHING_TO_UNDO):
        return Settle(Outcome.APPLIED, SettleReason.REPLIED, nothing_to_undo=True)
    if report.code == "DATA_LOSS":
        return Stick(AttentionReason.DATA_LOSS)
    if answered and report.code in REFUSALS:
        return Stick(AttentionReason.UNDO_REFUSED)
    if not _has_budget(end):
        return Stick(AttentionReason.ATTEMPTS_EXCEEDED)
    return Again(_delay_s(end), end.is_parked)


def _has_budget(end: AttemptEnd) -> bool:
    if end.after.attempts >= ATTEMPTS_MAX:
        return False
    return end.is_parked or end.is_lost or has_attempts_left(end.call.retry, end.after)


def _delay_s(end: AttemptEnd) -> float:
    if end.is_lost:
        return 0.0
    if end.is_parked and end.report.retry_after_s is None:
        return end.call.retry.max_backoff_s
    return retry_delay_s(end.call.retry, end.after, end.report, end.moment.entropy)


def _may_ask_again(end: AttemptEnd) -> bool:
    """R8, R9: whether a further attempt is wise and safe, policy aside."""
    report = end.report
    if report.retry_after_s is not None and report.retry_after_s < 0:
        return False
    if end.outcome is Outcome.NOT_APPLIED:
        # Nothing happened, so asking again is safe; it is in vain where the application has judged the request.
        return report.phase is Phase.NOT_SENT or report.code not in REFUSALS
    if end.step.kind is StepKind.READ or end.call.idempotent:
        return True
    pushback = report.retry_after_s is not None
    transient = report.code == "UNAVAILABLE" or (report.code == "RESOURCE_EXHAUSTED" and pushback)
    return end.call.retry.explicit and (end.is_lost or transient)


def folded(end: AttemptEnd) -> Outcome:
    """R8a: APPLIED wins; an UNKNOWN attempt is settled by a later refusal only where the method honours the key.

    Only a judgement of the request settles it. ABORTED is what a service says while the first attempt is still running,
    and a gate that denies permission has not looked for the key.
    """
    if end.outcome is Outcome.APPLIED or not end.after.unknown:
        return end.outcome
    if end.call.idempotent and end.report.phase is Phase.REPLIED and end.report.code in REFUSALS:
        return Outcome.NOT_APPLIED
    return Outcome.UNKNOWN
