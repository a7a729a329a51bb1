"""Random plans in a random world: what must hold whatever happens.

One story is checked against every oracle, because making the story is what takes the time.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga import SagaStatus, StepStatus, blank, check, fold
from orchestrator.saga.commands import Recovered
from orchestrator.saga.events import GOOD_REASONS, OperatorActed, SagaTerminated, Verb
from orchestrator.saga.plan import Call, StepKind
from orchestrator.saga.state import SagaState, StepState
from tests.kit.machine import Machine
from tests.properties import attempt_oracles
from tests.properties import machine_oracles as oracle
from tests.properties.machine_plans import Tape, random_plan
from tests.properties.machine_story import whole_story
from tests.properties.machine_world import World

# Of a fixed length, so that a shorter story is a tape with more zeros, and every run is a long one.
TAPE_BYTES = 360
tapes = st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES)


def world_of(data: bytes) -> World:
    tape = Tape(data)
    return World(random_plan(tape), tape)


@settings(max_examples=1_000)
@given(tapes)
def test_a_saga_keeps_every_rule_in_a_hostile_world(data: bytes) -> None:
    world = world_of(data)
    world.observe(_nothing_waits_that_could_start)
    machine = world.run()
    _ended_or_asked(machine)
    _keeps_every_rule(machine)
    _effects_are_conserved(world)


@settings(max_examples=500)
@given(tapes)
def test_a_person_who_decides_whatever_is_asked_brings_every_saga_to_its_end(data: bytes) -> None:
    """I35: nothing waits for ever; and whatever people decided, the rules hold and no effect is forgotten."""
    world = world_of(data)
    world.run()
    world.settle_everything()
    assert world.machine.state.is_terminal
    assert not world.machine.owed
    _keeps_every_rule(world.machine)
    _effects_are_conserved(world)


def _keeps_every_rule(machine: Machine) -> None:
    plan, events = machine.plan, machine.events
    oracle.frontier(plan, events)
    oracle.pivot_rule(plan, events)
    oracle.undone_set(plan, events)
    oracle.undo_order(plan, events)
    oracle.stopped_operations(plan, events)
    attempt_oracles.budget(plan, events)
    attempt_oracles.safety(plan, events, CLOCK_SKEW_S)
    attempt_oracles.believed(plan, events)
    oracle.signals(plan, events)
    oracle.termination(events)


def _nothing_waits_that_could_start(machine: Machine) -> None:
    if machine.status is SagaStatus.RUNNING and not machine.is_draining and machine.state.cancel_reason is None:
        oracle.frontier_is_complete(machine.plan, machine.events)


def _ended_or_asked(machine: Machine) -> None:
    """Once the world is kind, a saga has ended, or it has said what it needs a person for."""
    if machine.state.is_terminal:
        assert not machine.owed
        return
    assert machine.status is SagaStatus.NEEDS_ATTENTION
    assert machine.state.attention
    assert any(step.status is StepStatus.STUCK for step in _everything(machine.state))


def _everything(state: SagaState) -> list[StepState]:
    return [*state.steps.values(), *state.items.values()]


def _effects_are_conserved(world: World) -> None:
    """M13, at a service that keeps what it promises, and whose calls hang whenever that hurts."""
    state, effects, events = world.machine.state, world.service.effects, world.machine.events
    forced = any(isinstance(event, OperatorActed) and event.verb is Verb.FORCE_COMPLETE for event in events)
    repeated = whole_story(events).repeated
    for step in _everything(state):
        spec = state.plan.step_of(step.id)
        if not isinstance(spec.body, Call) or spec.kind is StepKind.READ or step.items is not None:
            continue
        if step.settle_reason not in GOOD_REASONS and step.status is StepStatus.APPLIED:
            continue  # the service may have said no, and nobody could read it: it counts as applied, which is safe
        count = effects[step.id]
        is_left = step.status is StepStatus.LEFT or step.id in repeated
        if state.status is SagaStatus.COMPENSATED and spec.is_undoable and not is_left:
            assert count == 0, f"{step.id} is {step.status} and left {count} effects"
        if state.status is SagaStatus.COMPLETED and not forced and step.id not in repeated:
            if step.status is StepStatus.APPLIED:
                assert count == 1, f"{step.id} took effect {count} times"
            elif step.status not in {StepStatus.UNSETTLED, StepStatus.LEFT}:
                assert count == 0, f"{step.id} is {step.status}, yet it took effect"
    if isinstance(events[-1], SagaTerminated):
        there = {path for path, count in effects.items() if count and state.find(path) is not None}
        there = {path for path in there if state.plan.step_of(path).kind is not StepKind.READ}
        assert there <= set(events[-1].left), f"{there - set(events[-1].left)} is left, and nobody said so"


@settings(max_examples=300)
@given(tapes)
def test_the_fold_of_all_records_is_the_state_at_every_record(data: bytes) -> None:
    """M15: not only after each decision, which every story checks, but from the first record on, one by one."""
    machine = world_of(data).run()
    state: SagaState = blank(machine.plan)
    for number, event in enumerate(machine.events, start=1):
        state = fold(state, [event])
        assert state.version == number
    assert state == machine.state == fold(blank(machine.plan), machine.events)


@settings(max_examples=500)
@given(tapes, st.integers(0, 10_000))
def test_a_saga_cut_off_between_any_two_appends_recovers(data: bytes, cut: int) -> None:
    """R1, R26: recovery needs the records and nothing else, wherever the process died."""
    world = world_of(data)
    lengths: list[int] = []
    world.observe(lambda machine: lengths.append(len(machine.events)))
    world.run()
    kept = world.machine.events[: lengths[cut % len(lengths)]]
    heir = World(world.machine.plan, Tape(b""))
    heir.machine = Machine(world.machine.plan, *kept)
    heir.machine.at, heir.machine.epoch = kept[-1].at, world.machine.epoch + 1
    check(heir.machine.state)
    heir.machine.tell(Recovered())
    heir.be_kind()
    _ended_or_asked(heir.machine)
    _keeps_every_rule(heir.machine)
