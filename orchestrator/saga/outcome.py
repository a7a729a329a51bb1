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
a forward call is not asked again; an undo goes on at its own pace. *Safe* is a read, a poll, a method that honours
the idempotency key or says that it is idempotent by nature, or, for UNAVAILABLE and for RESOURCE_EXHAUSTED with
push-back, a `retry` the author wrote down. A method of the `dtm` profile differs in two rows: ABORTED is a refusal, and
FAILED_PRECONDITION says that the service is still at it, which is UNKNOWN and asked again.

That is what the wire means; what the step is for has the last word, in `wanted.py`.
"""

from typing import Final, assert_never

from orchestrator.frozen import changed, frozen
from orchestrator.ids import StepId
from orchestrator.limits import ATTEMPTS_MAX
from orchestrator.saga.budget import has_attempts_left, has_deadline, retry_delay_s
from orchestrator.saga.commands import Moment
from orchestrator.saga.events import AttentionReason, Phase, Report, SettleReason
from orchestrator.saga.facts import RecordedFacts
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Call,
    ExpressionFailure,
    Operation,
    Outcome,
    OutcomeProfile,
    ReadAnswer,
    Step,
    StepKind,
)
from orchestrator.saga.state import OperationState, SagaState, StepState, insists, is_stopped
from orchestrator.saga.verdicts import Again, Begin, Settle, Stick, Verdict

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_APPLIED: Final = Outcome.APPLIED
_NOT_SENT: Final = Phase.NOT_SENT
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
_DTM_REFUSALS = NEVER_FROM_THE_LIBRARY - {"FAILED_PRECONDITION"}
NOTHING_TO_UNDO = "SAGA_NOTHING_TO_UNDO"
"""The ErrorInfo reason by which a service says that an undo found nothing, where NOT_FOUND does not fit (R10)."""


def meaning(report: Report, *, unknown_before: bool, profile: OutcomeProfile = OutcomeProfile.DEFAULT) -> Outcome:
    """Return what one attempt's report alone says about the effect."""
    if report.code == "DATA_LOSS":
        return Outcome.UNKNOWN
    if report.phase is _NOT_SENT:
        return Outcome.NOT_APPLIED
    if report.code == "OK":
        return _APPLIED
    if report.phase is Phase.LOST:
        return Outcome.UNKNOWN
    if report.applied is not None:
        return Outcome.APPLIED if report.applied else Outcome.NOT_APPLIED
    if report.code == "ALREADY_EXISTS" and unknown_before:
        return Outcome.APPLIED
    if _is_ongoing(report, profile):
        return Outcome.UNKNOWN
    if report.code in NEVER_FROM_THE_LIBRARY or (report.code in CONFIGURATION and report.phase is Phase.REPLIED):
        return Outcome.NOT_APPLIED
    return Outcome.UNKNOWN


def _is_ongoing(report: Report, profile: OutcomeProfile) -> bool:
    """Return whether a service says, in DTM's way, that it is still at it: what becomes of that nobody knows yet."""
    return profile is OutcomeProfile.DTM and report.code == "FAILED_PRECONDITION"


def refusals(profile: OutcomeProfile) -> frozenset[str]:
    """Return the codes by which the application has judged the request (R6)."""
    return _DTM_REFUSALS if profile is OutcomeProfile.DTM else REFUSALS


def is_parked(report: Report) -> bool:
    """Return whether the target, not the request, is to blame (R7): such an attempt costs no retry budget."""
    return report.parked or report.code in CONFIGURATION


@frozen
class AttemptEnd:
    """An attempt that has just settled, and all that bears on what follows from it."""

    state: SagaState
    step: Step
    current: StepState
    operation: Operation
    after: OperationState
    """The operation with this attempt folded in."""
    report: Report
    outcome: Outcome
    """What this attempt alone says."""
    moment: Moment

    @property
    def path(self) -> StepId:
        """Return the path of the step, or of its item."""
        return self.current.id

    @property
    def is_stopped(self) -> bool:
        """Return whether the step is not wanted any more."""
        return is_stopped(self.state, self.current.id)

    @property
    def call(self) -> Call:
        """Return what was called."""
        return self.step.call_of(self.operation)

    @property
    def is_parked(self) -> bool:
        """Return whether the target, not the request, is to blame (R7)."""
        return is_parked(self.report)

    @property
    def is_lost(self) -> bool:
        """Return whether nobody saw the end."""
        return self.report.phase is Phase.LOST


def judge(end: AttemptEnd) -> Verdict:
    """Return what follows from an attempt's end, as far as the wire tells; `wanted` has the last word on a `Settle`."""
    match end.operation:
        case Operation.FORWARD:
            return _judge_forward(end)
        case Operation.COMPENSATE:
            return _judge_undo(end)
        case Operation.PROBE:
            return _judge_probe(end)
        case Operation.AWAIT:
            return _judge_await(end)
        case Operation.STOP:
            return _judge_stop(end)
        case _:
            assert_never(end.operation)


def _judge_forward(end: AttemptEnd) -> Verdict:
    outcome = end.outcome
    if outcome is Outcome.APPLIED:
        return _read_reply(end)
    settled = folded(end)
    if end.is_stopped:
        return Settle(settled, SettleReason.STOPPED)
    if end.report.code == "DATA_LOSS":
        return Stick(AttentionReason.DATA_LOSS)
    if not _may_ask_again(end):
        if end.report.phase is not Phase.REPLIED:
            return Settle(settled, SettleReason.UNANSWERED)
        if settled is Outcome.APPLIED:
            # Refused after an answer that said "not yet", it keeps the effect of that one, and has failed.
            return Settle(Outcome.APPLIED, SettleReason.REFUSED)
        if end.report.code in refusals(end.call.profile) and outcome is Outcome.NOT_APPLIED:
            return believed(end, Settle(Outcome.NOT_APPLIED, SettleReason.REPLIED))
        return Settle(settled, SettleReason.REPLIED)
    delay_s = _delay_s(end)
    over = _past(end, end.moment.at + delay_s)
    if over is SettleReason.TIMED_OUT:
        assert end.step.poll is not None  # its time is over
        outcome = Outcome.NOT_APPLIED if end.step.kind is StepKind.READ else settled
        return Settle(outcome, over, message=f"no answer within {end.step.poll.at_most_s:g} s")
    return Again(delay_s, end.is_parked) if over is None else Settle(settled, over)


def _past(end: AttemptEnd, due_at: float) -> SettleReason | None:
    """Return what ends the asking before another forward attempt at that instant; None where it may be made."""
    poll = end.step.poll
    if poll is not None and due_at >= end.after.budget_at + poll.at_most_s:
        return SettleReason.TIMED_OUT
    if not _has_budget(end) and not (insists(end.state, end.step) and end.after.attempts < ATTEMPTS_MAX):
        return SettleReason.ATTEMPTS_EXHAUSTED
    if due_at >= end.state.forward_deadline_at and has_deadline(end.state, end.path):
        return SettleReason.DEADLINE_EXCEEDED
    return None


def _read_reply(end: AttemptEnd) -> Verdict:
    """An OK reply may say "not yet" (a poll), or name what is to be awaited."""
    applied = Settle(Outcome.APPLIED, SettleReason.REPLIED)
    if end.report.reply is None and end.step.awaits is not None:
        return Settle(Outcome.UNKNOWN, SettleReason.UNANSWERED, message="the operation it began is not known")
    if end.report.reply is None:
        # ALREADY_EXISTS, or the service's word: the effect is there and the reply is not. A probe may know it (R6).
        return Begin(Operation.PROBE) if end.step.probe is not None else applied
    if end.step.awaits is not None:
        return _answered(end, end.step.awaits.read, Begin(Operation.AWAIT))
    poll = end.step.poll
    assert poll is not None  # calls.py has settled what one reply is enough for
    facts = RecordedFacts(end.state, end.path, end.report.reply)
    enough = poll.until(facts)
    # A read has no effect that could stay; a call that was applied again and again is undone like one that was once.
    outcome = Outcome.NOT_APPLIED if end.step.kind is StepKind.READ else Outcome.APPLIED
    if isinstance(enough, ExpressionFailure):
        return Settle(outcome, SettleReason.EXPRESSION_FAILED, message=f"until: {enough.message}")
    if enough:
        return applied
    if end.is_stopped:
        return Settle(outcome, SettleReason.STOPPED)
    over_at = end.after.budget_at + poll.at_most_s
    if end.moment.at + poll.every_s > over_at or end.after.attempts >= ATTEMPTS_MAX:
        return Settle(outcome, SettleReason.TIMED_OUT, message=f"not so after {poll.at_most_s:g} s")
    return Again(poll.every_s, polled=True)


def _answered(end: AttemptEnd, read: ReadAnswer, pending: Verdict) -> Verdict:
    """Return what an answer says about a long-running operation."""
    answer = read(RecordedFacts(end.state, end.path, end.report.reply))
    if isinstance(answer, ExpressionFailure):
        return Settle(Outcome.UNKNOWN, SettleReason.EXPRESSION_FAILED, message=answer.message)
    if answer.outcome is None:
        return pending
    said = Settle(
        answer.outcome, SettleReason.REPLIED, message=answer.message, reply=answer.reply, code=answer.code or "OK"
    )
    return believed(end, said) if answer.outcome is Outcome.NOT_APPLIED else said


def _judge_await(end: AttemptEnd) -> Verdict:
    """A long-running operation is asked about until it is done, also while the saga goes backward."""
    assert end.step.awaits is not None  # it has just been asked about
    report = end.report
    if report.code == "OK":
        pending: Verdict = Again(end.step.awaits.every_s, polled=True)
        if end.after.attempts >= ATTEMPTS_MAX:
            pending = _awaited_too_often(end)
        return _answered(end, end.step.awaits.read, pending)
    if report.phase is Phase.REPLIED and report.code in REFUSALS:
        # The peer does not know the operation any more: what it did is not to be had this way.
        return Settle(Outcome.UNKNOWN, SettleReason.REPLIED)
    if end.after.attempts >= ATTEMPTS_MAX:
        return _awaited_too_often(end)
    return Again(_delay_s(end), end.is_parked)


def _awaited_too_often(end: AttemptEnd) -> Verdict:
    if end.is_stopped:
        return Settle(Outcome.UNKNOWN, SettleReason.ATTEMPTS_EXHAUSTED)
    return Stick(AttentionReason.ATTEMPTS_EXCEEDED)


def _judge_stop(end: AttemptEnd) -> Verdict:
    """Asking for cancellation is a courtesy: where it cannot be done, the operation comes to its own end."""
    report = end.report
    done = report.code == "OK" or (report.phase is Phase.REPLIED and report.code in REFUSALS | CONFIGURATION)
    if done or not _has_budget(end):
        return Settle(Outcome.APPLIED, SettleReason.REPLIED)
    return Again(_delay_s(end), end.is_parked)


def _why_probed(end: AttemptEnd) -> str:
    """Return what is told of a call that a probe found not to have taken place: how the call itself had ended."""
    last = end.current.forward.last if end.current.forward is not None else None
    how = "" if last is None else f"the call ended {last.code}: {last.message}; "
    return f"{how}the probe says that it did not take place"


def _judge_probe(end: AttemptEnd) -> Verdict:
    """R16: ask whether it took place. "No" counts only when the forward call can no longer be on its way (R12)."""
    assert end.step.probe is not None  # it has just been probed
    report = end.report
    if report.code == "OK":
        answer = end.step.probe.read(RecordedFacts(end.state, end.path, report.reply))
        if isinstance(answer, ExpressionFailure):
            return Settle(Outcome.UNKNOWN, SettleReason.EXPRESSION_FAILED, message=f"probe: {answer.message}")
        outcome, reply, message = answer.outcome, answer.reply, answer.message
    elif report.phase is Phase.REPLIED and report.code == "NOT_FOUND":
        outcome, reply, message = Outcome.NOT_APPLIED, None, report.message
    elif _may_probe_again(end):
        return Again(_delay_s(end), end.is_parked)
    else:
        return _unprobed(end, report.message)
    denied = outcome is Outcome.NOT_APPLIED and before_probe(end) is not Outcome.APPLIED
    if outcome is Outcome.APPLIED:
        return Settle(Outcome.APPLIED, SettleReason.PROBED, message=message, reply=reply, code="OK" if reply else None)
    if denied:
        return believed(end, Settle(Outcome.NOT_APPLIED, SettleReason.PROBED, message=message or _why_probed(end)))
    if _has_budget(end) and outcome is None:
        return Again(_delay_s(end))
    return _unprobed(end, message)


def _unprobed(end: AttemptEnd, message: str) -> Settle:
    """Probing is over and has not told: what was known before is all that is known."""
    known = before_probe(end)
    reason = SettleReason.REPLIED if known is Outcome.APPLIED else SettleReason.UNANSWERED
    return Settle(known, reason, message=f"the probe did not tell: {message}")


def before_probe(end: AttemptEnd) -> Outcome:
    """Return what was known before the probe: that the call was applied, without its reply; otherwise nothing."""
    forward = end.current.forward
    if forward is None or forward.last is None or forward.last.reply is not None or end.step.awaits is not None:
        return Outcome.UNKNOWN
    said = meaning(forward.last, unknown_before=forward.unknown, profile=end.step.call.profile)
    return Outcome.APPLIED if said is Outcome.APPLIED else Outcome.UNKNOWN


def _may_probe_again(end: AttemptEnd) -> bool:
    return not (end.report.phase is Phase.REPLIED and end.report.code in REFUSALS) and _has_budget(end)


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
    if answered and report.code in refusals(end.call.profile):
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
        return report.phase is Phase.NOT_SENT or report.code not in refusals(end.call.profile)
    if is_safe(end) or _is_ongoing(report, end.call.profile):
        return True
    pushback = report.retry_after_s is not None
    transient = report.code == "UNAVAILABLE" or (report.code == "RESOURCE_EXHAUSTED" and pushback)
    return end.call.retry.explicit and (end.is_lost or transient)


def is_safe(end: AttemptEnd) -> bool:
    """Return whether asking twice does no harm whatever became of the first time."""
    step = end.step
    return step.kind is StepKind.READ or step.call.idempotent or step.call.repeatable or step.poll is not None


def folded(end: AttemptEnd) -> Outcome:
    """R8a: APPLIED wins; an UNKNOWN attempt is settled by a later refusal only where that one is decisive.

    Only a judgement of the request settles it. ABORTED is what a service says while the first attempt is still running,
    and a gate that denies permission has not looked for the key.
    """
    if end.outcome is Outcome.APPLIED or (end.after.polled and end.step.kind is not StepKind.READ):
        return Outcome.APPLIED
    if not end.after.unknown:
        return end.outcome
    judged = end.report.phase is Phase.REPLIED and end.report.code in refusals(end.call.profile)
    return Outcome.NOT_APPLIED if judged and _is_decisive(end) else Outcome.UNKNOWN


def _is_decisive(end: AttemptEnd) -> bool:
    """R8a: whether an answer that means no also speaks for the earlier forward calls of which nobody saw the end.

    A method that honours the key would have replayed its reply to one that was applied. But a refusal leaves nothing
    under the key, so that a call which arrives after it is judged anew: it speaks for those alone that could not arrive
    any more when it was asked for. A read has no effect to be late. A child is started through the journal by one
    process, which waits for an earlier start, or died with it. And an operation that was begun stands under its key,
    however it ended.
    """
    forward, call = end.current.forward, end.step.call
    if forward is None or not forward.unknown:
        return True
    if end.operation is Operation.PROBE:
        return end.after.opened_at >= forward.over_at  # it asks for the effect, whatever the key
    if end.operation is Operation.AWAIT:
        return call.idempotent or end.step.kind is StepKind.READ
    is_never_late = end.step.kind is StepKind.READ or call.target == CHILD_TARGET
    return call.idempotent and (is_never_late or forward.opened_at >= forward.arrived_at)


def believed(end: AttemptEnd, no: Settle) -> Settle | Again:
    """R8a, R12: a "no" settles the step where it is decisive, and is asked for again where it can still become so.

    Where the service keeps the barrier nobody waits: UNKNOWN, the step is undone at once, and the tombstone refuses
    what comes late. Where there is a probe, that is asked.
    """
    forward, step = end.current.forward, end.step
    if forward is None or _is_decisive(end):
        return no
    if end.operation is Operation.PROBE:
        return Again(0.0, polled=True, not_before_at=forward.over_at)
    if end.operation is Operation.FORWARD and step.call.idempotent and not (_is_shielded(step) or end.is_stopped):
        again = Again(_delay_s(end), not_before_at=forward.arrived_at)
        is_told_not_to = end.report.retry_after_s is not None and end.report.retry_after_s < 0
        if not is_told_not_to and _past(end, max(end.moment.at + again.delay_s, again.not_before_at)) is None:
            return again
    return changed(no, outcome=Outcome.UNKNOWN)


def _is_shielded(step: Step) -> bool:
    """Return whether a step in doubt needs no other answer: its undo is sure at once (R12a), or a probe will tell."""
    return (step.call.barrier and step.is_undoable) or step.probe is not None
