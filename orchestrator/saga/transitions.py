"""What may happen: two tables and the functions that read them, nothing else.

A pair that is not listed is illegal: `decide` rejects the command, `evolve` on a journal raises `JournalCorrupted`.
Either way nothing changes. The diagrams in `docs/design/machine.md` are drawn from these tables.
"""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import JournalCorrupted
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionCleared,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    RetryScheduled,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SignalReceived,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.plan import COMPENSATE, FORWARD, Operation, Outcome
from orchestrator.saga.state import SagaStatus as Saga
from orchestrator.saga.state import StepStatus as Step

EventType = type[Event]

_GOING_FORWARD: tuple[EventType, ...] = (
    StepBegan,
    StepSkipped,
    SignalReceived,
    AttemptOpened,
    AttemptSettled,
    RetryScheduled,
    StepSettled,
    StepStuck,
    StepReopened,
    StepUndone,
    RollbackBegan,
    ElseBegan,
    StepsReset,
    OperatorActed,
    CancelRequested,
)
"""What leaves a saga that goes forward where it is. A part of it may be undone meanwhile."""
_GOING_BACKWARD: tuple[EventType, ...] = (
    AttemptOpened,
    AttemptSettled,
    RetryScheduled,
    StepSettled,
    StepStuck,
    StepReopened,
    StepUndone,
    OperatorActed,
)
"""What leaves a saga that goes backward where it is."""

SAGA: Mapping[Saga, Mapping[EventType, Saga]] = {
    Saga.QUEUED: {SagaStarted: Saga.RUNNING},
    Saga.RUNNING: {
        **dict.fromkeys(_GOING_FORWARD, Saga.RUNNING),
        AttentionRaised: Saga.NEEDS_ATTENTION,
        CompensationBegan: Saga.COMPENSATING,
        SagaCompleted: Saga.COMPLETED,
        SagaTerminated: Saga.TERMINATED,
    },
    Saga.COMPENSATING: {
        **dict.fromkeys(_GOING_BACKWARD, Saga.COMPENSATING),
        AttentionRaised: Saga.NEEDS_ATTENTION,
        SagaCompensated: Saga.COMPENSATED,
        SagaTerminated: Saga.TERMINATED,
    },
    Saga.NEEDS_ATTENTION: {
        **dict.fromkeys((*_GOING_FORWARD, *_GOING_BACKWARD), Saga.NEEDS_ATTENTION),
        AttentionRaised: Saga.NEEDS_ATTENTION,
        # Only what is stuck is left as it is.
        StepLeft: Saga.NEEDS_ATTENTION,
        # Back to where the saga was: `next_saga` knows whether it goes backward.
        AttentionCleared: Saga.RUNNING,
        CompensationBegan: Saga.COMPENSATING,
        SagaCompleted: Saga.COMPLETED,
        SagaCompensated: Saga.COMPENSATED,
        SagaTerminated: Saga.TERMINATED,
    },
    # A completed child is undone by its parent (R21); nothing else moves it.
    Saga.COMPLETED: {CompensationBegan: Saga.COMPENSATING},
    Saga.COMPENSATED: {},
    Saga.TERMINATED: {},
}

SETTLED_AS: Mapping[Outcome, Step] = {
    Outcome.APPLIED: Step.APPLIED,
    Outcome.NOT_APPLIED: Step.NOT_APPLIED,
    Outcome.UNKNOWN: Step.UNSETTLED,
}
_SETTLED = frozenset(SETTLED_AS.values())
_RESET = frozenset({Step.PENDING})

STEP: Mapping[Step, Mapping[EventType, frozenset[Step]]] = {
    Step.PENDING: {
        StepSkipped: frozenset({Step.SKIPPED}),
        StepBegan: frozenset({Step.WAITING}),
        AttemptOpened: frozenset({Step.IN_FLIGHT}),
        # A request that cannot be rendered settles the step before anything is sent, or is put before a person.
        StepSettled: frozenset({Step.NOT_APPLIED}),
        StepStuck: frozenset({Step.STUCK}),
        StepsReset: _RESET,
    },
    Step.IN_FLIGHT: {
        AttemptOpened: frozenset({Step.IN_FLIGHT, Step.WAITING, Step.PROBING}),
        AttemptSettled: frozenset({Step.IN_FLIGHT}),
        RetryScheduled: frozenset({Step.BACKING_OFF, Step.PARKED}),
        StepSettled: _SETTLED,
        StepStuck: frozenset({Step.STUCK}),
    },
    Step.BACKING_OFF: {
        AttemptOpened: frozenset({Step.IN_FLIGHT, Step.PROBING}),
        StepReopened: frozenset({Step.BACKING_OFF}),
        StepSettled: _SETTLED,
        # A pivot that was cancelled, and may have been applied.
        StepStuck: frozenset({Step.STUCK}),
    },
    Step.PARKED: {
        AttemptOpened: frozenset({Step.IN_FLIGHT, Step.PROBING}),
        StepReopened: frozenset({Step.BACKING_OFF}),
        StepStuck: frozenset({Step.STUCK}),
        StepSettled: _SETTLED,
    },
    Step.WAITING: {
        AttemptOpened: frozenset({Step.WAITING, Step.PROBING}),
        AttemptSettled: frozenset({Step.WAITING}),
        RetryScheduled: frozenset({Step.WAITING, Step.BACKING_OFF}),
        StepSettled: _SETTLED,
        StepStuck: frozenset({Step.STUCK}),
    },
    Step.PROBING: {
        AttemptOpened: frozenset({Step.PROBING}),
        AttemptSettled: frozenset({Step.PROBING}),
        RetryScheduled: frozenset({Step.PROBING, Step.BACKING_OFF}),
        StepSettled: _SETTLED,
        StepStuck: frozenset({Step.STUCK}),
    },
    # Stuck at once where there is no undo request.
    Step.UNSETTLED: {
        AttemptOpened: frozenset({Step.UNDOING}),
        StepStuck: frozenset({Step.STUCK}),
        StepsReset: _RESET,
        # A person knows more than the wire told.
        StepSettled: frozenset({Step.APPLIED, Step.NOT_APPLIED}),
    },
    Step.APPLIED: {
        AttemptOpened: frozenset({Step.UNDOING}),
        StepStuck: frozenset({Step.STUCK}),
        StepsReset: _RESET,
    },
    Step.UNDOING: {
        AttemptOpened: frozenset({Step.UNDOING}),
        AttemptSettled: frozenset({Step.UNDOING}),
        RetryScheduled: frozenset({Step.UNDOING}),
        StepReopened: frozenset({Step.UNDOING}),
        StepUndone: frozenset({Step.UNDONE}),
        StepStuck: frozenset({Step.STUCK}),
    },
    # A forward call that asked for a person is treated as unknown once the saga goes backward.
    Step.STUCK: {
        # Cancelled meanwhile, it is probed like any other call of which nobody knows whether it took place.
        AttemptOpened: frozenset({Step.PROBING}),
        StepReopened: frozenset({Step.BACKING_OFF, Step.UNDOING}),
        StepsReset: _RESET,
        StepSkipped: frozenset({Step.SKIPPED}),
        StepSettled: _SETTLED,
        StepUndone: frozenset({Step.UNDONE}),
        StepLeft: frozenset({Step.LEFT}),
    },
    Step.NOT_APPLIED: {StepsReset: _RESET},
    Step.SKIPPED: {StepsReset: _RESET},
    Step.UNDONE: {StepsReset: _RESET},
    Step.LEFT: {StepsReset: _RESET},
}

_OPENED_AS: Mapping[Operation, Step] = {
    Operation.FORWARD: Step.IN_FLIGHT,
    Operation.AWAIT: Step.WAITING,
    Operation.STOP: Step.WAITING,
    Operation.PROBE: Step.PROBING,
    Operation.COMPENSATE: Step.UNDOING,
}


_RUNNING, _COMPENSATING = Saga.RUNNING, Saga.COMPENSATING


def next_saga(status: Saga, event: Event, *, is_backward: bool = False) -> Saga:
    """Return the saga's status after the event; `JournalCorrupted` where the pair is not in the table."""
    found = SAGA[status].get(type(event))
    if found is None:
        raise JournalCorrupted(f"{type(event).__name__} cannot follow in a saga that is {status.value}")
    return _COMPENSATING if is_backward and found is _RUNNING else found


def next_step(status: Step, event: Event) -> Step:
    """Return the step's status after the event; `JournalCorrupted` where the pair is not in the table."""
    kind = type(event)
    allowed = STEP[status].get(kind)
    if allowed is None or (wanted := _WANTED[kind](status, event)) not in allowed:
        raise JournalCorrupted(f"{kind.__name__} cannot follow in a step that is {status.value}")
    return wanted


def _as_scheduled(_status: Step, event: RetryScheduled) -> Step:
    if event.operation is FORWARD:
        return Step.PARKED if event.parked else Step.BACKING_OFF
    return _OPENED_AS[event.operation]


def _as_reopened(_status: Step, event: StepReopened) -> Step:
    return Step.UNDOING if event.operation is COMPENSATE else Step.BACKING_OFF


def _always(status: Step) -> Callable[[Step, Event], Step]:
    return lambda _status, _event: status


_WANTED: Mapping[EventType, Callable[[Step, Any], Step]] = {
    AttemptSettled: lambda status, _: status,  # what follows from an attempt's end is the next record's to say
    AttemptOpened: lambda _, event: _OPENED_AS[event.operation],
    StepSettled: lambda _, event: SETTLED_AS[event.outcome],
    RetryScheduled: _as_scheduled,
    StepReopened: _as_reopened,
    StepBegan: _always(Step.WAITING),
    StepSkipped: _always(Step.SKIPPED),
    StepUndone: _always(Step.UNDONE),
    StepStuck: _always(Step.STUCK),
    StepLeft: _always(Step.LEFT),
    StepsReset: _always(Step.PENDING),
}
"""The status that an event itself asks for, legal or not, of every class in `STEP`; why no `match`: `evolve.FOLDS`."""
