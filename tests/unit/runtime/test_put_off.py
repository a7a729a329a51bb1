"""What the journal refuses for now is given to it again, alone, and hinders no other saga."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.journal.refusals import put_off
from orchestrator.limits import COMMIT_AGAIN_S
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import Process, TappedJournal, run, until
from tests.unit.runtime.deeds import SHARDS, Deeds


class ChoosyJournal(TappedJournal):
    """A journal that does not take one saga for now."""

    disliked = ""
    given = 0

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        liked = [each for each in batch if each.saga_id != self.disliked]
        self.given += len(batch) - len(liked)
        results = dict(zip([each.saga_id for each in liked], await super().append(liked), strict=True))
        refusal = ValueError("no room")
        return [results[each.saga_id] if each in liked else put_off(each, refusal) for each in batch]


PLAN = plan(step("a"))


def well(_call: CallRequest) -> Report | None:
    return report()


def test_a_saga_that_is_put_off_goes_on_once_the_journal_takes_it_and_the_others_before() -> None:
    async def story() -> None:
        journal = ChoosyJournal().tap()
        process = Process(well, PLAN, journal=journal)
        async with process.orchestrator.running():
            journal.disliked = "bad"
            async with asyncio.TaskGroup() as tasks:
                bad = tasks.create_task(process.start("bad"))
                await until(lambda: journal.given)
                for number in range(3):
                    await process.start(f"good{number}")
                    assert (await process.ended(f"good{number}")).status is SagaStatus.COMPLETED
                await asyncio.sleep(3 * COMMIT_AGAIN_S)  # poll: no fact, several tries, on virtual time
                assert journal.given > 2
                assert not bad.done()
                journal.disliked = ""
            assert (await process.ended("bad")).status is SagaStatus.COMPLETED

    run(story())


def test_whoever_waits_for_what_is_put_off_is_told_when_the_process_ends() -> None:
    async def story() -> None:
        journal = ChoosyJournal().tap()
        process = Process(well, PLAN, journal=journal)
        async with process.orchestrator.running():
            journal.disliked = "bad"
            bad = asyncio.ensure_future(process.start("bad"))  # noqa: TID251  (awaited below)
            await until(lambda: journal.given)
        with pytest.raises(JournalUnavailable, match="nothing was recorded, and it is not tried again here"):
            await bad

    run(story())


def test_whoever_waits_for_a_try_that_the_end_interrupts_is_told_that_nobody_knows() -> None:
    class Slow(ChoosyJournal):
        def __init__(self) -> None:
            super().__init__()
            self.takes = asyncio.Event()

        async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
            results = await super().append(batch)
            if self.given and self.disliked != "bad":
                self.takes.set()
                await asyncio.Event().wait()  # it is durable, and the answer never comes
            return results

    async def story() -> None:
        journal = Slow().tap()
        process = Process(well, PLAN, journal=journal)
        async with process.orchestrator.running():
            journal.disliked = "bad"
            bad = asyncio.ensure_future(process.start("bad"))  # noqa: TID251  (awaited below)
            await until(lambda: journal.given)
            journal.disliked = ""
            await journal.takes.wait()
        with pytest.raises(JournalUnavailable, match="it is recorded or not"):
            await bad
        assert await journal.read("bad")  # type: ignore[arg-type]  # a SagaId

    run(story())


def test_what_a_store_has_not_taken_for_long_is_an_obstacle() -> None:
    class Stalled(TappedJournal):
        obstacle = "the disk is full"

    async def story() -> None:
        process = Process(well, PLAN, journal=Stalled().tap())
        async with process.orchestrator.running():
            assert process.orchestrator.obstacle == "the disk is full"

    run(story())


def test_a_shard_is_left_without_what_is_put_off_there_and_nothing_is_tried_after() -> None:
    """I48: once it is left, nothing of it is on its way to the journal."""

    async def story() -> None:
        journal = ChoosyJournal().tap()
        process = Process(well, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with process.orchestrator.running():
            journal.disliked = "bad"
            starting = asyncio.create_task(process.start("bad"))  # noqa: TID251  # awaited below
            await until(lambda: journal.given)
            await process.orchestrator.leave(range(SHARDS), 0.0)
            tried = journal.given
            with pytest.raises(JournalUnavailable):
                await starting
            await asyncio.sleep(3 * COMMIT_AGAIN_S)  # poll: no fact, nothing may be tried, on virtual time
            assert journal.given == tried

    run(story())
