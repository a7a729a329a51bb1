"""State -> what is owed to the world now. The same function serves a live actor and one that has just recovered.

The actor performs `owed(new) - owed(old)`; recovery is the same with an empty `old`. Nothing is ever *remembered* to
be done: if it is not derivable from the records, it does not happen.
"""

from collections.abc import Iterable, Iterator

from orchestrator.saga.backward import draining
from orchestrator.saga.decide import has_forward_deadline, has_step_timer, is_overdue_news
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import OperationState, SagaState, StepState, is_stopped, operations_of


def owed(state: SagaState) -> frozenset[Effect]:
    """Return every effect that is outstanding; empty for a terminal saga (M1)."""
    if state.is_terminal or state.version == 0:
        return frozenset()
    return frozenset(_effects(state))


def owes(state: SagaState) -> bool:
    """Return whether anything is outstanding: all that an invariant asks, at the price of the first effect."""
    return not (state.is_terminal or state.version == 0) and next(_effects(state), None) is not None


def wake_at(effects: Iterable[Effect]) -> float | None:
    """Return the earliest timer of what is owed: when a saga that left memory must be back in it."""
    return min((effect.due_at for effect in effects if isinstance(effect, SetTimer)), default=None)


def _effects(state: SagaState) -> Iterator[Effect]:
    for path in state.live:
        step = state.step(path)
        for kind, operation in operations_of(step):
            yield from _of_operation(state, step, kind, operation)
        if step.due_at is not None and has_step_timer(state, path):
            yield SetTimer(Timer(TimerKind.STEP, path), step.due_at)
    if state.is_paused:
        return
    if has_forward_deadline(state):
        yield SetTimer(Timer(TimerKind.FORWARD_DEADLINE), state.forward_deadline_at)
    elif is_overdue_news(state) and state.compensation_deadline_at is not None:
        yield SetTimer(Timer(TimerKind.COMPENSATION_DEADLINE), state.compensation_deadline_at)
    if state.is_backward or state.rollbacks:
        for path, due_at in draining(state):
            yield SetTimer(Timer(TimerKind.DRAIN, path), due_at)


def _of_operation(state: SagaState, step: StepState, operation: Operation, of: OperationState) -> Iterator[Effect]:
    if of.open is not None:
        yield SendCall(step.id, operation, of.open.number)
        if operation is Operation.FORWARD and step.id != state.plan.pivot and is_stopped(state, step.id):
            # A pivot is left to its own end: what was asked must be known, and a reset would only hide it (R16).
            yield AbortCall(step.id, operation, of.open.number)
    if of.retry_at is not None and not state.is_paused:
        yield SetTimer(Timer(TimerKind.RETRY, step.id, operation, of.attempts + 1), of.retry_at)
