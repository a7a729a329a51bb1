"""Bounds and odd corners of what is more than a call: signals, items, operations, scopes; and what they may read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import JournalCorrupted, Rejected
from orchestrator.ids import StepId
from orchestrator.limits import ALERT_ATTEMPTS, ATTEMPTS_MAX, ITEMS_MAX, SIGNALS_MAX, SIGNALS_WAITING_MAX
from orchestrator.saga import SagaStatus, StepStatus, evolve
from orchestrator.saga.commands import PauseSaga, RerunFromStep, ResumeSaga
from orchestrator.saga.events import AttentionReason, SettleReason, StepReopened, StepSettled
from orchestrator.saga.explain import attention_of
from orchestrator.saga.plan import Facts, Operation, Outcome
from orchestrator.saga.state import FIELD_OF
from orchestrator.testing.shorthand import items, plan, retry, scope, sleep, step, wait
from orchestrator.values import Payload
from tests.kit.machine import Machine, started

A = StepId("a")


def tired(machine: Machine, operation: Operation) -> None:
    """Let the open attempt of step `a` be the last that is ever recorded."""
    old: Any = machine.state.steps[A]
    of: Any = getattr(old, FIELD_OF[operation])
    worn = replace(of, attempts=ATTEMPTS_MAX, open=replace(of.open, number=ATTEMPTS_MAX))
    step_state = replace(old, **{FIELD_OF[operation]: worn})
    machine.state = replace(machine.state, steps=machine.state.steps.set(A, step_state))


def awaiting() -> Machine:
    machine = started(plan(step("a", awaits=True)))
    machine.tell_reply("a", b"wait")
    return machine


@pytest.mark.parametrize("answer", ["wait", "UNAVAILABLE"])
def test_an_operation_that_was_asked_about_too_often_needs_a_person(answer: str) -> None:
    machine = awaiting()
    tired(machine, Operation.AWAIT)
    machine.tell_reply("a.await", b"wait") if answer == "wait" else machine.reply("a.await", answer)
    assert machine.state.steps[A].status is StepStatus.STUCK
    assert machine.state.attention == (AttentionReason.ATTEMPTS_EXCEEDED,)
    machine.cancel()
    assert machine.state.steps[A].outcome is Outcome.UNKNOWN


def test_an_operation_that_is_stopped_and_was_asked_about_too_often_is_unknown() -> None:
    machine = awaiting()
    machine.cancel()
    tired(machine, Operation.AWAIT)
    machine.tell_reply("a.await", b"wait")
    assert machine.state.steps[A].outcome is Outcome.UNKNOWN
    assert machine.state.steps[A].settle_reason is SettleReason.ATTEMPTS_EXHAUSTED
    assert machine.state.steps[A].status is StepStatus.UNDOING


def test_a_step_that_has_to_succeed_asks_a_person_when_its_records_are_used_up() -> None:
    machine = started(plan(step("a", on_failure="retry", policy=retry(0))))
    tired(machine, Operation.FORWARD)
    machine.reply("a", "FAILED_PRECONDITION")
    assert machine.state.attention == (AttentionReason.ATTEMPTS_EXCEEDED,)


def test_a_saga_takes_no_more_signals_than_the_bound_while_none_is_taken() -> None:
    machine = started(plan(step("a"), wait("w", "a")))
    for number in range(SIGNALS_WAITING_MAX):
        assert machine.signal(request_id=f"r{number}")
    assert machine.signal(request_id="one more") == ()
    assert isinstance(machine.rejected, Rejected)
    assert machine.rejected.reason == "SIGNALS_FULL"
    assert machine.rejected.metadata == {"saga_id": "s", "signal": "go"}
    assert machine.rejected.message == (
        f"saga 's' has {SIGNALS_WAITING_MAX} signals waiting; send again when a step has taken one"
    )
    assert machine.signal(request_id="r0") == (), "one that it has had is the same signal still"
    assert machine.rejected is None


def test_a_saga_takes_no_more_signals_than_the_bound_in_its_life() -> None:
    machine = started(plan(step("a"), wait("w", "a")))
    full = machine.state.signal_ids.update({f"r{number}": None for number in range(SIGNALS_MAX)})
    machine.state = replace(machine.state, signal_ids=full)
    assert machine.signal(request_id="one more") == ()
    assert isinstance(machine.rejected, Rejected)
    assert machine.rejected.message == f"saga 's' has had {SIGNALS_MAX} signals, and no saga takes more than that"


def test_more_items_than_the_bound_fail_the_step() -> None:
    machine = started(plan(step("a", for_each=items(ITEMS_MAX + 1))))
    assert machine.status is SagaStatus.COMPENSATED
    assert str(ITEMS_MAX) in machine.state.steps[A].message


def test_what_an_expression_may_read_of_items() -> None:
    seen: list[tuple[int | None, object]] = []
    told: dict[str, object] = {}

    def look(facts: Facts) -> Payload:
        seen.append((facts.index, facts.item))
        return Payload("Do", b"")

    def count(facts: Facts) -> Payload:
        told.update(replies=[reply.data for reply in facts.replies_of(A)], index=facts.index, item=facts.item)
        told.update(applied=facts.applied_count(A), failed=facts.failed_count(A), none=facts.applied_count(StepId("b")))
        told.update(none_failed=facts.failed_count(StepId("b")), no_replies=list(facts.replies_of(StepId("b"))))
        return Payload("Do", b"")

    machine = started(
        plan(step("a", for_each=items(3), tolerate=1, idempotent=True, request=look), step("b", "a", request=count))
    )
    machine.tell_reply("a[1]", b"second")
    machine.reply("a[0]", "NOT_FOUND")
    machine.crash()
    machine.tell_reply("a[2]", b"third")
    assert seen == [(0, "i0"), (1, "i1"), (2, "i2")]
    assert told == {
        "replies": [b"second", b"third"],
        "index": None,
        "item": None,
        "applied": 2,
        "failed": 1,
        "none": 0,
        "none_failed": 0,
        "no_replies": [],
    }


def test_items_of_a_state_that_was_read_anew_are_the_same() -> None:
    """The list is no part of the records: whoever takes over evaluates it again, from what is recorded."""
    machine = started(plan(step("a", for_each=items(3), parallel=1)))
    heir = Machine(machine.plan, *machine.events)
    assert not heir.state.memo
    heir.reply("a[0]")
    assert heir.state.step(StepId("a[1]")).forward is not None
    assert heir.state == machine.replies("a[0]").state


def test_a_list_that_is_run_again_leaves_the_one_of_its_earlier_life() -> None:
    machine = started(plan(step("a", for_each=items(1))))
    first = dict(machine.state.memo)
    machine.tell(RerunFromStep(audit=machine.audit(), step=A))
    machine.replies("a[0]", "a[0].undo")
    assert machine.state.steps[A].manual_epoch == 1
    assert machine.state.memo.keys() == first.keys() == {A}
    assert machine.state.memo[A][0] == machine.state.steps[A].started_version > first[A][0]


def test_a_journal_in_which_a_signal_was_taken_that_never_came_is_corrupted() -> None:
    machine = started(plan(wait("a")))
    taken = StepSettled(
        at=0.0,
        step=A,
        started_at=0.0,
        outcome=Outcome.APPLIED,
        reason=SettleReason.DONE,
        code="",
        message="",
        undo_request=None,
    )
    with pytest.raises(JournalCorrupted, match="had not come"):
        evolve(machine.state, taken)


def test_a_journal_in_which_something_is_tried_again_that_was_never_tried_is_corrupted() -> None:
    machine = started(plan(step("a", on_failure="ask", request=lambda _facts: Payload("Do", bytes(9_999_999)))))
    assert machine.state.steps[A].status is StepStatus.STUCK
    with pytest.raises(JournalCorrupted, match="never tried"):
        evolve(machine.state, StepReopened(at=0.0, step=A, operation=Operation.FORWARD))


@pytest.mark.parametrize("name", ["a[9]", "b[0]", "z"])
def test_a_record_of_an_item_that_there_cannot_be_is_corrupted(name: str) -> None:
    machine = started(plan(step("a", for_each=items(2), parallel=1), step("b", "a")))
    settled: Any = machine.reply("a[0]", "INVALID_ARGUMENT")[1]
    before = Machine(machine.plan, *machine.events[:3]).state
    with pytest.raises(JournalCorrupted, match="does not have"):
        evolve(before, replace(settled, step=StepId(name)))


def test_a_member_of_an_optional_scope_need_not_succeed_past_the_pivot() -> None:
    machine = started(
        plan(
            step("p", pivot=True),
            scope("s", "p", steps=["t"], optional=True),
            scope("t", steps=["a"], inside="s"),
            step("a", read=True, inside="t"),
            step("r", "p", retriable=True),
        )
    )
    machine.replies("p")
    machine.reply("a", "INVALID_ARGUMENT")
    assert machine.state.steps[A].status is StepStatus.NOT_APPLIED
    machine.replies("r")
    assert machine.status is SagaStatus.COMPLETED


def test_a_scope_has_as_long_for_its_alternative_as_for_its_steps() -> None:
    machine = started(plan(scope("s", steps=["a"], otherwise=["b"], within_s=10.0), *_members("a", "b")))
    machine.pass_time(4)
    machine.reply("a", "INVALID_ARGUMENT")
    assert machine.state.steps[StepId("s")].due_at == machine.at + 10


def _members(*names: str) -> list[Any]:
    return [step(name, inside="s") for name in names]


@pytest.mark.parametrize("asleep", [True, False])
def test_paused_a_step_that_is_due_waits_and_wakes_at_once_when_resumed(*, asleep: bool) -> None:
    body: Callable[..., Any] = sleep if asleep else wait
    machine = started(plan(step("b"), body("a", **({"seconds": 5.0} if asleep else {"within_s": 5.0}))))
    machine.tell(PauseSaga(audit=machine.audit()))
    assert machine.timers == []
    machine.pass_time(50)
    machine.tell(ResumeSaga(audit=machine.audit()))
    machine.pass_time(0)
    assert machine.state.steps[A].status is (StepStatus.APPLIED if asleep else StepStatus.NOT_APPLIED)


@pytest.mark.parametrize("asks", ["probe", "await"])
def test_a_person_reads_of_a_probe_or_a_look_that_is_not_answered_for_long(asks: str) -> None:
    asked = asks == "probe"
    machine = started(plan(step("a", pivot=True, probe=asked, awaits=not asked, probe_policy=retry(0))))
    machine.reply("a", "UNAVAILABLE") if asked else machine.tell_reply("a", b"wait")
    for _ in range(ALERT_ATTEMPTS):
        machine.reply(f"a.{asks}", "UNAVAILABLE")
        machine.pass_time(8)
    [told] = attention_of(machine.state)
    assert (told.reason, told.step) == (AttentionReason.RETRYING, A)
    assert "trying goes on" in told.message
