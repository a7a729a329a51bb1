"""Which steps are free to begin: trigger rules (R14), and where to look for those that a decision has freed.

The frontier is *complete* when everything that may begin has begun. From there a decision can free only what follows
the steps that ended in it, or what is inside the scopes that began: `to_look_at` has these alone, so that a decision
costs the same in a saga of five steps and of a thousand. Where something was held back it is not complete, and the
first decision without the hold looks at all of them, in the same order (`nothing_was_held`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final, assert_never

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId, item_of
from orchestrator.limits import FORWARD_PARALLEL_MAX
from orchestrator.saga.commands import Moment
from orchestrator.saga.draft import Draft
from orchestrator.saga.events import GOOD_REASONS, ElseBegan, Event, StepBegan, StepSettled, StepSkipped
from orchestrator.saga.plan import Scope, Step, Trigger, TriggerRule
from orchestrator.saga.state import SagaState, SagaStatus, StepState, StepStatus, is_stopped

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_APPLIED: Final = StepStatus.APPLIED
_SKIPPED: Final = StepStatus.SKIPPED
_PENDING: Final = StepStatus.PENDING
_WAITING: Final = StepStatus.WAITING
_RUNNING: Final = SagaStatus.RUNNING
_NEEDS_ATTENTION: Final = SagaStatus.NEEDS_ATTENTION
_ALL_SUCCESS: Final = TriggerRule.ALL_SUCCESS
_FAILED = frozenset({StepStatus.NOT_APPLIED, StepStatus.UNSETTLED})
# As a tuple, which a union would be made into at every call.
_ENDED = (StepSettled, StepSkipped)


class Readiness(Enum):
    """What a step's predecessors allow."""

    WAIT = auto()
    START = auto()
    SKIP = auto()


_WAIT: Final = Readiness.WAIT
_START: Final = Readiness.START
_SKIP: Final = Readiness.SKIP


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
        return _START
    return _SKIP if lost else _WAIT


def readiness_of(state: SagaState, step: Step) -> Readiness:
    """Return what a step's trigger rule says now."""
    if step.trigger.rule is _ALL_SUCCESS:
        return _readiness_of_all(state, step)  # without a tally, because nearly every step begins so
    ended = [state.steps[need] for need in step.needs]
    failed, skipped = sum(map(has_failed, ended)), sum(map(_is_skipped, ended))
    applied = sum(map(_went_well, ended))
    return readiness(step.trigger, Tally(len(ended), applied, failed, skipped))


def _readiness_of_all(state: SagaState, step: Step) -> Readiness:
    """Return the same of a step that wants all to go well: what the first row of the table says of any tally."""
    ready = _START
    for need in step.needs:
        before = state.steps[need]
        if before.status is _APPLIED and before.settle_reason in GOOD_REASONS:
            continue
        if before.status is _SKIPPED or has_failed(before):
            return _SKIP
        ready = _WAIT
    return ready


def _went_well(step: StepState) -> bool:
    return step.status is _APPLIED and step.settle_reason in GOOD_REASONS


def _is_skipped(step: StepState) -> bool:
    return step.status is _SKIPPED


def has_failed(step: StepState) -> bool:
    """Return whether a step settled, and not well."""
    if step.status is _APPLIED:
        return step.settle_reason not in GOOD_REASONS
    return step.status in _FAILED


def can_begin(state: SagaState) -> bool:
    """Return whether some step is free to begin."""
    pending = (step for step in _not_begun(state) if state.steps[step.id].status is _PENDING)
    return any(is_open(state, step) and readiness_of(state, step) is not _WAIT for step in pending)


def is_open(state: SagaState, step: Step) -> bool:
    """Return whether the part of the saga that a step belongs to is under way."""
    if step.scope is not None:
        scope, body = state.steps[step.scope], state.plan.steps[step.scope].body
        assert isinstance(body, Scope)  # only a scope has members
        if scope.status is not _WAITING or (step.id in body.otherwise) is not scope.in_else:
            return False
    return not state.rollbacks or not is_stopped(state, step.id)


def has_room(state: SagaState) -> bool:
    """Return whether one more forward call may be opened."""
    return state.calls_open < FORWARD_PARALLEL_MAX


def nothing_was_held(state: SagaState, moment: Moment) -> bool:
    """Return whether nothing is being held back: by a person, a process that drains, or a part that is being undone.

    It tells of a hold that lasts until now, not of one that is over. A hold that is in the state is seen by the very
    decision that ends it. One that is not, a drain, must end with a command that is not ordinary to `decide`: whoever
    takes up what a process that drained may have left is told `Recovered` first, under whatever epoch.
    """
    return (
        (state.status is _RUNNING or (state.status is _NEEDS_ATTENTION and not asks_forward(state)))
        and not (state.is_paused or state.rollbacks or moment.is_draining)
        and state.cancel_reason is None
    )


def asks_forward(state: SagaState) -> bool:
    """Return whether a person has to say how a step goes on: until then nothing new begins.

    Asked only of a saga that needs attention, in which alone a step is stuck.
    """
    for path in state.stuck:
        if path in state.steps:
            if state.steps[path].outcome is None:
                return True
        elif state.steps[item_of(path)[0]].status is _WAITING:
            return True
    return False


def to_look_at(draft: Draft) -> Iterable[Step]:
    """Return the steps that may be free to begin, in plan order."""
    if draft.nothing_was_held and has_room(draft.before):
        return _freed(draft)
    return _not_begun(draft.state)


def _not_begun(state: SagaState) -> Sequence[Step]:
    """Return the steps of the plan without those at its beginning that are known to have begun."""
    return state.plan.order[state.first_pending :] if state.first_pending else state.plan.order


def ended_in(draft: Draft, scope: StepId) -> list[StepId]:
    """Return the direct members of a scope that came to an end in this decision."""
    steps = draft.state.plan.steps
    ended = (event.step for event in draft.events if isinstance(event, _ENDED))
    return [step for step in ended if step in steps and steps[step].scope == scope]


def _freed(draft: Draft) -> Iterator[Step]:
    """Yield, in plan order, what the events so far may have freed, and those that are decided meanwhile."""
    order, events = draft.state.plan.order, draft.events
    places: list[int] = []
    seen, last = 0, -1
    while True:
        for event in events[seen:]:
            freed_by = _FREED_BY.get(type(event))
            if freed_by is not None and (found := freed_by(draft.state, event, last)):
                places = sorted({*places, *found}, reverse=True) if places else found[::-1]
        seen = len(events)
        if not places:
            return
        last = places.pop()
        yield order[last]


def _behind(state: SagaState, event: StepSettled | StepSkipped, after: int) -> list[int]:
    """Return the places behind another one of the steps that the end of one may free."""
    plan = state.plan
    places = plan.follower_places.get(event.step)
    if places is None:
        return []
    if not _went_well(state.steps[event.step]):
        return [place for place in places if place > after]
    # Who wants all to go well has lost nothing by this one, so that it need not be looked at before the last of them.
    return [place for place in places if place > after and not _waits_for_more(state, plan.order[place])]


def _within(state: SagaState, event: StepBegan | ElseBegan, after: int) -> list[int]:
    """Return the places behind another one of the members that the beginning of a scope may free."""
    return [place for place in state.plan.member_places.get(event.step, ()) if place > after]


_FREED_BY: Mapping[type[Event], Callable[[SagaState, Any, int], list[int]]] = {
    StepSettled: _behind,
    StepSkipped: _behind,
    StepBegan: _within,
    ElseBegan: _within,
}
"""The places that an event frees, by its class: why no `match` or `isinstance`, `evolve.FOLDS` says."""


def _waits_for_more(state: SagaState, step: Step) -> bool:
    if step.trigger.rule is not _ALL_SUCCESS:
        return False
    for need in step.needs:
        before = state.steps[need]
        if before.status is not _APPLIED or before.settle_reason not in GOOD_REASONS:
            return True
    return False
