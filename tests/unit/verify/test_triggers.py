"""I15: a step starts when its trigger rule allows it, by the truth table of R14; I20 says where it stops."""

from dataclasses import replace

import pytest

from orchestrator.ids import StepId
from orchestrator.saga.events import AttemptOpened, StepSettled
from orchestrator.saga.plan import Trigger, TriggerRule
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import started
from tests.unit.verify.samples import Sample, moved, sample_of

A, C = StepId("a"), StepId("c")
ENDS = {"ok": "OK", "no": "FAILED_PRECONDITION"}


def followed(first: str, second: str) -> Sample:
    """`c` starts when `a` and `b` are done, whatever came of them."""
    ends = {"a": first, "b": second}
    steps = [step(name, optional=True, when=_never if end == "skip" else None) for name, end in ends.items()]
    machine = started(plan(*steps, step("c", "a", "b", trigger="all_done")))
    for name, end in ends.items():
        if end != "skip":
            machine.reply(name, ENDS[end])
    return sample_of(machine.replies("c"))


def _never(_facts: object) -> bool:
    return False


def ruled(sample: Sample, rule: str, count: int = 0) -> list[str]:
    """What is found if `c` had been bound to another rule."""
    bound = replace(sample.plan.steps[C], trigger=Trigger(rule=TriggerRule(rule), count=count))
    other = replace(sample, plan=replace(sample.plan, steps={**sample.plan.steps, C: bound}))
    findings, _ = other.check()
    return [violation.message for violation in findings.violations if violation.invariant == "I15"]


ALLOWS = {
    "all_done": {"ok ok", "ok no", "no no", "ok skip", "no skip"},
    "one_success": {"ok ok", "ok no", "ok skip"},
    "one_done": {"ok ok", "ok no", "no no", "ok skip", "no skip"},
    "all_failed": {"no no"},
    "none_failed": {"ok ok", "ok skip"},
    "at_least": {"ok ok"},
    "all_success": {"ok ok"},
}
HISTORIES = sorted(ALLOWS["all_done"])


@pytest.mark.parametrize("rule", TriggerRule)
@pytest.mark.parametrize("history", HISTORIES)
def test_a_step_that_its_rule_does_not_allow_is_found(rule: TriggerRule, history: str) -> None:
    first, _, second = history.partition(" ")
    found = ruled(followed(first, second), rule.value, 2 if rule is TriggerRule.AT_LEAST else 0)
    assert bool(found) is (history not in ALLOWS[rule.value])


@pytest.mark.parametrize("rule", TriggerRule)
def test_a_step_that_starts_before_anything_has_ended_is_found(rule: TriggerRule) -> None:
    sample = followed("no", "no") if rule is TriggerRule.ALL_FAILED else followed("ok", "ok")
    early = moved(sample, sample.find(AttemptOpened, step=C), sample.find(StepSettled, step=A) - 1)
    assert ruled(early, rule.value, 1)


def test_the_order_of_undo_is_held_in_part_where_the_author_gave_his_own() -> None:
    own, none = plan(step("a"), step("b", "a", undo_after=["a"])), plan(step("a"), step("b", "a"))
    findings, _ = sample_of(started(own).replies("a", "b")).check()
    assert findings.partly["I20"] == "of plans whose author ordered undos by hand, the order is not held"
    findings, _ = sample_of(started(none).replies("a", "b")).check()
    assert "I20" not in findings.partly
