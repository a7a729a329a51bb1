"""A saga that has ended is freed by counting: the collector of cycles finds nothing of it."""

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

SAGAS = 50
PLAN = plan(step("a"), step("b", idempotent=True), step("c", "a", "b", no_undo=True))


@contextmanager
def _all_garbage() -> Generator[list[object]]:
    """Keep what only the collector would have freed, and let it look at the end alone."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found: list[object] = []
    try:
        yield found
        gc.collect()
        found += gc.garbage
    finally:
        gc.garbage.clear()
        gc.set_debug(0)
        gc.enable()


def _answering(code: str) -> Callable[[CallRequest], Report | None]:
    return lambda call: report(code) if call.step == "c" else report()


@pytest.mark.parametrize(
    ("code", "status"), [("OK", SagaStatus.COMPLETED), ("FAILED_PRECONDITION", SagaStatus.COMPENSATED)]
)
def test_nothing_of_a_saga_that_has_ended_is_left_to_the_collector(code: str, status: SagaStatus) -> None:
    async def story() -> None:
        process = Process(_answering(code), PLAN)
        async with process.orchestrator.running():
            await process.start("first")
            await process.ended("first")  # whatever is made once is made by now
            with _all_garbage() as found:
                for number in range(SAGAS):
                    await process.start(f"s{number}")
                    assert (await process.ended(f"s{number}")).status is status
            ours = [type(each) for each in found if type(each).__module__.startswith("orchestrator.")]
            assert ours == []
            assert len(found) < SAGAS, [type(each) for each in found[:SAGAS]]

    run(story())


def test_nothing_of_a_saga_that_leaves_memory_with_a_call_open_is_left_to_the_collector() -> None:
    async def story() -> None:
        process = Process(lambda _call: None, plan(step("a", idempotent=True)))
        async with process.orchestrator.running():
            await process.start("first")
            with _all_garbage() as found:
                for number in range(SAGAS):
                    await process.start(f"s{number}")
                process.orchestrator._directory.stop_all(OrchestratorError("all leave memory"))
                await until(lambda: not process.hands.open)
            assert [type(each) for each in found if type(each).__module__.startswith("orchestrator.")] == []

    run(story())
