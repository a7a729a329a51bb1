"""The store of a simulated process: the memory journal behind a disk that is slow, breaks, and outlives processes.

A group is on its way for a moment, then it lands, then its writer is told. Whoever dies before it lands may find it
there or not, or some of its streams; each stream is there whole or not at all, which is the journal's contract. What
was acknowledged is there, always: a disk that loses what it has synced is beyond any program, and not played here.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any, TypeVar

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import (
    Append,
    AppendResult,
    PositionedRecord,
    Record,
    SearchQuery,
    SearchRow,
    Shards,
)
from orchestrator.testing.fates import Faults, Kind
from orchestrator.testing.loop import Life

_COMMIT_S = 0.003
"""A group's way to the disk, at most: what a synced write takes on ordinary hardware."""
_SLOW_S = 5.0
_READ_S = 0.0002
_PAGE_ROWS = 3
"""A store may give fewer rows than it was asked for; few sagas have several pages then."""

T = TypeVar("T")


class Disk:
    """What all lives share: the records, and who may be asked about them without waiting."""

    def __init__(self) -> None:
        """Begin empty."""
        self.store = MemoryJournal()
        self.definitions: dict[SagaId, str] = {}
        """Of every saga that is there."""
        self.on_landed: Callable[[Append], None] = lambda _: None
        """Hears of what is durable now."""


class SimulatedJournal:
    """`Journal` as one life sees it."""

    def __init__(self, disk: Disk, life: Life, faults: Faults, outside: Context) -> None:
        """Open the store under the next epoch; `outside` is the context of what no process's death ends."""
        self._disk = disk
        self._store = disk.store = disk.store.reopen()
        self._life = life
        self._faults = faults
        self._outside = outside
        self._groups = 0
        self._failure = ""
        name = life.name
        self._dies = {
            kind: faults.pass_of(kind, name, mean=30)
            for kind in (Kind.KILL_BEFORE_APPEND, Kind.KILL_IN_APPEND, Kind.KILL_AFTER_APPEND)
        }

    @property
    def epoch(self) -> int:
        """Return the fencing token of this opening."""
        return self._store.epoch

    @property
    def failed(self) -> str | None:
        return self._failure or None

    @property
    def obstacle(self) -> str | None:
        return None

    @property
    def groups(self) -> int:
        """Return how many groups this life has handed to the disk."""
        return self._groups

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self._check()
        self._groups += 1
        if self._is_dead_at(Kind.KILL_BEFORE_APPEND):
            await asyncio.get_running_loop().create_future()
        site = f"{self._life.name}/{self._groups}"
        draw = self._faults.fates.draw
        takes_s = _COMMIT_S * draw(f"append/{site}") ** 2
        if self._faults.strike(Kind.APPEND_SLOW, site):
            takes_s += _SLOW_S * draw(f"append/{site}/slow")
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Sequence[AppendResult]] = loop.create_future()
        loop.call_later(takes_s, self._land, tuple(batch), site, told, context=self._outside)
        return await told

    def _land(self, batch: Sequence[Append], site: str, told: "asyncio.Future[Sequence[AppendResult]]") -> None:
        """Write the group; in the context of the disk, which no process's death ends."""
        if self._life.is_over:
            self._write_some(batch, site)
            return
        if self._is_dead_at(Kind.KILL_IN_APPEND):
            self._write_some(batch, site)
            return
        if self._faults.strike(Kind.APPEND_ERROR, site):
            self._write_some(batch, site)
            self._fail(told, "the disk failed; what is on it is known after a restart")
            return
        try:
            results = self._write(batch)
        except JournalUnavailable as error:
            self._fail(told, error.message)
            return
        if not self._is_dead_at(Kind.KILL_AFTER_APPEND) and not told.done():
            told.set_result(results)

    def _fail(self, told: "asyncio.Future[Sequence[AppendResult]]", why: str) -> None:
        """Acknowledge nothing any more."""
        self._failure = why
        if not told.done():
            told.set_exception(JournalUnavailable(why))

    def _is_dead_at(self, kind: Kind) -> bool:
        """Return whether the life ends at this group, and end it."""
        if self._life.is_over or self._faults.is_over or self._dies[kind] != self._groups:
            return self._life.is_over
        self._faults.note(kind, self._life.name, self._groups)
        self._life.kill()
        return True

    def _write_some(self, batch: Sequence[Append], site: str) -> None:
        """Write all of it, nothing, or some streams of it; nothing once another process has opened the file."""
        if self._store is not self._disk.store:
            return
        fate = self._faults.fates.draw(f"append/{site}/torn")
        if fate < 1 / 3:
            return
        chosen = [each for n, each in enumerate(batch) if fate < 2 / 3 or self._faults.fates.coin(f"{site}/{n}")]
        self._write(chosen)

    def _write(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        results = _finish(self._store.append(batch))
        for append, result in zip(batch, results, strict=True):
            if result is None:
                self._disk.definitions[append.saga_id] = append.row.definition
                self._disk.on_landed(append)
        return results

    def _check(self) -> None:
        if self._failure:
            raise JournalUnavailable(self._failure)

    async def _seek(self) -> MemoryJournal:
        """Take the time a disk takes; what is read is as it is then."""
        await asyncio.sleep(_READ_S)
        self._check()
        return self._store

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        return await (await self._seek()).read(saga_id, after_version, limit)

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        return await (await self._seek()).row(saga_id)

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        return await (await self._seek()).row_by_request(request_id)

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        return await (await self._seek()).versions(saga_ids)

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        return await (await self._seek()).awake(after, min(limit, _PAGE_ROWS), shards)

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        return await (await self._seek()).due(before_at, min(limit, _PAGE_ROWS), after, shards)

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        return await (await self._seek()).search(query)

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        return await (await self._seek()).count(query, group_by)

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        return await (await self._seek()).since(position, limit, shard)

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        return await (await self._seek()).news(after, limit)

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        return await (await self._seek()).acts(before, limit)

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        return await (await self._seek()).forget(definition, ended_before_at, limit, shards)

    async def close(self) -> None:
        """Leave the records to the next life, and take no more."""
        self._failure = self._failure or "the journal is closed; nothing was recorded, open it again"


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run what only looks as if it waited: the memory journal never does."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the memory journal waited")
