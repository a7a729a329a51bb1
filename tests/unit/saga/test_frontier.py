"""Where a decision looks for steps that may begin: what ended frees what follows it, in the order of the plan."""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

from orchestrator.limits import ALERT_ATTEMPTS
from orchestrator.saga import decide
from orchestrator.saga.commands import AttemptReported, Command, Moment
from orchestrator.saga.events import AttentionReason, Event
from orchestrator.saga.plan import Step
from orchestrator.testing.shorthand import items, plan, scope, step
from tests.kit.machine import Machine, names, report, started


def test_what_is_freed_behind_the_look_waits_for_the_next_one() -> None:
    """As it does where every step is looked at: `a` was passed when `c` had not ended, so that `d` begins first."""
    given = (step("a", "c", trigger="all_done"), step("b", "r"), step("c", "r", when=lambda _facts: False))
    machine = started(plan(*given, step("d", "r"), step("r")))
    assert names(machine.reply("r"))[2:] == ["AttemptOpened b", "StepSkipped c", "AttemptOpened d", "AttemptOpened a"]


def test_what_was_freed_while_a_cancel_waited_for_the_pivot_begins_when_that_is_applied() -> None:
    machine = started(plan(step("a"), step("p", "a", pivot=True), step("b", "a", read=True), step("c", "b", read=True)))
    machine.reply("a")
    machine.cancel()
    assert "AttemptOpened c" not in names(machine.reply("b"))
    assert "AttemptOpened c" in names(machine.reply("p"))


def test_what_a_process_held_back_begins_at_once_where_it_goes_on_itself() -> None:
    """Its children were not interrupted, and past the pivot no time runs out: nothing else would look at `b` again."""
    after = (step("a", "p", retriable=True), step("b", "a", retriable=True), step("c", "p", retriable=True, child=True))
    machine = started(plan(step("p", pivot=True), *after)).replies("p")
    machine.is_draining = True
    assert names(machine.reply("a")) == ["AttemptSettled a", "StepSettled a"]
    assert names(machine.taken_back()) == ["AttemptOpened b"]
    assert names(machine.reply("c")) == ["AttemptSettled c", "StepSettled c"]
    assert names(machine.reply("b"))[-1] == "SagaCompleted"


def test_whoever_goes_on_itself_has_lost_its_calls_and_none_of_its_children() -> None:
    machine = started(plan(step("a", idempotent=True), step("c", child=True)))
    machine.is_draining = True
    assert names(machine.taken_back()) == ["AttemptSettled a", "AttemptOpened a"]
    assert "AttemptSettled c" in names(machine.crash()), "an heir cannot tell"


def chain(length: int, **more: Any) -> list[Step]:
    return [step(f"s{each}", *([f"s{each - 1}"] if each else []), **more) for each in range(length)]


def in_a_scope(length: int) -> list[Step]:
    return [scope("whole", steps=[f"s{each}" for each in range(length)]), *chain(length, inside="whole")]


def side_by_side(length: int) -> list[Step]:
    """Ten chains of the same length, and a step that waits for all."""
    found = [
        step(f"s{each}_{row}", *([f"s{each - 1}_{row}"] if each else []))
        for row in range(10)
        for each in range(length // 10)
    ]
    return [*found, step("last", *(each.id for each in found))]


def of_items(length: int) -> list[Step]:
    return [step("a", for_each=items(length), parallel=10), step("b", "a")]


def all_at_once(length: int) -> list[Step]:
    return [step(f"s{each}") for each in range(length)]


def test_a_step_that_waits_for_room_is_found_without_a_look_at_those_that_have_begun() -> None:
    few, many = (lines_of_a_decision(all_at_once(length)) for length in (150, 1_000))
    assert many <= few * 1.2


@pytest.mark.parametrize("shape", [chain, in_a_scope, side_by_side, of_items])
def test_a_decision_takes_as_long_in_a_saga_of_a_thousand_steps_as_in_one_of_fifty(
    shape: Callable[[int], Sequence[Step]],
) -> None:
    few, many = (lines_of_a_decision(shape(length)) for length in (50, 1_000))
    assert many <= few * 1.2  # how soon it is seen that the last step waits for more is a matter of luck


def test_an_undo_beside_one_that_was_ordered_by_hand_takes_as_long_in_a_saga_of_a_thousand_steps() -> None:
    ordered = step("x", undo_after=["y"]), step("y"), step("z", undo_first=True)
    few, many = (lines_of_a_decision([*ordered, *chain(length)], cancelled_after=length - 2) for length in (50, 1_000))
    assert many <= few * 1.2


def test_an_undo_takes_as_long_in_a_saga_of_a_thousand_steps_as_in_one_of_fifty() -> None:
    few, many = (lines_of_a_decision(chain(length), cancelled_after=length - 5) for length in (50, 1_000))
    assert many == few


def test_a_saga_that_asks_for_a_person_and_goes_on_looks_at_no_more_than_one_that_does_not_ask() -> None:
    few, many = (
        lines_of_a_decision([step("z", on_failure="retry", idempotent=True), *chain(length)], failing="z")
        for length in (50, 1_000)
    )
    assert many <= few * 1.2


def test_what_may_fail_takes_as_long_to_fail_in_a_saga_of_a_thousand_steps_as_in_one_of_fifty() -> None:
    few, many = (
        lines_of_a_decision(chain(length, optional=True, trigger="all_done"), code="NOT_FOUND")
        for length in (50, 1_000)
    )
    assert many <= few * 1.2


class Unchecked(Machine):
    """Goes through a long saga without a check of every step at every turn, which is what takes the time there."""

    def tell(self, command: Command) -> tuple[Event, ...]:
        moment = Moment(at=self.at, entropy=self.entropy, epoch=self.epoch, is_draining=False)
        decision = decide(self.state, command, moment)
        self.state = decision.state
        self.events.extend(decision.events)
        return decision.events


def lines_of_a_decision(
    steps: Sequence[Step], *, cancelled_after: int = 0, failing: str | None = None, code: str = "OK"
) -> int:
    """Return how many lines run when a call ends and another begins, once the saga is well under way."""
    machine = Unchecked(plan(*steps, forward_s=1e6))
    machine.start()
    if failing is not None:
        for _ in range(ALERT_ATTEMPTS):
            machine.reply(failing, "UNAVAILABLE")
            machine.pass_time(60)
        assert machine.state.attention == (AttentionReason.RETRYING,)
    for _ in range(cancelled_after or 25):
        machine.reply(machine.calls[0].step)
    if cancelled_after:
        machine.cancel()
        for _ in range(4):
            machine.reply(machine.calls[0].step)
    call, lines = machine.calls[0], 0
    ended = AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report(code))

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace if "orchestrator/saga" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        decision = decide(machine.state, ended, Moment(at=machine.at, entropy=0.5, epoch=1, is_draining=False))
    finally:
        sys.settrace(before)
    assert any(name.startswith("AttemptOpened") for name in names(decision.events)), "something begins"
    return lines
