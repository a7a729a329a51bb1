"""Until when, and how long to wait: deadlines and backoff, from given time and given luck."""

from orchestrator.ids import StepId
from orchestrator.limits import RETRY_AFTER_S_MAX
from orchestrator.saga.commands import Moment
from orchestrator.saga.events import Report
from orchestrator.saga.plan import FORWARD, Operation, Poll, RetryPolicy, Step
from orchestrator.saga.state import OperationState, SagaState


def attempt_deadline_at(
    state: SagaState, step: Step, path: StepId, operation: Operation, moment: Moment
) -> float | None:
    """Return the instant an attempt opened now must end by; None where the forward budget is over (M12).

    Undo is shielded from the saga's deadline (R23), and so is finding out what happened, and all that runs beside the
    pivot or comes after it (R17): they are bounded by their own timeout only, and trying goes on.
    """
    end_at = moment.at + step.call_of(operation).timeout_s
    if operation is not FORWARD:
        return end_at
    if step.poll is not None:
        poll_ends_at = _poll_ends_at(state, step.poll, path, moment)
        if moment.at < poll_ends_at < end_at:
            end_at = poll_ends_at
    if not has_deadline(state, path):
        return end_at
    end_at = min(end_at, state.forward_deadline_at)
    if step.scope is not None:
        end_at = min([end_at, *_scope_ends(state, step.scope)])
    return end_at if end_at > moment.at else None


def _poll_ends_at(state: SagaState, poll: Poll, path: StepId, moment: Moment) -> float:
    """Return until when a poll may go on, a call that does not answer included."""
    found = state.find(path)
    began_at = moment.at if found is None or found.forward is None else found.forward.budget_at
    return began_at + poll.at_most_s


def has_deadline(state: SagaState, step: StepId) -> bool:
    """Return whether a forward call is bound by the saga's deadline: not past the pivot, nor beside one undecided."""
    pivot = state.plan.pivot
    return pivot is None or not (state.is_past_pivot or (state.is_at_pivot and step != pivot))


def _scope_ends(state: SagaState, scope: StepId | None) -> list[float]:
    """Return until when a scope and those around it may take."""
    ends: list[float] = []
    while scope is not None:
        if (due_at := state.steps[scope].due_at) is not None:
            ends.append(due_at)
        scope = state.plan.steps[scope].scope
    return ends


def backoff_s(policy: RetryPolicy, retries: int, entropy: float) -> float:
    """Return full-jitter exponential backoff: uniform between 0 and `min(max, initial * multiplier ** retries)`."""
    ceiling = policy.initial_backoff_s
    for _ in range(retries):
        if ceiling >= policy.max_backoff_s:
            break
        ceiling *= policy.multiplier
    return entropy * min(ceiling, policy.max_backoff_s)


def retry_delay_s(policy: RetryPolicy, operation: OperationState, report: Report, entropy: float) -> float:
    """Return how long to wait before the next attempt; the peer's own wish replaces the policy's.

    Where attempts have no limit it can only lengthen the pause: a peer that says "at once" for ever would otherwise use
    up all `ATTEMPTS_MAX` in seconds, and what it was to undo would be left to a person (R24).
    """
    own_s = backoff_s(policy, max(operation.spent - 1, 0), entropy)
    if report.retry_after_s is None or report.retry_after_s < 0:
        return own_s
    wish_s = min(report.retry_after_s, RETRY_AFTER_S_MAX)
    return wish_s if policy.max_attempts else max(wish_s, own_s)


def has_attempts_left(policy: RetryPolicy, operation: OperationState) -> bool:
    """Return whether the policy allows one more attempt; parked and lost ones were never counted."""
    return policy.max_attempts == 0 or operation.spent < policy.max_attempts
