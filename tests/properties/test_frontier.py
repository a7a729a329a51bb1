"""What a decision may have freed is all that may begin: looking at it alone decides what a look at every step does.

And of a saga that goes backward, what is kept as left to be undone is what a look at every step finds.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.saga import Decision, SagaState, decide, frontier
from orchestrator.saga.backward import latest_first, remaining
from orchestrator.saga.commands import Command, Moment
from orchestrator.saga.frontier import frontier_is_complete
from orchestrator.saga.plan import Step
from tests.kit import machine
from tests.properties.test_machine import tapes, world_of

DECIDE, EVOLVE = sys.modules["orchestrator.saga.decide"], sys.modules["orchestrator.saga.evolve"]
"""As modules: they have the names of their functions."""


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
            patch.setattr(DECIDE, "frontier_is_complete", never)
            patch.setattr(frontier, "_not_begun", all_steps)
            whole = decide(state, command, moment)
        assert (given.events, given.state) == (whole.events, whole.state), command
        self.quick += bool(given.events) and frontier_is_complete(state, moment)
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


def test_most_decisions_look_at_what_was_freed_alone() -> None:
    with compared(calls_max=100) as both:
        world = world_of(b"")
        world.run()
    assert both.quick == len(world.machine.plan.steps)
