"""Takes up every saga that has not ended: at start all of them, later the ones whose time has come.

Recovery is not an event but a standing property (I35): a saga that is not terminal is active, or has a `wake_at` in
the journal that the sweeper finds. Each saga is taken up alone; one that cannot be read is quarantined and hinders no
other.
"""

import asyncio
import logging

from orchestrator.errors import IntegrityError, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import (
    RECOVERY_CALLS_MAX,
    RECOVERY_PAGE_ROWS,
    RECOVERY_PAUSE_S,
    RECOVERY_STALL_S,
    SWEEP_INTERVAL_S,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import Invoker
from orchestrator.ports.journal import Journal, SearchRow
from orchestrator.runtime.directory import Directory

logger = logging.getLogger("orchestrator.recovery")


class Recovery:
    """Finds work that has no actor."""

    def __init__(self, journal: Journal, directory: Directory, invoker: Invoker, clock: Clock) -> None:
        """Take the ports; nothing happens before `recover_all` or `sweep`."""
        self._journal = journal
        self._directory = directory
        self._invoker = invoker
        self._clock = clock
        self.recovered_count = 0
        self._calls_max = RECOVERY_CALLS_MAX

    async def recover_all(self) -> None:
        """Activate every unfinished saga, page by page, no faster than the services can take it."""
        after = ""
        while rows := await self._journal.unfinished(after, RECOVERY_PAGE_ROWS):
            for row in rows:
                await self._take_up(row)
                await self._breathe()
            after = rows[-1].saga_id
        if self.recovered_count:
            logger.info("took up %d unfinished sagas", self.recovered_count)

    async def sweep(self) -> None:
        """For ever: bring back the sagas that are due before the next look."""
        while True:
            now_at = self._clock.now()
            # Those set aside stay due for ever, and must not fill the page.
            limit = RECOVERY_PAGE_ROWS + self._directory.supervisor.quarantined_count
            for row in await self._journal.due(now_at + SWEEP_INTERVAL_S, limit):
                if self._directory.wake(row.saga_id) is None:
                    await self._take_up(row)
                    # A page a look is pace enough: were it to wait for calls, one hung service would stop all timers.
                    await asyncio.sleep(0)  # one turn, as in recovery
            await asyncio.sleep(SWEEP_INTERVAL_S)

    async def _take_up(self, row: SearchRow) -> None:
        saga_id = SagaId(row.saga_id)
        if self._directory.supervisor.is_quarantined(saga_id):
            return
        try:
            self._directory.rest(await self._directory.actor(saga_id))
            self.recovered_count += 1
        except IntegrityError as error:
            self._directory.supervisor.quarantine(saga_id, error)
        except OrchestratorError as error:
            logger.warning("saga %s was not taken up: %s", saga_id, error)

    async def _breathe(self) -> None:
        """Let the event loop turn, and the services keep up, before the next saga.

        Calls that do not end hold back nobody for long: after a while without room, as many again may be open.
        """
        await asyncio.sleep(0)  # one turn: reading the journal may not have waited
        try:
            async with asyncio.timeout(RECOVERY_STALL_S):
                while self._open_calls() >= self._calls_max:  # noqa: ASYNC110  # a rate, not a fact
                    await asyncio.sleep(RECOVERY_PAUSE_S)
        except TimeoutError:
            self._calls_max = self._open_calls() + RECOVERY_CALLS_MAX

    def _open_calls(self) -> int:
        return sum(self._invoker.in_flight().values())
