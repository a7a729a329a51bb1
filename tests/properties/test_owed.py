"""What is owed, found from what the records have touched, is what all that lives owes; whatever happens."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map

from orchestrator.saga import blank, evolve, owed
from orchestrator.saga.effects import Effect, SetTimer, Timer, in_order
from orchestrator.saga.events import Event, touched
from orchestrator.saga.owed_since import owed_since, timers_after
from orchestrator.saga.state import SagaState
from tests.properties.machine_plans import Tape, random_plan
from tests.properties.machine_world import World

TAPE_BYTES = 360
TURN_RECORDS_MAX = 12


@settings(max_examples=400)
@given(st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES), st.integers(1, TURN_RECORDS_MAX))
def test_the_difference_is_that_of_the_whole_after_any_number_of_records(data: bytes, at_once: int) -> None:
    tape = Tape(data)
    world = World(random_plan(tape), tape)
    machine = world.run()
    states = _states(blank(machine.plan), machine.events)
    timers = Map[Timer, float]()
    old: SagaState | None = None
    for begin in range(0, len(machine.events), at_once):
        events = machine.events[begin : begin + at_once]
        new = states[begin + len(events)]
        change = owed_since(old, new, touched(events))
        was, now = frozenset[Effect]() if old is None else owed(old), owed(new)
        assert [*change.due] == sorted(now - was, key=in_order)
        assert [*change.over] == sorted(was - now, key=in_order)
        timers = timers_after(timers, change)
        assert dict(timers) == {each.timer: each.due_at for each in now if isinstance(each, SetTimer)}
        early = {each for each in was if isinstance(each, SetTimer)}
        change = owed_since(old, new, touched(events), [each.timer for each in early])
        assert set(change.due) == now - (was - early), "what fired and is owed still is due again"
        assert len(set(change.due)) == len(change.due)
        assert set(change.over) == was - now
        old = new


@settings(max_examples=200)
@given(st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES))
def test_what_is_in_doubt_is_what_has_a_forward_call_of_which_nobody_saw_the_end(data: bytes) -> None:
    tape = Tape(data)
    machine = World(random_plan(tape), tape).run()
    for state in _states(blank(machine.plan), machine.events):
        everything = [*state.steps.values(), *state.items.values()]
        unknown = {step.id for step in everything if step.forward is not None and step.forward.unknown}
        assert set(state.in_doubt) == unknown


def _states(before: SagaState, events: Sequence[Event]) -> list[SagaState]:
    states = [before]
    for event in events:
        states.append(evolve(states[-1], event))
    return states
