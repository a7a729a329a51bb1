"""Random plans in a random world: what must hold whatever happens.

One story is checked against every oracle, because making the story is what takes the time.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga import SagaStatus, StepStatus, blank, check, fold
from orchestrator.saga.commands import Recovered
from orchestrator.saga.events import SettleReason
from orchestrator.saga.plan import StepKind
from orchestrator.saga.state import SagaState
from tests.kit.machine import Machine
from tests.properties import machine_oracles as oracle
from tests.properties.machine_plans import Tape, random_plan
from tests.properties.machine_world import World

# Of a fixed length, so that a shorter story is a tape with more zeros, and every run is a long one.
tapes = st.binary(min_size=220, max_size=220)


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
    oracle.frontier(machine.plan, machine.events)
    oracle.undone_set(machine.plan, machine.events)
    oracle.undo_order(machine.plan, machine.events)
    oracle.budget(machine.plan, machine.events)
    oracle.safety(machine.plan, machine.events, CLOCK_SKEW_S)
    _effects_are_conserved(world)


def _nothing_waits_that_could_start(machine: Machine) -> None:
    if machine.status is SagaStatus.RUNNING and not machine.is_draining:
        oracle.frontier_is_complete(machine.plan, machine.events)


def _ended_or_asked(machine: Machine) -> None:
    """Once the world is kind, a saga has ended, or it has said what it needs a person for."""
    if machine.state.is_terminal:
        assert not machine.owed
        return
    assert machine.status is SagaStatus.NEEDS_ATTENTION
    assert machine.state.attention
    assert any(step.status is StepStatus.STUCK for step in machine.state.steps.values())


def _effects_are_conserved(world: World) -> None:
    """M13, at a service that keeps what it promises, and whose calls hang whenever that hurts."""
    state, effects = world.machine.state, world.service.effects
    for step in state.plan.steps.values():
        status = state.steps[step.id].status
        if state.steps[step.id].settle_reason is not SettleReason.REPLIED and status is StepStatus.APPLIED:
            continue  # the service may have said no, and nobody could read it: it counts as applied, which is safe
        if state.status is SagaStatus.COMPENSATED and step.compensation is not None:
            assert effects[step.id] == 0, f"{step.id} is {status} and left {effects[step.id]} effects"
        if state.status is SagaStatus.COMPLETED and step.kind is not StepKind.READ:
            if status is StepStatus.APPLIED:
                assert effects[step.id] == 1, f"{step.id} took effect {effects[step.id]} times"
            elif status is not StepStatus.UNSETTLED:
                assert effects[step.id] == 0, f"{step.id} is {status}, yet it took effect"


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
    oracle.undone_set(heir.machine.plan, heir.machine.events)
    oracle.undo_order(heir.machine.plan, heir.machine.events)
