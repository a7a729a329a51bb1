"""Each invariant sees the state that breaks it. The states are made by hand: no command leads to them."""

from dataclasses import replace
from typing import Any

import pytest
from immutables import Map

from orchestrator.errors import InvariantViolated
from orchestrator.ids import StepId
from orchestrator.saga import SagaState, SagaStatus, StepStatus, blank, check, check_steps
from orchestrator.saga.plan import Outcome, Step
from orchestrator.testing.shorthand import plan, scope, step, wait
from tests.kit.machine import Machine, started

PLAN = plan(step("a"), step("b", "a"), step("r", read=True))
A, B, R = StepId("a"), StepId("b"), StepId("r")


def forward() -> Machine:
    """`a` applied, `b` and `r` in flight."""
    return started(PLAN).replies("a")


def backward() -> Machine:
    """`a` being undone, everything else settled."""
    machine = forward().replies("r")
    machine.reply("b", "INVALID_ARGUMENT")
    return machine


def with_step(state: SagaState, name: StepId, **changes: Any) -> SagaState:
    return replace(state, steps=state.steps.set(name, replace(state.steps[name], **changes)))


def with_forward(state: SagaState, name: StepId, **changes: Any) -> SagaState:
    operation: Any = state.steps[name].forward
    return with_step(state, name, forward=replace(operation, **changes))


def past_pivot() -> SagaState:
    """A saga that goes back although its pivot was applied."""
    ended = started(plan(step("a"), step("p", "a", pivot=True))).replies("a")
    ended.reply("p", "INVALID_ARGUMENT")
    return with_step(ended.state, StepId("p"), status=StepStatus.APPLIED)


def broken() -> dict[str, list[SagaState]]:
    running, undoing = forward().state, backward().state
    done = backward().replies("a").state
    undo: Any = undoing.steps[A].undo
    attempt: Any = undoing.steps[A].undo and undo.open
    opened: Any = running.steps[B].forward
    return {
        "M1": [replace(done, live=Map[StepId, None]({A: None}))],
        "M2": [with_forward(undoing, A, open=attempt)],
        "M3": [with_step(running, B, status=StepStatus.APPLIED)],
        "M4": [
            with_step(undoing, A, outcome=Outcome.NOT_APPLIED),
            with_step(done, R, status=StepStatus.UNDONE),
        ],
        "M5": [
            replace(
                with_step(undoing, B, status=StepStatus.APPLIED, outcome=Outcome.APPLIED, undo_request=undo.request),
                to_undo=(A, B),
            )
        ],
        "M6": [replace(done, cause=None), replace(running, cause=done.cause), past_pivot()],
        "M7": [with_step(running, A, undo_request=None)],
        "M8": [
            replace(
                with_step(undoing, A, status=StepStatus.STUCK, undo=replace(undo, open=None)),
                compensation_deadline_at=None,
                live=Map[StepId, None](),
            ),
            replace(
                with_step(undoing, A, status=StepStatus.STUCK, undo=replace(undo, open=None)),
                compensation_deadline_at=None,
                live=Map[StepId, None](),
                status=SagaStatus.NEEDS_ATTENTION,
            ),
        ],
        "M9": [
            with_forward(running, B, attempts=7),
            with_forward(running, A, attempts=0),
            with_forward(running, A, spent=9),
        ],
        "M10": [with_forward(running, B, key="another")],
        "M11": [with_forward(running, B, open=replace(opened.open, epoch=99))],
        "M12": [with_forward(running, B, open=replace(opened.open, deadline_at=running.forward_deadline_at + 1))],
        "M13": [with_step(done, A, status=StepStatus.APPLIED)],
        "R24": [with_step(running, A, status=StepStatus.STUCK, stuck=None, outcome=None)],
    }


@pytest.mark.parametrize("number", broken())
def test_a_broken_invariant_is_named(number: str) -> None:
    for state in broken()[number]:
        with pytest.raises(InvariantViolated) as caught:
            check(state)
        assert caught.value.number == number
        assert "'s'" in caught.value.message


def test_a_violation_says_which_saga_which_step_and_what_is_true() -> None:
    told: list[str] = []
    for state in (state for states in broken().values() for state in states):
        with pytest.raises(InvariantViolated) as caught:
            check(state)
        told.append(caught.value.message)
    assert told == [f"{number}: saga 's' at version {what}; please report this" for number, what in SENTENCES]


SENTENCES = (
    ("M1", "15: COMPENSATED, yet ['a'] is live"),
    ("M2", "12: step a has calls open for forward, compensate"),
    ("M3", "6: step b is APPLIED with a call open"),
    ("M4", "12: step a is undone with outcome NOT_APPLIED"),
    ("M4", "15: step r is undone with outcome APPLIED"),
    ("M5", "12: step a is being undone before ['b']"),
    ("M6", "15: COMPENSATED without a cause"),
    ("M6", "6: RUNNING with a cause"),
    ("M6", "9: COMPENSATING past the pivot p"),
    ("M7", "6: step a was applied and has no undo request"),
    ("M8", "12: COMPENSATING, yet nothing is owed and nobody was asked"),
    ("M8", "12: NEEDS_ATTENTION, yet nothing is owed and nobody was asked"),
    ("M9", "6: step b has attempts out of order"),
    ("M9", "6: step a has attempts out of order"),
    ("M9", "6: step a has attempts out of order"),
    ("M10", "6: forward of step b has key another"),
    ("M11", "6: step b is at epoch 99 of 1"),
    ("M12", "6: step b may run past the saga's deadline"),
    ("M13", "15: compensated, yet ['a'] is left"),
    ("R24", "6: step a is stuck (None) and the saga is RUNNING"),
)


def test_the_states_that_were_bent_were_sound() -> None:
    for machine in (forward(), backward(), backward().replies("a")):
        check(machine.state)
    check(blank(PLAN))


def test_an_undo_that_was_ahead_of_the_rest_is_not_held_against_it() -> None:
    """It began while only a part of the saga was being undone; what came after it had not to be undone then."""
    machine = started(
        plan(
            scope("s", steps=["b", "c"]), step("b", inside="s"), step("c", "b", inside="s"), step("d"), sequential=True
        )
    )
    machine.replies("b")
    machine.reply("c", "NOT_FOUND")
    machine.replies("d")
    machine.cancel()
    assert machine.state.ahead == {B}
    check(machine.state)
    with pytest.raises(InvariantViolated, match="M5"):
        check(replace(machine.state, ahead=frozenset()))


def test_two_parts_that_are_undone_at_once_do_not_wait_for_each_other() -> None:
    machine = started(
        plan(
            *(scope(name, steps=[f"{name}1", f"{name}2"]) for name in "xy"),
            *(step(f"{name}{number}", inside=name) for name in "xy" for number in (1, 2)),
            sequential=True,
        )
    )
    for name in ("x1", "y1"):
        machine.reply(name)
    for name in ("x2", "y2"):
        machine.reply(name, "NOT_FOUND")
    assert [call.step for call in machine.calls] == ["x1", "y1"]
    check(machine.state)


def test_a_saga_past_its_pivot_may_leave_what_comes_next_to_the_next_process() -> None:
    machine = started(plan(step("p", pivot=True), step("r", "p", retriable=True)))
    machine.is_draining = True
    machine.replies("p")
    assert machine.owed == frozenset()
    check(machine.state)


@pytest.mark.parametrize("beside", [[], [wait("w", "p")]])
def test_a_process_that_goes_on_has_begun_what_may_begin(beside: list[Step]) -> None:
    after = step("a", "p", retriable=True), step("b", "a", retriable=True)
    machine = started(plan(step("p", pivot=True), *after, *beside))
    machine.replies("p")
    machine.is_draining = True
    machine.replies("a")
    assert machine.owed == frozenset()
    check(machine.state, is_draining=True)
    with pytest.raises(InvariantViolated, match=r"M8: .* RUNNING, yet nothing is owed"):
        check(machine.state, is_draining=False)


def test_only_the_touched_steps_are_looked_at_after_an_append() -> None:
    state = with_forward(forward().state, B, key="another")
    check_steps(state, {A})
    with pytest.raises(InvariantViolated, match="M10"):
        check_steps(state, {B})


def test_an_authors_own_order_is_not_held_against_the_natural_one() -> None:
    machine = started(plan(step("a", undo_first=True), step("b", "a"), step("c", "b"))).replies("a", "b")
    machine.reply("c", "INVALID_ARGUMENT")
    assert machine.status is SagaStatus.COMPENSATING
    assert machine.state.steps[A].status is StepStatus.UNDOING
