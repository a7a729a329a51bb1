"""Sees sagas move that another process runs, for those who wait for them here.

One look for all of them: the versions at which they stand, in one query, many times a second. It asks less of the
store than the sagas' own appends do, however many wait, and it needs nothing from the process that runs them: a wait
goes on over any number of changes of owner.
"""

import asyncio
from collections.abc import Collection
from itertools import islice

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.limits import WATCH_POLL_S, WATCH_POLL_SAGAS
from orchestrator.ports.journal import Journal
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.watchers import Watchers


class Lookout:
    """Polls for those that no actor here tells of."""

    def __init__(self, journal: Journal, directory: Directory, watchers: Watchers) -> None:
        """Nothing happens before `run`."""
        self._journal = journal
        self._directory = directory
        self._watchers = watchers
        self._seen: dict[SagaId, int | None] = {}
        """Versions at the last look; None: there was no such saga."""

    async def run(self) -> None:
        """For ever: tell watchers of remote sagas what moved. A store that is away is asked again."""
        while True:
            await asyncio.sleep(WATCH_POLL_S)
            remote = [saga for saga in self._watchers.sagas() if self._directory.active(saga) is None]
            self._seen = {saga: self._seen[saga] for saga in remote if saga in self._seen}
            try:
                rest = iter(remote)
                while page := list(islice(rest, WATCH_POLL_SAGAS)):
                    await self._look(page)
            except JournalUnavailable:
                continue

    async def _look(self, sagas: Collection[SagaId]) -> None:
        found = await self._journal.versions(sagas)
        for saga in sagas:
            version = found.get(saga)  # none: it is not there yet, or was forgotten while somebody waited for it
            if self._seen.get(saga) != version:
                self._seen[saga] = version
                self._watchers.moved(saga)
