"""Forgets what ended long ago: standing work that anything else may hold up.

::

      every minute, for each definition whose sagas are not kept for ever:
          forget a few of the earliest, of the shards that this process owns  ->  rest 24 times as long  ->  again

Where more ends than it forgets so, it comes to no end. So the longer there has been something to forget, the less it
rests (`share`), and its share of the time settles where as much is forgotten as ends.

What is forgotten was over for good, so nobody's work is in the way, and nobody hears of it. A process that dies in
between has forgotten a little less.
"""

import asyncio
import logging
from collections.abc import Callable
from math import exp2, log2

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import (
    RETENTION_BEHIND_S,
    RETENTION_INTERVAL_S,
    RETENTION_SAGAS,
    RETENTION_SHARE,
    RETENTION_SHARE_MAX,
)
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
        self._up_to = 0.0
        """When the last round began that left nothing, by the monotonic clock: how far forgetting has come."""

    async def run(self) -> None:
        """For ever: forget what is due. A store that is away is asked again a while later."""
        self._up_to = begun = self._clock.monotonic()
        while True:
            await asyncio.sleep(max(0.0, begun + RETENTION_INTERVAL_S - self._clock.monotonic()))
            begun = self._clock.monotonic()
            try:
                await self._forget_due()
            except JournalUnavailable as error:
                logger.warning("nothing is forgotten for now: %s", error)
                self._observer.retention_behind(self._behind_s())
            else:
                self._up_to = begun
                self._observer.retention_behind(0.0)

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
            behind_s = self._behind_s()
            self._observer.retention_behind(behind_s)
            await asyncio.sleep((self._clock.monotonic() - begun) * (1.0 / share(behind_s) - 1.0))
        if total:
            logger.info("forgot %d sagas of definition %s, all there was to forget", total, definition)

    def _behind_s(self) -> float:
        """Return since when not all has been forgotten that was due: what is left was not due before that."""
        return self._clock.monotonic() - self._up_to


def share(behind_s: float) -> float:
    """Return the share of the time that forgetting may take: the smallest, until it turns out to be too small.

    The time that a removal takes is mostly time that it waits for its turn, the longer, the busier the process is. Were
    the share always the same, least would be forgotten where most ends.
    """
    doublings = max(0.0, behind_s / RETENTION_BEHIND_S - 1.0)
    most = log2(RETENTION_SHARE_MAX / RETENTION_SHARE)
    return RETENTION_SHARE * exp2(min(doublings, most))
