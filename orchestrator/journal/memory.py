"""The journal's contract in its plainest form: dictionaries, and every record through the codec.

For tests, trials and reading. Nothing survives the process; `reopen` plays the restart of one, so that whatever holds
a journal can be tested over a crash without a disk.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from orchestrator.errors import InvariantViolated, JournalUnavailable, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.journal.codec import decode_record, encode_append
from orchestrator.journal.refusals import refusal, request_taken
from orchestrator.journal.search import check_query
from orchestrator.limits import FORGET_RECORDS_MAX, READ_RECORDS_MAX
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import (
    Append,
    AppendResult,
    PositionedRecord,
    Record,
    Rest,
    SearchQuery,
    SearchRow,
    Shards,
)
from orchestrator.saga.events import OperatorActed
from orchestrator.saga.state import TERMINAL

_Stored = tuple[int, int, str, bytes]
"""(version, epoch, type name, bytes)"""


Refusal = Callable[[Append, int], OrchestratorError | None]
"""Given an append and its saga's shard: why the process may not write it, or None (`memory_leases.py`)."""


@dataclass(slots=True)
class _Contents:
    """What a disk would hold."""

    epoch: int = 0
    rows: dict[SagaId, SearchRow] = field(default_factory=dict[SagaId, SearchRow])
    streams: dict[SagaId, list[_Stored]] = field(default_factory=dict[SagaId, list[_Stored]])
    requests: dict[str, SagaId] = field(default_factory=dict[str, SagaId])
    positions: list[tuple[SagaId, int] | None] = field(default_factory=list[tuple[SagaId, int] | None])
    """Position n is entry n - 1: the record's saga and version; None where the saga was forgotten."""
    cursors: dict[str, int] = field(default_factory=dict[str, int])
    revisions: dict[tuple[str, str], Revision] = field(default_factory=dict[tuple[str, str], Revision])
    active: dict[str, str] = field(default_factory=dict[str, str])


class MemoryJournal:
    """`Journal`, `Catalogue`, `Cursors` and `Pruning` in one; each opening has the next epoch."""

    def __init__(self) -> None:
        self._open(_Contents())

    def _open(self, contents: _Contents) -> None:
        contents.epoch += 1
        self._epoch = contents.epoch
        self._contents = contents
        self._closed = False
        self._refusal: Refusal | None = None

    def reopen(self) -> "MemoryJournal":
        """Return the journal as the next process finds it: the same contents, a higher epoch; this one reads only."""
        fresh = MemoryJournal.__new__(MemoryJournal)
        fresh._open(self._contents)  # noqa: SLF001  (the same class)
        return fresh

    def shared(self, refusal: "Refusal") -> "MemoryJournal":
        """Return the same contents as another process of a cluster has them open, which `refusal` judges."""
        other = MemoryJournal.__new__(MemoryJournal)
        other._contents, other._epoch, other._closed = self._contents, self._epoch, False  # noqa: SLF001  (as above)
        other._refusal = refusal  # noqa: SLF001  (as above)
        return other

    @property
    def epoch(self) -> int:
        """Return this opening's fencing token: greater than that of every earlier opening."""
        return self._epoch

    @property
    def failed(self) -> str | None:
        return None

    @property
    def obstacle(self) -> str | None:
        return None

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        contents = self._live()
        if contents.epoch != self._epoch:
            raise JournalUnavailable("the journal was opened by another process while it was in use; stop this one")
        return [self._refused(append) or _append(contents, append) for append in batch]

    def _refused(self, append: Append) -> OrchestratorError | None:
        """Return why this process may not write the append's shard; nothing where the store has one process."""
        if self._refusal is None:
            return None
        current = self._contents.rows.get(append.saga_id)
        return self._refusal(append, append.row.shard if current is None else current.shard)

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        stored = self._live().streams.get(saga_id, [])
        return [decode_record(saga_id, *entry) for entry in stored[after_version : after_version + limit]]

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        return self._live().rows.get(saga_id)

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        contents = self._live()
        found = contents.requests.get(request_id)
        return None if found is None else contents.rows[found]

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        rows = self._live().rows
        return {saga_id: rows[saga_id].version for saga_id in saga_ids if saga_id in rows}

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        rows = [row for row in self._rows_in(shards) if row.rest is not Rest.ASLEEP and row.saga_id > after]
        return sorted((row for row in rows if row.status not in TERMINAL), key=lambda row: row.saga_id)[:limit]

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        owing = [(row.wake_at, row) for row in self._rows_in(shards) if row.wake_at is not None]
        ripe = [(wake_at, row.saga_id, row) for wake_at, row in owing if wake_at <= before_at]
        left = [entry for entry in ripe if after is None or entry[:2] > after]
        return [row for _, _, row in sorted(left, key=lambda entry: entry[:2]) if row.status not in TERMINAL][:limit]

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        check_query(query)
        keyed = sorted(
            ((_key(row, query), row) for row in self._live().rows.values() if _matches(row, query)),
            key=lambda entry: entry[0],
            reverse=query.descending,
        )
        if (seen := query.after) is not None:
            keyed = [(key, row) for key, row in keyed if (key < seen if query.descending else key > seen)]
        return [row for _, row in keyed[: query.limit]]

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        check_query(query, group_by)
        rows = [row for row in self._live().rows.values() if _matches(row, query)]
        if not group_by:
            return {"": len(rows)}
        return dict(Counter(str(getattr(row, group_by)) for row in rows))

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        found = self._behind(position)
        return list(islice((entry for entry in found if shard is None or entry.shard == shard), limit))

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        found = self._behind(min(after.values(), default=0))
        return list(
            islice((entry for entry in found if entry.position > after.get(entry.shard, entry.position)), limit)
        )

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        found = [
            one
            for one in await self.since(0, len(self._live().positions))
            if isinstance(one.record.event, OperatorActed)
        ]
        return [one for one in reversed(found) if before is None or one.position < before][:limit]

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        contents = self._live()
        ended = [
            (row.ended_at, row.saga_id, row.version)
            for row in self._rows_in(shards)
            if row.definition == definition and row.status in TERMINAL and row.parent not in contents.rows
            if row.ended_at is not None and row.ended_at < ended_before_at
        ]
        records, gone = 0, 0
        for _, saga_id, version in sorted(ended)[:limit]:
            records += version
            if gone and records > FORGET_RECORDS_MAX:
                break
            _forget(contents, saga_id)
            gone += 1
        return gone

    async def close(self) -> None:
        self._closed = True

    async def load(self, name: str) -> int:
        return self._live().cursors.get(name, 0)

    async def save(self, name: str, position: int) -> None:
        self._live().cursors[name] = position

    async def places(self, names: Collection[str]) -> Mapping[str, int]:
        cursors = self._live().cursors
        return {name: cursors[name] for name in names if name in cursors}

    async def advance(self, places: Mapping[str, int]) -> None:
        cursors = self._live().cursors
        cursors.update({name: max(position, cursors.get(name, 0)) for name, position in places.items()})

    async def put(self, revision: Revision) -> bool:
        contents = self._live()
        key = (revision.definition, revision.revision)
        if key in contents.revisions:
            return False
        contents.revisions[key] = replace(revision, active=False)
        contents.active.setdefault(*key)
        return True

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        contents = self._live()
        wanted = revision or contents.active.get(definition, "")
        found = contents.revisions.get((definition, wanted))
        return None if found is None else replace(found, active=contents.active[definition] == wanted)

    async def activate(self, definition: str, revision: str) -> bool:
        contents = self._live()
        exists = (definition, revision) in contents.revisions
        if exists:
            contents.active[definition] = revision
        return exists

    async def active(self) -> Mapping[str, str]:
        return dict(self._live().active)

    async def definitions(self) -> Sequence[Revision]:
        found = [await self.get(definition) for definition in sorted(self._live().active)]
        return [revision for revision in found if revision is not None]

    async def revisions(self, definition: str) -> Sequence[Revision]:
        names = [key[1] for key in self._live().revisions if key[0] == definition]
        found = [await self.get(definition, name) for name in names]
        return sorted((r for r in found if r is not None), key=lambda r: (r.created_at, r.revision), reverse=True)

    def _behind(self, position: int) -> Iterator[PositionedRecord]:
        contents = self._live()
        for index in range(position, len(contents.positions)):
            entry = contents.positions[index]
            if entry is not None:
                saga, version = entry
                record = decode_record(saga, *contents.streams[saga][version - 1])
                shard = contents.rows[saga].shard
                yield PositionedRecord(position=index + 1, saga_id=saga, record=record, shard=shard)

    def _rows_in(self, shards: Shards) -> list[SearchRow]:
        return [row for row in self._live().rows.values() if shards is None or row.shard in shards]

    def _live(self) -> _Contents:
        if self._closed:
            raise JournalUnavailable("the journal is closed; nothing was recorded, open it again")
        return self._contents


def _append(contents: _Contents, append: Append) -> OrchestratorError | None:
    try:
        encoded = encode_append(append)
    except InvariantViolated as wrong:
        return wrong
    saga, row = append.saga_id, append.row
    current = contents.rows.get(saga)
    version, epoch = (0, 0) if current is None else (current.version, current.epoch)
    if epoch > append.epoch or version != append.expected_version:
        return refusal(append, version, epoch)
    if current is None and row.request_id and (other := contents.requests.get(row.request_id)) is not None:
        return request_taken(append, other)
    if current is not None:
        row = replace(row, attributes=current.attributes, shard=current.shard, parent=current.parent)
    contents.rows[saga] = row
    contents.streams.setdefault(saga, []).extend((entry[0], entry[1], entry[3], entry[5]) for entry in encoded)
    contents.positions.extend((saga, entry[0]) for entry in encoded)
    if row.request_id:
        contents.requests[row.request_id] = saga
    return None


def _forget(contents: _Contents, saga_id: SagaId) -> None:
    row = contents.rows.pop(saga_id)
    del contents.streams[saga_id]
    contents.requests.pop(row.request_id, None)
    contents.positions = [None if entry is not None and entry[0] == saga_id else entry for entry in contents.positions]


def _key(row: SearchRow, query: SearchQuery) -> tuple[float | str, str]:
    return getattr(row, query.order_by), row.saga_id


def _matches(row: SearchRow, query: SearchQuery) -> bool:
    return (
        (not query.statuses or row.status in query.statuses)
        and (not query.definition or row.definition == query.definition)
        and (not query.revision or row.revision == query.revision)
        and (query.started_from_at is None or row.started_at >= query.started_from_at)
        and (query.started_before_at is None or row.started_at < query.started_before_at)
        and all(name in row.attributes and row.attributes[name] == value for name, value in query.attributes.items())
    )
