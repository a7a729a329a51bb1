"""What the fold keeps, where no transcript shows it."""

from dataclasses import fields, replace
from typing import get_args
from uuid import UUID

import pytest

from orchestrator.ids import SagaId, StepId
from orchestrator.limits import MESSAGE_CHARS_MAX
from orchestrator.saga import blank, evolve
from orchestrator.saga.commands import RetryStep
from orchestrator.saga.events import AttemptSettled, Event, SagaStarted
from orchestrator.saga.evolve import FOLDS
from orchestrator.saga.evolve_step import STEP_FOLDS, StepEvent
from orchestrator.saga.evolve_with_step import FOLDS_WITH_STEP
from orchestrator.testing.shorthand import items, plan, step
from orchestrator.values import Payload, TraceContext
from tests.kit.machine import BEGIN_AT, PARENT, report, started

A, FIRST = StepId("a"), StepId("a[0]")


@pytest.mark.parametrize(("length", "kept"), [(MESSAGE_CHARS_MAX, ""), (MESSAGE_CHARS_MAX + 1, "…")])
def test_a_peers_words_are_clipped_before_they_are_recorded(length: int, kept: str) -> None:
    machine = started(plan(step("a")))
    settled = machine.reply("a", replace(report("NOT_FOUND"), message="x" * length))[0]
    assert isinstance(settled, AttemptSettled)
    assert len(settled.report.message) == MESSAGE_CHARS_MAX
    assert settled.report.message.strip("x") == kept
    assert machine.state.steps[A].message == settled.report.message


def test_of_an_item_that_has_settled_only_what_undoing_it_needs_is_kept() -> None:
    machine = started(plan(step("a", for_each=items(2))))
    before = machine.state.items[FIRST].forward
    assert before is not None
    assert before.request == Payload("Do", b"s/a[0]=i0")
    machine.reply("a[0]")
    after = machine.state.items[FIRST].forward
    assert after is not None
    assert (after.request, after.last) == (Payload("", b""), None)
    assert (after.key, after.attempts) == (before.key, 1)
    assert machine.state.items[FIRST].undo_request == Payload("Undo", b"a[0]=i0:yes")


def test_calls_of_items_are_counted_while_they_are_open() -> None:
    machine = started(plan(step("a", for_each=items(3), parallel=2)))
    seen = [machine.state.calls_open]
    for name, code in (("a[0]", "OK"), ("a[1]", "OK"), ("a[2]", "NOT_FOUND")):
        machine.reply(name, code)
        seen.append(machine.state.calls_open)
    assert seen == [2, 2, 1, 0]
    assert machine.state.undos_open == len(machine.calls) > 0


def test_a_step_that_is_tried_again_has_nothing_of_its_failure_left() -> None:
    machine = started(plan(step("a", on_failure="ask")))
    machine.reply("a", "NOT_FOUND")
    assert machine.state.steps[A].message
    machine.tell(RetryStep(audit=machine.audit(), step=A))
    again = machine.state.steps[A]
    assert (again.message, again.stuck, again.outcome) == ("", None, None)
    assert again.forward is not None
    assert (again.forward.spent, again.forward.attempts) == (0, 2)


def test_a_step_that_is_stopped_while_its_target_is_paused_waits_for_nothing() -> None:
    machine = started(plan(step("a", idempotent=True), step("b")))
    machine.reply("a", replace(report("UNAVAILABLE"), parked=True))
    waiting = machine.state.steps[A].forward
    assert waiting is not None
    assert waiting.parked
    machine.cancel()
    stopped = machine.state.steps[A].forward
    assert stopped is not None
    assert (stopped.parked, stopped.retry_at, stopped.open) == (False, None, None)


def test_a_report_of_a_call_that_is_not_open_is_news_from_the_past() -> None:
    machine = started(plan(step("a", idempotent=True)))
    machine.reply("a", "UNAVAILABLE")
    assert machine.reply("a", "OK") == ()
    assert machine.rejected is None


def test_every_event_has_a_fold() -> None:
    assert set(FOLDS) | set(FOLDS_WITH_STEP) == set(get_args(Event))
    assert set(FOLDS_WITH_STEP) == set(STEP_FOLDS)
    assert set(STEP_FOLDS) == set(get_args(StepEvent))


def test_a_saga_knows_all_that_its_start_said() -> None:
    start = SagaStarted(
        at=BEGIN_AT,
        saga_id=SagaId("other"),
        uid=UUID(int=9),
        definition="d",
        revision="r",
        input=Payload("Input", b"given"),
        attributes={"who": "ann"},
        request_id="once",
        forward_deadline_at=BEGIN_AT + 7,
        compensation_s=3.0,
        trace=TraceContext(trace_id=1, span_id=2, sampled=True),
        parent=PARENT,
    )
    state = evolve(blank(plan(step("a"))), start)
    told = {each.name for each in fields(SagaStarted)} - {"at", "definition", "revision"}
    assert {name: getattr(state, name) for name in told} == {name: getattr(start, name) for name in told}
    assert (state.version, state.started_at, state.updated_at) == (1, BEGIN_AT, BEGIN_AT)
