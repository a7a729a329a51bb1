"""Fold: what an item's record means for the counts that its `for_each` step keeps, without a look at the others."""

from operator import sub

from immutables import Map

from orchestrator.frozen import changed
from orchestrator.ids import StepId, item_path
from orchestrator.saga.events import GOOD_REASONS
from orchestrator.saga.plan import Outcome
from orchestrator.saga.state import ItemsState, StepState, StepStatus

_UNDO_OPEN = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED, StepStatus.UNDOING})
_TO_UNDO = frozenset({StepStatus.APPLIED, StepStatus.UNSETTLED})
_Weight = tuple[bool, bool, bool, bool, bool, bool, bool]
_NO_WEIGHT: _Weight = (False, False, False, False, False, False, False)


def counted(items: ItemsState, old: StepState | None, new: StepState, *, is_undoable: bool) -> ItemsState:
    """Return the counts after an item has gone from `old` to `new`; of None it has begun."""
    if old is not None and _said(old) == _said(new):
        return items
    before = _NO_WEIGHT if old is None else _weight(old, is_undoable=is_undoable)
    after = _weight(new, is_undoable=is_undoable)
    began, under_way, applied, failed, to_undo, undoing, stuck = map(sub, after, before)
    return changed(
        items,
        began=items.began + began,
        under_way=items.under_way + under_way,
        applied=items.applied + applied,
        failed=items.failed + failed,
        to_undo=items.to_undo + to_undo,
        undoing=items.undoing + undoing,
        stuck=items.stuck + stuck,
        first_failed=new.id if failed > 0 and items.first_failed is None else items.first_failed,
    )


def _said(item: StepState) -> tuple[object, ...]:
    """Return all of an item that its weight follows from."""
    return item.status, item.outcome, item.settle_reason


def _weight(item: StepState, *, is_undoable: bool) -> _Weight:
    """Return what an item that has begun adds to each count, in the order of `counted`."""
    status, outcome = item.status, item.outcome
    good = outcome is Outcome.APPLIED and item.settle_reason in GOOD_REASONS
    stuck = status is StepStatus.STUCK
    return (
        True,
        outcome is None and status is not StepStatus.SKIPPED,
        good,
        outcome is not None and not good,
        is_undoable and (status in _UNDO_OPEN or (stuck and outcome is not None)),
        status is StepStatus.UNDOING,
        stuck,
    )


def undo_next(items: Map[StepId, StepState], step: StepId, counts: ItemsState) -> int:
    """Return the highest position whose undo is still to begin; each is passed once, so a step pays once for all."""
    index = counts.began - 1 if counts.undo_next is None else counts.undo_next
    while index >= 0 and items[item_path(step, index)].status not in _TO_UNDO:
        index -= 1
    return index
