"""What may happen next: every end of every open call, every timer, a cancel, a missed deadline, a signal.

A move that a service, a network or a person would have to do wrong counts as a fault; the search bounds how many there
are on a path. Beside the machine's state the world keeps what is true: which effects are really there.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from orchestrator.explore.abstract import HAS_FAILED, NOT_YET, SAYS_NO, SAYS_YES
from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.limits import CLOCK_SKEW_S, EXPLORE_KILLED_CALLS_MAX
from orchestrator.saga import SagaState, owed
from orchestrator.saga.commands import AttemptReported, CancelSaga, Command, Recovered, SignalSaga, TimerFired
from orchestrator.saga.effects import AbortCall, SendCall, SetTimer, TimerKind
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import CHILD_TARGET, Operation, Sleep, Step, StepKind, Wait
from orchestrator.saga.state import StepState, StepStatus, operation_of
from orchestrator.values import Payload

Effects = frozenset[StepId]
"""Paths whose effect is really in the world."""

_MADE: Final = "made"
_NOT_MADE: Final = "not made"


@frozen_tuple
class Move:
    """One thing that may happen."""

    told: str
    """In words, for a path that somebody reads."""
    command: Command
    effects: Effects
    """What is true after it."""
    fault: str = ""
    """Empty where nothing went wrong; otherwise what did, for the table."""
    not_before_at: float = 0.0


def moves(state: SagaState, effects: Effects) -> list[Move]:
    """Return everything that may happen to a saga, in an order that is always the same."""
    outstanding = owed(state)
    aborted = {(e.step, e.operation) for e in outstanding if isinstance(e, AbortCall)}
    found: list[Move] = []
    for call in sorted((e for e in outstanding if isinstance(e, SendCall)), key=_place):
        found += _ends(state, call, effects, was_stopped=(call.step, call.operation) in aborted)
    for effect in sorted((e for e in outstanding if isinstance(e, SetTimer)), key=_due):
        found += _timer(state, effect, effects)
    found += _signals(state, effects)
    found += _crashes(state, [e for e in outstanding if isinstance(e, SendCall)], effects)
    if not (state.is_backward or state.is_terminal or state.cancel_reason is not None or state.is_past_pivot):
        found.append(Move("somebody cancels the saga", CancelSaga(reason=""), effects, "cancelled"))
    return found


def late(state: SagaState) -> Effects:
    """Return what may come about after all: calls of which nobody saw the end, and that may still arrive."""
    return frozenset(step.id for step in state.everything() if _may_arrive(state, step))


def _may_arrive(state: SagaState, step: StepState) -> bool:
    if step.forward is None or state.updated_at >= step.forward.late_at + CLOCK_SKEW_S:
        return False
    spec = state.plan.step_of(step.id)
    if spec.kind is StepKind.READ or spec.awaits is not None or spec.call.target == CHILD_TARGET:
        return False
    return not (spec.call.barrier and step.status is StepStatus.UNDONE)  # a tombstone refuses it


def _place(call: SendCall) -> tuple[str, str, int]:
    return call.step, call.operation.value, call.attempt


def _due(effect: SetTimer) -> tuple[float, str, str]:
    return effect.due_at, effect.timer.kind.value, effect.timer.step or ""


def _timer(state: SagaState, effect: SetTimer, effects: Effects) -> Iterator[Move]:
    timer, fired = effect.timer, TimerFired(timer=effect.timer)
    name = timer.step or ""
    match timer.kind:
        case TimerKind.FORWARD_DEADLINE:
            yield Move("the saga's deadline passes", fired, effects, "deadline missed", effect.due_at)
        case TimerKind.COMPENSATION_DEADLINE:
            return  # it tells a person and changes nothing else
        case TimerKind.STEP:
            sleeps = isinstance(state.plan.steps[StepId(name)].body, Sleep)
            told = f"{name} has slept enough" if sleeps else f"{name} has waited too long"
            yield Move(told, fired, effects, "" if sleeps else f"{name}: too late", effect.due_at)
        case TimerKind.RETRY:
            yield Move(f"{name}: {timer.operation} is tried again", fired, effects, "", effect.due_at)
        case TimerKind.DRAIN:
            yield Move(f"{name}: its call can no longer be running", fired, effects, "", effect.due_at)


def _signals(state: SagaState, effects: Effects) -> Iterator[Move]:
    if state.is_backward or (state.cancel_reason is not None and not state.is_past_pivot):
        return  # it would be refused
    for path in sorted(state.live):
        body = state.plan.step_of(path).body
        if isinstance(body, Wait) and state.step(path).status is StepStatus.WAITING:
            command = SignalSaga(
                signal=body.signal, request_id=f"{path}/{len(state.signal_ids)}", payload=Payload(body.type_name, b"")
            )
            yield Move(f"signal {body.signal} comes", command, effects)


def _crashes(state: SagaState, calls: list[SendCall], effects: Effects) -> Iterator[Move]:
    """The orchestrator is killed while calls are open: each of them took place, or did not, and nobody saw it."""
    if not calls:
        return  # nothing is lost that the records do not tell
    doubtful = [call for call in sorted(calls, key=_place) if _may_change(state, call, effects)]
    subsets = [()] if not doubtful else _subsets(doubtful)
    for done in subsets:
        after = effects
        for call in done:
            after = after - {call.step} if call.operation is Operation.COMPENSATE else after | {call.step}
        words = ", ".join(f"{call.step}{_verb(call)}" for call in done)
        told = f"the orchestrator is killed, and {words} went through" if words else "the orchestrator is killed"
        yield Move(told, Recovered(), after, "killed")


def _may_change(state: SagaState, call: SendCall, effects: Effects) -> bool:
    """Return whether a call that nobody sees the end of may have changed the world."""
    if call.operation is Operation.COMPENSATE:
        return call.step in effects
    step = state.plan.step_of(call.step)
    plain = step.awaits is None and step.kind is not StepKind.READ
    return call.operation is Operation.FORWARD and plain and call.step not in effects


def _subsets(calls: list[SendCall]) -> list[tuple[SendCall, ...]]:
    """Return every choice among a few calls; of many, which have more than can be tried, none, all, and each alone."""
    if len(calls) <= EXPLORE_KILLED_CALLS_MAX:
        return [chosen for size in range(len(calls) + 1) for chosen in combinations(calls, size)]
    return [(), tuple(calls), *((call,) for call in calls)]


def _ends(state: SagaState, call: SendCall, effects: Effects, *, was_stopped: bool) -> Iterator[Move]:
    step = state.plan.step_of(call.step)
    for word, report, truth, fault in _reports(
        state, step, call, is_made=call.step in effects, was_stopped=was_stopped
    ):
        after = {_MADE: effects | {call.step}, _NOT_MADE: effects - {call.step}}.get(truth, effects)
        command = AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report)
        verb = _verb(call)
        yield Move(f"{call.step}{verb} {word}", command, after, f"{call.step}{verb}: {word}" if fault else "")


def _verb(call: SendCall) -> str:
    return "" if call.operation is Operation.FORWARD else f" ({call.operation})"


Said = tuple[str, Report, str, bool]
"""In words, as the invoker reports it, what is true after it, and whether it is a fault."""


def _reports(state: SagaState, step: Step, call: SendCall, *, is_made: bool, was_stopped: bool) -> Iterator[Said]:
    match call.operation:
        case Operation.FORWARD:
            yield from _forward(state, step, call, is_made=is_made, was_stopped=was_stopped)
        case Operation.COMPENSATE:
            yield from _undo(step)
        case Operation.PROBE:
            yield "tells", _ok(SAYS_YES if is_made else SAYS_NO), "", False
            yield "does not answer", _silent(), "", True
        case Operation.AWAIT:
            stopped = operation_of(state.step(call.step), Operation.STOP) is not None
            yield "is done", _ok(SAYS_YES), _MADE, False
            yield "is still running", _ok(NOT_YET), "", False
            yield ("was stopped" if stopped else "has failed"), _ok(HAS_FAILED), _NOT_MADE, not stopped
        case Operation.STOP:
            yield "is heard", _ok(SAYS_YES), "", False


def _forward(state: SagaState, step: Step, call: SendCall, *, is_made: bool, was_stopped: bool) -> Iterator[Said]:
    has_effect = step.kind is not StepKind.READ
    made = _MADE if has_effect else ""
    begun = "" if step.awaits is not None else made
    if step.awaits is not None:
        yield "begins a long operation", _ok(NOT_YET), begun, False
    yield "succeeds", _ok(SAYS_YES), made, False
    if step.poll is not None:
        yield "says not yet", _ok(NOT_YET), made, False
    if step.call.target == CHILD_TARGET:
        if not is_made:
            yield "is undone by itself", _refused("ABORTED"), "", not was_stopped
        return
    if was_stopped:
        if has_effect and not is_made:
            yield "was stopped too late", _silent("CANCELLED"), made, False
        yield "was stopped", _silent("CANCELLED"), "", False
        return
    # A peer that keeps keys has replayed its reply; one that does not is asked again only where the author said so.
    if not is_made:
        if step.refuse is not None:
            yield "says no in its reply", _ok(SAYS_NO), "", True
        yield "refuses", _refused("FAILED_PRECONDITION"), "", True
        yield "cannot be reached", Report(code="UNAVAILABLE", phase=Phase.NOT_SENT), "", True
    if has_effect:
        yield "does it, and the answer is lost", _silent(), made, True
    if not is_made:
        yield "does not do it, and nobody answers", _silent(), "", True


def _undo(step: Step) -> Iterator[Said]:
    yield "succeeds", _ok(SAYS_YES), _NOT_MADE, False
    yield "refuses", _refused("FAILED_PRECONDITION"), "", True
    if step.call.target != CHILD_TARGET:
        yield "does it, and the answer is lost", _silent(), _NOT_MADE, True
        yield "does not do it, and nobody answers", _silent(), "", True


def _ok(word: bytes) -> Report:
    return Report(code="OK", phase=Phase.REPLIED, reply=Payload("", word))


def _refused(code: str) -> Report:
    return Report(code=code, phase=Phase.REPLIED, applied=False if code == "ABORTED" else None)


def _silent(code: str = "UNAVAILABLE") -> Report:
    return Report(code=code, phase=Phase.SENT)
