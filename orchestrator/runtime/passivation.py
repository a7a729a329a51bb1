"""When an actor may leave memory: a policy, so that it can be read and tested apart from the mechanism."""

from orchestrator.limits import PASSIVATION_WAIT_S_MIN
from orchestrator.saga import SagaState, wake_at


def may_leave(state: SagaState, now_at: float) -> bool:
    """Return whether an idle saga is better found again in the journal than kept in memory.

    A terminal one always; another one when nothing will happen to it for a while. The sweeper brings it back in time.
    """
    if state.is_terminal:
        return True
    due_at = wake_at(state)
    return due_at is None or due_at - now_at >= PASSIVATION_WAIT_S_MIN
