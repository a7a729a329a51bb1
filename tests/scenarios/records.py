"""What a record says besides its transcript: instants, keys and writers, held against the records before it.

Transcripts leave these out, because in each of them they would say the same. They are checked in all of them.
"""

from collections.abc import Sequence

from orchestrator.errors import RequestError
from orchestrator.ids import StepId, idempotency_key, item_of
from orchestrator.saga import SagaState
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    Event,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    StepBegan,
    StepReopened,
    StepSettled,
    StepsReset,
    StepUndone,
)
from orchestrator.saga.plan import Operation


class Instants:
    """When things began, by the records so far."""

    def __init__(self, start: SagaStarted) -> None:
        self.start = start
        self.opened_at: dict[tuple[StepId, Operation], float] = {}
        self.first_at: dict[tuple[StepId, Operation], float] = {}
        self.began_at: dict[StepId, float] = {}
        self.backward_at: float | None = None

    def note(self, event: Event) -> None:
        match event:
            case AttemptOpened():
                self.opened_at[event.step, event.operation] = event.at
                self.first_at.setdefault((event.step, event.operation), event.at)
            case StepBegan():
                self.began_at[event.step] = event.at
            case StepReopened():
                self.first_at.setdefault((event.step, event.operation), event.at)
            case StepsReset():
                self._forget(event.steps)
            case CompensationBegan():
                self.backward_at = event.at
            case _:
                pass

    def _forget(self, steps: Sequence[StepId]) -> None:
        self.first_at = {key: at for key, at in self.first_at.items() if item_of(key[0])[0] not in steps}
        self.began_at = {step: at for step, at in self.began_at.items() if step not in steps}

    def of(self, event: Event) -> tuple[float | None, ...]:
        """When that began which a record is the end of."""
        match event:
            case AttemptSettled():
                return (self.opened_at[event.step, event.operation],)
            case StepSettled():
                # By its first attempt, as a wait or as a list, or at its very end.
                began_at = self.began_at.get(event.step, event.at)
                return (self.first_at.get((event.step, Operation.FORWARD), began_at),)
            case StepUndone():
                return (self.first_at.get((event.step, Operation.COMPENSATE), event.at),)
            case SagaCompleted() | SagaTerminated():
                return (self.start.at,)
            case SagaCompensated():
                return (self.start.at, self.backward_at)
            case _:
                return ()


def hold(events: Sequence[Event]) -> None:
    """Hold every record of a saga against those before it."""
    if not events:
        return  # a start that is refused leaves no record
    start, at, epoch = events[0], events[0].at, 0
    assert isinstance(start, SagaStarted)
    seen = Instants(start)
    for event in events:
        assert event.at >= at, f"{event} is earlier than the record before it"
        at = event.at
        if isinstance(event, AttemptOpened):
            assert event.key == idempotency_key(start.uid, event.step, event.operation.value, event.manual_epoch)
            assert event.epoch >= epoch
            epoch = event.epoch
        assert _beginnings(event) == seen.of(event), event
        seen.note(event)


def hold_state(state: SagaState, events: Sequence[Event]) -> None:
    """Hold what a state says of its records against them."""
    assert state.version == len(events)
    if events:
        assert (state.started_at, state.updated_at) == (events[0].at, events[-1].at)
        assert state.ended_at == (events[-1].at if state.is_terminal else None)
        assert state.epoch == max((each.epoch for each in events if isinstance(each, AttemptOpened)), default=0)
    for step in state.everything():
        if step.started_version:
            begun = events[step.started_version - 1]
            assert isinstance(begun, AttemptOpened | StepBegan), begun
            assert begun.step == step.id
        if step.settled_version and step.items is None:
            ended = events[step.settled_version - 1]
            assert isinstance(ended, StepSettled), ended
            assert ended.step == step.id


def _beginnings(event: Event) -> tuple[float | None, ...]:
    """Return the instants that a record repeats of others before it."""
    match event:
        case AttemptSettled():
            return (event.opened_at,)
        case StepSettled() | StepUndone() | SagaCompleted() | SagaTerminated():
            return (event.started_at,)
        case SagaCompensated():
            return (event.started_at, event.compensation_began_at)
        case _:
            return ()


_NAMED = {
    "INPUT_INVALID": set[str](),
    "NOT_STARTED": set[str](),
    "ALREADY_STARTED": set[str](),
    "TERMINAL_STATE": {"saga_id", "status"},
    "ETAG_MISMATCH": {"saga_id"},
    "SIGNAL_UNKNOWN": {"saga_id", "signal"},
    "SIGNALS_FULL": {"saga_id", "signal"},
    "GOING_BACKWARD": {"saga_id", "status"},
    "PAST_PIVOT": {"saga_id", "step"},
    "PIVOT_UNDECIDED": {"saga_id", "step"},
    "STEP_UNKNOWN": {"saga_id", "step"},
    "STEP_STATE": {"saga_id", "step", "status"},
    "CALLS_IN_FLIGHT": {"saga_id"},
}
"""Reason -> what a program that was refused may read besides the sentence."""


def hold_refusal(refused: RequestError, command: str, state: SagaState) -> None:
    """Hold what a refusal names against the command and the saga."""
    named = refused.metadata
    assert set(named) == _NAMED[refused.reason], refused.message
    word = command.split()[1].removeprefix("signal=").partition(":")[0] if " " in command else ""
    expected = {"saga_id": "s", "signal": word, "step": word}
    if refused.reason in {"PAST_PIVOT", "PIVOT_UNDECIDED"}:
        expected["step"] = state.plan.pivot or ""
    found = state.find(StepId(word)) if "step" in named else None
    expected["status"] = state.status.value if found is None else found.status.value
    assert dict(named) == {name: expected[name] for name in named}, refused.message
