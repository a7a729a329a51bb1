"""A record that cannot follow is refused with a sentence that names it, the step, and what is true."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import StepId
from orchestrator.saga import evolve
from orchestrator.saga.events import Event, SagaCompleted, SettleReason, StepBegan, StepReopened, StepSettled
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.testing.shorthand import items, plan, sleep, step, wait
from tests.kit.machine import BEGIN_AT, Machine, report, started

A = StepId("a")


def machine_of() -> Machine:
    """`a` is being called, `w` waits for `go`, two items of four are being called."""
    return started(plan(step("a", idempotent=True), wait("w", signal="go"), step("l", for_each=items(4))))


def settled(path: str, reason: SettleReason) -> StepSettled:
    return StepSettled(
        at=BEGIN_AT,
        step=StepId(path),
        started_at=BEGIN_AT,
        outcome=Outcome.APPLIED,
        reason=reason,
        code="OK",
        message="",
        undo_request=None,
    )


def opened(path: str) -> Any:
    """The record that opened a call of `machine_of()`."""
    return next(each for each in machine_of().events if getattr(each, "step", None) == path and hasattr(each, "key"))


def backing_off() -> Machine:
    machine = machine_of()
    machine.reply("a", report("UNAVAILABLE"))
    return machine


FIRST = opened("a")
REFUSED: Any = backing_off().events[-2]
ABSENT = "which the plan does not have, or not yet"


@pytest.mark.parametrize(
    ("machine", "event", "sentence"),
    [
        (machine_of(), replace(FIRST, step=StepId("b")), f"a record names step 'b', {ABSENT}"),
        (machine_of(), replace(FIRST, step=StepId("l[3]")), f"a record names step 'l[3]', {ABSENT}"),
        (machine_of(), replace(FIRST, step=StepId("l[4]")), f"a record names step 'l[4]', {ABSENT}"),
        (machine_of(), replace(FIRST, step=StepId("a[0]")), f"a record names step 'a[0]', {ABSENT}"),
        (machine_of(), settled("w", SettleReason.DONE), "step 'w' took signal 'go', which had not come"),
        (machine_of(), FIRST, "attempt 1 of step 'a' is opened, yet 2 must follow"),
        (machine_of(), replace(FIRST, attempt=2), "attempt 2 of step 'a' is opened, yet 2 must follow"),
        (backing_off(), replace(FIRST, attempt=3), "attempt 3 of step 'a' is opened, yet 2 must follow"),
        (
            machine_of(),
            replace(FIRST, step=StepId("l[2]"), attempt=2),
            "attempt 2 of step 'l[2]' is opened, yet 1 must follow",
        ),
        (
            machine_of(),
            replace(FIRST, step=StepId("l[2]"), request=None),
            "the first attempt of forward of step 'l[2]' has no request",
        ),
        (backing_off(), replace(REFUSED, attempt=1), "AttemptSettled cannot follow in a step that is BACKING_OFF"),
        (machine_of(), replace(REFUSED, attempt=2), "attempt 2 of step 'a' is settled but not open"),
        (
            machine_of(),
            replace(REFUSED, operation=Operation.PROBE),
            "probe of step 'a' has an end but no beginning",
        ),
        (
            backing_off(),
            StepReopened(at=BEGIN_AT, step=A, operation=Operation.AWAIT),
            "await of step 'a' is tried again, and was never tried",
        ),
        (
            Machine(machine_of().plan),
            SagaCompleted(at=BEGIN_AT, started_at=BEGIN_AT, output=None),
            "SagaCompleted cannot follow in a saga that is QUEUED",
        ),
    ],
)
def test_a_record_that_cannot_follow_is_named(machine: Machine, event: Event, sentence: str) -> None:
    with pytest.raises(JournalCorrupted) as caught:
        evolve(machine.state, event)
    assert caught.value.message == sentence


@pytest.mark.parametrize(
    ("path", "due_at", "count"),
    [
        ("a", None, None),  # a call
        ("a", BEGIN_AT, None),
        ("a", None, 4),
        ("l", BEGIN_AT, 4),  # items are not waited for until an instant
        ("l", BEGIN_AT, None),
        ("l", None, None),
        ("w", None, 4),  # a wait has no items
        ("z", None, None),  # nobody would ever wake it
        ("z", BEGIN_AT, 4),
    ],
)
def test_a_step_that_begins_as_its_plan_never_lets_it_is_refused(
    path: str, due_at: float | None, count: int | None
) -> None:
    later = step("a", "f"), wait("w", "f"), step("l", "f", for_each=items(4)), sleep("z", "f")
    machine = started(plan(step("f"), *later))
    began = StepBegan(at=BEGIN_AT, step=StepId(path), due_at=due_at, count=count)
    with pytest.raises(JournalCorrupted, match=f"step '{path}' cannot begin as it did"):
        evolve(machine.state, began)


def test_an_item_that_begins_as_a_step_without_a_call_is_refused() -> None:
    began = StepBegan(at=BEGIN_AT, step=StepId("l[2]"), due_at=BEGIN_AT, count=None)
    with pytest.raises(JournalCorrupted, match="which items never are"):
        evolve(machine_of().state, began)
