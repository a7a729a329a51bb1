"""Fold: what an item's record means for the counts that its `for_each` step keeps, without a look at the others."""

from immutables import Map

from orchestrator.frozen import changed, frozen
from orchestrator.ids import StepId, item_path
from orchestrator.saga.events import is_good
from orchestrator.saga.state import TO_UNDO, ItemsState, StepState, StepStatus, is_left


@frozen
class _Weight:
    """What one item adds to the counts, each by the name of its count."""

    began: bool = False
    under_way: bool = False
    applied: bool = False
    failed: bool = False
    to_undo: bool = False
    undoing: bool = False
    stuck: bool = False


_NO_WEIGHT = _Weight()


def counted(items: ItemsState, old: StepState | None, new: StepState, *, is_undoable: bool) -> ItemsState:
    """Return the counts after an item has gone from `old` to `new`; of None it has begun."""
    if old is not None and _said(old) == _said(new):
        return items
    before = _NO_WEIGHT if old is None else _weight(old, is_undoable=is_undoable)
    after = _weight(new, is_undoable=is_undoable)
    has_failed = after.failed and not before.failed
    return changed(
        items,
        began=items.began + after.began - before.began,
        under_way=items.under_way + after.under_way - before.under_way,
        applied=items.applied + after.applied - before.applied,
        failed=items.failed + after.failed - before.failed,
        to_undo=items.to_undo + after.to_undo - before.to_undo,
        undoing=items.undoing + after.undoing - before.undoing,
        stuck=items.stuck + after.stuck - before.stuck,
        first_failed=new.id if has_failed and items.first_failed is None else items.first_failed,
    )


def _said(item: StepState) -> tuple[object, ...]:
    """Return all of an item that its weight follows from."""
    return item.status, item.outcome, item.settle_reason


def _weight(item: StepState, *, is_undoable: bool) -> _Weight:
    """Return what an item that has begun adds to each count."""
    has_ended, went_well = item.outcome is not None, is_good(item.outcome, item.settle_reason)
    return _Weight(
        began=True,
        under_way=not has_ended and item.status is not StepStatus.SKIPPED,
        applied=went_well,
        failed=has_ended and not went_well,
        to_undo=is_undoable and is_left(item),
        undoing=item.status is StepStatus.UNDOING,
        stuck=item.status is StepStatus.STUCK,
    )


def undo_next(items: Map[StepId, StepState], step: StepId, counts: ItemsState) -> int:
    """Return the highest position whose undo is still to begin; each is passed once, so a step pays once for all."""
    index = counts.began - 1 if counts.undo_next is None else counts.undo_next
    while index >= 0 and items[item_path(step, index)].status not in TO_UNDO:
        index -= 1
    return index
