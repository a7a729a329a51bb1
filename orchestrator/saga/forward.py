"""What starts: the frontier and guards, the first error (R14), and the end of a saga that went well."""

from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.limits import ITEMS_MAX, SLEEP_S_MAX
from orchestrator.saga import calls, parts
from orchestrator.saga.backward import begin
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import (
    AttentionReason,
    Cause,
    CauseKind,
    ElseBegan,
    SagaCompleted,
    SettleReason,
    SkipReason,
    StepBegan,
    StepSettled,
    StepSkipped,
    is_good,
)
from orchestrator.saga.facts import RecordedFacts
from orchestrator.saga.frontier import Readiness, asks_forward, has_failed, has_room, is_open, readiness_of, to_look_at
from orchestrator.saga.plan import (
    FORWARD,
    Call,
    ExpressionFailure,
    ForEach,
    OnFailure,
    Operation,
    Outcome,
    Scope,
    Sleep,
    Step,
    Wait,
)
from orchestrator.saga.state import (
    SETTLED,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
    insists,
    is_stopped,
    is_undecided,
)

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_NEEDS_ATTENTION: Final = SagaStatus.NEEDS_ATTENTION
_PENDING: Final = StepStatus.PENDING
_WAIT: Final = Readiness.WAIT
_SKIP: Final = Readiness.SKIP
_FAILED_AT_ONCE = frozenset({StepStatus.NOT_APPLIED, StepStatus.STUCK})
_ENDED_AT_ONCE = frozenset({StepStatus.SKIPPED, StepStatus.WAITING})
# As a tuple, which a union would be made into at every call.
_ENDS = (StepSettled, ElseBegan)


def advance(draft: Draft) -> None:
    """Stop at the first error; otherwise start what may start, pass over what cannot run, and end when all is done.

    Asked of a saga that has begun and has not ended.
    """
    state = draft.state
    if state.cause is not None:
        return
    if state.cancel_reason is not None and _is_waiting_for_pivot(draft, state.cancel_reason):
        return
    if _stopped_by_failure(draft):
        return
    while _move(draft):
        if _stopped_by_failure(draft):
            return
    state = draft.state
    if state.rollbacks or state.stuck or (state.live and (draft.nothing_was_held or _is_under_way(state))):
        return
    if all(state.steps[step].status in SETTLED for step in state.plan.top):
        complete(draft)


def _is_under_way(state: SagaState) -> bool:
    return any(is_undecided(state.step(path)) for path in state.live)


def _is_waiting_for_pivot(draft: Draft, reason: str) -> bool:
    """Cancelled while its pivot ran, a saga goes backward if the pivot was not applied, and on if it was (R16)."""
    state = draft.state
    if state.is_past_pivot:
        return False
    if not state.is_at_pivot:
        begin(draft, cancelled(reason))
    return True


def cancelled(reason: str) -> Cause:
    """Return the cause of a saga that was cancelled."""
    return Cause(kind=CauseKind.CANCELLED, message=reason or "cancelled by a caller", reason=reason)


def _stopped_by_failure(draft: Draft) -> bool:
    """Go backward if a step that settled in this very decision failed; an earlier one has had its consequences."""
    may_have = _may_have_failed(draft)
    if not may_have:
        return False
    cause = failure(draft.state, may_have)
    if cause is not None:
        begin(draft, cause)
    return cause is not None


def _may_have_failed(draft: Draft) -> Sequence[StepId]:
    """Look at what settled now; what failed before it had its consequences then, unless something was held back."""
    found: Sequence[StepId] = ()
    for event in draft.events:
        if type(event) is StepSettled:
            plan = draft.state.plan
            if not draft.nothing_was_held:
                return plan.top
            if not is_good(event.outcome, event.reason) and event.step in plan.steps:
                found = (*found, event.step) if plan.steps[event.step].scope is None else found
    return found


def failure(state: SagaState, among: Iterable[StepId]) -> Cause | None:
    """Return why the saga, or a scope, cannot go on: the first required step, by settling, that failed (R14)."""
    steps = state.plan.steps
    failed = [step for each in among if has_failed(step := state.steps[each]) and not steps[each].optional]
    if state.rollbacks:
        failed = [step for step in failed if not is_stopped(state, step.id)]
    return _cause_of(min(failed, key=lambda step: step.settled_version)) if failed else None


def _cause_of(first: StepState) -> Cause:
    kind = CauseKind.STEP_FAILED
    if first.settle_reason in {SettleReason.EXPRESSION_FAILED, SettleReason.UNDO_NOT_RENDERED}:
        kind = CauseKind.EXPRESSION_FAILED
    elif first.settle_reason in {SettleReason.DEADLINE_EXCEEDED, SettleReason.TIMED_OUT}:
        kind = CauseKind.DEADLINE_EXCEEDED
    reason = first.settle_reason.value if first.settle_reason is not None else ""
    path = first.items.first_failed or first.id if first.items is not None else first.id
    return Cause(kind=kind, message=first.message, step=path, code=first.code, reason=reason)


def _move(draft: Draft) -> bool:
    """Look once at everything that may move; return whether something ended on the spot, so others may be free now."""
    if draft.state.plan.has_parts and _move_parts(draft):
        return True
    return not _is_held(draft) and _start_frontier(draft)


def _move_parts(draft: Draft) -> bool:
    """Do so with what is more than a call; return whether something ended."""
    seen = len(draft.events)
    parts.advance_waits(draft)
    # Before the items: what has failed in a scope stops all of it.
    parts.advance_scopes(draft, failure)
    if not _has_ended(draft, seen):
        parts.advance_items(draft, _may_begin_item, start_item)
    return _has_ended(draft, seen)


def _has_ended(draft: Draft, seen: int) -> bool:
    """Return whether something came to an end since: others may be free now, or it was the first error (R14)."""
    return any(isinstance(event, _ENDS) for event in draft.events[seen:])


def _is_held(draft: Draft) -> bool:
    """Return whether nothing new begins for now: the process is about to stop, or a person has the word."""
    state = draft.state
    if draft.moment.is_draining or state.is_paused:
        return True
    return state.status is _NEEDS_ATTENTION and asks_forward(state)


def _may_begin_item(draft: Draft) -> bool:
    return not _is_held(draft) and has_room(draft.state)


def _start_frontier(draft: Draft) -> bool:
    """Walk the pending steps once; return whether any of them came to an end on the spot, so others may be free now."""
    ended = False
    for step in to_look_at(draft):
        if draft.state.steps[step.id].status is not _PENDING or not is_open(draft.state, step):
            continue
        ready = readiness_of(draft.state, step)
        if ready is _WAIT:
            continue
        if ready is _SKIP:
            draft.record(StepSkipped(at=draft.moment.at, step=step.id, reason=SkipReason.TRIGGER_UNMET))
        elif has_room(draft.state):
            _start(draft, step)
        else:
            break
        status = draft.state.steps[step.id].status
        if status in _FAILED_AT_ONCE:
            # It may be the first error, past which nothing starts (R14).
            return True
        ended = ended or status in _ENDED_AT_ONCE
    return ended


def _start(draft: Draft, step: Step) -> None:
    if step.when is not None:
        wanted = step.when(RecordedFacts(draft.state, step.id))
        if type(wanted) is ExpressionFailure:
            _fail(draft, step, step.id, SettleReason.EXPRESSION_FAILED, f"when: {wanted.message}")
            return
        if not wanted:
            draft.record(StepSkipped(at=draft.moment.at, step=step.id, reason=SkipReason.GUARD_FALSE))
            return
    if step.for_each is not None:
        _start_items(draft, step, step.for_each)
        return
    at, body = draft.moment.at, step.body
    match body:
        case Call():
            _call(draft, step, step.id, body)
        case Sleep(duration=duration):
            asleep_s = duration(RecordedFacts(draft.state, step.id))
            if not isinstance(asleep_s, ExpressionFailure) and not 0 <= asleep_s <= SLEEP_S_MAX:
                asleep_s = ExpressionFailure(f"{asleep_s:g} s is not between 0 and {SLEEP_S_MAX:.0f}")
            if isinstance(asleep_s, ExpressionFailure):
                _fail(draft, step, step.id, SettleReason.EXPRESSION_FAILED, f"sleep: {asleep_s.message}")
            else:
                draft.record(StepBegan(at=at, step=step.id, due_at=at + asleep_s, count=None))
        case Wait(timeout_s=timeout_s) | Scope(timeout_s=timeout_s):
            due_at = None if timeout_s is None else at + timeout_s
            draft.record(StepBegan(at=at, step=step.id, due_at=due_at, count=None))
        case _:
            assert_never(body)


def _start_items(draft: Draft, step: Step, for_each: ForEach) -> None:
    items = for_each.items(RecordedFacts(draft.state, step.id))
    if not isinstance(items, ExpressionFailure) and len(items) > ITEMS_MAX:
        items = ExpressionFailure(f"{len(items)} items, more than {ITEMS_MAX}")
    if isinstance(items, ExpressionFailure):
        _fail(draft, step, step.id, SettleReason.EXPRESSION_FAILED, f"for_each: {items.message}")
        return
    draft.record(StepBegan(at=draft.moment.at, step=step.id, due_at=None, count=len(items)))
    memo = draft.state.memo.with_list(step.id, draft.state.version, items)
    draft.state = changed(draft.state, memo=memo)


def start_item(draft: Draft, step: Step, path: StepId) -> None:
    """Begin one item of a `for_each` step."""
    _call(draft, step, path, step.call)


def _call(draft: Draft, step: Step, path: StepId, call: Call) -> None:
    request = calls.bounded(call.render(RecordedFacts(draft.state, path)))
    if type(request) is ExpressionFailure:
        _fail(draft, step, path, SettleReason.EXPRESSION_FAILED, f"request: {request.message}")
    elif not calls.open_with(draft, step, path, FORWARD, request):
        message = "the saga's forward deadline passed before the step began"
        _fail(draft, step, path, SettleReason.DEADLINE_EXCEEDED, message)


def _fail(draft: Draft, step: Step, path: StepId, reason: SettleReason, message: str) -> None:
    """A step could not even begin: asking again would not help, so a step that has to succeed needs a person."""
    asks = insists(draft.state, step) or (step.on_failure is OnFailure.ASK and not step.optional)
    if asks and reason is SettleReason.EXPRESSION_FAILED:
        calls.stick(draft, path, Operation.FORWARD, AttentionReason.EXPRESSION_FAILED, message)
        return
    at = draft.moment.at
    calls.settle(draft, path, Outcome.NOT_APPLIED, reason, None, started_at=at, message=message)


def complete(draft: Draft) -> None:
    """End a saga that went well, with its output."""
    state = draft.state
    output = calls.bounded(state.plan.output(RecordedFacts(state))) if state.plan.output is not None else None
    if type(output) is ExpressionFailure:
        message = calls.clipped(f"output: {output.message}")
        if not state.is_past_pivot:
            # The caller was promised a result that cannot be had; what was done for it is undone.
            begin(draft, Cause(kind=CauseKind.EXPRESSION_FAILED, message=message, reason="EXPRESSION_FAILED"))
            return
        output = None  # nothing can be undone any more, and nobody's work depends on the answer
    draft.record(SagaCompleted(at=draft.moment.at, started_at=state.started_at, output=output))


def force(draft: Draft) -> None:
    """End a saga as COMPLETED although not all of it is done; its output is given where it can be."""
    state = draft.state
    output = calls.bounded(state.plan.output(RecordedFacts(state))) if state.plan.output is not None else None
    given = None if isinstance(output, ExpressionFailure) else output
    draft.record(SagaCompleted(at=draft.moment.at, started_at=state.started_at, output=given))
