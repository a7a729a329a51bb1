"""What is right, said again and stupidly: each oracle reads the finished record of a saga from the beginning.

They share no code with the machine but the names of events, and take no short cut that the machine takes. A step that
is begun anew (`StepsReset`) has a new life, and every oracle looks at one life at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.ids import StepId, item_of
from orchestrator.saga.events import (
    AttemptOpened,
    CompensationBegan,
    ElseBegan,
    Event,
    SagaCompensated,
    SagaCompleted,
    SagaTerminated,
    SignalReceived,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepUndone,
)
from orchestrator.saga.plan import (
    Operation,
    Outcome,
    Plan,
    Scope,
    Step,
    StepKind,
    TriggerRule,
    UndoOrder,
    Wait,
)
from tests.properties.machine_story import Ends, Story, is_begun, lives, step_of, whole_story

# --- forward ---------------------------------------------------------------------------------------------------------


def trigger_says(step: Step, ends: Ends) -> str:
    """`start`, `skip` or `wait`, by looking at every way in which the rest could still end."""
    needs = sorted(step.needs)
    if not needs:
        return "start"
    known = [ends[need] for need in needs if need in ends]
    if _met(step, known, len(needs), early=True):
        return "start"
    futures = [known]
    for _ in range(len(needs) - len(known)):
        futures = [[*future, end] for future in futures for end in ("good", "bad", "skipped")]
    return "wait" if any(_met(step, future, len(needs), early=False) for future in futures) else "skip"


def _met(step: Step, ends: list[str], count: int, *, early: bool) -> bool:
    match step.trigger.rule:
        case TriggerRule.ALL_SUCCESS:
            return ends == ["good"] * count
        case TriggerRule.ALL_DONE:
            return len(ends) == count
        case TriggerRule.ONE_SUCCESS:
            return "good" in ends
        case TriggerRule.ONE_DONE:
            return len(ends) > 0
        case TriggerRule.ALL_FAILED:
            return ends == ["bad"] * count
        case TriggerRule.NONE_FAILED:
            return len(ends) == count and "bad" not in ends
        case TriggerRule.AT_LEAST:
            return ends.count("good") >= step.trigger.count


def broken(plan: Plan, story: Story, step: StepId) -> list[StepId]:
    """The required steps beside a step, or beside a scope around it, that have failed."""
    found: list[StepId] = []
    around: StepId | None = step
    while around is not None:
        scope = plan.steps[around].scope
        beside = {each.id for each in plan.steps.values() if each.scope == scope}
        if scope is not None:
            beside &= set(_branch(plan, story, scope))
        bad = [each for each in beside if story.ends.get(each) == "bad" and not plan.steps[each].optional]
        found += [each for each in bad if not story.is_rolled_back(each)]
        around = scope
    return found


def _branch(plan: Plan, story: Story, scope: StepId) -> tuple[StepId, ...]:
    body = plan.steps[scope].body
    assert isinstance(body, Scope)
    return body.otherwise if scope in story.in_else else body.steps


def frontier(plan: Plan, events: Sequence[Event]) -> None:
    """Which steps may start, and that nothing starts after the first error, after going backward, or while held."""
    for _, event, story in lives(events):
        if isinstance(event, AttemptOpened) and event.operation in {Operation.FORWARD, Operation.COMPENSATE}:
            assert not story.paused, f"{event.operation} of {event.step} is opened in a saga that is paused"
        if isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD:
            assert story.backward is None, f"{event.step} is called after the saga went backward"
            assert not story.is_rolled_back(event.step), f"{event.step} is called in a part that is undone"
        if is_begun(event):
            path = step_of(event)
            _may_begin(plan, story, path)
        if isinstance(event, StepSkipped) and event.reason != "OPERATOR":
            assert story.backward is None
            assert (event.reason == "GUARD_FALSE") == (trigger_says(plan.steps[event.step], story.ends) == "start")
        if isinstance(event, SagaCompleted) and not story.forced:
            top = {step.id for step in plan.steps.values() if step.scope is None}
            assert top <= set(story.ends), "completed before every step had ended"
            bad = [step for step in top if story.ends[step] == "bad" and not plan.steps[step].optional]
            assert not bad, f"completed although {bad} failed"
            assert not story.rollbacks
            assert not [at for at in story.open if at[1] is not Operation.STOP], "completed with calls open"


def _may_begin(plan: Plan, story: Story, path: StepId) -> None:
    step_id, index = item_of(path)
    step = plan.steps[step_id]
    forward_stuck = [at for at, of in story.stuck.items() if of is not Operation.COMPENSATE and at != path]
    assert not forward_stuck or path in story.reopened, f"{path} begins while a person is asked about {forward_stuck}"
    assert not broken(plan, story, step_id), f"{path} starts after {broken(plan, story, step_id)} failed"
    if step.scope is not None:
        assert step.scope in story.began, f"{path} begins before its scope"
        assert step.scope not in story.ends, f"{path} begins after its scope has ended"
        assert step_id in _branch(plan, story, step.scope), f"{path} is of the other branch"
    if index is None:
        assert trigger_says(step, story.ends) == "start", f"{path} starts with {story.ends}"
        return
    assert step.for_each is not None
    begun = {each for each in story.began if item_of(each)[0] == step_id and each != step_id} | {
        each for each in story.ends if item_of(each)[0] == step_id and each != step_id
    }
    under_way = [each for each in begun - {path} if each not in story.ends]
    assert len(under_way) < step.for_each.parallel, f"{path} begins beside {under_way}"
    before = {item_of(each)[1] for each in begun - {path}} | {item_of(each)[1] for each in story.stuck}
    assert set(range(index)) <= before, f"{path} begins before {before}"
    assert step_id not in story.ends, f"{path} begins after its step has ended"


def frontier_is_complete(plan: Plan, events: Sequence[Event]) -> None:
    """Nothing waits that could start: asked of a saga that goes forward and is neither draining nor held."""
    story = whole_story(events)
    if story.paused or any(of is not Operation.COMPENSATE for of in story.stuck.values()):
        return
    begun = set(story.began) | set(story.ends) | set(story.stuck) | story.reopened
    for step in plan.steps.values():
        scope = step.scope
        if step.id in begun or story.is_rolled_back(step.id) or broken(plan, story, step.id):
            continue
        if scope is not None and (
            scope not in begun or scope in story.ends or step.id not in _branch(plan, story, scope)
        ):
            continue
        assert trigger_says(step, story.ends) == "wait", f"{step.id} could have started"


def pivot_rule(plan: Plan, events: Sequence[Event]) -> None:
    """M6: nobody goes back while the pivot is undecided or after it was applied, and nothing guesses what it did."""
    if plan.pivot is None:
        return
    after = _all_after(plan, plan.pivot)
    for _, event, story in lives(events):
        is_applied = story.outcomes.get(plan.pivot) is Outcome.APPLIED
        called = any(at == (plan.pivot, Operation.FORWARD) for at in story.open) or plan.pivot in story.began
        undecided = called and plan.pivot not in story.ends
        if isinstance(event, CompensationBegan):
            assert not is_applied, "the saga goes backward past its pivot"
            assert not undecided, "the saga goes backward while nobody knows whether its pivot was applied"
        if isinstance(event, StepSettled) and event.step == plan.pivot:
            assert event.outcome is not Outcome.UNKNOWN, "a pivot was given up"
        if is_begun(event):
            path = step_of(event)
            step = plan.step_of(path)
            if step.id in after and step.trigger.rule is TriggerRule.ALL_SUCCESS:
                assert is_applied, f"{path} begins before the pivot is applied"
            if undecided or is_applied:
                undoable = step.compensation is not None and step.kind is StepKind.COMPENSATABLE
                assert not undoable, f"{path} begins beside or after the pivot, and could have to be undone"


def _all_after(plan: Plan, step: StepId) -> set[StepId]:
    return {each for each in plan.steps if step in _all_needs(plan, each)}


# --- backward --------------------------------------------------------------------------------------------------------


def undone_set(plan: Plan, events: Sequence[Event]) -> None:
    """I18: what is undone is every applied or unknown step that has an undo, and nothing else."""
    undone = 0
    for _, event, story in lives(events):
        wanted = story.wanted(plan)
        if isinstance(event, StepUndone):
            assert event.step not in story.undone, f"{event.step} was undone twice"
            assert event.step in wanted, f"{event.step} was undone, and had nothing to undo"
            undone += 1
        if isinstance(event, AttemptOpened) and event.operation is Operation.COMPENSATE:
            assert event.step in wanted, f"{event.step} is undone, and has nothing to undo"
            going = story.backward is not None or story.is_rolled_back(event.step)
            assert going, f"{event.step} is undone in a saga that goes forward"
        gone = set(story.undone) | story.left
        if isinstance(event, SagaCompensated):
            assert wanted <= gone, f"compensated, and {wanted - gone} is still there"
            assert event.undone_count == len(story.undone)
        over = isinstance(event, ElseBegan | StepsReset) and event.step in story.rollbacks
        failed = isinstance(event, StepSettled) and event.reason == "SCOPE_FAILED"
        if over or failed:
            root = step_of(event)
            inside = {path for path in wanted if item_of(path)[0] in story.rollbacks[root].steps}
            assert inside <= gone, f"{root} is undone, and {inside - gone} is still there"


def undo_order(plan: Plan, events: Sequence[Event]) -> None:
    """I20: the reverse of completion along edges, in time and as the author wrote; items the last first."""
    for _, event, story in lives(events):
        if not isinstance(event, AttemptOpened) or event.operation is not Operation.COMPENSATE:
            continue
        if event.step in story.asked:
            continue
        step_id, index = item_of(event.step)
        inside = set(plan.steps)
        if story.backward is None:
            inside = {s for each in story.rollbacks.values() if step_id in each.steps for s in each.steps}
        gone = set(story.undone) | story.left
        there = {path for path in story.wanted(plan) - gone if item_of(path)[0] in inside}
        must = _Order(plan, story)
        undoable = sorted({item_of(path)[0] for path in story.wanted(plan) if item_of(path)[0] in inside})
        pairs = {(a, b) for a in undoable for b in undoable if a != b and must.precede(a, b)}
        if not _has_circle(undoable, pairs):
            late = [path for path in there if (item_of(path)[0], step_id) in pairs]
            assert not late, f"{event.step} is undone before {late}"
        if index is not None and event.step not in story.reopened:
            _window(plan.steps[step_id], event.step, story, there)


def _window(step: Step, path: StepId, story: Story, there: set[StepId]) -> None:
    assert step.for_each is not None
    index = item_of(path)[1]
    assert index is not None
    mine = {each for each in there if item_of(each)[0] == step.id and each not in story.stuck}
    open_ones = {each for each in mine if (each, Operation.COMPENSATE) in story.open}
    assert len(open_ones) < step.for_each.parallel, f"{path} is undone beside {open_ones}"
    above = [each for each in mine if (item_of(each)[1] or 0) > index and each not in story.asked]
    assert len(above) < step.for_each.parallel, f"{path} is undone before {above}"


@dataclass
class _Order:
    plan: Plan
    story: Story

    def _settled(self, step: StepId) -> int:
        """When a step came to its end; one with items when the last of them did."""
        return max(at for path, at in self.story.settled.items() if item_of(path)[0] == step)

    def precede(self, a: StepId, b: StepId) -> bool:
        """Whether the undo of `a` comes before that of `b`."""
        own_a, own_b = self.plan.steps[a].compensation, self.plan.steps[b].compensation
        assert own_a is not None
        assert own_b is not None
        if a in own_b.after:
            return True
        if b in own_a.after:
            return False
        if own_a.first != own_b.first:
            return own_a.first
        if self._settled(a) < self._settled(b):
            return False
        if self.plan.undo_order is UndoOrder.SEQUENTIAL or self.story.began[a] > self._settled(b):
            return True
        return b in _all_needs(self.plan, a)


def _all_needs(plan: Plan, step: StepId) -> set[StepId]:
    found: set[StepId] = set()
    for need in plan.steps[step].needs:
        found |= {need} | _all_needs(plan, need)
    return found


def _has_circle(steps: Sequence[StepId], must: set[tuple[StepId, StepId]]) -> bool:
    left = set(steps)
    while free := {step for step in left if not any((other, step) in must for other in left)}:
        left -= free
    return bool(left)


def stopped_operations(plan: Plan, events: Sequence[Event]) -> None:
    """R22: a long-running operation that is not wanted any more is asked to stop, and awaited to its end."""
    seen: set[StepId] = set()
    for _, event, story in lives(events):
        if isinstance(event, AttemptOpened) and event.operation is Operation.STOP:
            stopped = story.backward is not None or story.is_rolled_back(event.step) or event.step == plan.pivot
            items = item_of(event.step)[1] is not None and item_of(event.step)[0] in story.ends
            assert stopped or items, f"{event.step} is stopped, and is wanted"
            seen.add(event.step)
        if isinstance(event, SagaCompensated | SagaCompleted) and not story.forced:
            awaited = [at for at, of in story.open if of is Operation.AWAIT]
            assert not awaited, f"{awaited} are not awaited to their end"


# --- the rest --------------------------------------------------------------------------------------------------------


def signals(plan: Plan, events: Sequence[Event]) -> None:
    """M14: every signal is recorded once, and those of one name are taken in the order they came, each by one step."""
    waiting: dict[str, list[bytes]] = {}
    seen: set[str] = set()
    for event in events:
        if isinstance(event, SignalReceived):
            assert event.request_id not in seen, "a signal was recorded twice"
            seen.add(event.request_id)
            waiting.setdefault(event.signal, []).append(event.payload.data)
        elif isinstance(event, StepSettled) and event.reason == "DONE":
            body = plan.step_of(event.step).body
            if isinstance(body, Wait):
                assert event.reply is not None
                assert event.reply.data == waiting[body.signal].pop(0), "a signal was taken out of turn"


def termination(events: Sequence[Event]) -> None:
    """A terminated saga says what it may have left: whatever was called and is neither undone nor known not to be."""
    for _, event, story in lives(events):
        if isinstance(event, SagaTerminated):
            sure = {path for path, outcome in story.outcomes.items() if outcome is Outcome.NOT_APPLIED}
            assert not (set(event.left) & (set(story.undone) | sure)), "what is gone is not left"
