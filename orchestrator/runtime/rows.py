"""The search row that goes with a state: what List shows."""

from orchestrator.ports.journal import SearchRow
from orchestrator.saga import SagaState


def row_of(state: SagaState, wake_at: float | None, epoch: int) -> SearchRow:
    """Return the row to be written in the same transaction as the records that led to this state.

    `wake_at` is the earliest timer that the state owes: the actor has just derived what is owed, once for both.
    `epoch` is the writer's: a successor that only settles has opened no attempt under it, which is all a state knows.
    """
    return SearchRow(
        saga_id=state.saga_id,
        uid=str(state.uid),
        request_id=state.request_id,
        definition=state.plan.definition,
        revision=state.plan.revision,
        status=state.status,
        version=state.version,
        epoch=epoch,
        attributes=state.attributes,
        started_at=state.started_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        wake_at=wake_at,
        attention=",".join(dict.fromkeys(reason.value for reason in state.attention)),
        failure=state.cause.message if state.cause is not None else "",
    )
