"""The search row that goes with a state: what List shows."""

from orchestrator.ports.journal import SearchRow
from orchestrator.saga import SagaState, wake_at


def row_of(state: SagaState) -> SearchRow:
    """Return the row to be written in the same transaction as the records that led to this state."""
    return SearchRow(
        saga_id=state.saga_id,
        uid=str(state.uid),
        request_id=state.request_id,
        definition=state.plan.definition,
        revision=state.plan.revision,
        status=state.status,
        version=state.version,
        epoch=state.epoch,
        attributes=state.attributes,
        started_at=state.started_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        wake_at=wake_at(state),
        attention=",".join(dict.fromkeys(reason.value for reason in state.attention)),
        failure=state.cause.message if state.cause is not None else "",
    )
