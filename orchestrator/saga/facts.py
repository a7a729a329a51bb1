"""What the expressions of a plan may read: recorded values only, so that they give the same answer for ever."""

from collections.abc import Sequence
from uuid import UUID

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.saga.plan import ExpressionFailure, Outcome
from orchestrator.saga.state import SagaState
from orchestrator.values import Payload


@frozen_tuple
class RecordedFacts:
    """`plan.Facts` over a state: what the expressions of one step may read."""

    state: SagaState
    path: StepId = StepId("")
    """The step, or the item, that the expression belongs to; empty where it is the saga's."""
    own_reply: Payload | None = None

    @property
    def saga_id(self) -> SagaId:
        """Return the caller's name of the saga."""
        return self.state.saga_id

    @property
    def uid(self) -> UUID:
        """Return the saga's unique id."""
        return self.state.uid

    @property
    def started_at(self) -> float:
        """Return when the saga was accepted, Unix seconds."""
        return self.state.started_at

    @property
    def input(self) -> Payload:
        """Return the saga's input."""
        return self.state.input

    @property
    def index(self) -> int | None:
        """Return the item's position."""
        return item_of(self.path)[1]

    @property
    def item(self) -> object:
        """Return the item's element of the list."""
        step, index = item_of(self.path)
        return None if index is None else elements(self.state, step)[index]

    def reply_of(self, step: StepId) -> Payload | None:
        """Return the recorded reply of a step."""
        return self.state.steps[step].reply

    def replies_of(self, step: StepId) -> Sequence[Payload]:
        """Return the recorded replies of the items that were applied."""
        applied = (item for item in self.state.items_of(step) if item.outcome is Outcome.APPLIED)
        return [item.reply for item in applied if item.reply is not None]

    def applied_count(self, step: StepId) -> int:
        """Return how many items came to a good end."""
        items = self.state.steps[step].items
        return 0 if items is None else items.applied

    def failed_count(self, step: StepId) -> int:
        """Return how many items failed."""
        items = self.state.steps[step].items
        return 0 if items is None else items.failed

    def status_of(self, step: StepId) -> str:
        """Return the step's status word."""
        return self.state.steps[step].status.value


def elements(state: SagaState, step: StepId) -> Sequence[object]:
    """Return the list that a `for_each` step that has begun goes through; evaluated once, from what is recorded."""
    began = state.steps[step].started_version
    known = state.memo.get(step)
    if known is None or known[0] != began:
        for_each = state.plan.steps[step].for_each
        assert for_each is not None  # only such a step has items
        evaluated = for_each.items(RecordedFacts(state))
        # It was evaluated when the step began, from the same records; an expression gives the same answer for ever.
        assert not isinstance(evaluated, ExpressionFailure)
        known = state.memo[step] = began, evaluated
    return known[1]
