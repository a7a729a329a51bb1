"""What a state says of each operation of its steps, told again from the records: slower, plainer, and by other hands.

The records are gone through once, as a list of facts an operation has; a state keeps the same in its own way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.ids import StepId, item_of
from orchestrator.saga import SagaState
from orchestrator.saga.events import (
    POLL,
    AttemptOpened,
    AttemptSettled,
    Event,
    Phase,
    Report,
    RetryScheduled,
    StepReopened,
    StepSettled,
    StepsReset,
    StepStuck,
)
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import operation_of
from orchestrator.values import Payload

GATES = {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
ASKED_BESIDES = (Operation.AWAIT, Operation.PROBE, Operation.STOP)


@dataclass(slots=True)
class Told:
    """One operation, by its records."""

    request: Payload | None = None
    key: str = ""
    manual_epoch: int = 0
    attempts: int = 0
    spent: int = 0
    is_open: bool = False
    retry_at: float | None = None
    parked: bool = False
    last: Report | None = None

    def call_off(self) -> None:
        self.is_open, self.retry_at = False, None


class Retold:
    """Every operation of a saga."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.of: dict[tuple[StepId, Operation], Told] = {}
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        match event:
            case AttemptOpened():
                self._opened(event)
            case AttemptSettled(step=step, operation=operation, report=report):
                told = self.of[step, operation]
                costs = not (report.parked or report.code in GATES or report.phase is Phase.LOST)
                told.is_open, told.last, told.spent = False, report, told.spent + costs
            case RetryScheduled():
                self._scheduled(event)
            case StepReopened():
                self._reopened(event)
            case StepSettled(step=step):
                self._call_off(step, *ASKED_BESIDES)
                if (forward := self.of.get((step, Operation.FORWARD))) is not None:
                    forward.retry_at, forward.parked = None, False
            case StepStuck(step=step):
                self._call_off(step, Operation.STOP)
            case StepsReset(steps=steps):
                self.of = {key: told for key, told in self.of.items() if item_of(key[0])[0] not in steps}
            case _:
                pass

    def _call_off(self, step: StepId, *operations: Operation) -> None:
        for operation in operations:
            if (told := self.of.get((step, operation))) is not None:
                told.call_off()

    def _opened(self, event: AttemptOpened) -> None:
        told = self.of.setdefault((event.step, event.operation), Told())
        told.request = told.request if event.request is None else event.request
        told.key, told.manual_epoch, told.attempts = event.key, event.manual_epoch, event.attempt
        told.is_open, told.retry_at, told.parked = True, None, False
        if event.operation is Operation.PROBE:
            self._call_off(event.step, Operation.STOP)
        forward = self.of.get((event.step, Operation.FORWARD))
        if event.operation is not Operation.FORWARD and forward is not None and forward.retry_at is not None:
            forward.retry_at, forward.parked = None, False

    def _scheduled(self, event: RetryScheduled) -> None:
        told = self.of[event.step, event.operation]
        told.retry_at, told.parked = event.due_at, event.parked
        if event.reason == POLL:
            told.spent = 0
        if event.reason.startswith("FOUND_"):
            for operation in (Operation.AWAIT, Operation.PROBE):
                if (asked := self.of.get((event.step, operation))) is not None:
                    asked.spent, asked.retry_at = 0, None

    def _reopened(self, event: StepReopened) -> None:
        told = self.of.setdefault((event.step, event.operation), Told())
        told.request = told.request if event.request is None else event.request
        told.retry_at, told.spent, told.parked = event.at, 0, False
        if event.as_new and told.attempts:
            told.key, told.manual_epoch = "", told.manual_epoch + 1


def hold(state: SagaState, events: Sequence[Event]) -> None:
    """Hold every operation of every step against the records; of an item that has settled little is kept."""
    retold = Retold(events)
    for step in state.everything():
        is_slim = item_of(step.id)[1] is not None and step.outcome is not None
        for operation in Operation:
            found, told = operation_of(step, operation), retold.of.get((step.id, operation))
            if is_slim and operation is not Operation.COMPENSATE:
                continue
            assert (found is None) == (told is None), (step.id, operation)
            if found is not None and told is not None:
                assert found.request == told.request
                assert (found.key, found.attempts, found.spent) == (told.key, told.attempts, told.spent), step.id
                assert (found.open is not None) == told.is_open, (step.id, operation)
                assert (found.retry_at, found.parked) == (told.retry_at, told.parked), (step.id, operation)
                assert found.last == told.last
                assert not told.attempts or found.manual_epoch == told.manual_epoch
