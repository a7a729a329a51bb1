"""Why a saga is not further than it is, in sentences, and what a person could do about it.

Everything here is read from the state and from what the machine itself says: when it moves next is `owed`'s earliest
timer, and a verb is offered only where `decide` would take it. So an explanation cannot promise what is then refused.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice

from orchestrator.frozen import frozen
from orchestrator.ids import StepId
from orchestrator.limits import ALERT_ATTEMPTS, EXPLAINED_MAX, VERBS_TRIED_MAX
from orchestrator.saga.backward import draining
from orchestrator.saga.commands import (
    Audit,
    CancelSaga,
    Command,
    ForceComplete,
    Moment,
    OverrideStepRequest,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SkipStep,
    TerminateSaga,
)
from orchestrator.saga.decide import decide, in_order
from orchestrator.saga.events import AttentionReason
from orchestrator.saga.owed import owed, wake_at
from orchestrator.saga.plan import CHILD_TARGET, Operation, Outcome, Sleep, StepKind, Wait
from orchestrator.saga.repair import may_have_an_effect, stuck_operation
from orchestrator.saga.sentences import instant, listed, ordinal
from orchestrator.saga.state import OperationState, SagaState, SagaStatus, StepState, StepStatus, operation_of
from orchestrator.values import Payload

WORDS = {
    Operation.FORWARD: "the call",
    Operation.AWAIT: "the look at the operation",
    Operation.PROBE: "the probe",
    Operation.STOP: "the request to stop",
    Operation.COMPENSATE: "the undo",
}
"""What a sentence calls an operation."""


class WaitKind(StrEnum):
    """What a saga may wait for."""

    SLEEP = "SLEEP"
    SIGNAL = "SIGNAL"
    RETRY = "RETRY"
    POLL = "POLL"
    """The answer was "not yet"."""
    TARGET = "TARGET"
    """The called target is paused (R7)."""
    DRAIN = "DRAIN"
    """A call that may still be running has to be over before it is undone (R12)."""
    PERSON = "PERSON"
    RESUME = "RESUME"
    CALL = "CALL"
    CHILD = "CHILD"
    PIVOT = "PIVOT"
    """A cancel waits until it is known whether the pivot was applied (R16)."""


@frozen
class Waiting:
    """One thing that a saga waits for."""

    kind: WaitKind
    step: StepId | None
    message: str
    until_at: float | None = None
    """When it is over at the latest, or is looked at again."""
    since_at: float | None = None
    signal: str = ""
    operation: Operation | None = None


@frozen
class Attention:
    """One thing that a person must look at."""

    reason: AttentionReason
    step: StepId | None
    operation: Operation | None
    """What is stuck; None where nothing is, because trying goes on."""
    message: str


@frozen
class Possible:
    """A verb that the saga would take now."""

    verb: str
    """`Verb`, or `CANCEL`."""
    step: StepId | None
    message: str
    outcome: Outcome | None = None
    """What may be said to be true, for `RESOLVE`."""


@frozen
class Explanation:
    """Why a saga is not further than it is."""

    summary: str
    waits: tuple[Waiting, ...]
    """At most `EXPLAINED_MAX`."""
    wake_at: float | None
    """When it moves by itself at the latest; None where only a call's end, a signal or a person moves it."""
    remarks: tuple[str, ...]
    possible: tuple[Possible, ...]


def explain(state: SagaState, now_at: float) -> Explanation:
    """Return why the saga is not further than it is, and what a person could do."""
    waits = waits_of(state)
    return Explanation(
        summary=_summary(state, waits),
        waits=waits,
        wake_at=None if state.is_terminal else wake_at(owed(state)),
        remarks=tuple(_remarks(state)),
        possible=tuple(possible(state, now_at)),
    )


def waits_of(state: SagaState) -> tuple[Waiting, ...]:
    """Return what the saga waits for, people first, then in the order of the plan; at most `EXPLAINED_MAX`."""
    if state.is_terminal or state.version == 0:
        return ()
    return tuple(islice(chain(_people(state), _steps(state), _drains(state)), EXPLAINED_MAX))


def _people(state: SagaState) -> Iterator[Waiting]:
    if state.is_paused:
        yield Waiting(
            kind=WaitKind.RESUME, step=None, message="the saga is paused: nothing new begins until it is resumed"
        )
    for entry in attention_of(state):
        if entry.operation is not None:
            message = f"{_named(entry.operation, entry.step)} is stuck: {entry.reason.value}: {entry.message}"
            yield Waiting(kind=WaitKind.PERSON, step=entry.step, message=message, operation=entry.operation)
    pivot = state.plan.pivot
    if pivot is not None and state.cancel_reason is not None and state.is_at_pivot:
        message = f"a cancel waits until it is known whether the pivot {pivot} was applied"
        yield Waiting(kind=WaitKind.PIVOT, step=pivot, message=message)


def _steps(state: SagaState) -> Iterator[Waiting]:
    for path in in_order(state):
        step = state.step(path)
        body = state.plan.step_of(path).body
        for operation in Operation:
            of = operation_of(step, operation)
            if of is not None and (of.open is not None or of.retry_at is not None):
                yield _operation(state, step, operation, of)
        if isinstance(body, Sleep) and step.due_at is not None:
            yield Waiting(
                kind=WaitKind.SLEEP,
                step=path,
                message=f"step {path} sleeps until {instant(step.due_at)}",
                until_at=step.due_at,
                since_at=step.began_at,
            )
        elif isinstance(body, Wait):
            until = f", until {instant(step.due_at)} at the latest" if step.due_at is not None else ""
            yield Waiting(
                kind=WaitKind.SIGNAL,
                step=path,
                message=f"step {path} waits for signal {body.signal} since {instant(step.began_at)}{until}",
                until_at=step.due_at,
                since_at=step.began_at,
                signal=body.signal,
            )


def _operation(state: SagaState, step: StepState, operation: Operation, of: OperationState) -> Waiting:
    call = state.plan.step_of(step.id).call_of(operation)
    what = _named(operation, step.id)
    if of.open is not None:
        opened, until = of.open.opened_at, of.open.deadline_at
        kind = WaitKind.CALL
        message = f"{what} is open at {call.target} since {instant(opened)}, attempt {of.open.number}"
        message += f", until {instant(until)} at the latest"
        if call.target == CHILD_TARGET:
            kind = WaitKind.CHILD
            way = "under way" if operation is Operation.FORWARD else "being undone"
            message = (
                f"step {step.id} is a child saga of {call.method.partition('/')[0]}, {way} since {instant(opened)}"
            )
        return Waiting(kind=kind, step=step.id, message=message, until_at=until, since_at=opened, operation=operation)
    assert of.retry_at is not None  # the caller has looked
    due = instant(of.retry_at)
    last = "" if of.last is None else of.last.code + (f": {of.last.message}" if of.last.message else "")
    if of.parked:
        kind, message = (
            WaitKind.TARGET,
            f"{what} waits because target {call.target} is paused, after {last}; next trial at {due}",
        )
    elif of.last is not None and of.last.code == "OK":
        kind, message = WaitKind.POLL, f"{what} was answered, not yet as wanted; asked again at {due}"
    else:
        kind = WaitKind.RETRY
        message = (
            f"{what} is tried again at {due}, for the {ordinal(of.attempts + 1)} time, because of {last or 'a person'}"
        )
    return Waiting(kind=kind, step=step.id, message=message, until_at=of.retry_at, operation=operation)


def _drains(state: SagaState) -> Iterator[Waiting]:
    for path, due_at in draining(state) if not state.is_paused else ():
        message = f"the undo of step {path} waits until {instant(due_at)}: its call may still be running until then"
        yield Waiting(kind=WaitKind.DRAIN, step=path, message=message, until_at=due_at, operation=Operation.COMPENSATE)


def attention_of(state: SagaState) -> tuple[Attention, ...]:
    """Return everything that a person must look at now; at most `EXPLAINED_MAX`."""
    if state.status is not SagaStatus.NEEDS_ATTENTION:
        return ()
    return tuple(islice(chain(_stuck(state), _wearing(state), _overdue(state)), EXPLAINED_MAX))


def _stuck(state: SagaState) -> Iterator[Attention]:
    for step in stuck_steps(state):
        assert step.stuck is not None  # whoever is stuck says why (R24)
        yield Attention(reason=step.stuck, step=step.id, operation=stuck_operation(step), message=step.message)


def stuck_steps(state: SagaState) -> Iterator[StepState]:
    """Yield the steps and items that only a person can decide, in the order of the plan."""
    for step in state.in_plan_order():
        if step.status is StepStatus.STUCK:
            yield step
        if step.items is not None and step.items.stuck:
            found = (item for item in state.items_of(step.id) if item.status is StepStatus.STUCK)
            yield from islice(found, step.items.stuck)


def _wearing(state: SagaState) -> Iterator[Attention]:
    if AttentionReason.RETRYING not in state.attention:
        return
    for path in in_order(state):
        for operation in (Operation.FORWARD, Operation.AWAIT, Operation.PROBE, Operation.COMPENSATE):
            of = operation_of(state.step(path), operation)
            if of is not None and of.spent >= ALERT_ATTEMPTS:
                last = of.last.code if of.last is not None else ""
                message = f"{_named(operation, path)} has failed {of.spent} times, last {last}; trying goes on"
                yield Attention(reason=AttentionReason.RETRYING, step=path, operation=None, message=message)


def _overdue(state: SagaState) -> Iterator[Attention]:
    if AttentionReason.COMPENSATION_OVERDUE in state.attention and state.is_backward:
        message = f"not everything is undone after {state.compensation_s:g} s; what is not stuck is tried on"
        reason = AttentionReason.COMPENSATION_OVERDUE
        yield Attention(reason=reason, step=None, operation=None, message=message)


def possible(state: SagaState, now_at: float) -> Iterator[Possible]:
    """Yield what a person could do, where there is something for a person to do; each was tried on the machine."""
    if state.is_terminal or state.version == 0:
        return
    moment = Moment(at=max(now_at, state.updated_at), entropy=0.5, epoch=state.epoch)
    for command, offer in _offers(state):
        if decide(state, command, moment).rejected is None:
            yield offer


def _offers(state: SagaState) -> Iterator[tuple[Command, Possible]]:
    audit = Audit(by="?", reason="?")
    if state.is_paused:
        yield ResumeSaga(audit=audit), Possible(verb="RESUME", step=None, message="go on")
    for step in islice(chain(stuck_steps(state), _impatient(state)), VERBS_TRIED_MAX):
        yield from _of_step(state, step, audit)
    if state.status is SagaStatus.NEEDS_ATTENTION:
        if not state.is_backward and state.cancel_reason is None:
            yield CancelSaga(reason=""), Possible(verb="CANCEL", step=None, message="undo what was done")
        yield (
            ForceComplete(audit=audit),
            Possible(verb="FORCE_COMPLETE", step=None, message="end it as COMPLETED with what is there"),
        )
        yield (
            TerminateSaga(audit=audit),
            Possible(verb="TERMINATE", step=None, message="end it as it is; nothing more is done or undone"),
        )


def _impatient(state: SagaState) -> Iterator[StepState]:
    """Yield the steps whose next attempt a person need not wait for."""
    for path in in_order(state):
        step = state.step(path)
        waits = (operation_of(step, operation) for operation in (Operation.FORWARD, Operation.COMPENSATE))
        if any(of is not None and of.retry_at is not None and _has_failed(of) for of in waits):
            yield step
        elif step.awaiting is not None and step.status is StepStatus.WAITING and state.is_backward:
            yield step  # an operation that was asked to stop, and that a person may know more of


def _has_failed(of: OperationState) -> bool:
    return of.parked or (of.last is not None and of.last.code != "OK")


def _of_step(state: SagaState, step: StepState, audit: Audit) -> Iterator[tuple[Command, Possible]]:
    path, stuck = step.id, stuck_operation(step)
    is_undo = stuck is Operation.COMPENSATE or (stuck is None and step.status is StepStatus.UNDOING)
    what = "the undo" if is_undo else "the call"

    def offer(verb: str, message: str, outcome: Outcome | None = None) -> Possible:
        return Possible(verb=verb, step=path, message=message, outcome=outcome)

    again = f"try {what} again now, under the same key"
    if not is_undo and step.forward is not None and step.forward.unknown:
        plan_step = state.plan.step_of(path)
        is_safe = plan_step.kind is StepKind.READ or plan_step.call.idempotent
        again += "" if is_safe else "; it may then be done twice, because its method is not known to keep keys"
    yield RetryStep(audit=audit, step=path), offer("RETRY", again)
    if stuck is None:
        return
    took = "say that it is undone" if is_undo else "say that the call took place"
    yield ResolveStep(audit=audit, step=path, outcome=Outcome.APPLIED), offer("RESOLVE", took, Outcome.APPLIED)
    if not is_undo:
        yield (
            ResolveStep(audit=audit, step=path, outcome=Outcome.NOT_APPLIED),
            offer("RESOLVE", "say that the call did not take place", Outcome.NOT_APPLIED),
        )
    passed = "leave its effect as it is" if is_undo else "go on without it"
    yield SkipStep(audit=audit, step=path), offer("SKIP", passed)
    nothing = Payload("", b"")
    yield (
        OverrideStepRequest(audit=audit, step=path, request=nothing),
        offer("OVERRIDE_REQUEST", "send another request, under a new key"),
    )


def _summary(state: SagaState, waits: Sequence[Waiting]) -> str:
    if state.version == 0:
        return "it has not begun"
    if state.is_terminal:
        ended = instant(state.ended_at or state.updated_at)
        why = f", because {state.cause.message}" if state.cause is not None else ""
        return f"it has ended {state.status.value} at {ended}{why}"
    if not waits:
        return "nothing holds it: it is about to move"
    more = f", and {len(waits) - 1} more" if len(waits) > 1 else ""
    return f"{waits[0].message}{more}"


def _remarks(state: SagaState) -> Iterator[str]:
    if state.cause is not None and not state.is_terminal:
        yield f"it is being undone because {state.cause.message}"
        assert state.compensation_deadline_at is not None  # it began with the cause
        yield f"undoing should be over by {instant(state.compensation_deadline_at)}; it goes on past that"
    for root, rollback in state.rollbacks.items():
        steps, why = listed(sorted(rollback.steps)), rollback.cause.message
        yield f"a part of it is being undone while the rest goes on ({steps}), from {root}, because {why}"
    if not state.is_terminal and not state.is_backward and state.version > 0:
        if state.is_past_pivot:
            yield f"it is past its pivot {state.plan.pivot}: it can only succeed now"
        else:
            yield f"it may go forward until {instant(state.forward_deadline_at)}"
    for signal, waiting in state.signals.items():
        if waiting and not state.is_terminal:
            yield f"{len(waiting)} of signal {signal} have come and wait for a step to take them"
    for step in state.in_plan_order():
        if step.items is not None and step.status is StepStatus.WAITING:
            items = step.items
            done = f"{items.applied} applied, {items.failed} failed, {items.under_way} under way"
            yield f"step {step.id} has begun {items.began} of {items.count} items: {done}"
    left = [step.id for step in state.everything() if step.status is StepStatus.LEFT]
    if left:
        yield f"a person said that the effects of {listed(sorted(left))} stay"
    if state.status is SagaStatus.TERMINATED:
        everything = state.everything()
        still = [step.id for step in everything if step.items is None and may_have_an_effect(state, step)]
        yield (
            f"what it did and did not undo is still there: {listed(sorted(still))}"
            if still
            else "nothing of it is left"
        )


def _named(operation: Operation, path: StepId | None) -> str:
    return f"{WORDS[operation]} of step {path}"
