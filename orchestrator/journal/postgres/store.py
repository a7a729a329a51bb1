"""`PostgresJournal`: the journal, the catalogue, the cluster and its letter boxes in one database of many processes."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.postgres import arriving, leases, reading, search
from orchestrator.journal.postgres.driver import Address, Connector, Link, Row
from orchestrator.journal.postgres.pool import Pool, PoolRoom
from orchestrator.journal.postgres.schema import prepare, shipped
from orchestrator.journal.postgres.sql import SQL
from orchestrator.journal.postgres.writer import Writer
from orchestrator.journal.search import check_query
from orchestrator.limits import (
    FORGET_RECORDS_MAX,
    JOURNAL_LOOP_ROWS_MAX,
    POSTGRES_LEASE_S,
    POSTGRES_READ_S,
    POSTGRES_READERS_MAX,
    READ_RECORDS_MAX,
    SHARDS_DEFAULT,
)
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import Append, AppendResult, PositionedRecord, Record, SearchQuery, SearchRow, Shards
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.ports.posts import Answer, Post
from orchestrator.ports.promotion import Entry

_T = TypeVar("_T")

# The sequence's own largest number.
_MAX_POSITION: Final = 2**63 - 1


def luck() -> float:
    """Return a draw from [0, 1) of the operating system's, for pauses between tries."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


class PostgresJournal:
    """`Journal`, `Catalogue`, `Cursors`, `Pruning`, `Leases` and `Posts` over one database; made by `open`."""

    failed: None = None
    """A database comes back: nothing here fails for good."""

    def __init__(self, connector: Connector, shard_count: int, entropy: Callable[[], float]) -> None:
        self.shard_count = shard_count
        """Fixed when the store was made."""
        self._connector = connector
        self._writer = Writer(connector, entropy)
        self._reads = Pool(connector, POSTGRES_READERS_MAX, POSTGRES_READ_S)
        self._leases = Pool(connector, 1, POSTGRES_LEASE_S)
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        shard_count: int = SHARDS_DEFAULT,
        entropy: Callable[[], float] = luck,
        may_change: bool = True,
    ) -> "PostgresJournal":
        """Make the store, or bring it to this release's schema; `shard_count` is for a store that is made now.

        Whoever only looks at it says so: not `may_change`, and it is refused where it is not there, or of old.

        `dsn` is `postgres://user@host:port/database`, with the driver's options and one of ours, `pooler=transaction`
        (`session`, `none`), for where the store's own look for a pooler is not wanted. `entropy` spreads the pauses
        between tries. `ConfigError` says why it cannot be, `JournalUnavailable` that the database does not answer now.
        """
        connector = Connector(Address.of(dsn))
        found = await prepare(connector, shipped(), shard_count, may_change=may_change)
        connector.opened()
        return cls(connector, found, entropy)

    @property
    def obstacle(self) -> str | None:
        """Return why nothing has been recorded for `POSTGRES_STALL_S`: an append has no answer, or all are refused."""
        return self._writer.obstacle

    def pools(self) -> Mapping[str, PoolRoom]:
        """Return how full each pool of connections is, by what it is for."""
        return {"reads": self._reads.room(), "leases": self._leases.room()}

    # --- Journal -----------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self._check_open()
        return await self._writer.append(batch) if batch else []

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        records: list[Record] = []
        while (left := limit - len(records)) > 0:
            seen, size = after_version + len(records), min(left, JOURNAL_LOOP_ROWS_MAX)
            rows = await self._fetch("records", saga_id, seen, size)
            if not rows:
                return []  # unknown, or forgotten between two pages
            page = reading.stream(saga_id, rows, seen, size)
            records += page
            if len(page) < size:
                break
        return records

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        found = await self._fetch("row", saga_id)
        return reading.search_row(found[0]) if found else None

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        found = await self._fetch("row_by_request", request_id)
        return reading.search_row(found[0]) if found else None

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        return {row[0]: row[1] for row in await self._fetch("versions", list(saga_ids))}

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        return reading.search_rows(await self._fetch("awake", after, limit, _listed(shards)))

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        seen_at, seen = after or (float("-inf"), "")
        return reading.search_rows(await self._fetch("due", before_at, seen_at, seen, limit, _listed(shards)))

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        check_query(query)
        self._check_open()
        sql, values = search.page(query)
        return reading.search_rows(await self._reads.fetch(sql, *values))

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        check_query(query, group_by)
        self._check_open()
        sql, values = search.tally(query, group_by)
        return {str(group): count for group, count in await self._reads.fetch(sql, *values)}

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        of_shard = () if shard is None else (shard,)
        query = "since" if shard is None else "since_of_shard"
        while True:
            seen, found = reading.positioned(await self._fetch(query, position, limit, *of_shard), position)
            if found or seen == position:  # a page of damage is not the end
                return found
            position = seen

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        late = self._writer.late
        mark = late.marks(after)
        places = {shard: after[shard] for shard in mark}
        while True:
            rows = await self._fetch("news", list(places), list(places.values()), limit)
            _, found = reading.positioned(rows, 0)
            if found or not rows:  # a page of damage is not the end
                return [record for record in found if late.holds(mark, record.shard)]
            places |= {row[2]: row[0] for row in rows}

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        below = _MAX_POSITION if before is None else before
        while True:
            lowest, found = reading.positioned(await self._fetch("acts", below, limit), below)
            if found or lowest == below:
                return found
            below = lowest

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        await self._reads.close()
        await self._leases.close()

    # --- Pruning, Cursors --------------------------------------------------------------------------------------------

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        values = (definition, ended_before_at, limit, _listed(shards), FORGET_RECORDS_MAX)
        return int((await self._fetch("forget", *values))[0][0])

    async def load(self, name: str) -> int:
        found = await self._fetch("load_cursor", name)
        return int(found[0][0]) if found else 0

    async def save(self, name: str, position: int) -> None:
        await self._fetch("save_cursor", name, position)

    async def places(self, names: Collection[str]) -> Mapping[str, int]:
        return {row[0]: row[1] for row in await self._fetch("places", list(names))}

    async def advance(self, places: Mapping[str, int]) -> None:
        await self._fetch("advance", list(places), list(places.values()))

    # --- Catalogue ---------------------------------------------------------------------------------------------------

    async def put(self, revision: Revision) -> bool:
        content = (revision.source, revision.descriptors, revision.created_at)
        return bool((await self._fetch("put_revision", revision.definition, revision.revision, *content))[0][0])

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        wanted = (definition, revision) if revision else (definition,)
        found = reading.revisions(await self._fetch("revision" if revision else "active_revision", *wanted))
        return found[0] if found else None

    async def activate(self, definition: str, revision: str) -> bool:
        return bool(await self._fetch("activate", definition, revision))

    async def definitions(self) -> Sequence[Revision]:
        return reading.revisions(await self._fetch("definitions"))

    async def active(self) -> Mapping[str, str]:
        return {row[0]: row[1] for row in await self._fetch("active")}

    async def revisions(self, definition: str) -> Sequence[Revision]:
        return reading.revisions(await self._fetch("revisions", definition))

    # --- Leases ------------------------------------------------------------------------------------------------------

    async def join(self, member: Member, lease_s: float) -> View:
        self._check_open()
        view = await self._leases.transact(lambda link: leases.join(link, member, lease_s))
        self._writer.join(member.member)
        return view

    async def renew(self, member: str, lease_s: float, *, is_leaving: bool) -> View | None:
        self._check_open()
        return await self._leases.transact(
            lambda link: leases.renew(link, member, lease_s, is_leaving), is_repeatable=True
        )

    async def view(self) -> View:
        (row,) = await self._fetch("view")
        return leases.view_of(row)

    async def claim(self, member: str, shards: Collection[Shard]) -> Sequence[Shard]:
        self._check_open()
        found = await self._leases.fetch(SQL["claim"], member, *leases.arrays_of(shards), is_repeatable=False)
        return leases.shards_of(found)

    async def give(self, member: str, shards: Collection[Shard], to: str) -> Sequence[Shard]:
        self._check_open()
        async with self._writer.quiet():
            found = await self._leases.fetch(SQL["give"], member, *leases.arrays_of(shards), to, is_repeatable=False)
        given = leases.shards_of(found)
        self._writer.late.leave({shard.shard for shard in given})
        return given

    async def fence(self, members: Collection[str]) -> Collection[str]:
        self._check_open()
        return await self._leases.transact(lambda link: leases.fence(link, members))

    async def leave(self, member: str) -> None:
        self._check_open()
        self._writer.leave(member)
        try:
            await self._leases.transact(lambda link: leases.leave(link, member), is_repeatable=True)
        except (JournalUnavailable, asyncio.CancelledError):
            self._writer.cut()  # nobody waits for what nobody can learn any more
            raise

    # --- Posts -------------------------------------------------------------------------------------------------------

    async def post(self, shard: int, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> int:
        found = await self._fetch("post", shard, method, request, json.dumps(metadata))
        return int(found[0][0])

    async def posted(self, shards: Collection[int], limit: int) -> Sequence[Post]:
        return [
            Post(
                number=number,
                shard=shard,
                method=method,
                request=request,
                metadata=tuple((name, value) for name, value in json.loads(metadata)),
                posted_at=posted_at,
            )
            for number, shard, method, request, metadata, posted_at in await self._fetch("posted", list(shards), limit)
        ]

    async def answer(self, number: int, answer: Answer) -> None:
        await self._fetch("answer", number, answer.response, answer.status)

    async def answers(self, numbers: Collection[int]) -> Mapping[int, Answer]:
        found = await self._fetch("answers", list(numbers))
        return {number: Answer(response=response, status=status) for number, response, status in found}

    async def clear(self, answered_before_at: float, limit: int) -> int:
        return len(await self._fetch("clear", answered_before_at, limit))

    # --- promotion ---------------------------------------------------------------------------------------------------

    async def refuse_half_moved(self) -> None:
        """Raise `ConfigError` where another store is being taken in: nobody can join until that is finished."""
        self._check_open()
        ((is_under_way,),) = await self._reads.fetch(arriving.SQL["is_under_way"])
        if is_under_way:
            shown = self._connector.address.shown
            raise ConfigError(f"{shown}: {arriving.HALF_MOVED}", path=shown)

    async def begin(self, origin: str, epoch: int, last_position: int) -> str | None:
        shown = self._connector.address.shown
        return await self._transact(lambda link: arriving.begin(link, shown, origin, epoch, last_position))

    async def take(self, rows: Sequence[SearchRow], entries: Sequence[Entry]) -> None:
        await self._transact(lambda link: arriving.take(link, rows, entries))

    async def mark(self, saga_id: SagaId) -> None:
        await self._transact(lambda link: arriving.mark(link, saga_id))

    async def finish(self) -> None:
        await self._transact(arriving.finish)

    async def entries(self, after: tuple[str, int], until: str, limit: int) -> Sequence[Entry]:
        self._check_open()
        found = await self._reads.fetch(arriving.SQL["entries"], *after, until, limit)
        return [arriving.entry_of(row) for row in found]

    async def _transact(self, work: Callable[[Link], Awaitable[_T]]) -> _T:
        self._check_open()
        return await self._reads.transact(work, is_repeatable=True)

    async def _fetch(self, query: str, *values: object) -> list[Row]:
        self._check_open()
        return await self._reads.fetch(SQL[query], *values)

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalUnavailable(
                f"the journal {self._connector.address.shown} is closed; nothing was recorded, open it again"
            )


def _listed(shards: Shards) -> list[int] | None:
    return None if shards is None else list(shards)
