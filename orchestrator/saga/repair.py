"""What a person may do where the machine cannot decide (R25): each verb checked, audited, and then carried out.

A verb is refused, with what to do instead, where it would guess: a call that may have been applied is not sent anew
under a new key before somebody has said what became of it.
"""

from collections.abc import Callable
from typing import TypeVar, assert_never

from orchestrator.errors import Rejected, RequestError
from orchestrator.ids import StepId
from orchestrator.limits import LEFT_MAX
from orchestrator.saga import backward, calls, forward
from orchestrator.saga.commands import (
    Audit,
    ForceComplete,
    OverrideStepRequest,
    PauseSaga,
    Repair,
    RerunFromStep,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SkipStep,
    TerminateSaga,
)
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    Cause,
    CauseKind,
    OperatorActed,
    SagaTerminated,
    SettleReason,
    SkipReason,
    StepLeft,
    StepReopened,
    StepSkipped,
    StepsReset,
    StepUndone,
    Verb,
)
from orchestrator.saga.plan import Call, Operation, Outcome, StepKind
from orchestrator.saga.state import (
    OperationState,
    SagaState,
    StepState,
    StepStatus,
    insists,
    is_stopped,
    operation_of,
)
from orchestrator.saga.wanted import known_outcome

C = TypeVar("C", RetryStep, ResolveStep, SkipStep, OverrideStepRequest, RerunFromStep)
_WAITS = frozenset({StepStatus.BACKING_OFF, StepStatus.PARKED})


def apply(draft: Draft, command: Repair) -> RequestError | None:
    """Carry a verb out; return why it is refused."""
    match command:
        case RetryStep():
            return _with_step(draft, command.step, command, _retry)
        case ResolveStep():
            return _with_step(draft, command.step, command, _resolve)
        case SkipStep():
            return _with_step(draft, command.step, command, _skip)
        case OverrideStepRequest():
            return _with_step(draft, command.step, command, _override)
        case ForceComplete():
            return _force_complete(draft, command)
        case TerminateSaga():
            return _terminate(draft, command)
        case PauseSaga() | ResumeSaga():
            return _pause(draft, command)
        case RerunFromStep():
            return _with_step(draft, command.step, command, _rerun)
        case _:
            assert_never(command)


def past_pivot(state: SagaState, what: str) -> Rejected:
    """Return the refusal of what would undo a saga that can only succeed (R17)."""
    where = f"saga {state.saga_id!r} is past its pivot {state.plan.pivot!r}"
    message = f"{where} and cannot be {what}; it can only be completed"
    return Rejected("PAST_PIVOT", message, saga_id=state.saga_id, step=state.plan.pivot or "")


def _at_pivot(state: SagaState) -> Rejected:
    message = f"nobody knows yet whether the pivot {state.plan.pivot!r} of saga {state.saga_id!r} is applied;"
    message += " wait for its end, or resolve it where it is stuck"
    return Rejected("PIVOT_UNDECIDED", message, saga_id=state.saga_id, step=state.plan.pivot or "")


def _with_step(
    draft: Draft, path: StepId, command: C, act: Callable[[Draft, StepState, C], RequestError | None]
) -> RequestError | None:
    step = draft.state.find(path)
    if step is None:
        known = ", ".join(draft.state.plan.steps)
        message = f"saga {draft.state.saga_id!r} has no step {path!r}; its steps: {known}"
        return Rejected("STEP_UNKNOWN", message, saga_id=draft.state.saga_id, step=path)
    return act(draft, step, command)


def _acted(
    draft: Draft,
    audit: Audit,
    verb: Verb,
    step: StepId | None = None,
    operation: Operation | None = None,
    *,
    outcome: Outcome | None = None,
) -> None:
    draft.record(
        OperatorActed(
            at=draft.moment.at,
            verb=verb,
            by=calls.clipped(audit.by),
            reason=calls.clipped(audit.reason),
            step=step,
            operation=operation,
            outcome=outcome,
            trace=audit.trace,
        )
    )


def _refused(state: SagaState, step: StepState, why: str) -> Rejected:
    message = f"step {step.id!r} of saga {state.saga_id!r} is {step.status.value}: {why}"
    return Rejected("STEP_STATE", message, saga_id=state.saga_id, step=step.id, status=step.status.value)


def stuck_operation(step: StepState) -> Operation | None:
    """Return which operation of a step a person has to decide; None where none is stuck."""
    if step.status is not StepStatus.STUCK:
        return None
    return Operation.FORWARD if step.outcome is None else Operation.COMPENSATE


def _waiting_operation(step: StepState) -> Operation | None:
    """Return which operation is to be tried again later."""
    for operation in Operation:
        found = operation_of(step, operation)
        if found is not None and found.retry_at is not None:
            return operation
    return None


def _retry(draft: Draft, step: StepState, command: RetryStep) -> RequestError | None:
    state = draft.state
    waiting = _waiting_operation(step)
    operation = stuck_operation(step) or (waiting if step.status in _WAITS | {StepStatus.UNDOING} else None)
    if operation is None:
        return _refused(state, step, "only a step that is stuck, or waits to be tried again, can be retried")
    before = operation_of(step, operation)
    if command.as_new and _may_be_applied(state, step, operation):
        why = "a call under the old key may have been applied, so a new key may do it twice; resolve the step first"
        return _refused(state, step, why)
    if before is None and operation is Operation.COMPENSATE:
        return _refused(state, step, "its undo request could not be rendered; override the request, resolve or skip it")
    if before is None and step.id in state.items:
        return _refused(state, step, "its request cannot be rendered; override the request, or skip it")
    _acted(draft, command.audit, Verb.RETRY, step.id, operation)
    if before is None:
        draft.record(StepsReset(at=draft.moment.at, step=step.id, steps=(step.id,)))
    else:
        _reopen(
            draft,
            step,
            operation,
            StepReopened(at=draft.moment.at, step=step.id, operation=operation, as_new=command.as_new),
        )
    return None


def _may_be_applied(state: SagaState, step: StepState, operation: Operation) -> bool:
    """Return whether what was sent so far may have had its effect."""
    if operation is Operation.FORWARD:
        return known_outcome(state, step.id) is not Outcome.NOT_APPLIED
    return step.undo is not None and step.undo.unknown


def _reopen(draft: Draft, step: StepState, operation: Operation, event: StepReopened) -> None:
    draft.record(event)
    if not (draft.moment.is_draining or draft.state.is_paused):
        calls.open_next(draft, step.id, operation)


def _resolve(draft: Draft, step: StepState, command: ResolveStep) -> RequestError | None:
    state, at, operation = draft.state, draft.moment.at, stuck_operation(step)
    if command.outcome is Outcome.UNKNOWN:
        return _refused(state, step, "a person says APPLIED or NOT_APPLIED; what is unknown is unknown already")
    asked_about = step.status is StepStatus.PROBING or (step.status is StepStatus.WAITING and step.awaiting is not None)
    if operation is None and not asked_about and step.status is not StepStatus.UNSETTLED:
        return _refused(state, step, "only a step that is stuck, or whose outcome is unknown, can be resolved")
    if asked_about and command.outcome is Outcome.NOT_APPLIED and _has_to_succeed(state, step):
        return _refused(state, step, "it has to succeed, and is being asked about still; wait until it is stuck")
    if operation is Operation.COMPENSATE:
        if command.outcome is not Outcome.APPLIED:
            return _refused(state, step, "its undo is stuck: retry it, say that it was applied, or skip it")
        _acted(draft, command.audit, Verb.RESOLVE, step.id, operation, outcome=command.outcome)
        undo = step.undo
        started_at = undo.started_at if undo is not None else at
        draft.record(StepUndone(at=at, step=step.id, started_at=started_at, nothing_to_undo=False))
        return None
    if step.id in state.steps and state.plan.steps[step.id].for_each is not None and command.outcome is Outcome.APPLIED:
        return _refused(state, step, "its items have not begun; retry it, or skip it")
    goes_on = operation is not None and _has_to_succeed(state, step)
    tried_again = goes_on and command.outcome is Outcome.NOT_APPLIED
    if tried_again and step.forward is None:
        return _refused(
            state, step, "nothing was sent, and it has to succeed; retry it, override its request or skip it"
        )
    _acted(draft, command.audit, Verb.RESOLVE, step.id, Operation.FORWARD, outcome=command.outcome)
    if tried_again:
        # It has to succeed (R17): known not to have been applied, it is tried again.
        again = StepReopened(at=at, step=step.id, operation=Operation.FORWARD)
        _reopen(draft, step, Operation.FORWARD, again)
        return None
    reply = command.reply if command.outcome is Outcome.APPLIED else None
    message = f"resolved by {command.audit.by}"
    started_at = step.began_at or at
    reason = SettleReason.RESOLVED
    calls.settle(draft, step.id, command.outcome, reason, reply, started_at=started_at, message=message)
    return None


def _has_to_succeed(state: SagaState, step: StepState) -> bool:
    return insists(state, state.plan.step_of(step.id)) and not is_stopped(state, step.id)


def _skip(draft: Draft, step: StepState, command: SkipStep) -> RequestError | None:
    state, at, operation = draft.state, draft.moment.at, stuck_operation(step)
    if operation is None:
        return _refused(state, step, "only a step that is stuck can be skipped")
    if operation is Operation.COMPENSATE:
        _acted(draft, command.audit, Verb.SKIP, step.id, operation)
        draft.record(StepLeft(at=at, step=step.id))
        return None
    if _may_be_applied(state, step, operation):
        why = "it may have been applied; say whether it was (resolve) before going on without it"
        return _refused(state, step, why)
    if step.id == state.plan.pivot:
        return _refused(state, step, "it is the pivot; say whether it was applied (resolve), or retry it")
    _acted(draft, command.audit, Verb.SKIP, step.id, operation)
    draft.record(StepSkipped(at=at, step=step.id, reason=SkipReason.OPERATOR))
    return None


def _override(draft: Draft, step: StepState, command: OverrideStepRequest) -> RequestError | None:
    state, operation = draft.state, stuck_operation(step)
    if operation is None:
        return _refused(state, step, "only a step that is stuck can be sent another request")
    plan_step = state.plan.step_of(step.id)
    if operation is Operation.FORWARD and (plan_step.for_each is not None) and step.id in state.steps:
        return _refused(state, step, "it has items; override the request of an item")
    before: OperationState | None = operation_of(step, operation)
    if not isinstance(plan_step.body, Call):
        return _refused(state, step, "it sends no request")
    if operation is Operation.FORWARD and _may_be_applied(state, step, operation):
        why = "what was sent may have been applied; say whether it was (resolve) before sending something else"
        return _refused(state, step, why)
    _acted(draft, command.audit, Verb.OVERRIDE_REQUEST, step.id, operation)
    again = StepReopened(
        at=draft.moment.at, step=step.id, operation=operation, request=command.request, as_new=before is not None
    )
    _reopen(draft, step, operation, again)
    return None


def _force_complete(draft: Draft, command: ForceComplete) -> RequestError | None:
    state = draft.state
    if state.is_backward or state.rollbacks:
        message = f"saga {state.saga_id!r} is being undone; skip what is stuck, or terminate it"
        return Rejected("GOING_BACKWARD", message, saga_id=state.saga_id, status=state.status.value)
    if state.is_at_pivot:
        return _at_pivot(state)
    if any(_has_open_call(state.step(path)) for path in state.live):
        message = f"saga {state.saga_id!r} has calls in flight; pause it, and complete it when they have ended"
        return Rejected("CALLS_IN_FLIGHT", message, saga_id=state.saga_id)
    _acted(draft, command.audit, Verb.FORCE_COMPLETE)
    forward.force(draft)
    return None


def _has_open_call(step: StepState) -> bool:
    return any(of is not None and of.open is not None for of in (operation_of(step, each) for each in Operation))


def _terminate(draft: Draft, command: TerminateSaga) -> RequestError | None:
    _acted(draft, command.audit, Verb.TERMINATE)
    state = draft.state
    left = tuple(step.id for step in state.everything() if step.items is None and may_have_an_effect(state, step))
    draft.record(SagaTerminated(at=draft.moment.at, started_at=state.started_at, left=left[:LEFT_MAX]))
    return None


def may_have_an_effect(state: SagaState, step: StepState) -> bool:
    """Return whether a step has, or may have, an effect in the world that is not undone."""
    plan_step = state.plan.step_of(step.id)
    if plan_step.kind is StepKind.READ or not isinstance(plan_step.body, Call):
        return False
    if step.status in {StepStatus.UNDONE, StepStatus.SKIPPED}:
        return False
    if step.outcome is not None:
        return step.outcome is not Outcome.NOT_APPLIED
    return known_outcome(state, step.id) is not Outcome.NOT_APPLIED


def _pause(draft: Draft, command: PauseSaga | ResumeSaga) -> RequestError | None:
    wanted = isinstance(command, PauseSaga)
    if draft.state.is_paused is wanted:
        return None
    _acted(draft, command.audit, Verb.PAUSE if wanted else Verb.RESUME)
    return None


def _rerun(draft: Draft, step: StepState, command: RerunFromStep) -> RequestError | None:
    state, plan = draft.state, draft.state.plan
    if state.is_backward:
        message = f"saga {state.saga_id!r} is being undone as a whole; start a new one (R27)"
        return Rejected("GOING_BACKWARD", message, saga_id=state.saga_id, status=state.status.value)
    if state.is_past_pivot:
        return past_pivot(state, "run again from a step")
    if state.is_at_pivot:
        return _at_pivot(state)
    if step.id not in plan.steps or plan.steps[step.id].scope is not None:
        return _refused(state, step, "only a step outside every scope and `for_each` can be run again from")
    if step.status is StepStatus.PENDING or state.rollbacks:
        return _refused(state, step, "it has not begun, or a part of the saga is being undone")
    after = {step.id, *plan.dependents[step.id]}
    inside = {each for found in after for each in (found, *plan.members.get(found, ()))}
    _acted(draft, command.audit, Verb.RERUN, step.id)
    message = f"run again from {step.id} by {command.audit.by}"
    cause = Cause(kind=CauseKind.OPERATOR, message=message, step=step.id, reason=calls.clipped(command.audit.reason))
    backward.roll_back(draft, step.id, inside, cause)
    return None
