"""R8a, R12: from which instant on a "no" speaks for the calls before it, and what is told of it."""

import pytest

from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.events import Phase, Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import BEGIN_AT, Machine, report

TIMEOUT_S = 10.0
OVER_S = TIMEOUT_S + CLOCK_SKEW_S


def started(**options: object) -> Machine:
    machine = Machine(plan(step("a", timeout_s=TIMEOUT_S, **options)))  # type: ignore[arg-type]  # the caller names step's own options
    machine.start()
    return machine


@pytest.mark.parametrize(
    ("early_s", "status"),
    [(0.0, StepStatus.NOT_APPLIED), (0.001, StepStatus.BACKING_OFF), (-1.0, StepStatus.NOT_APPLIED)],
)
def test_a_refusal_counts_from_the_very_instant_at_which_nothing_lost_can_arrive(
    early_s: float, status: StepStatus
) -> None:
    machine = started(idempotent=True)
    machine.reply("a", report("UNAVAILABLE", retry_after_s=OVER_S - early_s))
    machine.pass_time(OVER_S + 1.0)
    machine.reply("a", "FAILED_PRECONDITION")
    [step_state] = machine.state.steps.values()
    assert step_state.status is status


def test_a_refusal_that_came_too_soon_is_asked_for_again_at_that_instant_and_no_earlier() -> None:
    machine = started(idempotent=True)
    machine.at = BEGIN_AT + 0.1
    machine.reply("a", "UNAVAILABLE")
    machine.pass_time(1.0)
    machine.reply("a", "FAILED_PRECONDITION")
    [due_at] = [due_at for due_at, timer in machine.timers if timer.step == "a"]
    assert due_at == BEGIN_AT + OVER_S


def test_a_probe_that_only_says_no_leaves_it_to_the_call_to_tell_how_it_had_ended() -> None:
    machine = started(probe=True)
    machine.at += OVER_S
    machine.reply("a", "UNAVAILABLE")
    machine.reply("a.probe", Report(code="NOT_FOUND", phase=Phase.REPLIED))
    assert machine.status is SagaStatus.COMPENSATED
    [step_state] = machine.state.steps.values()
    told = "the call ended UNAVAILABLE: it said UNAVAILABLE; the probe says that it did not take place"
    assert step_state.message == told
