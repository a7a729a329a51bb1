"""The life of one operation: open an attempt, settle it, open the next or settle the step."""

from typing import Final, assert_never

from orchestrator.frozen import changed
from orchestrator.ids import StepId, idempotency_key, item_of
from orchestrator.limits import ALERT_ATTEMPTS, MESSAGE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.budget import attempt_deadline_at
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    FOUND,
    POLL,
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    AttentionReason,
    Phase,
    Report,
    RetryScheduled,
    SettleReason,
    StepSettled,
    StepStuck,
    StepUndone,
    is_good,
)
from orchestrator.saga.facts import RecordedFacts
from orchestrator.saga.outcome import AttemptEnd, before_probe, believed, judge, meaning
from orchestrator.saga.plan import (
    COMPENSATE,
    FORWARD,
    PROBE,
    ExpressionFailure,
    Facts,
    Operation,
    Outcome,
    Render,
    Step,
)
from orchestrator.saga.state import OperationState, StepState, StepStatus, insists, operation_of
from orchestrator.saga.verdicts import Again, Begin, Settle, Stick, Verdict
from orchestrator.saga.wanted import known_outcome, wanted
from orchestrator.values import Payload

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_APPLIED: Final = Outcome.APPLIED
_NOT_APPLIED: Final = Outcome.NOT_APPLIED
_REPLIED: Final = SettleReason.REPLIED
_ASIDE = frozenset({Operation.COMPENSATE, Operation.STOP})
"""Operations whose end says nothing about the step's own effect."""


def clipped(text: str) -> str:
    """Bound a text that came from outside before it is recorded."""
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def open_next(draft: Draft, path: StepId, operation: Operation) -> None:
    """Open the next attempt of an operation that was tried before, or reopened: same bytes as last time."""
    if not open_with(draft, draft.state.plan.step_of(path), path, operation, None):
        # Only a forward operation runs out of time, and its fold so far is all that will ever be known.
        give_up(draft, path, SettleReason.DEADLINE_EXCEEDED)


def give_up(draft: Draft, path: StepId, reason: SettleReason) -> None:
    """End a forward operation that has no call open with what is known of it."""
    step = draft.state.step(path)
    assert step.forward is not None  # it was tried, or was to be
    known = known_outcome(draft.state, path)
    end = end_of(draft, path, Operation.FORWARD, step.forward.last or NEVER_SENT, known)
    conclude(draft, end, wanted(end, Settle(known, reason)))


NEVER_SENT = Report(code="", phase=Phase.NOT_SENT, message="nothing was sent")
"""Stands for the report of an operation that was never tried."""


def open_with(draft: Draft, plan_step: Step, path: StepId, operation: Operation, request: Payload | None) -> bool:
    """Open an operation's next attempt; return False where no time is left for it.

    `request` is its own; None where it is the same bytes as last time.
    """
    state, moment = draft.state, draft.moment
    step = state.find(path)
    before = None if step is None else operation_of(step, operation)
    deadline_at = attempt_deadline_at(state, plan_step, path, operation, moment)
    if deadline_at is None:
        return False
    begun = step.manual_epoch if step is not None else state.steps[item_of(path)[0]].manual_epoch
    manual_epoch = begun if before is None else before.manual_epoch
    draft.record(
        AttemptOpened(
            at=moment.at,
            step=path,
            operation=operation,
            attempt=1 if before is None else before.attempts + 1,
            epoch=moment.epoch,
            key=idempotency_key(state.uid, path, operation, manual_epoch),
            request=request,
            deadline_at=deadline_at,
            manual_epoch=manual_epoch,
        )
    )
    return True


def end_of(draft: Draft, path: StepId, operation: Operation, report: Report, outcome: Outcome) -> AttemptEnd:
    """Return the end of an operation's last attempt, as the state now stands."""
    current = draft.state.step(path)
    after = operation_of(current, operation)
    assert after is not None  # it has, or had, an attempt
    return AttemptEnd(
        state=draft.state,
        step=draft.state.plan.step_of(path),
        current=current,
        operation=operation,
        after=after,
        report=report,
        outcome=outcome,
        moment=draft.moment,
    )


def settle_attempt(draft: Draft, step: StepState, operation: Operation, before: OperationState, report: Report) -> None:
    """Close the open attempt of an operation with its report, then do what follows from it."""
    assert before.open is not None  # the caller has just looked
    plan_step = draft.state.plan.step_of(step.id)
    outcome = meaning(report, unknown_before=before.unknown, profile=plan_step.call_of(operation).profile)
    draft.record(
        AttemptSettled(
            at=draft.moment.at,
            step=step.id,
            operation=operation,
            attempt=before.open.number,
            opened_at=before.open.opened_at,
            outcome=outcome,
            report=report,
        )
    )
    verdict: Verdict
    reply = report.reply if operation is FORWARD and outcome is _APPLIED else None
    if reply is not None and plan_step.is_answered:
        # Nearly every attempt ends so: what `judge` and `wanted` say of it is known, unless the reply means no.
        facts = RecordedFacts(draft.state, step.id, reply)
        refused = plan_step.refuse is not None and plan_step.refuse(facts)
        if not refused:
            started_at, code, text = before.started_at, report.code, report.message
            settle(draft, step.id, _APPLIED, _REPLIED, reply, started_at=started_at, code=code, message=text)
            return
        end = end_of(draft, step.id, operation, report, outcome)
        verdict = _refused(end, facts, refused=refused)
    else:
        end = end_of(draft, step.id, operation, report, outcome)
        verdict = judge(end)
        if isinstance(verdict, Settle) and operation not in _ASIDE:
            verdict = _by_reply(end, verdict)
    if isinstance(verdict, Settle) and operation not in _ASIDE:
        verdict = wanted(end, verdict)
    conclude(draft, end, verdict)


def conclude(draft: Draft, end: AttemptEnd, verdict: Verdict) -> None:
    """Record what follows from the end of an operation."""
    path, at = end.path, draft.moment.at
    match verdict:
        case Settle() if end.operation is FORWARD:
            # First, as what follows it, because nearly every attempt ends so.
            settle_step(draft, end, verdict)
        case Settle(nothing_to_undo=nothing) if end.operation is COMPENSATE:
            started_at = end.after.started_at
            draft.record(StepUndone(at=at, step=path, started_at=started_at, nothing_to_undo=nothing))
        case Again(delay_s=0.0, not_before_at=0.0, parked=False, operation=None) if (
            not draft.moment.is_draining and not draft.state.is_paused
        ):
            open_next(draft, path, end.operation)
        case Again():
            _again(draft, end, verdict)
        case Begin(operation=Operation.AWAIT):
            assert end.step.awaits is not None  # it is what is begun
            _begin(draft, end, Operation.AWAIT, end.step.awaits.call.render)
        case Begin():
            assert end.step.probe is not None  # it is what is begun
            _begin(draft, end, Operation.PROBE, end.step.probe.call.render)
        case Stick(reason=reason, message=told):
            message = told or f"{end.operation.value} answered {end.report.code}: {end.report.message}"
            stick(draft, path, end.operation, reason, message)
        case Settle() if end.operation is Operation.STOP:
            pass  # the operation is awaited to its end all the same
        case Settle():
            settle_step(draft, end, verdict)
        case _:
            assert_never(verdict)


def _again(draft: Draft, end: AttemptEnd, verdict: Again) -> None:
    operation = verdict.operation or end.operation
    reason = end.report.code if verdict.found is None else FOUND[verdict.found]
    draft.record(
        RetryScheduled(
            at=draft.moment.at,
            step=end.path,
            operation=operation,
            due_at=max(draft.moment.at + verdict.delay_s, verdict.not_before_at),
            parked=verdict.parked,
            reason=POLL if verdict.polled else reason,
        )
    )
    tried = operation_of(draft.state.step(end.path), operation)
    assert tried is not None  # it is tried again
    is_limited = operation is Operation.STOP or (operation is FORWARD and not insists(draft.state, end.step))
    if is_limited or tried.spent < ALERT_ATTEMPTS or AttentionReason.RETRYING in draft.state.attention:
        return
    message = clipped(f"{operation.value} of step {end.path} has failed {tried.spent} times, last {end.report.code}")
    retrying = AttentionReason.RETRYING
    draft.record(AttentionRaised(at=draft.moment.at, reason=retrying, step=end.path, message=message))


def _begin(draft: Draft, end: AttemptEnd, operation: Operation, render: Render) -> None:
    """Begin another operation of the step. It only reads, so that it is begun even by a process about to stop."""
    reply = end.report.reply if end.operation is FORWARD else None
    request = bounded(render(RecordedFacts(draft.state, end.path, reply)))
    if isinstance(request, ExpressionFailure):
        failed = Settle(
            before_probe(end), SettleReason.EXPRESSION_FAILED, message=f"{operation.value}: {request.message}"
        )
        unprobed = changed(end, operation=Operation.PROBE) if operation is PROBE else end
        conclude(draft, end, wanted(unprobed, failed))
        return
    open_with(draft, end.step, end.path, operation, request)


def stick(draft: Draft, path: StepId, operation: Operation, reason: AttentionReason, message: str) -> None:
    """Put a step before a person, unless it is there already."""
    known = draft.state.find(path)
    if known is not None and known.status is StepStatus.STUCK:
        return
    at, told = draft.moment.at, clipped(message)
    draft.record(StepStuck(at=at, step=path, operation=operation, reason=reason, message=told))
    draft.record(AttentionRaised(at=at, reason=reason, step=path, message=told))


def _by_reply(end: AttemptEnd, verdict: Settle) -> Settle | Again:
    """An OK reply may still mean no (`refuse`)."""
    step = end.step
    if not is_good(verdict.outcome, verdict.reason) or step.refuse is None:
        return verdict
    reply = verdict.reply or (end.report.reply if end.operation is FORWARD else None)
    facts = RecordedFacts(end.state, end.path, reply)
    # Known to be applied by another word than its reply, a step may have been told no: nobody guesses that it was not.
    refused = step.refuse(facts) if reply is not None else ExpressionFailure("the step was applied without a reply")
    return _refused(end, facts, refused=refused) if refused else verdict


def _refused(end: AttemptEnd, facts: Facts, *, refused: bool | ExpressionFailure) -> Settle | Again:
    """A reply that means no; one that cannot be judged keeps its effect and fails the saga."""
    step = end.step
    if isinstance(refused, ExpressionFailure):
        return Settle(_APPLIED, SettleReason.EXPRESSION_FAILED, message=f"refuse: {refused.message}")
    why = step.reason(facts) if step.reason is not None else "the reply means no"
    message = f"reason: {why.message}" if isinstance(why, ExpressionFailure) else why
    return believed(end, Settle(_NOT_APPLIED, SettleReason.REFUSED, message=message))


def settle_step(draft: Draft, end: AttemptEnd, verdict: Settle) -> None:
    """Settle the forward operation, with the undo request rendered from what is known now and for ever (R3)."""
    reply = verdict.reply
    if verdict.outcome is Outcome.APPLIED and reply is None and end.operation is FORWARD:
        reply = end.report.reply
    text = end.report.message if verdict.message is None else verdict.message
    code = end.report.code if verdict.code is None else verdict.code
    forward = end.current.forward
    started_at = forward.started_at if forward is not None else draft.moment.at
    settle(draft, end.path, verdict.outcome, verdict.reason, reply, started_at=started_at, code=code, message=text)


def settle(
    draft: Draft,
    path: StepId,
    outcome: Outcome,
    reason: SettleReason,
    reply: Payload | None,
    *,
    started_at: float,
    code: str = "",
    message: str = "",
) -> None:
    """Settle a step, with its undo request where it has something to undo. `reply` is the step's own, where known."""
    state = draft.state
    step, current = state.plan.step_of(path), state.find(path)
    undo: Payload | ExpressionFailure | None = None
    if outcome is not _NOT_APPLIED and step.is_undoable and (step.for_each is None or path != step.id):
        own_reply = reply if outcome is _APPLIED else None
        undo = bounded(step.call_of(COMPENSATE).render(RecordedFacts(state, path, own_reply)))
    if type(undo) is ExpressionFailure:
        message = f"compensate.request: {undo.message}" + (f"; {message}" if message else "")
        # Past the pivot nothing is undone any more, so that nothing is amiss (R17).
        harms = outcome is _APPLIED and not (state.is_past_pivot or state.is_at_pivot)
        reason = SettleReason.UNDO_NOT_RENDERED if harms else reason
        undo = None
    last = current.forward.last if current is not None and current.forward is not None else None
    draft.record(
        StepSettled(
            at=draft.moment.at,
            step=path,
            started_at=started_at,
            outcome=outcome,
            reason=reason,
            code=code,
            message=clipped(message),
            undo_request=undo,
            # What the last attempt brought is in the record of its end already.
            reply=None if last is not None and reply is last.reply else reply,
        )
    )


def bounded(request: Payload | ExpressionFailure) -> Payload | ExpressionFailure:
    """Refuse a message that is larger than any peer need accept."""
    if isinstance(request, Payload) and len(request.data) > PAYLOAD_BYTES_MAX:
        return ExpressionFailure(f"the message has {len(request.data)} bytes, more than {PAYLOAD_BYTES_MAX}")
    return request
