"""What a decision may have freed is all that may begin: looking at it alone decides what a look at every step does.

And of a saga that goes backward, what is kept as left to be undone is what a look at every step finds.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.saga import Decision, SagaState, SagaStatus, decide, frontier
from orchestrator.saga.commands import Command, Moment
from orchestrator.saga.frontier import nothing_was_held
from orchestrator.saga.plan import CHILD_TARGET, Step
from orchestrator.saga.undoorder import latest_first, remaining
from orchestrator.testing.shorthand import plan, retry, step
from tests.kit import machine
from tests.kit.machine import Machine
from tests.properties.machine_oracles import frontier_is_complete
from tests.properties.machine_plans import Tape
from tests.properties.test_machine import tapes, world_of

DECIDE, EVOLVE = sys.modules["orchestrator.saga.decide"], sys.modules["orchestrator.saga.evolve"]
"""As modules: they have the names of their functions."""


ASKED_FOR_EVER: dict[str, Any] = {"idempotent": True, "policy": retry(0)}


def never(_state: SagaState, _moment: Moment) -> bool:
    return False


def all_steps(state: SagaState) -> Sequence[Step]:
    return state.plan.order


class Compared:
    """Decides everything twice: with a look at what was freed alone, and with one at every step."""

    def __init__(self) -> None:
        self.quick = 0

    def decide(self, state: SagaState, command: Command, moment: Moment) -> Decision:
        given = decide(state, command, moment)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DECIDE, "nothing_was_held", never)
            patch.setattr(frontier, "_not_begun", all_steps)
            whole = decide(state, command, moment)
        assert (given.events, given.state) == (whole.events, whole.state), command
        self.quick += bool(given.events) and nothing_was_held(state, moment)
        if given.state.is_backward:
            left = sorted(remaining(given.state), key=lambda step: step.settled_version)
            assert left == list(latest_first(given.state, None))[::-1], command
            assert bool(left) is bool(given.state.to_undo), command
        return given


@contextmanager
def compared(*, calls_max: int) -> Generator[Compared]:
    """Compare in every machine, with so few calls at once that the bound is felt."""
    both = Compared()
    with pytest.MonkeyPatch.context() as patch:
        for module in (frontier, EVOLVE):
            patch.setattr(module, "FORWARD_PARALLEL_MAX", calls_max)
        patch.setattr(machine, "decide", both.decide)
        yield both


@settings(max_examples=500)
@given(tapes, st.sampled_from([1, 2, 100]))
def test_what_was_freed_is_all_that_may_begin_and_what_is_left_all_that_is_undone(data: bytes, calls_max: int) -> None:
    with compared(calls_max=calls_max):
        world = world_of(data)
        world.run()
        world.settle_everything()


@settings(max_examples=300)
@given(tapes)
def test_what_was_held_back_begins_where_its_process_goes_on_itself(data: bytes) -> None:
    """Of wide sagas of calls and children, whose shard is left and taken back again and again."""
    tape = Tape(data)
    named = [f"s{number}" for number in range(8)]
    found = [
        step(name, *(need for need in named[:number] if tape.chance(4)), child=tape.chance(2), **ASKED_FOR_EVER)
        for number, name in enumerate(named)
    ]
    told = Machine(plan(*found, forward_s=1e6))
    told.start()
    while not told.state.is_terminal:
        if tape.chance(3) or not told.calls:
            told.is_draining = not told.is_draining
            if not told.is_draining:
                told.taken_back()
        elif tape.chance(12):
            told.cancel()
        else:
            told.replies(tape.pick(told.calls).step)
        if told.is_draining:
            continue
        if told.status is SagaStatus.RUNNING:
            frontier_is_complete(told.plan, told.events)
        told.pass_time(60.0)  # what was lost is asked again
        assert told.owed or told.state.is_terminal, "nobody would ever look again"
    for each in found:
        forward = told.state.steps[each.id].forward
        is_child = each.call.target == CHILD_TARGET
        assert forward is None or forward.attempts == 1 or not is_child, "a child is not interrupted"


def test_most_decisions_look_at_what_was_freed_alone() -> None:
    with compared(calls_max=100) as both:
        world = world_of(b"")
        world.run()
    assert both.quick == len(world.machine.plan.steps)
