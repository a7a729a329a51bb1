"""What a state keeps so that nothing is looked for is what a look at every step and item finds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.saga import blank, evolve
from orchestrator.saga.events import GOOD_REASONS
from orchestrator.saga.plan import Outcome
from orchestrator.saga.state import OperationState, SagaState, StepState, StepStatus
from tests.properties.machine_plans import Tape, random_plan
from tests.properties.machine_world import World

TAPE_BYTES = 360
TAPES = st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES)
UNDER_WAY = {
    StepStatus.IN_FLIGHT,
    StepStatus.BACKING_OFF,
    StepStatus.PARKED,
    StepStatus.WAITING,
    StepStatus.PROBING,
    StepStatus.UNDOING,
}
HAS_EFFECT = {StepStatus.APPLIED, StepStatus.UNSETTLED, StepStatus.UNDOING}


@settings(max_examples=100)
@given(TAPES)
def test_what_is_under_way_is_live_until_the_saga_has_ended(data: bytes) -> None:
    for state in states(data):
        under_way = {step.id for step in state.everything() if step.status in UNDER_WAY}
        assert set(state.live) == (set() if state.is_terminal else under_way)


@settings(max_examples=100)
@given(TAPES)
def test_what_asks_for_a_person_is_what_is_stuck_and_the_calls_that_are_open_are_counted(data: bytes) -> None:
    for state in states(data):
        everything = list(state.everything())
        assert set(state.stuck) == {step.id for step in everything if step.status is StepStatus.STUCK}
        assert state.calls_open == sum(is_open(step.forward) for step in everything)
        assert state.undos_open == sum(is_open(step.undo) for step in everything)


def is_open(operation: OperationState | None) -> bool:
    return operation is not None and operation.open is not None


@settings(max_examples=100)
@given(TAPES)
def test_the_counts_of_a_list_are_those_of_its_items(data: bytes) -> None:
    for state in states(data):
        for step in state.steps.values():
            if step.items is not None:
                items = list(state.items_of(step.id))
                is_undoable = state.plan.steps[step.id].is_undoable
                assert step.items.began == len(items)
                assert step.items.under_way == sum(is_under_way(item) for item in items)
                assert step.items.applied == sum(went_well(item) for item in items)
                assert step.items.failed == sum(has_failed(item) for item in items)
                assert step.items.to_undo == sum(is_undoable and is_to_undo(item) for item in items)
                assert step.items.undoing == sum(item.status is StepStatus.UNDOING for item in items)
                assert step.items.stuck == sum(item.status is StepStatus.STUCK for item in items)


def is_under_way(item: StepState) -> bool:
    return item.outcome is None and item.status is not StepStatus.SKIPPED


def went_well(item: StepState) -> bool:
    return item.outcome is Outcome.APPLIED and item.settle_reason in GOOD_REASONS


def has_failed(item: StepState) -> bool:
    return item.outcome is not None and not went_well(item)


def is_to_undo(item: StepState) -> bool:
    return item.status in HAS_EFFECT or (item.status is StepStatus.STUCK and item.outcome is not None)


def states(data: bytes) -> list[SagaState]:
    """Return the states of a random story, one for each record."""
    tape = Tape(data)
    machine = World(random_plan(tape), tape).run()
    told = [blank(machine.plan)]
    for event in machine.events:
        told.append(evolve(told[-1], event))
    return told
