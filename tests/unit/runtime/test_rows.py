"""The search row that goes with an append says what its records lead to, whatever row went before it."""

from collections.abc import Sequence

from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append, AppendResult, Rest, SearchRow
from orchestrator.runtime.rows import rest_of, row_of
from orchestrator.saga import SagaState, SagaStatus, blank, evolve
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step, undo_by_key
from tests.kit.machine import report
from tests.kit.runtime import Process, TappedJournal, run

PLAN = plan(
    step("a", undo=undo_by_key("a"), idempotent=True),
    step("b", "a", undo=undo_by_key("b"), idempotent=True),
    step("c", "b", idempotent=True),
)


def refused_at_the_end(call: CallRequest) -> Report:
    if call.step == "b" and call.attempt == 1:
        return report("UNAVAILABLE")  # and time passes until the next attempt
    return report("FAILED_PRECONDITION") if call.step == "c" and call.operation.value == "forward" else report()


class Rows(TappedJournal):
    """Keeps what was appended."""

    appended: list[Append]

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self.appended = [*getattr(self, "appended", []), *batch]
        return await super().append(batch)


def _rows_anew(appends: Sequence[Append]) -> list[SearchRow]:
    """Return each row as it is of the folded state, made of nothing else."""
    state: SagaState = blank(PLAN)
    rows: list[SearchRow] = []
    for append in appends:
        for record in append.records:
            state = evolve(state, record.event)
        given = append.row
        rest = rest_of(state, is_draining=False)
        rows.append(row_of(state, given.wake_at, rest, epoch=given.epoch, shard=given.shard))
    return rows


def test_every_row_of_a_saga_that_is_undone_is_the_one_its_state_has() -> None:
    async def story() -> None:
        journal = Rows().tap()
        process = Process(refused_at_the_end, PLAN, journal=journal)
        async with process.orchestrator.running():
            await process.start(attributes={"site": "DE-02"})
            ended = await process.ended()
        assert ended.status is SagaStatus.COMPENSATED
        rows = [append.row for append in journal.appended]
        assert len(rows) > 4
        assert rows == _rows_anew(journal.appended)
        assert {row.failure for row in rows} > {""}
        assert rows[-1].ended_at is not None
        assert rows[-1].rest is Rest.ASLEEP

    run(story())
