"""Standing work: what finds sagas without an actor, and what it does where it cannot look."""

import asyncio
from collections.abc import Sequence

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import SWEEP_INTERVAL_S
from orchestrator.ports.journal import SearchRow, Shards
from orchestrator.testing.shorthand import plan, step
from tests.kit.runtime import Process, TappedJournal, run

PLAN = plan(step("a", idempotent=True))


class Unreadable(TappedJournal):
    """A journal whose disk fails at the next look for what is due."""

    is_failing = False

    @property
    def failed(self) -> str | None:
        return "the disk cannot be read" if self.is_failing else None

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        if self.is_failing:
            raise JournalUnavailable("the disk cannot be read")
        return await super().due(before_at, limit, after, shards)


def test_a_journal_that_fails_while_it_is_read_stops_the_process_in_order_and_once() -> None:
    async def story() -> None:
        journal = Unreadable().tap()
        process = Process(lambda _call: None, PLAN, journal=journal)
        async with process.orchestrator.running():
            await process.start()
            journal.is_failing = True
            await asyncio.sleep(10 * SWEEP_INTERVAL_S)  # poll: no fact, several looks, on virtual time
            assert process.failures == ["the disk cannot be read"]
            assert process.orchestrator.failure == "the disk cannot be read"
            await process.orchestrator.drain(0.0)

    run(story())
