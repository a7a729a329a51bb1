"""A saga of the largest size is undone at a pace that leaves the event loop to the others."""

import gc
from collections.abc import Generator
from time import process_time

import pytest

from orchestrator.ids import SagaId
from orchestrator.limits import STEPS_MAX
from orchestrator.saga import SagaStatus, blank, decide, owed
from orchestrator.saga.commands import AttemptReported, Command, Moment, StartSaga
from orchestrator.saga.effects import SendCall
from orchestrator.saga.plan import Plan
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload, TraceContext
from tests.kit.machine import BEGIN_AT, UID, report

MOMENT = Moment(at=BEGIN_AT, entropy=0.5, epoch=1, is_draining=False)
START = StartSaga(
    saga_id=SagaId("large"),
    uid=UID,
    input=Payload("Input", b""),
    request_id="",
    trace=TraceContext(trace_id=1, span_id=0, sampled=True),
    attributes={},
    forward_s=None,
)


@pytest.fixture(autouse=True)
def _nothing_is_collected() -> Generator[None]:
    """A collection takes as long as this process is large, which holds thousands of other tests."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def slowest_turn_s(shape: Plan) -> float:
    """Run the saga forward until its last step refuses, then all the way back; return its slowest turn."""
    state, slowest = blank(shape), 0.0
    command: Command = START
    while True:
        began = process_time()
        state = decide(state, command, MOMENT).state
        effects = owed(state)
        slowest = max(slowest, process_time() - began)
        if state.is_terminal:
            assert state.status is SagaStatus.COMPENSATED
            return slowest
        calls = [effect for effect in effects if isinstance(effect, SendCall)]
        command = _answer(calls[0])


def _answer(call: SendCall) -> Command:
    code = "FAILED_PRECONDITION" if call.step == "last" else "OK"
    return AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report(code))


def test_a_wide_saga_is_undone_without_long_turns() -> None:
    wide = [step(f"s{number}") for number in range(STEPS_MAX - 1)]
    assert slowest_turn_s(plan(*wide, step("last", *(each.id for each in wide)))) < 0.2


def test_a_deep_saga_is_undone_without_long_turns() -> None:
    deep = [step("s0"), *(step(f"s{number}", f"s{number - 1}") for number in range(1, STEPS_MAX - 1))]
    assert slowest_turn_s(plan(*deep, step("last", deep[-1].id))) < 0.2
