"""What may happen: two tables and the functions that read them, nothing else.

A pair that is not listed is illegal: `decide` rejects the command, `evolve` on a journal raises `JournalCorrupted`.
Either way nothing changes. The diagrams in `docs/design/machine.md` are drawn from these tables.
"""

from collections.abc import Mapping

from orchestrator.errors import JournalCorrupted
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    CancelRequested,
    CompensationBegan,
    Event,
    Outcome,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    StepSettled,
    StepSkipped,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import SagaStatus as Saga
from orchestrator.saga.state import StepStatus as Step

EventType = type[Event]

SAGA: Mapping[Saga, Mapping[EventType, Saga]] = {
    Saga.QUEUED: {SagaStarted: Saga.RUNNING},
    Saga.RUNNING: {
        StepSkipped: Saga.RUNNING,
        AttemptOpened: Saga.RUNNING,
        AttemptSettled: Saga.RUNNING,
        RetryScheduled: Saga.RUNNING,
        StepSettled: Saga.RUNNING,
        StepStuck: Saga.RUNNING,
        CancelRequested: Saga.RUNNING,
        AttentionRaised: Saga.NEEDS_ATTENTION,
        CompensationBegan: Saga.COMPENSATING,
        SagaCompleted: Saga.COMPLETED,
    },
    Saga.COMPENSATING: {
        AttemptOpened: Saga.COMPENSATING,
        AttemptSettled: Saga.COMPENSATING,
        RetryScheduled: Saga.COMPENSATING,
        StepSettled: Saga.COMPENSATING,
        StepUndone: Saga.COMPENSATING,
        StepStuck: Saga.COMPENSATING,
        AttentionRaised: Saga.NEEDS_ATTENTION,
        SagaCompensated: Saga.COMPENSATED,
    },
    Saga.NEEDS_ATTENTION: {
        AttemptOpened: Saga.NEEDS_ATTENTION,
        AttemptSettled: Saga.NEEDS_ATTENTION,
        RetryScheduled: Saga.NEEDS_ATTENTION,
        StepSettled: Saga.NEEDS_ATTENTION,
        StepUndone: Saga.NEEDS_ATTENTION,
        StepStuck: Saga.NEEDS_ATTENTION,
        CancelRequested: Saga.NEEDS_ATTENTION,
        AttentionRaised: Saga.NEEDS_ATTENTION,
        CompensationBegan: Saga.COMPENSATING,
        SagaCompensated: Saga.COMPENSATED,
    },
    Saga.COMPLETED: {},
    Saga.COMPENSATED: {},
}

SETTLED_AS: Mapping[Outcome, Step] = {
    Outcome.APPLIED: Step.APPLIED,
    Outcome.NOT_APPLIED: Step.NOT_APPLIED,
    Outcome.UNKNOWN: Step.UNSETTLED,
}
_SETTLED = frozenset(SETTLED_AS.values())
_WAITING = frozenset({Step.BACKING_OFF, Step.PARKED})
_GIVEN_UP = frozenset({Step.NOT_APPLIED, Step.UNSETTLED})

STEP: Mapping[Step, Mapping[EventType, frozenset[Step]]] = {
    Step.PENDING: {
        StepSkipped: frozenset({Step.SKIPPED}),
        AttemptOpened: frozenset({Step.IN_FLIGHT}),
        # A request that cannot be rendered settles the step before anything is sent.
        StepSettled: frozenset({Step.NOT_APPLIED}),
    },
    Step.IN_FLIGHT: {
        AttemptOpened: frozenset({Step.IN_FLIGHT}),
        AttemptSettled: frozenset({Step.IN_FLIGHT}),
        RetryScheduled: _WAITING,
        StepSettled: _SETTLED,
        StepStuck: frozenset({Step.STUCK}),
    },
    Step.BACKING_OFF: {AttemptOpened: frozenset({Step.IN_FLIGHT}), StepSettled: _GIVEN_UP},
    Step.PARKED: {AttemptOpened: frozenset({Step.IN_FLIGHT}), StepSettled: _GIVEN_UP},
    # Stuck at once where there is no undo request.
    Step.UNSETTLED: {AttemptOpened: frozenset({Step.UNDOING}), StepStuck: frozenset({Step.STUCK})},
    Step.APPLIED: {AttemptOpened: frozenset({Step.UNDOING}), StepStuck: frozenset({Step.STUCK})},
    Step.UNDOING: {
        AttemptOpened: frozenset({Step.UNDOING}),
        AttemptSettled: frozenset({Step.UNDOING}),
        RetryScheduled: frozenset({Step.UNDOING}),
        StepUndone: frozenset({Step.UNDONE}),
        StepStuck: frozenset({Step.STUCK}),
    },
    # A forward call that asked for a person is treated as unknown once the saga goes backward.
    Step.STUCK: {StepSettled: frozenset({Step.UNSETTLED})},
    Step.NOT_APPLIED: {},
    Step.SKIPPED: {},
    Step.UNDONE: {},
}


def next_saga(status: Saga, event: Event) -> Saga:
    """Return the saga's status after the event; `JournalCorrupted` where the pair is not in the table."""
    try:
        return SAGA[status][type(event)]
    except KeyError:
        raise JournalCorrupted(f"{type(event).__name__} cannot follow in a saga that is {status.value}") from None


def next_step(status: Step, event: Event) -> Step:
    """Return the step's status after the event; `JournalCorrupted` where the pair is not in the table."""
    allowed = STEP[status].get(type(event), frozenset[Step]())
    wanted = _wanted(status, event)
    if wanted not in allowed:
        raise JournalCorrupted(f"{type(event).__name__} cannot follow in a step that is {status.value}")
    return wanted


def _wanted(status: Step, event: Event) -> Step:
    """Return the status that the event itself asks for, legal or not."""
    match event:
        case AttemptOpened(operation=Operation.FORWARD):
            return Step.IN_FLIGHT
        case AttemptOpened():
            return Step.UNDOING
        case RetryScheduled(operation=Operation.FORWARD, parked=parked):
            return Step.PARKED if parked else Step.BACKING_OFF
        case StepSettled(outcome=outcome):
            return SETTLED_AS[outcome]
        case StepSkipped():
            return Step.SKIPPED
        case StepUndone():
            return Step.UNDONE
        case StepStuck():
            return Step.STUCK
        case _:
            return status
