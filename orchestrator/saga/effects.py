"""What is owed to the world.

Effects are small values with a stable identity, so that the difference of two sets is meaningful: the actor performs
`owed(new) - owed(old)`, and after a crash the same with `old` empty. What an effect needs in order to be performed
(the request bytes, the deadline) is looked up in the state, which is what was recorded.
"""

from enum import StrEnum
from typing import final

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.saga.plan import Operation


class TimerKind(StrEnum):
    """What a timer is for."""

    RETRY = "retry"
    DRAIN = "drain"
    """An unknown call counts as over (R12)."""
    STEP = "step"
    """A step has slept enough, or waited too long."""
    FORWARD_DEADLINE = "forward_deadline"
    COMPENSATION_DEADLINE = "compensation_deadline"


@frozen_tuple
class Timer:
    """The identity of a timer; a retry timer is told apart from the next one by its attempt."""

    kind: TimerKind
    step: StepId | None = None
    operation: Operation | None = None
    attempt: int = 0


@frozen_tuple
class SendCall:
    """Send the recorded request of an open attempt."""

    step: StepId
    operation: Operation
    attempt: int


@frozen_tuple
class AbortCall:
    """Reset the stream of an open attempt; its report will say how it ended (R14)."""

    step: StepId
    operation: Operation
    attempt: int


@final
@frozen_tuple
class SetTimer:
    """Wake the saga at `due_at`."""

    timer: Timer
    due_at: float


Effect = SendCall | AbortCall | SetTimer


def in_order(effect: Effect) -> tuple[int, str, str, float]:
    """Return the key that sorts effects: calls, timers, then stops; the same order in every process.

    A set's own order changes with the process's hash seed, and a run that is to be repeated must not. A call that was
    opened and stopped within one turn is begun, then stopped: its report closes the record.
    """
    if type(effect) is SetTimer:
        timer = effect.timer
        return 1, timer.step or "", timer.kind, effect.due_at
    return 0 if type(effect) is SendCall else 2, effect.step, effect.operation, effect.attempt
