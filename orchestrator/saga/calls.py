"""The life of one operation: open an attempt, settle it, open the next or settle the step."""

from typing import assert_never

from orchestrator.ids import StepId, idempotency_key
from orchestrator.limits import MESSAGE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.budget import attempt_deadline_at
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    Outcome,
    Report,
    RetryScheduled,
    SettleReason,
    StepSettled,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.outcome import Again, AttemptEnd, Settle, Stick, judge, meaning
from orchestrator.saga.plan import ExpressionFailure, Operation, Step
from orchestrator.saga.state import OperationState, RecordedFacts, SagaState, StepState, operation_of
from orchestrator.values import Payload


def clipped(text: str) -> str:
    """Bound a text that came from outside before it is recorded."""
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def open_count(state: SagaState, operation: Operation) -> int:
    """Return how many calls of one kind are in flight."""
    found = (operation_of(state.steps[step], operation) for step in state.live)
    return sum(1 for each in found if each is not None and each.open is not None)


def open_first(draft: Draft, step: StepId, operation: Operation, request: Payload) -> bool:
    """Open attempt 1 with its request; return False where no time is left for it."""
    return _open(draft, step, operation, 1, request)


def open_next(draft: Draft, step: StepId, operation: Operation) -> None:
    """Open the next attempt of an operation that was tried before: same key, same bytes."""
    before = operation_of(draft.state.steps[step], operation)
    assert before is not None and before.last is not None  # noqa: PT018  # a retry has a predecessor
    if not _open(draft, step, operation, before.attempts + 1, None):
        # Only a forward operation runs out of time, and its fold so far is all that will ever be known.
        outcome = Outcome.UNKNOWN if before.unknown else Outcome.NOT_APPLIED
        over = Settle(outcome, SettleReason.DEADLINE_EXCEEDED)
        settle_step(draft, draft.state.plan.steps[step], over, before.last)


def _open(draft: Draft, step: StepId, operation: Operation, attempt: int, request: Payload | None) -> bool:
    call = draft.state.plan.steps[step].call_of(operation)
    deadline_at = attempt_deadline_at(draft.state, call, operation, draft.moment)
    if deadline_at is None:
        return False
    draft.record(
        AttemptOpened(
            at=draft.moment.at,
            step=step,
            operation=operation,
            attempt=attempt,
            epoch=draft.moment.epoch,
            key=idempotency_key(draft.state.uid, step, operation.value),
            request=request,
            deadline_at=deadline_at,
        )
    )
    return True


def settle_attempt(draft: Draft, step: StepState, operation: Operation, report: Report) -> None:
    """Close the open attempt with its report, then do what follows from it."""
    plan_step = draft.state.plan.steps[step.id]
    before = operation_of(step, operation)
    assert before is not None and before.open is not None  # noqa: PT018  # the caller has just looked
    draft.record(
        AttemptSettled(
            at=draft.moment.at,
            step=step.id,
            operation=operation,
            attempt=before.open.number,
            opened_at=before.open.opened_at,
            outcome=meaning(report, unknown_before=before.unknown),
            report=report,
        )
    )
    after = operation_of(draft.state.steps[step.id], operation)
    assert after is not None  # an attempt has just settled in it
    end = AttemptEnd(
        state=draft.state, step=plan_step, operation=operation, after=after, report=report, moment=draft.moment
    )
    verdict = judge(end)
    match verdict:
        case Again(delay_s=0.0, parked=False) if not draft.moment.is_draining:
            open_next(draft, step.id, operation)
        case Again(delay_s=delay_s, parked=parked):
            draft.record(
                RetryScheduled(
                    at=draft.moment.at,
                    step=step.id,
                    operation=operation,
                    due_at=draft.moment.at + delay_s,
                    parked=parked,
                    reason=report.code,
                )
            )
        case Stick(reason=reason):
            message = clipped(f"{operation.value} answered {report.code}: {report.message}")
            draft.record(
                StepStuck(at=draft.moment.at, step=step.id, operation=operation, reason=reason, message=message)
            )
            draft.record(AttentionRaised(at=draft.moment.at, reason=reason, step=step.id, message=message))
        case Settle(nothing_to_undo=nothing) if operation is Operation.COMPENSATE:
            at, started_at = draft.moment.at, after.started_at
            draft.record(StepUndone(at=at, step=step.id, started_at=started_at, nothing_to_undo=nothing))
        case Settle():
            settle_step(draft, plan_step, _by_reply(draft.state, plan_step, after, verdict), report)
        case _:
            assert_never(verdict)


def _by_reply(state: SagaState, step: Step, after: OperationState, verdict: Settle) -> Settle:
    """An OK reply may still mean no (`refuse`); a reply that cannot be judged keeps its effect and fails the saga."""
    reply = after.last.reply if after.last is not None else None
    if verdict.outcome is not Outcome.APPLIED or step.refuse is None:
        return verdict
    facts = RecordedFacts(state, reply)
    # Known to be applied by another word than its reply, a step may have been told no: nobody guesses that it was not.
    refused = step.refuse(facts) if reply is not None else ExpressionFailure("the step was applied without a reply")
    if isinstance(refused, ExpressionFailure):
        return Settle(Outcome.APPLIED, SettleReason.EXPRESSION_FAILED, message=f"refuse: {refused.message}")
    if not refused:
        return verdict
    why = step.reason(facts) if step.reason is not None else "the reply means no"
    message = f"reason: {why.message}" if isinstance(why, ExpressionFailure) else why
    # An earlier attempt may have been applied and answered differently; a keyed method would have replayed that.
    outcome = Outcome.UNKNOWN if after.unknown and not step.call.idempotent else Outcome.NOT_APPLIED
    return Settle(outcome, SettleReason.REFUSED, message=message)


def settle_step(draft: Draft, step: Step, verdict: Settle, report: Report) -> None:
    """Settle the forward operation, with the undo request rendered from what is known now and for ever (R3)."""
    forward = draft.state.steps[step.id].forward
    assert forward is not None  # only an operation that was tried settles here
    reason = verdict.reason
    text = report.message if verdict.message is None else verdict.message
    undo: Payload | ExpressionFailure | None = None
    if verdict.outcome is not Outcome.NOT_APPLIED and step.is_undoable:
        own_reply = report.reply if verdict.outcome is Outcome.APPLIED else None
        undo = bounded(step.call_of(Operation.COMPENSATE).render(RecordedFacts(draft.state, own_reply)))
    if isinstance(undo, ExpressionFailure):
        text = f"compensate.request: {undo.message}" + (f"; {text}" if text else "")
        reason = SettleReason.UNDO_NOT_RENDERED if verdict.outcome is Outcome.APPLIED else reason
        undo = None
    draft.record(
        StepSettled(
            at=draft.moment.at,
            step=step.id,
            started_at=forward.started_at,
            outcome=verdict.outcome,
            reason=reason,
            code=report.code,
            message=clipped(text),
            undo_request=undo,
        )
    )


def bounded(request: Payload | ExpressionFailure) -> Payload | ExpressionFailure:
    """Refuse a message that is larger than any peer need accept."""
    if isinstance(request, Payload) and request.size_bytes > PAYLOAD_BYTES_MAX:
        return ExpressionFailure(f"the message has {request.size_bytes} bytes, more than {PAYLOAD_BYTES_MAX}")
    return request
