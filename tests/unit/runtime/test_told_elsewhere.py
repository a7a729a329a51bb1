"""What a process shows and answers of sagas that others see, write and start, too."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.errors import Fenced, NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Append, AppendResult, SearchRow
from orchestrator.runtime import Until
from orchestrator.saga import SagaStatus
from orchestrator.saga.state import TERMINAL
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import wait
from tests.kit.runtime import Process, TappedJournal, run, until
from tests.unit.runtime.deeds import Deeds, hangs
from tests.unit.runtime.families import CHILD, PARENT, answering, attempts

PLAN = plan(step("a", idempotent=True))
WAITING = plan(wait("w"))
GO = Payload("Signal", b"now")


class LateJournal(TappedJournal):
    """A journal whose answers come later than what they tell of; a look at a child is answered once `looks` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.tap()
        self.answers, self.looks = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.looks.set()

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        results = await super().append(batch)
        await self.answers.wait()
        return results

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        if "." in saga_id:
            await self.looks.wait()
        return await super().row(saga_id)


def test_a_saga_is_not_shown_older_than_others_see_it_while_its_owner_waits_for_the_store() -> None:
    async def story() -> None:
        journal = LateJournal()
        mine = Process(hangs, WAITING, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            before = (await mine.start()).state.version
            journal.answers.clear()
            signal = mine.orchestrator.signal("s", "go", GO, "r1")
            signalling = asyncio.create_task(signal)  # noqa: TID251  # awaited below
            await until(lambda: journal.groups[1:])
            row = await journal.row(SagaId("s"))
            assert row is not None
            assert row.version > before
            assert (await mine.orchestrator.get("s")).version == row.version
            journal.answers.set()
            assert (await signalling).version == row.version

    run(story())


def test_a_child_whose_end_is_durable_before_its_owner_hears_of_it_is_reported_as_it_ended() -> None:
    async def story() -> None:
        journal = LateJournal()
        mine = Process(answering(x=None), PARENT, CHILD, journal=journal)
        async with mine.orchestrator.running():
            journal.looks.clear()
            await mine.start()
            await until(lambda: mine.hands.open)
            journal.answers.clear()
            mine.hands.open[0].settle(report())
            await until(lambda: journal._contents.rows[SagaId("s.c")].status in TERMINAL)
            journal.looks.set()
            await asyncio.sleep(0.1)  # poll: virtual time, in which the parent looks
            journal.answers.set()
            ended = await mine.orchestrator.wait("s", Until.TERMINAL, 0, 10.0)
            assert ended.status is SagaStatus.COMPLETED
            assert attempts(ended) == 1

    run(story())


def test_whoever_has_lost_a_saga_without_hearing_of_it_shows_what_its_owner_has_made_of_it() -> None:
    async def story() -> None:
        deeds, journal = Deeds(0, 1, 2, 3), TappedJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=deeds)
        other = Process(
            hangs, PLAN, journal=journal, clock=mine.clock, ownership=Deeds(0, 1, 2, 3, epoch=journal.epoch + 1)
        )
        async with mine.orchestrator.running(), other.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            deeds.held.clear()  # nobody has told the runtime
            later = await other.orchestrator.cancel("s", "enough")
            assert mine.orchestrator.stats().active_actors
            assert (await mine.orchestrator.get("s")).version >= later.version

    run(story())


class RefusingJournal(TappedJournal):
    """A journal in which another process owns everything, as it says once its gate is open."""

    is_refusing = False

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        if not self.is_refusing:
            return await super().append(batch)
        await self.gate.wait()
        return [Fenced("epoch 2 has it", saga_id=each.saga_id) for each in batch]


def test_whoever_waits_for_anothers_start_that_fails_starts_the_saga_and_is_not_told_that_there_is_none() -> None:
    async def story() -> None:
        deeds, journal = Deeds(0, 1, 2, 3), RefusingJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=deeds)
        async with mine.orchestrator.running():
            journal.is_refusing = True
            journal.gate.clear()
            first = asyncio.create_task(mine.start())  # noqa: TID251  # awaited below
            await until(lambda: mine.orchestrator.stats().active_actors)
            second = asyncio.create_task(mine.start())  # noqa: TID251  # awaited below
            await asyncio.sleep(0.1)  # poll: virtual time, in which nothing may happen
            deeds.held.clear()
            journal.gate.set()
            for each in (first, second):
                with pytest.raises(NotOwner):
                    await each

    run(story())


def test_a_saga_is_shown_no_older_than_its_journal_has_it_while_the_answer_is_on_its_way() -> None:
    """Whoever lists or watches reads the journal, and may ask for the saga right after."""

    class Reticent(TappedJournal):
        answers: asyncio.Event

        async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
            results = await super().append(batch)
            await self.answers.wait()
            return results

    async def story() -> None:
        journal = Reticent().tap()
        journal.answers = asyncio.Event()
        journal.answers.set()
        process = Process(hangs, PLAN, journal=journal)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: process.hands.open)
            journal.answers.clear()
            cancelling = asyncio.create_task(process.orchestrator.cancel("s", "enough"))  # noqa: TID251  # awaited below
            begun = (await process.orchestrator.get("s")).version
            await until(lambda: len(journal.groups) > 1)
            row = await journal.row("s")  # type: ignore[arg-type]  # a SagaId
            assert row is not None
            assert row.version > begun
            assert (await process.orchestrator.get("s")).version >= row.version
            journal.answers.set()
            await cancelling

    run(story())
