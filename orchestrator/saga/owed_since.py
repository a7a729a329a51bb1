"""Two states -> how what is owed differs, found by looking at nothing but what the records between them have touched.

It is `owed(new) - owed(old)` and `owed(old) - owed(new)`, at a cost that does not grow with what lives beside: a saga
with a thousand calls in flight pays for the one that has ended. What a path owes follows from the path alone as long
as nothing has changed that bears on all of them, which is seldom: then the wholes are compared.
"""

from collections.abc import Collection, Iterable, Sequence

from immutables import Map

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.saga.effects import Effect, SetTimer, Timer, in_order
from orchestrator.saga.owed import all_owed, of_path, of_saga
from orchestrator.saga.state import TERMINAL, SagaState


@frozen_tuple
class Change:
    """How what is owed differs from what was owed, each part in the order of `in_order`."""

    due: Sequence[Effect]
    """Owed now, and not before: to be performed."""
    over: Sequence[Effect]
    """Owed before, and not now: to be let go of, which comes first."""


NO_CHANGE = Change((), ())
_FEW = 2
"""Fewer have no order, and most changes have one of either kind."""


def owed_since(
    old: SagaState | None, new: SagaState, touched: Iterable[StepId], fired: Collection[Timer] = ()
) -> Change:
    """Return how `owed(new)` differs from `owed(old)`; of None, everything is new.

    `touched` are the steps and items that the records between the two name. A timer that has fired meanwhile and is
    owed still is due again: it came too early, or the wall clock has been set back while it ran.
    """
    change = _since(old, new, touched)
    if not fired:
        return change
    early = [effect for timer in fired for effect in _owed_still(new, timer) if effect not in change.due]
    return Change([*change.due, *early], change.over)


def _since(old: SagaState | None, new: SagaState, touched: Iterable[StepId]) -> Change:
    if old is None:
        return Change(_sorted(all_owed(new)), ())
    if new.status in TERMINAL:
        return Change((), _sorted(all_owed(old)))  # which owes nothing any more
    if not _is_alike(old, new):
        return _difference(all_owed(old), all_owed(new))
    due: list[Effect] = []
    over: list[Effect] = []
    for path in touched:
        if _ends_items(old, new, path):
            return _difference(all_owed(old), all_owed(new))
        if path not in old.live:
            due += of_path(new, path) if path in new.live else ()
        elif path not in new.live:
            over += of_path(old, path)
        else:
            before, after = of_path(old, path), of_path(new, path)
            due += [effect for effect in after if effect not in before]
            over += [effect for effect in before if effect not in after]
    if new.cause is not None or new.rollbacks:
        beside = _difference(of_saga(old), of_saga(new))
        due += beside.due
        over += beside.over
    return Change(_sorted(due), _sorted(over))


def _owed_still(state: SagaState, timer: Timer) -> list[Effect]:
    if state.is_terminal or state.version == 0:
        return []
    effects = of_saga(state)
    if timer.step is not None and timer.step in state.live:
        effects += of_path(state, timer.step)
    return [effect for effect in effects if isinstance(effect, SetTimer) and effect.timer == timer]


def timers_after(timers: Map[Timer, float], change: Change) -> Map[Timer, float]:
    """Return which timers are owed, and for when, after a change of what is owed."""
    for effect in change.over:
        if type(effect) is SetTimer and effect.timer in timers:
            timers = timers.delete(effect.timer)
    for effect in change.due:
        if type(effect) is SetTimer:
            timers = timers.set(effect.timer, effect.due_at)
    return timers


def _difference(before: Collection[Effect], after: Collection[Effect]) -> Change:
    was, now = frozenset(before), frozenset(after)
    return Change(_sorted([*(now - was)]), _sorted([*(was - now)]))


def _sorted(effects: list[Effect]) -> Sequence[Effect]:
    if len(effects) >= _FEW:
        effects.sort(key=in_order)
    return effects


def _is_alike(old: SagaState, new: SagaState) -> bool:
    """Return whether what a path owes follows from the path alone: nothing else that bears on it has changed.

    By identity, which errs to the safe side: an equal one made anew costs a look at the wholes. One record rests on it:
    `StepsReset` changes steps and items that `touched` does not give, and `evolve` makes the rollbacks anew with it
    (`_without`), even where none has ended.
    """
    pivot = new.plan.pivot
    return (
        old.version > 0
        and old.status not in TERMINAL
        and old.cause is new.cause
        and old.rollbacks is new.rollbacks
        and old.is_paused is new.is_paused
        and (pivot is None or old.steps[pivot] is new.steps[pivot])
    )


def _ends_items(old: SagaState, new: SagaState, path: StepId) -> bool:
    """Return whether a step with items has come to its end, or begun: with it, nothing new begins in them any more."""
    step = new.steps.get(path)
    return step is not None and step.items is not None and step.status is not old.steps[path].status
