"""What is right, said again and stupidly: each oracle reads the finished record of a saga from the beginning.

They share no code with the machine but the names of events, and take no short cut that the machine takes.
"""

from collections.abc import Sequence

from orchestrator.ids import StepId
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    Event,
    Phase,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    StepSettled,
    StepSkipped,
    StepUndone,
)
from orchestrator.saga.plan import Call, Operation, Outcome, Plan, Step, StepKind, TriggerRule, UndoOrder

Ends = dict[StepId, str]
"""Step -> `good`, `bad` or `skipped`; a step that has not ended is absent."""


def ends_after(events: Sequence[Event]) -> Ends:
    ends: Ends = {}
    for event in events:
        if isinstance(event, StepSkipped):
            ends[event.step] = "skipped"
        elif isinstance(event, StepSettled):
            ends[event.step] = "good" if (event.outcome, event.reason) == (Outcome.APPLIED, "REPLIED") else "bad"
    return ends


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


def frontier(plan: Plan, events: Sequence[Event]) -> None:
    """Which steps may start, and that nothing starts after the first error or after going backward."""
    backward = False
    for number, event in enumerate(events):
        ends = ends_after(events[:number])
        broken = [step for step, end in ends.items() if end == "bad" and not plan.steps[step].optional]
        if isinstance(event, CompensationBegan):
            backward = True
        if isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD:
            assert not backward, f"{event.step} is called after the saga went backward"
            if event.attempt == 1:
                assert not broken, f"{event.step} starts after {broken} failed"
                assert trigger_says(plan.steps[event.step], ends) == "start", f"{event.step} starts with {ends}"
        if isinstance(event, StepSkipped):
            assert not backward
            assert (event.reason == "GUARD_FALSE") == (trigger_says(plan.steps[event.step], ends) == "start")
        if isinstance(event, SagaCompleted):
            assert set(ends) == set(plan.steps), "completed before every step had ended"
            assert not broken, f"completed although {broken} failed"


def frontier_is_complete(plan: Plan, events: Sequence[Event]) -> None:
    """Nothing waits that could start: asked of a saga that goes forward, is not draining and has no failure."""
    begun = {event.step for event in events if isinstance(event, AttemptOpened | StepSkipped | StepSettled)}
    ends = ends_after(events)
    late = [step.id for step in plan.steps.values() if step.id not in begun and trigger_says(step, ends) != "wait"]
    assert not late, f"{late} could have started"


def undone_set(plan: Plan, events: Sequence[Event]) -> None:
    """I18: what is undone is every applied or unknown step that has an undo, and nothing else."""
    settled = {event.step: event.outcome for event in events if isinstance(event, StepSettled)}
    wanted = {
        step
        for step, outcome in settled.items()
        if outcome is not Outcome.NOT_APPLIED
        and plan.steps[step].compensation is not None
        and plan.steps[step].kind is not StepKind.READ
    }
    undone = [event.step for event in events if isinstance(event, StepUndone)]
    asked = {e.step for e in events if isinstance(e, AttemptOpened) and e.operation is Operation.COMPENSATE}
    assert len(undone) == len(set(undone)), "a step was undone twice"
    assert set(undone) <= wanted
    assert asked <= wanted
    if isinstance(events[-1], SagaCompensated):
        assert set(undone) == wanted
        assert events[-1].undone_count == len(wanted)


def undo_order(plan: Plan, events: Sequence[Event]) -> None:
    """I20: the reverse of completion along edges, in time and as the author wrote."""
    began: dict[StepId, int] = {}
    settled: dict[StepId, int] = {}
    asked: dict[StepId, int] = {}
    undone: dict[StepId, int] = {}
    for number, event in enumerate(events):
        if isinstance(event, AttemptOpened):
            (began if event.operation is Operation.FORWARD else asked).setdefault(event.step, number)
        elif isinstance(event, StepSettled):
            settled[event.step] = number
        elif isinstance(event, StepUndone):
            undone[event.step] = number
    undoable = [
        event.step
        for event in events
        if isinstance(event, StepSettled)
        and event.outcome is not Outcome.NOT_APPLIED
        and plan.steps[event.step].compensation is not None
    ]
    must = {(a, b) for a in undoable for b in undoable if a != b and _must_precede(plan, a, b, began, settled)}
    if _has_circle(undoable, must):
        return
    for first, second in must:
        if second in asked:
            assert first in undone, f"{second} was being undone while {first} was not"
            assert undone[first] < asked[second], f"{second} was undone before {first}"


def _must_precede(plan: Plan, a: StepId, b: StepId, began: dict[StepId, int], settled: dict[StepId, int]) -> bool:
    """Whether the undo of `a` comes before that of `b`."""
    own_a, own_b = plan.steps[a].compensation, plan.steps[b].compensation
    assert own_a is not None
    assert own_b is not None
    if a in own_b.after:
        return True
    if b in own_a.after:
        return False
    if own_a.first != own_b.first:
        return own_a.first
    if settled[a] < settled[b]:
        return False
    return plan.undo_order is UndoOrder.SEQUENTIAL or began[a] > settled[b] or b in _all_needs(plan, a)


def _all_needs(plan: Plan, step: StepId) -> set[StepId]:
    found: set[StepId] = set()
    for need in plan.steps[step].needs:
        found |= {need} | _all_needs(plan, need)
    return found


def _has_circle(steps: list[StepId], must: set[tuple[StepId, StepId]]) -> bool:
    left = set(steps)
    while free := {step for step in left if not any((other, step) in must for other in left)}:
        left -= free
    return bool(left)


def budget(plan: Plan, events: Sequence[Event]) -> None:
    """Attempts, keys, deadlines and pauses stay within what the plan allows."""
    start = events[0]
    assert isinstance(start, SagaStarted)
    keys: dict[tuple[StepId, Operation], str] = {}
    spent: dict[tuple[StepId, Operation], int] = {}
    tried: dict[tuple[StepId, Operation], int] = {}
    last: dict[tuple[StepId, Operation], AttemptSettled] = {}
    for event in events:
        if isinstance(event, AttemptOpened):
            at = (event.step, event.operation)
            call = _call(plan, at)
            tried[at] = tried.get(at, 0) + 1
            assert event.attempt == tried[at]
            assert keys.setdefault(at, event.key) == event.key, "the key changed between attempts"
            assert (event.request is not None) == (event.attempt == 1)
            assert event.at < event.deadline_at <= event.at + call.timeout_s
            if event.operation is Operation.FORWARD:
                assert event.deadline_at <= start.forward_deadline_at
            if call.retry.max_attempts:
                assert spent.get(at, 0) < call.retry.max_attempts, f"{at} was tried too often"
        elif isinstance(event, AttemptSettled):
            at = (event.step, event.operation)
            last[at] = event
            spent[at] = spent.get(at, 0) + (0 if _is_free(event) else 1)
        elif isinstance(event, RetryScheduled):
            at = (event.step, event.operation)
            _pause(plan, event, last[at], spent[at])
    assert len(set(keys.values())) == len(keys), "two operations share a key"


def _call(plan: Plan, at: tuple[StepId, Operation]) -> Call:
    step = plan.steps[at[0]]
    if at[1] is Operation.FORWARD:
        return step.call
    assert step.compensation is not None
    return step.compensation.call


def _is_free(event: AttemptSettled) -> bool:
    said = event.report
    return (
        said.parked
        or said.phase is Phase.LOST
        or said.code in {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
    )


def _pause(plan: Plan, event: RetryScheduled, last: AttemptSettled, spent: int) -> None:
    policy, said = _call(plan, (event.step, event.operation)).retry, last.report
    pause_s = event.due_at - event.at
    if said.phase is Phase.LOST:
        assert pause_s == 0
    elif said.retry_after_s is not None and said.retry_after_s >= 0:
        longest_s = said.retry_after_s if policy.max_attempts else max(said.retry_after_s, policy.max_backoff_s)
        assert said.retry_after_s - 1e-6 <= pause_s <= longest_s + 1e-6
    elif event.parked:
        assert abs(pause_s - policy.max_backoff_s) < 1e-6
    else:
        exact = policy.initial_backoff_s * policy.multiplier ** (spent - 1)
        assert -1e-6 <= pause_s <= min(policy.max_backoff_s, exact) + 1e-6


def safety(plan: Plan, events: Sequence[Event], skew_s: float) -> None:
    """Asking twice only where that is safe (R8a); undoing only once every forward call is over (R12)."""
    opened: dict[StepId, AttemptOpened] = {}
    unknown: dict[StepId, float] = {}
    running: set[StepId] = set()
    for event in events:
        if isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD:
            step = plan.steps[event.step]
            if event.step in unknown:
                assert step.call.idempotent or step.kind is StepKind.READ or step.call.retry.explicit
            opened[event.step] = event
            running.add(event.step)
        elif isinstance(event, AttemptSettled) and event.operation is Operation.FORWARD:
            running.discard(event.step)
            if event.outcome is Outcome.UNKNOWN:
                unknown[event.step] = max(unknown.get(event.step, 0.0), opened[event.step].deadline_at)
        elif isinstance(event, AttemptOpened):
            assert not running, f"{event.step} is being undone while {running} run"
            if event.step in unknown and not plan.steps[event.step].call.barrier:
                assert event.at >= unknown[event.step] + skew_s, f"{event.step} is undone before its call is over"
