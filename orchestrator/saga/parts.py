"""The parts of a saga that are more than a call: waits, the items of a `for_each` step, and scopes (R18)."""

from collections.abc import Callable, Iterable
from typing import Final

from orchestrator.ids import StepId, item_path
from orchestrator.saga import backward, calls
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import AttentionReason, Cause, CauseKind, SettleReason
from orchestrator.saga.frontier import ended_in
from orchestrator.saga.plan import OnFailure, Operation, Outcome, Scope, Sleep, Step, Wait
from orchestrator.saga.state import SETTLED, ItemsState, SagaState, StepState, StepStatus, insists

_WAITING: Final = StepStatus.WAITING

Failure = Callable[[SagaState, Iterable[StepId]], Cause | None]
MayBegin = Callable[[Draft], bool]
Start = Callable[[Draft, Step, StepId], None]


def _waiting(state: SagaState, among: frozenset[StepId]) -> list[StepState]:
    """Return those of some steps that are under way without a call, in plan order."""
    fewer, others = (among, state.live) if len(among) <= len(state.live) else (state.live, among)
    found = [step for each in fewer if each in others and (step := state.steps[each]).status is _WAITING]
    if len(found) > 1:
        places = state.plan.places
        found.sort(key=lambda step: places[step.id])
    return found


def advance_waits(draft: Draft) -> None:
    """Hand signals that have come to the steps that wait for them, in order of arrival."""
    if not any(draft.state.signals.values()):
        return
    for step in _waiting(draft.state, draft.state.plan.waits):
        body = draft.state.plan.steps[step.id].body
        if isinstance(body, Wait) and (waiting := draft.state.signals.get(body.signal)):
            payload, began_at = waiting[0].payload, step.began_at
            calls.settle(draft, step.id, Outcome.APPLIED, SettleReason.DONE, payload, started_at=began_at)


def due(draft: Draft, step_id: StepId) -> None:
    """A step has slept enough, or has waited too long."""
    step, body = draft.state.steps[step_id], draft.state.plan.steps[step_id].body
    if step.status is not StepStatus.WAITING or step.due_at is None or draft.moment.at < step.due_at:
        return
    began_at, took_s = step.began_at, step.due_at - step.began_at
    if isinstance(body, Sleep):
        calls.settle(draft, step_id, Outcome.APPLIED, SettleReason.DONE, None, started_at=began_at)
    elif isinstance(body, Wait):
        _waited_in_vain(draft, step, f"signal {body.signal!r} did not come within {took_s:g} s")
    else:
        assert isinstance(body, Scope)  # nothing else is waited for
        message = f"scope {step_id} was not done within {took_s:g} s"
        cause = Cause(kind=CauseKind.DEADLINE_EXCEEDED, message=message, step=step_id, reason="DEADLINE_EXCEEDED")
        _roll_back(draft, step_id, body, cause)


def _waited_in_vain(draft: Draft, step: StepState, message: str) -> None:
    plan_step = draft.state.plan.steps[step.id]
    if insists(draft.state, plan_step) or (plan_step.on_failure is OnFailure.ASK and not plan_step.optional):
        calls.stick(draft, step.id, Operation.FORWARD, AttentionReason.FAILED, message)
        return
    reason = SettleReason.TIMED_OUT
    calls.settle(draft, step.id, Outcome.NOT_APPLIED, reason, None, started_at=step.began_at, message=message)


def advance_items(draft: Draft, may_begin: MayBegin, start: Start) -> None:
    """Begin the next items of every `for_each` step as its window has room, and settle the step when it is over."""
    for step in _waiting(draft.state, draft.state.plan.with_items):
        if step.items is not None and _advance_items(draft, draft.state.plan.steps[step.id], may_begin, start):
            return  # it may be the first error, past which nothing begins (R14)


def _advance_items(draft: Draft, step: Step, may_begin: MayBegin, start: Start) -> bool:
    """Do so for one step; return whether it has come to its end."""
    for_each = step.for_each
    assert for_each is not None  # the step has items
    while not _over(draft, step, for_each.tolerate):
        items = _items(draft, step.id)
        full = items.under_way >= for_each.parallel or items.began == items.count
        if full or items.stuck or not may_begin(draft):
            return False
        start(draft, step, item_path(step.id, items.began))
    return True


def _over(draft: Draft, step: Step, tolerate: int) -> bool:
    """Settle a `for_each` step that has failed, or has come to its end; return whether it has."""
    items, began_at = _items(draft, step.id), draft.state.steps[step.id].began_at
    if items.failed > tolerate:
        assert items.first_failed is not None  # one has
        first = draft.state.items[items.first_failed]
        message = f"{items.failed} of {items.count} items failed, first {first.id}: {first.message}"
        reason = SettleReason.ITEM_FAILED
        calls.settle(
            draft, step.id, Outcome.NOT_APPLIED, reason, None, started_at=began_at, code=first.code, message=message
        )
        backward.stop_items(draft, step.id)
        return True
    if items.began == items.count and items.under_way == 0:
        calls.settle(draft, step.id, Outcome.APPLIED, SettleReason.DONE, None, started_at=began_at)
        return True
    return False


def _items(draft: Draft, step: StepId) -> ItemsState:
    items = draft.state.steps[step].items
    assert items is not None  # the callers have looked
    return items


def advance_scopes(draft: Draft, failure: Failure) -> None:
    """Settle every scope whose members have all come to a good end, and undo one of which a member failed."""
    if not draft.state.plan.scopes:
        return
    for step in reversed(_waiting(draft.state, draft.state.plan.scopes)):  # inner ones come after outer ones
        body = draft.state.plan.steps[step.id].body
        if not isinstance(body, Scope) or step.id in draft.state.rollbacks:
            continue
        branch = body.otherwise if step.in_else else body.steps
        ended: Iterable[StepId] = branch
        if draft.nothing_was_held:
            # Whatever failed before has had its consequences.
            ended = [each for each in ended_in(draft, step.id) if (each in body.otherwise) is step.in_else]
        cause = failure(draft.state, ended)
        if cause is not None:
            _roll_back(draft, step.id, body, cause)
        elif all(draft.state.steps[each].status in SETTLED for each in reversed(branch)):  # the last to end, mostly
            calls.settle(draft, step.id, Outcome.APPLIED, SettleReason.DONE, None, started_at=step.began_at)


def _roll_back(draft: Draft, scope: StepId, body: Scope, cause: Cause) -> None:
    plan, state = draft.state.plan, draft.state
    branch = body.otherwise if state.steps[scope].in_else else body.steps
    inside = {each for member in branch for each in (member, *plan.members.get(member, ()))}
    backward.roll_back(draft, scope, inside, cause)
