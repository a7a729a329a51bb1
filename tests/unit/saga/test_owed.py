"""What is owed, where no transcript looks: before the first record, and after one alone."""

from orchestrator.saga import blank, owed
from orchestrator.saga.effects import SetTimer, Timer, TimerKind
from orchestrator.saga.owed import owes
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import BEGIN_AT, Machine

PLAN = plan(step("a"), forward_s=100)


def test_a_saga_that_has_not_begun_owes_nothing() -> None:
    assert owed(blank(PLAN)) == frozenset()
    assert not owes(blank(PLAN))


def test_a_saga_that_was_only_accepted_owes_its_deadline() -> None:
    machine = Machine(PLAN)
    machine.is_draining = True
    machine.start()
    assert machine.state.version == 1
    assert machine.owed == {SetTimer(Timer(TimerKind.FORWARD_DEADLINE), BEGIN_AT + 100)}
    assert owes(machine.state)
