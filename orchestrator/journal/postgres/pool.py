"""A few connections for one purpose, each for one piece of work at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from orchestrator.errors import JournalUnavailable
from orchestrator.frozen import frozen
from orchestrator.journal.postgres.driver import LOST, Connector, Link, Row, is_about_connection, is_about_turns
from orchestrator.limits import POSTGRES_TURNS_MAX, POSTGRES_WAIT_S

_T = TypeVar("_T")


@frozen
class PoolRoom:
    """How full a pool is."""

    size: int
    in_use: int
    waiting: int
    """Pieces of work that wait for a connection."""


class Pool:
    """At most `size` connections, made when they are needed and kept while they are sound."""

    def __init__(self, connector: Connector, size: int, statement_s: float) -> None:
        """No statement takes longer than `statement_s`."""
        self._connector = connector
        self._statement_s = statement_s
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._in_use = 0
        self._waiting = 0
        self._idle: list[Link] = []
        self._is_closed = False

    def room(self) -> PoolRoom:
        """Return how full it is."""
        return PoolRoom(size=self._size, in_use=self._in_use, waiting=self._waiting)

    async def fetch(self, sql: str, *values: object, is_repeatable: bool = True) -> list[Row]:
        """Run one statement; `JournalUnavailable` where its end is not known."""
        return await self.run(
            lambda link: link.fetch(sql, *values, timeout_s=self._statement_s), is_repeatable=is_repeatable
        )

    async def transact(self, work: Callable[[Link], Awaitable[_T]], *, is_repeatable: bool = False) -> _T:
        """Run several statements as one transaction."""

        async def inside(link: Link) -> _T:
            async with link.transaction(self._statement_s):
                return await work(link)

        return await self.run(inside, is_repeatable=is_repeatable)

    async def run(self, work: Callable[[Link], Awaitable[_T]], *, is_repeatable: bool) -> _T:
        """Run the work on a connection, within the time of one statement, however often it is begun anew.

        That is where an idle connection turned out to be dead, or where a turn was lost to another transaction, and
        nothing was done.
        """
        async with self._place():
            try:
                async with asyncio.timeout(self._statement_s):
                    return await self._run(work, is_repeatable=is_repeatable)
            except TimeoutError as exc:
                raise self._connector.unavailable(exc) from exc

    async def _run(self, work: Callable[[Link], Awaitable[_T]], *, is_repeatable: bool) -> _T:
        turns = 0
        while True:
            link: Link | None = None
            was_idle = False
            try:
                link, was_idle = await self._link()
                done = await work(link)
            except LOST as exc:
                _drop(link)
                self._connector.take_note(exc)
                turns += 1
                was_dead = was_idle and is_repeatable and is_about_connection(exc)
                if turns <= POSTGRES_TURNS_MAX and (was_dead or is_about_turns(exc)):
                    continue
                raise self._connector.unavailable(exc) from exc
            except BaseException:
                _drop(link)
                raise
            if self._is_closed:
                link.drop()
            else:
                self._idle.append(link)
            return done

    async def close(self) -> None:
        """Close what is idle; what is busy goes when its work is done."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            async with asyncio.timeout(POSTGRES_WAIT_S):
                await self._free.acquire()
        except TimeoutError as exc:
            raise JournalUnavailable(
                f"all {self._size} connections to {self._connector.address.shown} were busy for {POSTGRES_WAIT_S:g} s: "
                f"the database is slow, or asked too much; nothing was done, try again later"
            ) from exc
        finally:
            self._waiting -= 1
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._free.release()

    async def _link(self) -> tuple[Link, bool]:
        while self._idle:
            link = self._idle.pop()
            if link.is_open:
                return link, True
        return await self._connector.connect(self._statement_s), False


def _drop(link: Link | None) -> None:
    if link is not None:
        link.drop()
