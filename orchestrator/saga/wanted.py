"""What a step is for, which has the last word on how its forward operation ends (R16 to R18).

What stays UNKNOWN is probed where there is a probe. A pivot of which nobody knows whether it was applied, and whatever
has to succeed (`state.insists`), is never given up: it is asked again, or put before a person. `on_failure` turns the
failure of any other required step into another attempt, or into a question.
"""

from orchestrator.ids import StepId
from orchestrator.limits import ATTEMPTS_MAX
from orchestrator.saga.budget import backoff_s
from orchestrator.saga.events import AttentionReason, SettleReason, is_good
from orchestrator.saga.outcome import AttemptEnd, is_safe, meaning
from orchestrator.saga.plan import CHILD_TARGET, OnFailure, Operation, Outcome, StepKind
from orchestrator.saga.state import SagaState, StepStatus, insists
from orchestrator.saga.verdicts import Again, Begin, Settle, Stick, Verdict

IN_DOUBT = frozenset(
    {AttentionReason.OUTCOME_UNKNOWN, AttentionReason.EXPRESSION_FAILED, AttentionReason.ATTEMPTS_EXCEEDED}
)
"""Why a step asks for a person of which an answer was heard, and yet nobody knows what it did."""


def wanted(end: AttemptEnd, verdict: Settle) -> Verdict:
    """Return what follows from the end of a forward operation, given what the step is for (R16 to R18)."""
    if is_good(verdict.outcome, verdict.reason):
        return verdict
    step, unsure = end.step, verdict.outcome is not Outcome.NOT_APPLIED
    if verdict.outcome is Outcome.UNKNOWN and step.probe is not None and end.operation is not Operation.PROBE:
        return Begin(Operation.PROBE)
    if step.kind is StepKind.PIVOT and unsure:
        return Stick(AttentionReason.OUTCOME_UNKNOWN, verdict.message)
    if end.is_stopped or step.optional:
        return verdict
    if insists(end.state, step):
        # Before the pivot the saga's own deadline ends the waiting.
        return verdict if verdict.reason is SettleReason.DEADLINE_EXCEEDED else _insist(end, verdict)
    if step.on_failure is OnFailure.ASK:
        return Stick(AttentionReason.OUTCOME_UNKNOWN if unsure else AttentionReason.FAILED, verdict.message)
    return verdict


def _insist(end: AttemptEnd, verdict: Settle) -> Verdict:
    """R17: ask again, without limit, where that is safe and not in vain."""
    forward, retry = end.current.forward, end.step.call.retry
    assert forward is not None  # it is what has just failed
    if verdict.outcome is Outcome.UNKNOWN and not is_safe(end):
        return Stick(AttentionReason.OUTCOME_UNKNOWN, verdict.message)
    if forward.attempts >= ATTEMPTS_MAX:
        return Stick(AttentionReason.ATTEMPTS_EXCEEDED, verdict.message)
    if verdict.reason is SettleReason.EXPRESSION_FAILED:
        return Stick(AttentionReason.EXPRESSION_FAILED, verdict.message)
    if end.step.call.target == CHILD_TARGET:
        # The same child would give the same answer for ever.
        return Stick(AttentionReason.FAILED, verdict.message)
    delay_s = backoff_s(retry, max(forward.spent - 1, 0), end.moment.entropy)
    told = end.operation is not Operation.FORWARD or verdict.outcome is Outcome.APPLIED
    found = verdict.outcome if told else None
    return Again(max(delay_s, retry.initial_backoff_s), operation=Operation.FORWARD, found=found)


def known_outcome(state: SagaState, path: StepId) -> Outcome:
    """Return what is known of a forward call that did not come to an end of its own; a doubt is UNKNOWN."""
    step, plan_step = state.step(path), state.plan.step_of(path)
    forward = step.forward
    if forward is None:
        return Outcome.NOT_APPLIED
    if forward.polled and plan_step.kind is not StepKind.READ:
        return Outcome.APPLIED
    if forward.unknown or forward.open is not None:
        return Outcome.UNKNOWN
    in_doubt = step.stuck in IN_DOUBT or step.status in {StepStatus.WAITING, StepStatus.PROBING}
    if in_doubt and forward.last is not None:
        said = meaning(forward.last, unknown_before=False, profile=plan_step.call.profile)
        return Outcome.NOT_APPLIED if said is Outcome.NOT_APPLIED else Outcome.UNKNOWN
    return Outcome.NOT_APPLIED
