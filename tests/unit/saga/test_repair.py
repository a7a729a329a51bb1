"""Corners of the repair verbs that a transcript would hide."""

from orchestrator.ids import StepId
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.commands import AttemptReported, ForceComplete, RerunFromStep
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import operation_of
from tests.kit.machine import Machine, report, started
from tests.kit.plans import plan, step


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
