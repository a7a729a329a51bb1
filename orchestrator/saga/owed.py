"""State -> what is owed to the world now. The same function serves a live actor and one that has just recovered.

The actor performs `owed(new) - owed(old)`; recovery is the same with an empty `old`. Nothing is ever *remembered* to
be done: if it is not derivable from the records, it does not happen. That difference is found without the two wholes
in `owed_since.py`; what it must be is said here.
"""

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.ids import StepId
from orchestrator.saga.backward import draining
from orchestrator.saga.decide import has_forward_deadline, has_step_timer, is_overdue_news
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind
from orchestrator.saga.plan import FORWARD
from orchestrator.saga.state import TERMINAL, SagaState, is_stopped, operations_of

_DEADLINE = Timer(TimerKind.FORWARD_DEADLINE)


def owed(state: SagaState) -> frozenset[Effect]:
    """Return every effect that is outstanding; empty for a terminal saga (M1)."""
    return frozenset(all_owed(state))


def all_owed(state: SagaState) -> list[Effect]:
    """Return the same, each once and in no order."""
    if state.status in TERMINAL or state.version == 0:
        return []
    return [*_effects(state)]


def owes(state: SagaState) -> bool:
    """Return whether anything is outstanding: all that an invariant asks, at the price of the first effect."""
    if state.status in TERMINAL or state.version == 0:
        return False
    return has_forward_deadline(state) or next(_effects(state), None) is not None


def wake_at(effects: Iterable[Effect]) -> float | None:
    """Return the earliest timer of what is owed: when a saga that left memory must be back in it."""
    return min((effect.due_at for effect in effects if isinstance(effect, SetTimer)), default=None)


def _effects(state: SagaState) -> Iterator[Effect]:
    for path in state.live:
        yield from of_path(state, path)
    yield from of_saga(state)


def of_path(state: SagaState, path: StepId) -> Sequence[Effect]:
    """Return what a live step or item owes."""
    found: list[Effect] = []
    step = state.step(path)
    for operation, of in operations_of(step):
        if of.open is not None:
            found.append(SendCall(path, operation, of.open.number))
            if operation is FORWARD and path != state.plan.pivot and is_stopped(state, path):
                # A pivot is left to its own end: what was asked must be known, and a reset would only hide it (R16).
                found.append(AbortCall(path, operation, of.open.number))
        if of.retry_at is not None and not state.is_paused:
            found.append(SetTimer(Timer(TimerKind.RETRY, path, operation, of.attempts + 1), of.retry_at))
    if step.due_at is not None and has_step_timer(state, path):
        found.append(SetTimer(Timer(TimerKind.STEP, path), step.due_at))
    return found


def of_saga(state: SagaState) -> list[Effect]:
    """Return what the saga owes beside its live steps and items."""
    found: list[Effect] = []
    if state.is_paused:
        return found
    if has_forward_deadline(state):
        found.append(SetTimer(_DEADLINE, state.forward_deadline_at))
    elif is_overdue_news(state) and state.compensation_deadline_at is not None:
        found.append(SetTimer(Timer(TimerKind.COMPENSATION_DEADLINE), state.compensation_deadline_at))
    if state.in_doubt and (state.is_backward or state.rollbacks):
        found += [SetTimer(Timer(TimerKind.DRAIN, path), due_at) for path, due_at in draining(state)]
    return found
