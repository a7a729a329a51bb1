"""`SqliteJournal`: journal, catalogue, cursors and pruning in one file with one owner."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from orchestrator.errors import InvariantViolated, JournalCorrupted, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal import reading
from orchestrator.journal.recent import Recent
from orchestrator.journal.search import check_query
from orchestrator.journal.sqlite import forgetting, leaving, ownership, rows, search
from orchestrator.journal.sqlite.appending import Appender, Group, encoded
from orchestrator.journal.sqlite.opening import Opened, open_file, open_to_read
from orchestrator.journal.sqlite.reader import Reader
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.journal.sqlite.writer import Writer
from orchestrator.limits import JOURNAL_LOOP_ROWS_MAX, READ_RECORDS_MAX
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import Append, AppendResult, PositionedRecord, Record, SearchQuery, SearchRow, Shards
from orchestrator.ports.promotion import Entry

_T = TypeVar("_T")
# SQLite's own largest row id.
_MAX_POSITION: Final = 2**63 - 1


class SqliteJournal:
    """`Journal`, `Catalogue`, `Cursors` and `Pruning` over one SQLite file; made by `open`, used on one event loop.

    One process has the file to itself, so there is one shard, and every question about shards is about all sagas.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._writer = Writer(opened.writer, opened.file, opened.epoch)
        self._reader = Reader(opened.near, opened.far, self._writer)
        self._appender = Appender()
        self._recent: Recent | None = None
        """Kept from when somebody follows the journal."""
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, *, is_to_move: bool = False) -> "SqliteJournal":
        """Open or create the file, take ownership of it and begin a new epoch; `ConfigError` says why it cannot be.

        `is_to_move`: the caller runs no sagas. No file is created then, and one whose sagas were moved is opened, too.
        """
        return cls(open_file(Path(path), is_to_move=is_to_move))

    @classmethod
    def open_to_read(cls, path: str | Path) -> "SqliteJournal":
        """Open a file that nobody owns and change nothing of it; `ConfigError` says why it cannot be.

        Whatever would be written is refused, and stops the journal. The epoch is that of the last opening.
        """
        return cls(open_to_read(Path(path)))

    @property
    def epoch(self) -> int:
        """Return this opening's fencing token: greater than that of every earlier opening."""
        return self._opened.epoch

    @property
    def failed(self) -> str | None:
        return self._writer.failed

    @property
    def obstacle(self) -> str | None:
        return None

    # --- Journal -----------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self._check_open()
        group = encoded(batch)  # before the transaction: the lock is held for writing only
        results, last = await self._writer.transact(partial(self._appender.write, group=group))
        if self._recent is not None:
            _keep(self._recent, group, results, last)
        return results

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        self._check_open()
        near_limit = min(limit, JOURNAL_LOOP_ROWS_MAX)
        records = self._reader.near(lambda connection: _read_stream(connection, saga_id, after_version, near_limit))
        if len(records) == near_limit < limit:
            seen, rest = after_version + near_limit, limit - near_limit
            records += await self._reader.far(lambda connection: _read_stream(connection, saga_id, seen, rest))
        return records

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        return await self._row("row", saga_id)

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        return await self._row("row_by_request", request_id)

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        return await self._read(len(saga_ids), partial(_fetch_versions, saga_ids=json.dumps(list(saga_ids))))

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        return await self._rows(limit, "awake", after, limit)

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        seen_at, seen = after or (float("-inf"), "")
        return await self._rows(limit, "due", before_at, seen_at, seen, limit)

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        check_query(query)
        self._check_open()
        sql, values = search.page(query)
        return await self._reader.far(lambda connection: _fetch_rows(connection, sql, values))

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        check_query(query, group_by)
        self._check_open()
        sql, values = search.tally(query, group_by)
        found = await self._reader.far(lambda connection: _fetch_counts(connection, sql, values))
        return found if group_by or found else {"": 0}

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        """As the port says; a record that cannot be trusted is left out here: its saga's own reader reports it."""
        seen, found = await self._read(limit, partial(_read_since, position=position, limit=limit))
        while seen > position and not found:  # a page of damage is not the end
            position = seen
            seen, found = await self._reader.far(partial(_read_since, position=position, limit=limit))
        return found

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        if 0 not in after:
            return []
        if self._recent is None:
            self._recent = Recent()
        kept = self._recent.after(after[0], limit)
        if kept is not None:
            return kept
        found = await self.since(after[0], limit)
        if len(found) < limit:
            self._recent.follow()
        return found

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        """As the port says; a record that cannot be trusted is left out here: its saga's own reader reports it."""
        self._check_open()
        below = _MAX_POSITION if before is None else before
        lowest, found = await self._reader.far(partial(_read_acts, before=below, limit=limit))
        while lowest < below and not found:  # a page of damage is not the end
            below = lowest
            lowest, found = await self._reader.far(partial(_read_acts, before=below, limit=limit))
        return found

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        """As the port says; what may go is looked for beside the writer, so that nobody waits for the search."""
        self._check_open()
        while True:
            chosen = await self._reader.far(
                partial(forgetting.choose, definition=definition, before_at=ended_before_at, limit=limit)
            )
            if not chosen.found:
                await self._writer.transact(partial(forgetting.remove, sagas=chosen.sagas), is_long=True)
                return len(chosen.sagas)
            await self._writer.transact(partial(forgetting.set_parents, found=chosen.found))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._reader.close()
        await self._writer.close()  # last, so that SQLite folds the write-ahead log into the file
        ownership.release(self._opened.held)

    # --- Cursors -----------------------------------------------------------------------------------------------------

    async def load(self, name: str) -> int:
        found = await self._read(1, lambda connection: connection.execute(SQL["load_cursor"], (name,)).get)
        return int(found or 0)

    async def save(self, name: str, position: int) -> None:
        self._check_open()
        await self._writer.transact(lambda cursor: cursor.execute(SQL["save_cursor"], (name, position)).fetchall())

    async def places(self, names: Collection[str]) -> Mapping[str, int]:
        return await self._read(len(names), partial(_fetch_places, names=json.dumps(list(names))))

    async def advance(self, places: Mapping[str, int]) -> None:
        self._check_open()
        await self._writer.transact(
            lambda cursor: cursor.executemany(SQL["advance_cursor"], list(places.items())).fetchall()
        )

    # --- Catalogue ---------------------------------------------------------------------------------------------------

    async def put(self, revision: Revision) -> bool:
        self._check_open()
        return await self._writer.transact(lambda cursor: _put(cursor, revision))

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        wanted = (definition, revision) if revision else (definition,)
        found = await self._revisions("revision" if revision else "active_revision", *wanted)
        return found[0] if found else None

    async def activate(self, definition: str, revision: str) -> bool:
        self._check_open()
        return await self._writer.transact(
            lambda cursor: cursor.execute(SQL["activate"], (definition, revision)).get is not None
        )

    async def active(self) -> Mapping[str, str]:
        found = await self._read(1, lambda connection: connection.execute(SQL["active"]).fetchall())
        return {str(definition): str(revision) for definition, revision in found}

    async def definitions(self) -> Sequence[Revision]:
        return await self._revisions("definitions")

    async def revisions(self, definition: str) -> Sequence[Revision]:
        return await self._revisions("revisions", definition)

    # --- promotion ---------------------------------------------------------------------------------------------------

    async def entries(self, after: tuple[str, int], until: str, limit: int) -> Sequence[Entry]:
        self._check_open()
        return await self._reader.far(partial(leaving.entries, after=after, until=until, limit=limit))

    async def last_position(self) -> int:
        return await self._read(1, leaving.last_position)

    async def cursors(self) -> Mapping[str, int]:
        return await self._read(1, leaving.cursors)

    async def successor(self) -> str:
        return await self._read(1, leaving.successor)

    async def retire(self, successor: str) -> None:
        self._check_open()
        await self._writer.transact(lambda cursor: cursor.execute(SQL["retire"], (successor,)).fetchall())

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _row(self, query: str, value: str) -> SearchRow | None:
        columns = await self._read(1, lambda connection: connection.execute(SQL[query], (value,)).fetchone())
        return None if columns is None else rows.row_of(columns)

    async def _rows(self, limit: int, query: str, *values: str | float) -> list[SearchRow]:
        return await self._read(limit, lambda connection: _fetch_rows(connection, SQL[query], values))

    async def _revisions(self, query: str, *values: str) -> list[Revision]:
        return await self._read(
            JOURNAL_LOOP_ROWS_MAX,
            lambda connection: [_revision_of(columns) for columns in connection.execute(SQL[query], values)],
        )

    async def _read(self, limit: int, work: Callable[[apsw.Connection], _T]) -> _T:
        self._check_open()
        return self._reader.near(work) if limit <= JOURNAL_LOOP_ROWS_MAX else await self._reader.far(work)

    def _check_open(self) -> None:
        if self._closed:
            raise JournalUnavailable(f"the journal {self._opened.file} is closed; nothing was recorded, open it again")


def _keep(recent: Recent, group: Group, results: Sequence[AppendResult], last: int) -> None:
    """Keep what a group commit has made durable."""
    written: list[tuple[SagaId, Record]] = []
    size = 0
    for (append, records), result in zip(group, results, strict=True):
        if result is None and not isinstance(records, InvariantViolated):
            written += [(append.saga_id, record) for record in append.records]
            size += sum([len(columns[-1]) for columns in records])
    recent.add(last, written, size)


def _read_stream(connection: apsw.Connection, saga_id: SagaId, after_version: int, limit: int) -> list[Record]:
    """Return records after a version; `JournalCorrupted` where one is damaged or missing."""
    standing = connection.execute(SQL["stream"], (saga_id,)).fetchone()
    if standing is None:
        return []
    saga, newest = standing
    page = rows.fetched(connection, SQL["records"], (saga, after_version, limit))
    return reading.stream(saga_id, page, newest, after_version, limit)


def _read_since(connection: apsw.Connection, position: int, limit: int) -> tuple[int, list[PositionedRecord]]:
    """Return the position of the page's last record and what of the page is readable."""
    return _positioned(rows.fetched(connection, SQL["since"], (position, limit)), position)


def _read_acts(connection: apsw.Connection, before: int, limit: int) -> tuple[int, list[PositionedRecord]]:
    """Return the position of the page's last record and what of the page is readable."""
    return _positioned(rows.fetched(connection, SQL["acts"], (before, limit)), before)


def _positioned(page: Sequence[rows.Columns], position: int) -> tuple[int, list[PositionedRecord]]:
    """A file has one shard, and so no column for it."""
    return reading.positioned(((at, saga_id, 0, *columns) for at, saga_id, *columns in page), position)


def _fetch_rows(connection: apsw.Connection, sql: str, values: Sequence[str | float]) -> list[SearchRow]:
    return reading.search_rows(rows.fetched(connection, sql, values))


def _fetch_versions(connection: apsw.Connection, saga_ids: str) -> dict[SagaId, int]:
    found = connection.execute(SQL["versions"], (saga_ids,))
    return {SagaId(str(saga_id)): int(str(version)) for saga_id, version in found}


def _fetch_places(connection: apsw.Connection, names: str) -> dict[str, int]:
    return {str(name): int(str(position)) for name, position in connection.execute(SQL["places"], (names,))}


def _fetch_counts(connection: apsw.Connection, sql: str, values: Sequence[str | float]) -> dict[str, int]:
    return {str(group): int(count) for group, count in connection.execute(sql, values)}


def _put(cursor: apsw.Cursor, revision: Revision) -> bool:
    key = (revision.definition, revision.revision)
    content = (revision.source, revision.descriptors, revision.created_at)
    if cursor.execute(SQL["put_revision"], (*key, *content)).get is None:
        return False
    cursor.execute(SQL["activate_first"], key)
    return True


def _revision_of(columns: rows.Columns) -> Revision:
    definition, revision, source, descriptors, created_at, _ = columns
    if not (isinstance(source, str) and isinstance(descriptors, bytes) and isinstance(created_at, float)):
        raise JournalCorrupted(
            f"revision {revision} of definition {definition} cannot be read: a column holds what the table does not "
            "allow; sagas of other definitions are not affected, restore the journal from a backup"
        )
    return Revision(
        definition=columns[0],
        revision=columns[1],
        source=columns[2],
        descriptors=columns[3],
        created_at=columns[4],
        active=bool(columns[5]),
    )
