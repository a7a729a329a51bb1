"""When an actor may leave memory: a policy, so that it can be read and tested apart from the mechanism."""

from orchestrator.limits import PASSIVATION_WAIT_S_MIN
from orchestrator.saga import SagaState


def may_leave(state: SagaState, due_at: float | None, now_at: float) -> bool:
    """Return whether an idle saga is better found again in the journal than kept in memory.

    A terminal one always; another one when nothing will happen to it for a while: `due_at` is the earliest timer that
    it owes. The sweeper brings it back in time.
    """
    if state.is_terminal:
        return True
    return due_at is None or due_at - now_at >= PASSIVATION_WAIT_S_MIN
