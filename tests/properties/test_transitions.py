"""The two tables against what sagas really do: nothing listed that never happens, nothing that happens unlisted."""

from dataclasses import dataclass, field, replace
from random import Random  # noqa: TID251  (a fixed seed: the same stories in every run)
from typing import Any, cast, get_args

import pytest

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import StepId
from orchestrator.saga import SagaStatus, StepStatus, blank, evolve
from orchestrator.saga.events import AttemptOpened, AttentionCleared, CompensationBegan, Event, StepsReset
from orchestrator.saga.state import TERMINAL, SagaState
from orchestrator.saga.transitions import SAGA, STEP, next_saga, next_step
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import Machine, started
from tests.kit.transcript import Transcript
from tests.properties.machine_plans import Tape, random_plan
from tests.properties.machine_world import World
from tests.scenarios.test_scenarios import FILES, blocks_of

EVENTS: tuple[type, ...] = get_args(Event)
OF_THE_SAGA = {"AttentionRaised", "OperatorActed", "RollbackBegan", "ElseBegan", "StepsReset"}
"""Events that name a step and are no step's own."""
STEP_EVENTS = tuple(each for each in EVENTS if "step" in each.__annotations__ and each.__name__ not in OF_THE_SAGA)
STORIES = 2_500


@dataclass
class Seen:
    """What some hundred stories brought: transitions, and one state and event of every sort."""

    saga: set[tuple[SagaStatus, type, SagaStatus]] = field(default_factory=set)
    step: set[tuple[StepStatus, type, StepStatus]] = field(default_factory=set)
    states: dict[SagaStatus, SagaState] = field(default_factory=dict)
    steps: dict[StepStatus, tuple[SagaState, StepId]] = field(default_factory=dict)
    events: dict[type, list[Event]] = field(default_factory=dict)

    def tell(self, machine: Machine) -> None:
        """Look at every record of a saga."""
        state = blank(machine.plan)
        for event in machine.events:
            after = evolve(state, event)
            self.note(state, event, after)
            state = after

    def note(self, before: SagaState, event: Event, after: SagaState) -> None:
        kind = type(event)
        self.saga.add((before.status, kind, after.status))
        self.states.setdefault(before.status, before)
        self.states.setdefault(after.status, after)
        samples = self.events.setdefault(kind, [])
        if len(samples) < 40:
            samples.append(event)
        if kind in STEP_EVENTS:
            step: StepId = cast(Any, event).step
            was = before.find(step)
            self.step.add((StepStatus.PENDING if was is None else was.status, kind, after.step(step).status))
            for state in (before, after):
                if step in state.steps:
                    self.steps.setdefault(state.steps[step].status, (state, step))
        if isinstance(event, StepsReset):
            self.step |= {(before.steps[each].status, kind, after.steps[each].status) for each in event.steps}


@pytest.fixture(scope="module")
def seen() -> Seen:
    found, luck = Seen(), Random(7)
    for text in (path.read_text(encoding="utf-8") for path in FILES):
        transcript = Transcript()
        for command in (command for _, command, _ in blocks_of(text) if command):
            transcript.run(command)
        found.tell(transcript.machine)
    for number in range(STORIES):
        tape = Tape(luck.randbytes(360))
        world = World(random_plan(tape), tape)
        machine = world.run()
        if number % 2:
            world.settle_everything()
        found.tell(machine)
    return found


def test_the_saga_table_lists_what_happens_and_nothing_else(seen: Seen) -> None:
    listed = {(status, kind, after) for status, row in SAGA.items() for kind, after in row.items()}
    # The table's RUNNING means where the saga was before it asked for a person: COMPENSATING, where it went backward.
    listed.add((SagaStatus.NEEDS_ATTENTION, AttentionCleared, SagaStatus.COMPENSATING))
    assert seen.saga == listed


def test_the_step_table_lists_what_happens_and_nothing_else(seen: Seen) -> None:
    listed = {(status, kind, after) for status, row in STEP.items() for kind, ends in row.items() for after in ends}
    assert seen.step == listed


def test_every_status_is_reached(seen: Seen) -> None:
    assert set(seen.states) == set(SagaStatus) == set(SAGA)
    assert set(seen.steps) == set(StepStatus) == set(STEP)


def test_a_terminal_status_has_no_way_out_and_every_other_one_has() -> None:
    for status, row in SAGA.items():
        # A completed child is undone by its parent, and by nobody else (R21).
        ways_out = [kind for kind in row if (status, kind) != (SagaStatus.COMPLETED, CompensationBegan)]
        assert (status in TERMINAL) == (not ways_out)
        assert status in TERMINAL or any(after is not status for after in row.values())
    for step_status, ends in STEP.items():
        # A step that has come to an end of any sort may be begun anew, when a person has it run again (R25).
        assert any(after is not step_status for each in ends.values() for after in each), step_status


@pytest.mark.parametrize("status", SagaStatus)
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_unlisted_saga_event_is_refused_and_changes_nothing(seen: Seen, status: SagaStatus, kind: type) -> None:
    if kind in SAGA[status]:
        assert next_saga(status, seen.events[kind][0]) is SAGA[status][kind]
        return
    state = seen.states[status]
    before = repr(state)
    with pytest.raises(JournalCorrupted, match=f"{kind.__name__} cannot follow"):
        evolve(state, seen.events[kind][0])
    assert repr(state) == before


@pytest.mark.parametrize("status", StepStatus)
@pytest.mark.parametrize("kind", STEP_EVENTS, ids=lambda kind: kind.__name__)
def test_an_unlisted_step_event_is_refused_and_changes_nothing(seen: Seen, status: StepStatus, kind: type) -> None:
    if kind in STEP[status]:
        return
    state, step = seen.steps[status]
    before = repr(state)
    for event in seen.events[kind]:
        with pytest.raises(JournalCorrupted):
            next_step(status, event)
        with pytest.raises(JournalCorrupted):
            evolve(state, replace(cast(Any, event), step=step))
    assert repr(state) == before


def test_a_listed_event_with_an_end_that_is_not_listed_is_refused(seen: Seen) -> None:
    """`StepSettled` may follow in a waiting step, but not with an outcome that only a reply can give."""
    for (status, kind, _), events in [(each, seen.events[each[1]]) for each in seen.step]:
        for event in events:
            try:
                assert (status, kind, next_step(status, event)) in seen.step
            except JournalCorrupted:
                continue


def test_attempts_follow_each_other_without_a_gap_and_one_at_a_time() -> None:
    machine = started(plan(step("a", idempotent=True)))
    first = machine.events[-1]
    assert isinstance(first, AttemptOpened)
    for number in (1, 2, 3):
        with pytest.raises(JournalCorrupted, match="must follow"):
            evolve(machine.state, replace(first, attempt=number))
    machine.reply("a", "UNAVAILABLE")
    assert evolve(machine.state, replace(first, attempt=2)).version == machine.state.version + 1
    for number in (1, 3):
        with pytest.raises(JournalCorrupted, match="2 must follow"):
            evolve(machine.state, replace(first, attempt=number))
