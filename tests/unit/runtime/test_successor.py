from orchestrator.ports.invoker import CallRequest
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, retry, step
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

PLAN = plan(step("look", read=True, policy=retry(5, initial_s=60.0)))


def busy(_: CallRequest) -> Report:
    return report("UNAVAILABLE")


def test_a_successor_may_end_a_saga_under_which_it_has_opened_no_attempt() -> None:
    async def story() -> None:
        first = Process(busy, PLAN)
        async with first.orchestrator.running():
            await first.start()
            await until(lambda: first.hands.begun and not first.hands.open)
        second = first.heir()
        assert second.journal.epoch > first.journal.epoch
        async with second.orchestrator.running() as orchestrator:
            await orchestrator.cancel("s", "")
            state = await second.ended()
        assert state.status is SagaStatus.COMPENSATED
        assert len(second.hands.begun) == 0
        row = await second.journal.row(state.saga_id)
        assert row is not None
        assert row.epoch == second.journal.epoch

    run(story())
