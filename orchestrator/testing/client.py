"""The store of a simulated node: a client of the database, which behaves as a real one does by the journal's contract.

A read that finds the database away raises `JournalUnavailable`. An append does not: it is run again until its end is
known, and where a run is refused after one whose end was not, the records say whether that one did it. Leases are asked
once, for a membership asks again by itself.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from orchestrator.errors import Fenced, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.memory_leases import MemoryLeases
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
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.testing.database import Line, finished
from orchestrator.testing.fates import Kind

_RETRY_S = 0.2
_PAGE_ROWS = 3
"""A store may give fewer rows than it was asked for; few sagas have several pages then."""
_PASSES = {
    Kind.KILL_BEFORE_APPEND: 20,
    Kind.KILL_IN_APPEND: 20,
    Kind.KILL_AFTER_APPEND: 20,
    Kind.PAUSE_BEFORE_APPEND: 8,
    Kind.PAUSE_AFTER_APPEND: 8,
    Kind.PAUSE_AFTER_RENEWAL: 15,
}
"""At about which group, or renewal, of a life each strikes."""

T = TypeVar("T")


class Client:
    """`Journal` and `Leases` of one life."""

    def __init__(self, line: Line, stand_still: Callable[[], None]) -> None:
        """Open the store, as nobody yet; `stand_still` has the life do so for a while."""
        self._line = line
        self._database = line.database
        self._life = line.life
        self._opened = line.database.open()
        self._groups = 0
        self._is_closed = False
        self._renewals = 0
        self._stand_still = stand_still
        self._strikes_at = {kind: line.faults.pass_of(kind, line.life.name, mean) for kind, mean in _PASSES.items()}

    @property
    def failed(self) -> str | None:
        return None

    @property
    def obstacle(self) -> str | None:
        return None

    @property
    def groups(self) -> int:
        """Return how many groups this life has handed over."""
        return self._groups

    # --- the journal -------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self._check()
        self._groups += 1
        if self._is_dead_at(Kind.KILL_BEFORE_APPEND):
            await asyncio.get_running_loop().create_future()
        await self._perhaps_pause(Kind.PAUSE_BEFORE_APPEND, self._groups)
        opened = self._opened
        is_unsure = False
        while True:
            try:
                results = await self._line.ask(
                    "append", partial(self._write, opened, tuple(batch)), partial(self._lands, opened, tuple(batch))
                )
                results = await self._known(batch, results) if is_unsure else self._told(batch, results)
                await self._perhaps_pause(Kind.PAUSE_AFTER_APPEND, self._groups)
                return results
            except JournalUnavailable:
                is_unsure = True
            await asyncio.sleep(_RETRY_S)
            self._check()

    async def _perhaps_pause(self, kind: Kind, at: int) -> None:
        """Stand still just here, where that is to happen."""
        if self._strikes(kind, at):
            self._stand_still()
            await asyncio.sleep(0)  # one turn: it goes on here when it goes on at all

    def _lands(self, opened: MemoryLeases, batch: Sequence[Append]) -> bool:
        """Return whether the group is written as a whole: a process that dies just then does not see to it."""
        if self._is_dead_at(Kind.KILL_IN_APPEND):
            fates = self._line.faults.fates
            site = f"append/{self._life.name}/torn"
            fate = fates.draw(site)
            chosen = [each for n, each in enumerate(batch) if fate < 2 / 3 or fates.coin(f"{site}/{n}")]
            if fate >= 1 / 3:
                finished(self._write(opened, chosen))
            return False
        return True

    async def _write(self, opened: MemoryLeases, batch: Sequence[Append]) -> Sequence[AppendResult]:
        """Write at the database."""
        results = await opened.journal.append(batch)
        for append, result in zip(batch, results, strict=True):
            if result is None:
                self._database.landed(self._life, append)
        self._is_dead_at(Kind.KILL_AFTER_APPEND)
        return results

    async def _known(self, batch: Sequence[Append], results: Sequence[AppendResult]) -> Sequence[AppendResult]:
        """Tell an append that was refused from one that an earlier run has done."""
        known = list(results)
        for place, append in enumerate(batch):
            if known[place] is not None and await self._is_there(append):
                known[place] = None
        return self._told(batch, known)

    async def _is_there(self, append: Append) -> bool:
        """Return whether an append is durable: one who owns a shard under an epoch writes its records alone."""
        while True:
            try:
                there = await self.read(append.saga_id, append.expected_version, len(append.records))
            except JournalUnavailable:
                await asyncio.sleep(_RETRY_S)
                self._check()
            else:
                return tuple(there) == append.records

    def _told(self, batch: Sequence[Append], results: Sequence[AppendResult]) -> Sequence[AppendResult]:
        for append, result in zip(batch, results, strict=True):
            if isinstance(result, Fenced):
                self._database.oversight.refused(self._life, append)
        return results

    def _is_dead_at(self, kind: Kind) -> bool:
        """Return whether the life ends at this group, and end it."""
        strikes = self._strikes(kind, self._groups)
        if strikes:
            self._life.kill()
        return strikes

    def _strikes(self, kind: Kind, at: int) -> bool:
        """Return whether something that counts goes wrong here, and write it down; once, however often this is run."""
        faults = self._line.faults
        if self._life.is_over or faults.is_over or self._strikes_at[kind] != at:
            return False
        self._strikes_at[kind] = None
        faults.note(kind, self._life.name, at)
        return True

    def _check(self) -> None:
        if self._is_closed:
            raise JournalUnavailable("the journal is closed; what was under way is recorded or not, read it again")

    async def _read(self, look: Callable[[MemoryJournal], Coroutine[Any, Any, T]]) -> T:
        self._check()
        return await self._line.ask("read", lambda: look(self._database.store))

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        return await self._read(lambda store: store.read(saga_id, after_version, limit))

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        return await self._read(lambda store: store.row(saga_id))

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        return await self._read(lambda store: store.row_by_request(request_id))

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        return await self._read(lambda store: store.versions(saga_ids))

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        return await self._read(lambda store: store.awake(after, min(limit, _PAGE_ROWS), shards))

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        return await self._read(lambda store: store.due(before_at, min(limit, _PAGE_ROWS), after, shards))

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        return await self._read(lambda store: store.search(query))

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        return await self._read(lambda store: store.count(query, group_by))

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        return await self._read(lambda store: store.since(position, limit, shard))

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        return await self._read(lambda store: store.news(after, limit))

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        return await self._read(lambda store: store.acts(before, limit))

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        return await self._read(lambda store: store.forget(definition, ended_before_at, limit, shards))

    async def close(self) -> None:
        """Take no more."""
        self._is_closed = True

    # --- leases ------------------------------------------------------------------------------------------------------

    async def join(self, member: Member, lease_s: float) -> View:
        opened = self._database.open()
        self._database.oversight.joins(self._life, member.member)

        async def join() -> View:
            view = await opened.join(member, lease_s)
            self._database.oversight.renewed(member.member, view.at + lease_s)
            self._database.look(member.member, "join", self._life)
            return view

        view = await self._line.ask("join", join)
        self._opened = opened  # appends are in this member's name from here on
        return view

    async def renew(self, member: str, lease_s: float, *, is_leaving: bool) -> View | None:
        async def renew() -> View | None:
            view = await self._opened.renew(member, lease_s, is_leaving=is_leaving)
            if view is not None:
                self._database.oversight.renewed(member, view.at + lease_s)
            return view

        self._renewals += 1
        at = self._renewals
        view = await self._line.ask("renew", renew)
        await self._perhaps_pause(Kind.PAUSE_AFTER_RENEWAL, at)
        return view

    async def view(self) -> View:
        return await self._line.ask("view", self._opened.view)

    async def claim(self, member: str, shards: Collection[Shard]) -> Sequence[Shard]:
        return await self._changing(member, "claim", lambda: self._opened.claim(member, shards))

    async def give(self, member: str, shards: Collection[Shard], to: str) -> Sequence[Shard]:
        return await self._changing(member, "give", lambda: self._opened.give(member, shards, to))

    async def fence(self, members: Collection[str]) -> Collection[str]:
        return await self._changing("", "fence", lambda: self._opened.fence(members))

    async def leave(self, member: str) -> None:
        await self._changing(member, "leave", lambda: self._opened.leave(member))

    async def _changing(self, member: str, what: str, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def changed() -> T:
            answer = await change()
            self._database.look(member, what, self._life)
            return answer

        return await self._line.ask(what, changed)
