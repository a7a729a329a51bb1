"""State -> what is owed to the world now. The same function serves a live actor and one that has just recovered.

The actor performs `owed(new) - owed(old)`; recovery is the same with an empty `old`. Nothing is ever *remembered* to
be done: if it is not derivable from the records, it does not happen. `owed` is the meaning. `owed_since` is the
difference of two of them, found by looking at nothing but what the records between them have touched.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from immutables import Map

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.saga.backward import draining
from orchestrator.saga.decide import has_forward_deadline, has_step_timer, is_overdue_news
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind, in_order
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import TERMINAL, SagaState, is_stopped, operations_of


@frozen_tuple
class Change:
    """How what is owed differs from what was owed, each part in the order of `in_order`."""

    due: tuple[Effect, ...]
    """Owed now, and not before: to be performed."""
    over: tuple[Effect, ...]
    """Owed before, and not now: to be let go of, which comes first."""


NO_CHANGE = Change((), ())
_FEW = 2
"""Fewer have no order, and most changes have one of either kind."""
_NOTHING: Sequence[Effect] = ()
_FORWARD = Operation.FORWARD
_DEADLINE = Timer(TimerKind.FORWARD_DEADLINE)


def owed(state: SagaState) -> frozenset[Effect]:
    """Return every effect that is outstanding; empty for a terminal saga (M1)."""
    if state.is_terminal or state.version == 0:
        return frozenset()
    return frozenset(_effects(state))


def owes(state: SagaState) -> bool:
    """Return whether anything is outstanding: all that an invariant asks, at the price of the first effect."""
    if state.is_terminal or state.version == 0:
        return False
    return has_forward_deadline(state) or next(_effects(state), None) is not None


def owed_since(old: SagaState | None, new: SagaState, touched: Iterable[StepId]) -> Change:
    """Return how `owed(new)` differs from `owed(old)`; of None, everything is new.

    `touched` are the steps and items that the records between the two name.
    """
    if old is None:
        return Change(_sorted(owed(new)), ())
    if not _is_alike(old, new):
        return _difference(owed(old), owed(new))
    due: list[Effect] = []
    over: list[Effect] = []
    for path in touched:
        if _ends_items(old, new, path):
            return _difference(owed(old), owed(new))
        before = _of_path(old, path) if path in old.live else _NOTHING
        after = _of_path(new, path) if path in new.live else _NOTHING
        if before and after:
            due += [effect for effect in after if effect not in before]
            over += [effect for effect in before if effect not in after]
        else:
            due += after
            over += before
    if new.cause is not None or new.rollbacks:
        beside = _difference(_of_saga(old), _of_saga(new))
        due += beside.due
        over += beside.over
    return Change(_sorted(due), _sorted(over))


def owed_again(state: SagaState, timer: Timer) -> SetTimer | None:
    """Return a timer that has fired and is owed still: the wall clock may have been set back while it ran."""
    if state.is_terminal or state.version == 0:
        return None
    effects = _of_saga(state)
    if timer.step is not None and timer.step in state.live:
        effects += _of_path(state, timer.step)
    return next((each for each in effects if isinstance(each, SetTimer) and each.timer == timer), None)


def wake_at(effects: Iterable[Effect]) -> float | None:
    """Return the earliest timer of what is owed: when a saga that left memory must be back in it."""
    return min((effect.due_at for effect in effects if isinstance(effect, SetTimer)), default=None)


def timers_after(timers: Map[Timer, float], change: Change) -> Map[Timer, float]:
    """Return which timers are owed, and for when, after a change of what is owed."""
    for effect in change.over:
        if isinstance(effect, SetTimer) and effect.timer in timers:
            timers = timers.delete(effect.timer)
    for effect in change.due:
        if isinstance(effect, SetTimer):
            timers = timers.set(effect.timer, effect.due_at)
    return timers


def _difference(before: Collection[Effect], after: Collection[Effect]) -> Change:
    was, now = frozenset(before), frozenset(after)
    return Change(_sorted(now - was), _sorted(was - now))


def _sorted(effects: Collection[Effect]) -> tuple[Effect, ...]:
    return tuple(effects if len(effects) < _FEW else sorted(effects, key=in_order))


def _is_alike(old: SagaState, new: SagaState) -> bool:
    """Return whether what a path owes follows from the path alone: nothing else that bears on it has changed."""
    pivot = new.plan.pivot
    return (
        old.version > 0
        and old.status not in TERMINAL
        and new.status not in TERMINAL
        and old.cause is new.cause
        and old.rollbacks is new.rollbacks
        and old.is_paused is new.is_paused
        and (pivot is None or old.steps[pivot] is new.steps[pivot])
    )


def _ends_items(old: SagaState, new: SagaState, path: StepId) -> bool:
    """Return whether a step with items has come to its end, or begun: with it, nothing new begins in them any more."""
    if path not in new.steps:
        return False
    step = new.steps[path]
    return step.items is not None and step.status is not old.steps[path].status


def _effects(state: SagaState) -> Iterator[Effect]:
    for path in state.live:
        yield from _of_path(state, path)
    yield from _of_saga(state)


def _of_path(state: SagaState, path: StepId) -> Sequence[Effect]:
    """Return what a live step or item owes."""
    found: list[Effect] = []
    step = state.step(path)
    for operation, of in operations_of(step):
        if of.open is not None:
            found.append(SendCall(path, operation, of.open.number))
            if operation is _FORWARD and path != state.plan.pivot and is_stopped(state, path):
                # A pivot is left to its own end: what was asked must be known, and a reset would only hide it (R16).
                found.append(AbortCall(path, operation, of.open.number))
        if of.retry_at is not None and not state.is_paused:
            found.append(SetTimer(Timer(TimerKind.RETRY, path, operation, of.attempts + 1), of.retry_at))
    if step.due_at is not None and has_step_timer(state, path):
        found.append(SetTimer(Timer(TimerKind.STEP, path), step.due_at))
    return found


def _of_saga(state: SagaState) -> list[Effect]:
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
