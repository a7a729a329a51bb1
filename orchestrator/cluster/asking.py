"""Questions to the store, each for a bounded time: answered, or `StoreAway`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.term import call_s_max
from orchestrator.errors import JournalUnavailable
from orchestrator.limits import LEAVE_AWAY_S, LEAVE_S, STORE_RETRY_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.leases import Leases, Member, Shard, View

logger = logging.getLogger("orchestrator.cluster")

T = TypeVar("T")


class StoreAway(Exception):
    """The store did not answer, or too late; what was asked of it may be done or not."""


class Asking:
    """`Leases` as a member uses them."""

    def __init__(self, leases: Leases, clock: Clock, lease_s: float, store_time: StoreTime | None) -> None:
        """`store_time` hears the store's clock with every view."""
        self._leases = leases
        self._clock = clock
        self._lease_s = lease_s
        self._store_time = store_time
        self.away = ""
        """Why the store is away; empty while it answers."""

    def retry_s(self) -> float:
        """Return how long to wait before the store is asked again."""
        return STORE_RETRY_S * (0.5 + self._clock.entropy())

    async def join(self, member: Member) -> View:
        """Add a member."""
        return await self._seen(partial(self._leases.join, member, self._lease_s))

    async def renew(self, member: str, *, is_leaving: bool) -> View | None:
        """Lengthen the lease; None where the member was fenced."""
        return await self._seen(partial(self._leases.renew, member, self._lease_s, is_leaving=is_leaving))

    async def view(self) -> View:
        """Look, without being a member."""
        return await self._seen(self._leases.view)

    async def claim(self, member: str, shards: Sequence[Shard]) -> Sequence[Shard]:
        """Take free shards."""
        return await self._ask(partial(self._leases.claim, member, shards))

    async def give(self, member: str, shards: Sequence[Shard], to: str) -> Sequence[Shard]:
        """Hand shards to another member."""
        return await self._ask(partial(self._leases.give, member, shards, to))

    async def fence(self, members: Sequence[str]) -> Collection[str]:
        """Remove members whose lease is over."""
        return await self._ask(partial(self._leases.fence, members))

    async def leave(self, member: str) -> None:
        """Take a row of this process away."""
        await self._ask(partial(self._leases.leave, member), LEAVE_AWAY_S if self.away else LEAVE_S)

    async def _seen(self, question: Callable[[], Awaitable[T]]) -> T:
        time = self._store_time
        sent = 0.0 if time is None else time.elapsed()
        answer = await self._ask(question)
        if time is not None and isinstance(answer, View):
            time.heard(sent, answer.at, time.elapsed())
        return answer

    async def _ask(self, question: Callable[[], Awaitable[T]], s_max: float | None = None) -> T:
        try:
            async with asyncio.timeout(call_s_max(self._lease_s) if s_max is None else s_max):
                answer = await question()
        except TimeoutError as late:
            raise self._missed("it did not answer in time") from late
        except JournalUnavailable as away:
            raise self._missed(away.message) from away
        if self.away:
            logger.info("the store answers again")
            self.away = ""
        return answer

    def _missed(self, why: str) -> StoreAway:
        if not self.away:
            logger.warning("the store is away: %s", why)
        self.away = why
        return StoreAway(why)
