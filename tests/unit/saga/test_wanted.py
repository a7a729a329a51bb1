"""What is known of a call that came to no end of its own, when its records are used up."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.ids import StepId
from orchestrator.limits import ATTEMPTS_MAX
from orchestrator.saga.commands import TerminateSaga
from orchestrator.saga.events import AttentionReason, SagaTerminated
from orchestrator.testing.shorthand import plan, retry, step
from tests.kit.machine import Machine, started

A = StepId("a")


def used_up(code: str) -> Machine:
    """A step that has to succeed, whose last recorded attempt ends so."""
    machine = started(plan(step("a", on_failure="retry", policy=retry(0))))
    old: Any = machine.state.steps[A]
    opened = replace(old.forward.open, number=ATTEMPTS_MAX)
    worn = replace(old, forward=replace(old.forward, attempts=ATTEMPTS_MAX, open=opened))
    machine.state = replace(machine.state, steps=machine.state.steps.set(A, worn))
    machine.reply("a", code)
    assert machine.state.attention == (AttentionReason.ATTEMPTS_EXCEEDED,)
    return machine


@pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "ALREADY_EXISTS"])
def test_a_call_that_was_refused_to_the_last_has_left_nothing(code: str) -> None:
    machine = used_up(code)
    ended = machine.tell(TerminateSaga(audit=machine.audit()))[-1]
    assert isinstance(ended, SagaTerminated)
    assert ended.left == ()
