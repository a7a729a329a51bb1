"""An actor's bounded queue: control before data, and every waiting caller answered, even at the end."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, get_args

from orchestrator.errors import OrchestratorError, Overloaded
from orchestrator.limits import MAILBOX_MESSAGES_MAX, RETRY_AFTER_S_DEFAULT
from orchestrator.saga.commands import CancelSaga, Command, Recovered, Repair, UndoChild
from orchestrator.saga.state import SagaState

Answer = Callable[[SagaState | OrchestratorError], None]
"""Called once: with the state after the command is durable, or with why it was not done."""

_CONTROL: Final = frozenset({CancelSaga, UndoChild, Recovered, *get_args(Repair)})


class Envelope(NamedTuple):
    """A command and whoever waits for what became of it."""

    command: Command
    answer: Answer | None = None


class Mailbox:
    """Two lanes. What stops or mends the saga overtakes everything else that waits (I34); signals wait their turn.

    Each lane is made when something has to wait in it: for most sagas nothing ever does.
    """

    __slots__ = ("_control", "_data")

    def __init__(self) -> None:
        """Begin empty."""
        self._control: deque[Envelope] | None = None
        self._data: deque[Envelope] | None = None

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._control or ()) + len(self._data or ())

    def put(self, envelope: Envelope) -> None:
        """Queue a message; raise `Overloaded` where somebody outside would make its lane grow past its bound.

        What the actor itself has coming (reports, timers) is bounded by its open calls, and is never refused. A flood
        of signals does not keep a cancel out.
        """
        if type(envelope.command) in _CONTROL:
            lane = self._control = deque() if self._control is None else self._control
        else:
            lane = self._data = deque() if self._data is None else self._data
        if envelope.answer is not None and len(lane) >= MAILBOX_MESSAGES_MAX:
            raise Overloaded(
                "MAILBOX_FULL",
                f"the saga has {len(lane)} messages waiting; ask again in {RETRY_AFTER_S_DEFAULT:g} s",
                RETRY_AFTER_S_DEFAULT,
            )
        lane.append(envelope)

    def take(self) -> Envelope | None:
        """Return the next message, control first; None where none waits."""
        if self._control:
            return self._control.popleft()
        return self._data.popleft() if self._data else None

    def close(self, error: OrchestratorError) -> None:
        """Answer everybody who still waits."""
        while (envelope := self.take()) is not None:
            if envelope.answer is not None:
                envelope.answer(error)
