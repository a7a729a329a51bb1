"""Which steps may begin, pass or wait: every rule over every way that two and three predecessors can stand (R14)."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest

from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.saga import SagaState, StepStatus, blank
from orchestrator.saga.events import SettleReason
from orchestrator.saga.frontier import Readiness, Tally, readiness, readiness_of
from orchestrator.saga.plan import Trigger, TriggerRule
from orchestrator.testing.shorthand import plan, step

OPEN, APPLIED, FAILED, SKIPPED = "open", "applied", "failed", "skipped"
Says = Callable[[Sequence[str]], bool]

BEGINS: dict[str, Says] = {
    "ALL_SUCCESS": lambda ends: all(end == APPLIED for end in ends),
    "ALL_DONE": lambda ends: OPEN not in ends,
    "ONE_SUCCESS": lambda ends: APPLIED in ends,
    "ONE_DONE": lambda ends: any(end != OPEN for end in ends),
    "ALL_FAILED": lambda ends: all(end == FAILED for end in ends),
    "NONE_FAILED": lambda ends: all(end in {APPLIED, SKIPPED} for end in ends),
    "AT_LEAST": lambda ends: ends.count(APPLIED) >= 2,
}


def may_begin_later(rule: str, ends: Sequence[str]) -> bool:
    """Whether there is an end of what is still open with which the step begins."""
    choices = [(APPLIED, FAILED, SKIPPED) if end == OPEN else (end,) for end in ends]
    return any(BEGINS[rule](each) for each in product(*choices))


@pytest.mark.parametrize("rule", BEGINS)
@pytest.mark.parametrize("count", [2, 3])
def test_a_step_begins_by_its_rule_and_is_passed_over_when_it_never_can(rule: str, count: int) -> None:
    trigger = Trigger(rule=TriggerRule[rule], count=2)
    for ends in product((OPEN, APPLIED, FAILED, SKIPPED), repeat=count):
        tally = Tally(count, ends.count(APPLIED), ends.count(FAILED), ends.count(SKIPPED))
        later = Readiness.WAIT if may_begin_later(rule, ends) else Readiness.SKIP
        assert readiness(trigger, tally) is (Readiness.START if BEGINS[rule](ends) else later), ends


@pytest.mark.parametrize("rule", BEGINS)
def test_a_step_that_needs_nothing_begins_at_once(rule: str) -> None:
    assert readiness(Trigger(rule=TriggerRule[rule], count=2), Tally(0, 0, 0, 0)) is Readiness.START


REPLIED, REFUSED = SettleReason.REPLIED, SettleReason.REFUSED
STANDS: dict[tuple[StepStatus, SettleReason | None], str] = {
    (StepStatus.IN_FLIGHT, None): OPEN,
    (StepStatus.APPLIED, REPLIED): APPLIED,
    (StepStatus.APPLIED, REFUSED): FAILED,
    (StepStatus.NOT_APPLIED, REPLIED): FAILED,
    (StepStatus.SKIPPED, None): SKIPPED,
}


@pytest.mark.parametrize("rule", BEGINS)
def test_what_a_step_may_do_follows_from_how_those_it_needs_stand(rule: str) -> None:
    """Also of the rule that is looked at without a tally, because nearly every step has it."""
    needs = [StepId("a"), StepId("b"), StepId("c")]
    last = step("d", *needs, trigger=f"{rule.lower()}:2")
    given = blank(plan(*map(step, needs), last))
    for stands in product(STANDS, repeat=3):
        state: SagaState = given
        for need, (status, reason) in zip(needs, stands, strict=True):
            standing = changed(state.steps[need], status=status, settle_reason=reason)
            state = changed(state, steps=state.steps.set(need, standing))
        ends = [STANDS[each] for each in stands]
        tally = Tally(3, ends.count(APPLIED), ends.count(FAILED), ends.count(SKIPPED))
        assert readiness_of(state, last) is readiness(last.trigger, tally), stands
