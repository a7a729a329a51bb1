"""Forgets what ended long ago: standing work that anything else may hold up.

::

      every minute, for each definition whose sagas are not kept for ever:
          forget a few of the earliest, of the shards that this process owns  ->  rest 24 times as long  ->  again

What is forgotten was over for good, so nobody's work is in the way, and nobody hears of it. A process that dies in
between has forgotten a little less.
"""

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import RETENTION_INTERVAL_S, RETENTION_SAGAS, RETENTION_SHARE
from orchestrator.ports.catalogue import Catalogue
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Pruning
from orchestrator.ports.observer import Observer
from orchestrator.ports.ownership import Ownership

logger = logging.getLogger("orchestrator.retention")


class Retention:
    """Applies the periods to what this process owns."""

    def __init__(
        self,
        *,
        pruning: Pruning,
        catalogue: Catalogue,
        ownership: Ownership,
        clock: Clock,
        keep_s: Callable[[str], float | None],
        observer: Observer,
    ) -> None:
        """Take the parts. `keep_s`: a definition's name to the seconds its ended sagas are kept; None for ever."""
        self._observer = observer
        self._pruning = pruning
        self._catalogue = catalogue
        self._ownership = ownership
        self._clock = clock
        self._keep_s = keep_s

    async def run(self) -> None:
        """For ever: forget what is due. A store that is away is asked again a while later."""
        while True:
            await asyncio.sleep(RETENTION_INTERVAL_S)
            try:
                await self._forget_due()
            except JournalUnavailable as error:
                logger.warning("nothing is forgotten for now: %s", error)

    async def _forget_due(self) -> None:
        for revision in await self._catalogue.definitions():
            keep_s = self._keep_s(revision.definition)
            if keep_s is not None:
                await self._forget(revision.definition, self._clock.now() - keep_s)

    async def _forget(self, definition: str, ended_before_at: float) -> None:
        """Forget all that ended before the instant; children of what is forgotten here may follow in the next round."""
        total = 0
        while shards := self._ownership.owned():
            begun = self._clock.monotonic()
            gone = await self._pruning.forget(definition, ended_before_at, RETENTION_SAGAS, shards)
            if not gone:
                break
            total += gone
            self._observer.forgotten(definition, gone)
            await asyncio.sleep((self._clock.monotonic() - begun) * (1.0 / RETENTION_SHARE - 1.0))
        if total:
            logger.info("forgot %d sagas of definition %s, all there was to forget", total, definition)
