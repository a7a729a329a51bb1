from immutables import Map

from orchestrator.ids import StepId, item_path
from orchestrator.saga.evolve_items import undo_next
from orchestrator.saga.state import ItemsState, StepState, StepStatus

S = StepId("s")


def test_a_position_that_was_passed_is_not_looked_at_again() -> None:
    statuses = {0: StepStatus.APPLIED, 1: StepStatus.APPLIED, 2: StepStatus.UNDOING}
    items = Map({item_path(S, at): StepState(id=item_path(S, at), status=of) for at, of in statuses.items()})
    assert undo_next(items, S, ItemsState(count=100_000, began=100_000, undo_next=2)) == 1
