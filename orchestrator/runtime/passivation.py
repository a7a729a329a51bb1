"""When an actor may leave memory: a policy, so that it can be read and tested apart from the mechanism."""

from orchestrator.limits import PASSIVATION_WAIT_S_MIN
from orchestrator.ports.clock import Clock
from orchestrator.saga import SagaState


def may_leave(state: SagaState, due_at: float | None, clock: Clock) -> bool:
    """Return whether an idle saga is better found again in the journal than kept in memory.

    A terminal one always; another one when nothing will happen to it for a while: `due_at` is the earliest timer that
    it owes. The sweeper brings it back in time.
    """
    return state.is_terminal or due_at is None or due_at - clock.now() >= PASSIVATION_WAIT_S_MIN
