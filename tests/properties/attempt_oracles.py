"""What is right of attempts: how many, under which key, until when, after which pause, and what is over before an undo.

Oracles like those of `machine_oracles.py`, and as simple.
"""

from collections.abc import Sequence

from orchestrator.ids import StepId, idempotency_key, item_of
from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    Event,
    OperatorActed,
    Phase,
    RetryScheduled,
    SagaStarted,
    StepReopened,
    StepSettled,
    StepsReset,
)
from orchestrator.saga.outcome import NEVER_FROM_THE_LIBRARY
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Call,
    OnFailure,
    Operation,
    Outcome,
    OutcomeProfile,
    Plan,
    Step,
    StepKind,
)
from tests.properties.machine_story import At, Story, lives

ROUNDING_S = 1e-6


def insists(plan: Plan, step: Step) -> bool:
    """Whether a step may be asked beyond its own budget."""
    return step.kind is StepKind.RETRIABLE or step.on_failure is OnFailure.RETRY or plan.pivot is not None


def budget(plan: Plan, events: Sequence[Event]) -> None:
    """Attempts, keys, deadlines and pauses stay within what the plan allows."""
    start = events[0]
    assert isinstance(start, SagaStarted)
    keys: dict[tuple[StepId, Operation, int], str] = {}
    epochs: dict[At, int] = {}
    fresh: set[At] = set()
    spent: dict[At, int] = {}
    tried: dict[At, int] = {}
    last: dict[At, AttemptSettled] = {}
    lost: dict[StepId, float] = {}
    for _, event, story in lives(events):
        if isinstance(event, AttemptOpened):
            at = (event.step, event.operation)
            call = call_of(plan, at)
            tried[at] = tried.get(at, 0) + 1
            assert event.attempt == tried[at]
            known = keys.setdefault((*at, event.manual_epoch), event.key)
            assert known == event.key == idempotency_key(start.uid, *at, event.manual_epoch), "a key of another making"
            assert event.manual_epoch >= epochs.get(at, 0)
            assert event.manual_epoch == epochs.get(at, event.manual_epoch) or at in fresh, "a new key nobody asked for"
            epochs[at] = event.manual_epoch
            if event.operation in {Operation.FORWARD, Operation.COMPENSATE}:
                assert (event.request is not None) == (event.attempt == 1 and at not in fresh) or at in fresh
            fresh.discard(at)
            assert event.at < event.deadline_at <= event.at + call.timeout_s
            if event.operation is Operation.FORWARD:
                _deadline(plan, story, event, start.forward_deadline_at)
            if call.retry.max_attempts and (
                event.operation is not Operation.FORWARD or not insists(plan, plan.step_of(at[0]))
            ):
                limited = event.operation not in {Operation.AWAIT, Operation.PROBE}
                assert not limited or spent.get(at, 0) < call.retry.max_attempts, f"{at} was tried too often"
        elif isinstance(event, AttemptSettled):
            at = (event.step, event.operation)
            last[at] = event
            if event.operation is Operation.FORWARD and event.outcome is Outcome.UNKNOWN:
                lost[event.step] = max(lost.get(event.step, 0.0), story.open[at].deadline_at)
            spent[at] = spent.get(at, 0) + (0 if _is_free(event) else 1)
        elif isinstance(event, RetryScheduled):
            at = (event.step, event.operation)
            over_at = lost.get(event.step, 0.0) + CLOCK_SKEW_S
            if not (
                is_no(plan, last.get((event.step, Operation.FORWARD))) and abs(event.due_at - over_at) < ROUNDING_S
            ):
                _pause(plan, event, last, spent.get(at, 0))
            if event.reason == "POLL":
                spent[at] = 0
        elif isinstance(event, StepReopened):
            at = (event.step, event.operation)
            spent[at] = 0
            fresh.add(at)
        elif isinstance(event, StepsReset):
            for known_of in (tried, spent):
                for at in [at for at in known_of if item_of(at[0])[0] in event.steps]:
                    del known_of[at]
            fresh |= {at for at in epochs if item_of(at[0])[0] in event.steps}
    assert len(set(keys.values())) == len(keys), "two operations share a key"


def is_no(plan: Plan, event: AttemptSettled | None) -> bool:
    """Whether a forward call was answered with a judgement that means no."""
    if event is None or event.report.phase is not Phase.REPLIED:
        return False
    if event.report.code == "OK":
        return event.report.reply is not None and event.report.reply.data in {b"no", b"not"}
    again = "FAILED_PRECONDITION" if plan.step_of(event.step).call.profile is OutcomeProfile.DTM else "ABORTED"
    return event.report.code in NEVER_FROM_THE_LIBRARY - {again}


def _deadline(plan: Plan, story: Story, event: AttemptOpened, forward_deadline_at: float) -> None:
    pivot = plan.pivot
    called = pivot is not None and pivot in story.began and event.step != pivot
    if called or (pivot is not None and story.outcomes.get(pivot) is Outcome.APPLIED):
        return
    assert event.deadline_at <= forward_deadline_at


def call_of(plan: Plan, at: At) -> Call:
    step = plan.step_of(at[0])
    match at[1]:
        case Operation.FORWARD:
            return step.call
        case Operation.COMPENSATE:
            assert step.compensation is not None
            return step.compensation.call
        case Operation.PROBE:
            assert step.probe is not None
            return step.probe.call
        case Operation.AWAIT:
            assert step.awaits is not None
            return step.awaits.call
        case Operation.STOP:
            assert step.awaits is not None
            assert step.awaits.stop is not None
            return step.awaits.stop


def _is_free(event: AttemptSettled) -> bool:
    said = event.report
    return (
        said.parked
        or said.phase is Phase.LOST
        or said.code in {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
    )


def _pause(plan: Plan, event: RetryScheduled, last: dict[At, AttemptSettled], spent: int) -> None:
    at, step = (event.step, event.operation), plan.step_of(event.step)
    policy, pause_s = call_of(plan, at).retry, event.due_at - event.at
    assert pause_s >= 0
    if event.reason == "POLL" or event.reason.startswith("FOUND"):
        return
    said = last[at].report
    if said.phase is Phase.LOST:
        assert pause_s == 0 or insists(plan, step)
    elif event.operation is Operation.FORWARD and insists(plan, step):
        longest_s = max(policy.max_backoff_s, policy.initial_backoff_s, said.retry_after_s or 0.0)
        assert pause_s <= longest_s + 1e-6
    elif said.retry_after_s is not None and said.retry_after_s >= 0:
        longest_s = said.retry_after_s if policy.max_attempts else max(said.retry_after_s, policy.max_backoff_s)
        assert said.retry_after_s - 1e-6 <= pause_s <= longest_s + 1e-6
    elif event.parked:
        assert abs(pause_s - policy.max_backoff_s) < 1e-6
    else:
        exact = policy.initial_backoff_s * policy.multiplier ** max(spent - 1, 0)
        assert -1e-6 <= pause_s <= min(policy.max_backoff_s, exact) + 1e-6


def believed(plan: Plan, events: Sequence[Event]) -> None:
    """R8a: a "no" settles a step only if none of its lost calls could still arrive when it was asked for."""
    late: dict[StepId, float] = {}
    opened: dict[At, float] = {}
    last: dict[StepId, Operation] = {}
    for _, event, story in lives(events):
        if isinstance(event, AttemptOpened):
            opened[event.step, event.operation] = event.at
        elif isinstance(event, AttemptSettled):
            last[event.step] = event.operation
            answered = event.report.phase is Phase.REPLIED and event.report.code in NEVER_FROM_THE_LIBRARY
            if event.operation is Operation.FORWARD and event.outcome is Outcome.UNKNOWN and not answered:
                deadline_at = story.open[event.step, event.operation].deadline_at
                late[event.step] = max(late.get(event.step, 0.0), deadline_at)
        elif isinstance(event, StepReopened) and event.as_new and event.operation is Operation.FORWARD:
            late.pop(event.step, None)
        elif isinstance(event, StepsReset):
            late = {path: at for path, at in late.items() if item_of(path)[0] not in event.steps}
        elif isinstance(event, RetryScheduled) and event.reason == "FOUND_NOT_APPLIED":
            late.pop(event.step, None)
        elif isinstance(event, StepSettled) and event.outcome is Outcome.NOT_APPLIED and event.step in late:
            step, said_by = plan.step_of(event.step), last[event.step]
            if event.reason not in {"REPLIED", "REFUSED", "PROBED"} or step.kind is StepKind.READ:
                continue
            if said_by is not Operation.PROBE:
                assert step.call.idempotent, f"{event.step} was believed, and its lost call is another one"
            if said_by is not Operation.AWAIT and step.call.target != CHILD_TARGET:
                asked_at = opened[event.step, said_by]
                assert asked_at >= late[event.step] + CLOCK_SKEW_S, f"{event.step} was believed too soon"


def safety(plan: Plan, events: Sequence[Event], skew_s: float) -> None:
    """Asking twice only where that is safe (R8a); undoing, or believing a "no", only once a call is over (R12)."""
    unknown: dict[StepId, float] = {}
    by_hand: set[StepId] = set()
    asked_to: set[StepId] = set()
    """Of which nothing is unknown but what a service said, in DTM's way: that it is still at it, to be asked again."""
    for _, event, story in lives(events):
        if isinstance(event, StepReopened) and event.operation is Operation.FORWARD:
            by_hand.add(event.step)
            if event.as_new:
                unknown.pop(event.step, None)
        elif isinstance(event, OperatorActed) and event.verb == "RESOLVE" and event.outcome is Outcome.NOT_APPLIED:
            unknown.pop(event.step or StepId(""), None)
        elif isinstance(event, StepsReset):
            unknown = {path: at for path, at in unknown.items() if item_of(path)[0] not in event.steps}
            by_hand = {path for path in by_hand if item_of(path)[0] not in event.steps}
        elif isinstance(event, RetryScheduled) and event.reason == "FOUND_NOT_APPLIED":
            _is_over(plan, event.step, event.at, unknown, skew_s)
            unknown.pop(event.step, None)
        elif isinstance(event, StepSettled) and event.reason == "PROBED" and event.outcome is Outcome.NOT_APPLIED:
            _is_over(plan, event.step, event.at, unknown, skew_s)
        elif isinstance(event, AttemptSettled) and event.operation is Operation.FORWARD:
            if event.outcome is Outcome.UNKNOWN:
                is_dtm = plan.step_of(event.step).call.profile is OutcomeProfile.DTM
                if not (is_dtm and event.report.code == "FAILED_PRECONDITION"):
                    asked_to.discard(event.step)
                elif event.step not in unknown:
                    asked_to.add(event.step)
                deadline_at = story.open[event.step, event.operation].deadline_at
                unknown[event.step] = max(unknown.get(event.step, 0.0), deadline_at)
        elif isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD:
            step = plan.step_of(event.step)
            if event.step in unknown:
                safe = step.call.idempotent or step.kind is StepKind.READ or step.call.retry.explicit or step.poll
                assert safe or event.step in asked_to or event.step in by_hand, (
                    f"{event.step} is asked again, and may do it twice"
                )
        elif isinstance(event, AttemptOpened) and event.operation is Operation.COMPENSATE:
            if event.step not in story.asked:
                _nothing_runs(story, event.step)
            if event.step in unknown and not plan.step_of(event.step).call.barrier:
                assert event.at >= unknown[event.step] + skew_s, f"{event.step} is undone before its call is over"


def _is_over(plan: Plan, step: StepId, at: float, unknown: dict[StepId, float], skew_s: float) -> None:
    """A "no" is worth nothing while the call may be on its way; a long-running operation's is about the operation."""
    if plan.step_of(step).awaits is None:
        assert at >= unknown.get(step, 0.0) + skew_s - 1e-6, f"{step} was believed not to be applied too soon"


def _nothing_runs(story: Story, step: StepId) -> None:
    """No forward call is open in the part that is undone."""
    inside = None
    if story.backward is None:
        inside = {s for each in story.rollbacks.values() if item_of(step)[0] in each.steps for s in each.steps}
    running = [
        path
        for path, of in story.open
        if of not in {Operation.COMPENSATE, Operation.STOP} and (inside is None or item_of(path)[0] in inside)
    ]
    assert not running, f"{step} is being undone while {running} run"
