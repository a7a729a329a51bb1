"""What can start: the frontier, trigger rules and guards (R14), and the end of a saga that went well."""

from enum import Enum, auto
from typing import assert_never

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.limits import FORWARD_PARALLEL_MAX
from orchestrator.saga import calls
from orchestrator.saga.backward import begin
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    Cause,
    CauseKind,
    Outcome,
    SagaCompleted,
    SettleReason,
    SkipReason,
    StepSettled,
    StepSkipped,
)
from orchestrator.saga.plan import ExpressionFailure, Operation, Step, Trigger, TriggerRule
from orchestrator.saga.state import SETTLED, RecordedFacts, SagaState, SagaStatus, StepState, StepStatus


class Readiness(Enum):
    """What a step's predecessors allow."""

    WAIT = auto()
    START = auto()
    SKIP = auto()


@frozen_tuple
class Tally:
    """How a step's predecessors ended."""

    total: int
    applied: int
    failed: int
    skipped: int

    @property
    def done(self) -> int:
        """Return how many have ended in any way."""
        return self.applied + self.failed + self.skipped


def advance(draft: Draft) -> None:
    """Stop at the first error; otherwise start what may start, pass over what cannot run, and end when all is done."""
    if draft.state.status is not SagaStatus.RUNNING:
        return
    if _stopped_by_failure(draft):
        return
    while not draft.moment.is_draining and _start_frontier(draft):
        if _stopped_by_failure(draft):
            return
    if all(step.status in SETTLED for step in draft.state.steps.values()):
        _complete(draft)


def _stopped_by_failure(draft: Draft) -> bool:
    """Go backward if a step that settled in this very decision failed; an earlier one has had its consequences."""
    if not any(isinstance(event, StepSettled) for event in draft.events):
        return False
    cause = failure(draft.state)
    if cause is not None:
        begin(draft, cause)
    return cause is not None


def failure(state: SagaState) -> Cause | None:
    """Return why the saga cannot go on: the first required step, in order of settling, that failed (R14)."""
    failed = [step for step in state.steps.values() if has_failed(step) and not state.plan.steps[step.id].optional]
    if not failed:
        return None
    first = min(failed, key=lambda step: step.settled_version)
    kind = CauseKind.STEP_FAILED
    if first.settle_reason in {SettleReason.EXPRESSION_FAILED, SettleReason.UNDO_NOT_RENDERED}:
        kind = CauseKind.EXPRESSION_FAILED
    elif first.settle_reason is SettleReason.DEADLINE_EXCEEDED:
        kind = CauseKind.DEADLINE_EXCEEDED
    reason = first.settle_reason.value if first.settle_reason is not None else ""
    return Cause(kind=kind, message=first.message, step=first.id, code=first.code, reason=reason)


def has_failed(step: StepState) -> bool:
    """Return whether a step settled, and not well."""
    if step.status is StepStatus.APPLIED:
        return step.settle_reason is not SettleReason.REPLIED
    return step.status is StepStatus.NOT_APPLIED or step.status is StepStatus.UNSETTLED


def readiness(trigger: Trigger, tally: Tally) -> Readiness:
    """Return what the trigger rule says: the truth table of R14."""
    over = tally.done == tally.total
    met: bool
    lost: bool
    match trigger.rule:
        case TriggerRule.ALL_SUCCESS:
            met, lost = tally.applied == tally.total, tally.failed + tally.skipped > 0
        case TriggerRule.ALL_DONE:
            met, lost = over, False
        case TriggerRule.ONE_SUCCESS:
            met, lost = tally.applied > 0, over
        case TriggerRule.ONE_DONE:
            met, lost = tally.done > 0, False
        case TriggerRule.ALL_FAILED:
            met, lost = tally.failed == tally.total, tally.applied + tally.skipped > 0
        case TriggerRule.NONE_FAILED:
            met, lost = over and tally.failed == 0, tally.failed > 0
        case TriggerRule.AT_LEAST:
            met = tally.applied >= trigger.count
            lost = tally.applied + tally.total - tally.done < trigger.count
        case _:
            assert_never(trigger.rule)
    if tally.total == 0 or met:
        return Readiness.START
    return Readiness.SKIP if lost else Readiness.WAIT


def tally_of(state: SagaState, needs: frozenset[StepId]) -> Tally:
    """Count how the predecessors ended."""
    applied = failed = skipped = 0
    for need in needs:
        step = state.steps[need]
        if has_failed(step):
            failed += 1
        elif step.status is StepStatus.APPLIED:
            applied += 1
        elif step.status is StepStatus.SKIPPED:
            skipped += 1
    return Tally(total=len(needs), applied=applied, failed=failed, skipped=skipped)


def _start_frontier(draft: Draft) -> bool:
    """Walk the pending steps once; return whether any of them came to an end on the spot, so others may be free now."""
    ended = False
    for step in draft.state.plan.steps.values():
        if draft.state.steps[step.id].status is not StepStatus.PENDING:
            continue
        ready = readiness(step.trigger, tally_of(draft.state, step.needs))
        if ready is Readiness.WAIT:
            continue
        if ready is Readiness.SKIP:
            draft.record(StepSkipped(at=draft.moment.at, step=step.id, reason=SkipReason.TRIGGER_UNMET))
        elif calls.open_count(draft.state, Operation.FORWARD) < FORWARD_PARALLEL_MAX:
            _start(draft, step)
        else:
            break
        status = draft.state.steps[step.id].status
        if status is StepStatus.NOT_APPLIED:
            # It may be the first error, past which nothing starts (R14).
            return True
        ended = ended or status is StepStatus.SKIPPED
    return ended


def _start(draft: Draft, step: Step) -> None:
    facts = RecordedFacts(draft.state)
    if step.when is not None:
        wanted = step.when(facts)
        if isinstance(wanted, ExpressionFailure):
            _fail(draft, step, SettleReason.EXPRESSION_FAILED, f"when: {wanted.message}")
            return
        if not wanted:
            draft.record(StepSkipped(at=draft.moment.at, step=step.id, reason=SkipReason.GUARD_FALSE))
            return
    request = calls.bounded(step.call.render(facts))
    if isinstance(request, ExpressionFailure):
        _fail(draft, step, SettleReason.EXPRESSION_FAILED, f"request: {request.message}")
    elif not calls.open_first(draft, step.id, Operation.FORWARD, request):
        _fail(draft, step, SettleReason.DEADLINE_EXCEEDED, "the saga's forward deadline passed before the step began")


def _fail(draft: Draft, step: Step, reason: SettleReason, message: str) -> None:
    draft.record(
        StepSettled(
            at=draft.moment.at,
            step=step.id,
            started_at=draft.moment.at,
            outcome=Outcome.NOT_APPLIED,
            reason=reason,
            code="",
            message=calls.clipped(message),
            undo_request=None,
        )
    )


def _complete(draft: Draft) -> None:
    state = draft.state
    output = calls.bounded(state.plan.output(RecordedFacts(state))) if state.plan.output is not None else None
    if isinstance(output, ExpressionFailure):
        # The caller was promised a result that cannot be had; what was done for it is undone.
        message = calls.clipped(f"output: {output.message}")
        begin(draft, Cause(kind=CauseKind.EXPRESSION_FAILED, message=message, reason="EXPRESSION_FAILED"))
        return
    draft.record(SagaCompleted(at=draft.moment.at, started_at=state.started_at, output=output))
