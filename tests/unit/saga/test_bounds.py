"""Every bound of the machine, reached."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import InputInvalid
from orchestrator.ids import StepId
from orchestrator.limits import (
    ATTEMPTS_MAX,
    ATTRIBUTES_MAX,
    FORWARD_PARALLEL_MAX,
    MESSAGE_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    UNDO_PARALLEL_MAX,
)
from orchestrator.saga import SagaStatus, StepStatus, wake_at
from orchestrator.saga.budget import backoff_s
from orchestrator.saga.events import AttentionReason, Cause, CauseKind
from orchestrator.saga.plan import ExpressionFailure, Facts
from orchestrator.testing.shorthand import plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import BEGIN_AT, UID, Machine, report, started

A = StepId("a")


def many(count: int) -> Machine:
    return started(plan(*(step(f"s{number}") for number in range(count)), step("last", no_undo=True)))


def test_no_more_forward_calls_than_the_bound_are_open_and_the_rest_follows() -> None:
    machine = many(FORWARD_PARALLEL_MAX + 5)
    assert len(machine.calls) == FORWARD_PARALLEL_MAX
    machine.reply("s0")
    assert len(machine.calls) == FORWARD_PARALLEL_MAX
    while machine.calls:
        machine.reply(machine.calls[0].step)
    assert machine.status is SagaStatus.COMPLETED


def test_no_more_undo_calls_than_the_bound_are_open_and_the_rest_follows() -> None:
    machine = many(UNDO_PARALLEL_MAX + 3)
    for call in machine.calls:
        machine.reply(call.step, "OK" if call.step != "last" else "INVALID_ARGUMENT")
    assert machine.state.is_backward
    assert len(machine.calls) == UNDO_PARALLEL_MAX
    while machine.calls:
        machine.reply(machine.calls[0].step)
        assert len(machine.calls) <= UNDO_PARALLEL_MAX
    assert machine.status is SagaStatus.COMPENSATED


def test_undos_that_wait_for_room_need_no_drain_timer() -> None:
    machine = started(plan(*(step(f"s{number}", barrier=number > 0) for number in range(UNDO_PARALLEL_MAX + 1))))
    for call in machine.calls:
        machine.reply(call.step, "UNAVAILABLE")
    assert len(machine.calls) == UNDO_PARALLEL_MAX
    assert [timer.kind.value for _, timer in machine.timers] == ["compensation_deadline"]
    machine.pass_time(20)
    machine.reply("s1")
    assert StepId("s0") in {call.step for call in machine.calls}


def test_a_message_larger_than_any_peer_need_accept_is_not_sent() -> None:
    machine = started(plan(step("a", request=lambda _facts: Payload("Do", bytes(PAYLOAD_BYTES_MAX + 1)))))
    assert machine.status is SagaStatus.COMPENSATED
    assert str(PAYLOAD_BYTES_MAX) in machine.state.steps[A].message


def test_an_operation_that_reached_the_limit_of_records_asks_a_person() -> None:
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "INVALID_ARGUMENT")
    undo: Any = machine.state.steps[A].undo
    tired = replace(undo, attempts=ATTEMPTS_MAX, open=replace(undo.open, number=ATTEMPTS_MAX))
    machine.state = replace(
        machine.state, steps=machine.state.steps.set(A, replace(machine.state.steps[A], undo=tired))
    )
    machine.reply("a", "UNAVAILABLE")
    assert machine.state.steps[A].status is StepStatus.STUCK
    assert machine.state.attention == (AttentionReason.ATTEMPTS_EXCEEDED,)


def test_a_text_from_outside_is_bounded_before_it_is_recorded() -> None:
    machine = started(plan(step("a")))
    machine.reply("a", replace(report("INVALID_ARGUMENT"), message="x" * (MESSAGE_CHARS_MAX + 1)))
    message = machine.state.steps[A].message
    assert len(message) == MESSAGE_CHARS_MAX
    assert message.endswith("…")
    exact = started(plan(step("a")))
    exact.cancel("y" * MESSAGE_CHARS_MAX)
    assert exact.state.cancel_reason == "y" * MESSAGE_CHARS_MAX


def test_more_attributes_than_the_bound_are_refused_wherever_they_come_from() -> None:
    given = {f"k{number}": number for number in range(ATTRIBUTES_MAX)}
    fits, full = Machine(plan(step("a"))), Machine(plan(step("a"), attributes=lambda _facts: {"one": "more"}))
    assert fits.start(attributes=given)
    assert full.start(attributes=given) == ()
    assert isinstance(full.rejected, InputInvalid)
    assert full.rejected.path == "attributes"


@pytest.mark.parametrize(("retries", "ceiling_s"), [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (4, 8.0), (10**9, 8.0)])
def test_the_pause_doubles_up_to_its_bound(retries: int, ceiling_s: float) -> None:
    assert backoff_s(retry(), retries, 1.0) == ceiling_s
    assert backoff_s(retry(), retries, 0.25) == ceiling_s / 4
    assert backoff_s(retry(), retries, 0.0) == 0.0


def test_the_wake_up_is_the_earliest_timer() -> None:
    machine = started(plan(step("a", idempotent=True)))
    assert wake_at(machine.owed) == BEGIN_AT + 100
    machine.reply("a", "UNAVAILABLE")
    assert wake_at(machine.owed) == BEGIN_AT + 0.5
    machine.pass_time(1)
    machine.reply("a")
    assert wake_at(machine.owed) is None


def test_an_expression_reads_recorded_facts_and_nothing_else() -> None:
    seen: dict[str, object] = {}

    def look(facts: Facts) -> Payload | ExpressionFailure:
        seen.update(uid=facts.uid, at=facts.started_at, input=facts.input.data, saga=facts.saga_id)
        seen.update(reply=facts.reply_of(A), status=facts.status_of(A), own=facts.own_reply)
        return Payload("Do", b"")

    machine = started(plan(step("a"), step("b", "a", request=look)))
    machine.replies("a")
    assert seen == {
        "uid": UID,
        "at": BEGIN_AT,
        "input": b"input",
        "saga": "s",
        "reply": Payload("Reply", b"yes"),
        "status": "APPLIED",
        "own": None,
    }


def test_the_cause_of_a_cancel_without_a_reason_is_a_sentence() -> None:
    machine = started(plan(step("a")))
    machine.cancel()
    assert machine.state.cause == Cause(kind=CauseKind.CANCELLED, message="cancelled by a caller")


def test_an_undo_whose_service_says_at_once_for_ever_keeps_its_own_pace() -> None:
    machine = started(plan(step("a"), step("b", "a")))
    machine.replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    for _ in range(20):
        machine.reply("a.undo", report("RESOURCE_EXHAUSTED", retry_after_s=0.0))
        assert machine.calls == [], "it waits"
        machine.pass_time(8.0)
        assert [call.step for call in machine.calls] == ["a"]


def test_a_peer_may_hasten_a_call_whose_attempts_are_few() -> None:
    machine = started(plan(step("a", idempotent=True, policy=retry(3, initial_s=5.0))))
    machine.reply("a", report("UNAVAILABLE", retry_after_s=0.0))
    assert [call.attempt for call in machine.calls] == [2]
