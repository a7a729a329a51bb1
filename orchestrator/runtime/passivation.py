"""When an actor may leave memory, and what is remembered of those that ended: apart from the mechanism, to be tested.

Whoever started a saga asks how it ended soon after it did. So the latest are remembered, as many as there is memory
for: that is counted in sagas, in records, which is what a state is made of, and in the bytes of the payloads that hang
on it, which no record's number tells.
"""

from collections import OrderedDict
from collections.abc import Collection
from itertools import chain

from orchestrator.frozen import changed
from orchestrator.ids import SagaId
from orchestrator.limits import (
    ENDED_BYTES_KEPT_MAX,
    ENDED_KEPT_MAX,
    ENDED_RECORDS_KEPT_MAX,
    PASSIVATION_WAIT_S_MIN,
)
from orchestrator.ports.clock import Clock
from orchestrator.saga import SagaState
from orchestrator.saga.memo import Memo
from orchestrator.saga.plan import FORWARD
from orchestrator.saga.state import OperationState, operations_of
from orchestrator.values import Payload


def may_leave(state: SagaState, due_at: float | None, clock: Clock) -> bool:
    """Return whether an idle saga is better found again in the journal than kept in memory.

    A terminal one always; another one when nothing will happen to it for a while: `due_at` is the earliest timer that
    it owes. The sweeper brings it back in time.
    """
    return state.is_terminal or due_at is None or due_at - clock.now() >= PASSIVATION_WAIT_S_MIN


class Ended:
    """The last states of the sagas that ended latest, each with its shard; bounded, but for the very last of them."""

    __slots__ = ("_bytes", "_records", "_states")

    def __init__(self) -> None:
        """Begin with none."""
        self._states: OrderedDict[SagaId, tuple[SagaState, int, int]] = OrderedDict()
        """With the shard, and the bytes of the payloads."""
        self._records = 0
        self._bytes = 0

    def get(self, saga_id: SagaId) -> SagaState | None:
        """Return a saga's last state; None where it is not remembered."""
        found = self._states.get(saga_id)
        return None if found is None else found[0]

    def remember(self, saga_id: SagaId, state: SagaState, shard: int) -> None:
        """Add the latest, and let the earliest go for which there is no room any more."""
        if state.memo:  # what is evaluated once is not asked for again, and may be large
            state = changed(state, memo=Memo())
        size = payload_bytes(state)
        self._states[saga_id] = state, shard, size
        self._records += state.version
        self._bytes += size
        while len(self._states) > 1 and (
            len(self._states) > ENDED_KEPT_MAX
            or self._records > ENDED_RECORDS_KEPT_MAX
            or self._bytes > ENDED_BYTES_KEPT_MAX
        ):
            self.forget(next(iter(self._states)))

    def forget(self, saga_id: SagaId) -> None:
        """Let one go, if it is remembered."""
        if (found := self._states.pop(saga_id, None)) is not None:
            state, _, size = found
            self._records -= state.version
            self._bytes -= size

    def forget_in(self, shards: Collection[int]) -> None:
        """Let all of some shards go."""
        for saga_id in [saga_id for saga_id, (_, shard, _) in self._states.items() if shard in shards]:
            self.forget(saga_id)


def payload_bytes(state: SagaState) -> int:
    """Return the bytes of all payloads that hang on a state: what it was given, what was sent, and what came back.

    Asked once for each saga: most steps have a forward operation and no other, and take 100 nanoseconds.
    """
    size = len(state.input.data) + _bytes_of(state.output)
    if state.signals:
        size += sum([_bytes_of(signal.payload) for waiting in state.signals.values() for signal in waiting])
    for step in chain(state.steps.values(), state.items.values()):
        forward, reply = step.forward, step.reply
        if reply is not None:
            size += len(reply.data)
        if step.undo_request is not None:
            size += len(step.undo_request.data)
        if forward is not None:
            size += len(forward.request.data)
            if (last := forward.last) is not None and last.reply is not reply:
                size += _bytes_of(last.reply)
        if step.undo is not None or step.awaiting is not None or step.probe is not None or step.stop is not None:
            size += sum([_operation_bytes(each) for name, each in operations_of(step) if name is not FORWARD])
    return size


def _operation_bytes(operation: OperationState) -> int:
    return len(operation.request.data) + (0 if operation.last is None else _bytes_of(operation.last.reply))


def _bytes_of(payload: Payload | None) -> int:
    return 0 if payload is None else len(payload.data)
