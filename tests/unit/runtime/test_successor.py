from orchestrator.saga import SagaStatus
from tests.kit.machine import report
from tests.kit.plans import plan, retry, step
from tests.kit.runtime import Process, run, until


def test_a_successor_may_end_a_saga_under_which_it_has_opened_no_attempt() -> None:
    async def story() -> None:
        calm = retry(5, initial_s=60.0, max_s=60.0)
        first = Process(lambda _call: report("UNAVAILABLE"), plan(step("look", read=True, policy=calm)))
        async with first.orchestrator.running():
            await first.start()
            await until(lambda: not first.hands.open)
        second = first.heir()
        assert second.journal.epoch > first.journal.epoch
        async with second.orchestrator.running():
            await second.orchestrator.cancel("s", "")
            state = await second.ended()
        assert state.status is SagaStatus.COMPENSATED
        row = await second.journal.row(state.saga_id)
        assert row is not None
        assert row.epoch == second.journal.epoch

    run(story())
