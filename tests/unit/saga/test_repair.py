"""Corners of the repair verbs that a transcript would hide."""

from orchestrator.ids import StepId
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.commands import (
    AttemptReported,
    Audit,
    ForceComplete,
    OverrideStepRequest,
    RerunFromStep,
    ResolveStep,
    UndoChild,
)
from orchestrator.saga.events import OperatorActed, SettleReason
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.saga.state import operation_of
from orchestrator.testing.shorthand import fails, plan, scope, step
from orchestrator.values import Payload, TraceContext
from tests.kit.machine import PARENT, Machine, report, started


def told(machine: Machine, operation: Operation, code: str = "OK", data: bytes = b"yes") -> list[str]:
    """Report on one operation of step `a`; return the names of what was recorded."""
    of = operation_of(machine.state.steps[StepId("a")], operation)
    assert of is not None
    said = AttemptReported(step=StepId("a"), operation=operation, attempt=of.attempts, report=report(code, data=data))
    return [type(each).__name__ for each in machine.tell(said)]


def test_a_step_begins_anew_although_its_operation_was_never_heard_to_stop() -> None:
    machine = started(plan(step("a", awaits=True), step("b", "a")))
    told(machine, Operation.FORWARD, data=b"wait")
    machine.tell(RerunFromStep(audit=machine.audit(), step=StepId("a")))
    assert {call.operation for call in machine.calls} == {Operation.AWAIT, Operation.STOP}
    assert "StepsReset" in told(machine, Operation.AWAIT, data=b"not")
    assert {call.operation for call in machine.calls} == {Operation.FORWARD}


def test_a_saga_whose_step_is_being_probed_is_not_forced_to_completion() -> None:
    machine = started(plan(step("a", probe=True), step("b", "a")))
    machine.reply("a", "UNAVAILABLE")
    assert machine.state.steps[StepId("a")].status is StepStatus.PROBING
    machine.tell(ForceComplete(audit=machine.audit()))
    assert machine.rejected is not None
    assert machine.rejected.reason == "CALLS_IN_FLIGHT"
    assert machine.status is SagaStatus.RUNNING


def test_an_operation_that_never_ends_is_resolved_by_a_person_and_nothing_waits_for_it_any_more() -> None:
    machine = started(plan(step("a", awaits=True), step("b", "a")))
    told(machine, Operation.FORWARD, data=b"wait")
    machine.cancel()
    told(machine, Operation.STOP, "UNIMPLEMENTED")
    assert machine.state.steps[StepId("a")].status is StepStatus.WAITING
    machine.tell(ResolveStep(audit=machine.audit(), step=StepId("a"), outcome=Outcome.NOT_APPLIED))
    assert machine.status is SagaStatus.COMPENSATED
    assert machine.calls == []


def test_a_poll_whose_call_does_not_answer_ends_in_its_own_time() -> None:
    machine = started(plan(step("a", poll=True, read=True, at_most_s=3.0, timeout_s=10.0)))
    opened = machine.state.steps[StepId("a")].forward
    assert opened is not None
    assert opened.open is not None
    assert opened.open.deadline_at - machine.at == 3.0
    machine.pass_time(2.9)
    machine.at += 0.1
    machine.reply("a", "DEADLINE_EXCEEDED")
    ended = machine.state.steps[StepId("a")]
    assert (ended.status, ended.settle_reason) == (StepStatus.NOT_APPLIED, SettleReason.TIMED_OUT)


def test_what_a_person_did_is_recorded_with_the_trace_in_which_they_did_it() -> None:
    machine = started(plan(step("a"), step("b", "a")))
    machine.reply("a")
    trace = TraceContext(trace_id=5, span_id=6, sampled=True)
    machine.tell(RerunFromStep(audit=Audit(by="ann", reason="seen", trace=trace), step=StepId("a")))
    assert [event.trace for event in machine.events if isinstance(event, OperatorActed)] == [trace]


def test_an_operation_over_whose_head_a_child_was_completed_is_awaited_when_its_parent_has_it_undone() -> None:
    machine = Machine(plan(step("a", awaits=True, stoppable=False), step("b")))
    machine.start(parent=PARENT)
    machine.tell_reply("a", b"wait")
    machine.tell_reply("a", b"wait")
    machine.replies("b")
    machine.tell(ForceComplete(audit=machine.audit()))
    assert (machine.status, machine.owed) == (SagaStatus.COMPLETED, frozenset())
    machine.tell(UndoChild(reason="the parent goes back"))
    machine.pass_time(2)
    assert [(call.step, call.operation) for call in machine.calls] == [("a", Operation.AWAIT)]
    machine.tell_reply("a", b"done")
    machine.replies("b", "a")
    assert machine.status is SagaStatus.COMPENSATED
    assert machine.state.steps[StepId("a")].status is StepStatus.UNDONE


def test_an_undo_that_asked_in_a_part_may_be_sent_by_a_person_before_what_came_to_be_undone_with_the_whole() -> None:
    part = scope("s", steps=["x"]), step("x", inside="s", undo=fails)
    machine = started(plan(*part, step("a"), sequential=True))
    machine.replies("x", "a")
    assert machine.state.steps[StepId("x")].status is StepStatus.STUCK
    machine.cancel()
    assert [call.step for call in machine.calls] == ["a"]
    request = Payload("Undo", b"by hand")
    machine.tell(OverrideStepRequest(audit=machine.audit(), step=StepId("x"), request=request))
    assert {call.step for call in machine.calls} == {"a", "x"}
    machine.replies("x", "a")
    assert machine.status is SagaStatus.COMPENSATED
