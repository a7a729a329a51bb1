"""The search row that goes with a state: what List shows, and how the clockwork and recovery find the saga."""

from collections.abc import Collection
from typing import Final

from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.ports.journal import Rest, SearchRow
from orchestrator.saga import SagaState
from orchestrator.saga.effects import Effect, SendCall
from orchestrator.saga.plan import CHILD_TARGET, Operation
from orchestrator.saga.state import TERMINAL, operations_of

# Named once: looking up a member of an enumeration costs as much as ten comparisons.
_ASLEEP: Final = Rest.ASLEEP
_AWAKE: Final = Rest.AWAKE


def row_after(
    last: SearchRow | None, state: SagaState, wake_at: float | None, rest: Rest, *, epoch: int, shard: int
) -> SearchRow:
    """Return the row to be written in the same transaction as the records that led to this state.

    `last` is an earlier row of the same saga and writer, if there is one: half of a row is for ever.
    `wake_at` is the earliest timer that the state owes, which the actor keeps.
    `epoch` is the writer's: a successor that only settles has opened no attempt under it, which is all a state knows.
    """
    if last is None:
        return row_of(state, wake_at, rest, epoch=epoch, shard=shard)
    return changed(
        last,
        status=state.status,
        version=state.version,
        epoch=epoch,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        wake_at=wake_at,
        rest=rest,
        attention=_attention(state),
        failure=_failure(state),
    )


def row_of(state: SagaState, wake_at: float | None, rest: Rest, *, epoch: int, shard: int = 0) -> SearchRow:
    """Return the row of a saga of which there is none yet."""
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
        rest=rest,
        attention=_attention(state),
        failure=_failure(state),
        shard=shard,
        parent=state.parent.saga_id if state.parent is not None else "",
    )


def _attention(state: SagaState) -> str:
    return ",".join(dict.fromkeys(reason.value for reason in state.attention)) if state.attention else ""


def _failure(state: SagaState) -> str:
    return state.cause.message if state.cause is not None else ""


def rest_of(state: SagaState, due: Collection[Effect] = (), *, is_draining: bool) -> Rest:
    """Return what the saga waits for.

    A process that drains leaves undone what the next one has to begin. Where some of what is `due` is known, a call
    among it says that the saga waits for that, and no step has to be looked at.
    """
    if state.status in TERMINAL:
        return _ASLEEP
    if is_draining:
        return _AWAKE
    for effect in due:
        if type(effect) is SendCall and not _is_of_child(state, effect.step, effect.operation):
            return _AWAKE
    rest = _ASLEEP
    for path in state.live:
        for operation, of in operations_of(state.step(path)):
            if of.open is not None:
                if not _is_of_child(state, path, operation):
                    return _AWAKE
                rest = Rest.CHILDREN
    return rest


def _is_of_child(state: SagaState, path: StepId, operation: Operation) -> bool:
    return state.plan.step_of(path).call_of(operation).target == CHILD_TARGET
