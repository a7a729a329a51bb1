"""Commands out of place, and journals that cannot be."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import JournalCorrupted, Rejected
from orchestrator.ids import StepId
from orchestrator.saga import SagaStatus, blank, evolve
from orchestrator.saga.commands import AttemptReported, CancelSaga, Command, Recovered, TimerFired
from orchestrator.saga.effects import Timer, TimerKind
from orchestrator.saga.events import AttemptOpened, AttemptSettled, RetryScheduled
from orchestrator.saga.plan import Operation
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import BEGIN_AT, Machine, report, started

PLAN = plan(step("a", idempotent=True))
REPORTED = AttemptReported(step=StepId("a"), operation=Operation.FORWARD, attempt=1, report=report())
NOBODY = replace(REPORTED, step=StepId("nobody"))
TIMERS = [
    TimerFired(timer=timer)
    for kind in TimerKind
    for timer in (Timer(kind), Timer(kind, StepId("nobody"), Operation.FORWARD, 1))
]


@pytest.mark.parametrize(
    "command", [REPORTED, NOBODY, Recovered(), *TIMERS, *(TimerFired(timer=Timer(k)) for k in TimerKind)]
)
def test_before_its_start_and_after_its_end_a_saga_hears_nothing(command: Command) -> None:
    fresh, ended = Machine(PLAN), started(PLAN).replies("a")
    for machine in (fresh, ended):
        machine.at = BEGIN_AT + 1_000
        assert machine.tell(command) == ()
        assert machine.rejected is None
    assert fresh.state == blank(PLAN)


def test_a_caller_out_of_place_is_told_so() -> None:
    fresh, running, ended = Machine(PLAN), started(PLAN), started(PLAN).replies("a")
    fresh.tell(CancelSaga(reason=""))
    running.start()
    ended.start()
    reasons = [machine.rejected.reason for machine in (fresh, running, ended) if isinstance(machine.rejected, Rejected)]
    assert reasons == ["NOT_STARTED", "ALREADY_STARTED", "TERMINAL_STATE"]


@pytest.mark.parametrize("command", [NOBODY, *TIMERS])
def test_news_of_a_step_that_is_not_in_the_plan_change_nothing(command: Command) -> None:
    machine = started(PLAN)
    assert machine.tell(command) == ()


def test_a_record_that_names_a_step_outside_the_plan_is_corruption() -> None:
    machine = started(PLAN)
    opened: Any = machine.events[-1]
    with pytest.raises(JournalCorrupted, match="nobody"):
        evolve(machine.state, replace(opened, step=StepId("nobody")))


def test_a_first_attempt_without_its_request_is_corruption() -> None:
    machine = started(PLAN)
    opened: Any = machine.events[-1]
    assert isinstance(opened, AttemptOpened)
    with pytest.raises(JournalCorrupted, match="no request"):
        evolve(Machine(PLAN, machine.events[0]).state, replace(opened, request=None))


def test_an_end_without_its_beginning_is_corruption() -> None:
    machine = started(PLAN)
    in_flight = machine.state
    settled: Any = machine.reply("a", "UNAVAILABLE")[0]
    assert isinstance(settled, AttemptSettled)
    with pytest.raises(JournalCorrupted, match="cannot follow in a step that is BACKING_OFF"):
        evolve(machine.state, settled)
    with pytest.raises(JournalCorrupted, match="not open"):
        evolve(evolve(in_flight, settled), settled)
    with pytest.raises(JournalCorrupted, match="no beginning"):
        evolve(in_flight, replace(settled, operation=Operation.COMPENSATE))
    waiting = RetryScheduled(
        at=0.0, step=StepId("a"), operation=Operation.COMPENSATE, due_at=0.0, parked=False, reason=""
    )
    with pytest.raises(JournalCorrupted, match="cannot follow in a step that is IN_FLIGHT"):
        evolve(in_flight, waiting)
    assert machine.status is SagaStatus.RUNNING
