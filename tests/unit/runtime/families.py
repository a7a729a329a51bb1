"""A parent, its child, and the services they call."""

from collections.abc import Callable

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Until
from orchestrator.saga import SagaState
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.testing.shorthand import output_of, plan, step
from tests.kit.machine import report
from tests.kit.parts import child, named
from tests.kit.runtime import Process, until

C = StepId("c")
CHILD = named("child", plan(step("x", idempotent=True), output=output_of("x")))
PARENT = plan(step("a", idempotent=True), child("c", "a"), step("b", "c", idempotent=True))
NO = report("FAILED_PRECONDITION")


def answering(**said: Report | None) -> Callable[[CallRequest], Report | None]:
    """A service that answers some steps in its own way; `x_undo` is the undo of x."""

    def answer(call: CallRequest) -> Report | None:
        name = call.step.partition("[")[0] + ("_undo" if call.operation is Operation.COMPENSATE else "")
        return said.get(name, report())

    return answer


async def statuses(process: Process, *names: str) -> list[str]:
    return [(await process.orchestrator.get(name)).status.value for name in names]


async def began(process: Process, name: str) -> SagaState:
    """Return a saga once it has begun."""
    await until(lambda: process.orchestrator._directory.active(SagaId(name)) is not None)
    return await process.orchestrator.wait(name, Until.CHANGE, 0, 10)


def attempts(state: SagaState) -> int:
    """Return how often the child was asked for."""
    forward = state.steps[C].forward
    return 0 if forward is None else forward.attempts
