"""Promotion: a store with all its sagas, running ones and sleeping ones, becomes another store.

::

      survey the origin: every row can be read, and a digest of what is there
      destination: begin            nobody can run there; epochs and positions will be greater than the origin's
      definitions, cursors
      sagas, in order of their ids, page by page      <--- a kill anywhere: the page is written again, to no effect
      compare: every row, and every record byte for byte
      origin: retire                from here on it is refused to whoever would run sagas on it
      destination: finish           from here on sagas run there

Whatever happens in between, at most one of the two can be run at any moment, and a second run ends as the first one
would have. Until `retire` the origin is as it was. The order of the last two keeps two clusters from driving the same
sagas: between them neither can be run, and a second run finishes.

A saga lies in the shard of its id, and a child in that of the first of its family, so that families stay together.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from orchestrator.errors import ConfigError, JournalCorrupted
from orchestrator.frozen import changed, frozen
from orchestrator.ids import SagaId
from orchestrator.journal.codec import decode_record
from orchestrator.limits import PROMOTION_PARENTS_KEPT_MAX, PROMOTION_RECORDS, PROMOTION_SAGAS
from orchestrator.ports import promotion
from orchestrator.ports.catalogue import Catalogue
from orchestrator.ports.journal import Cursors, Journal, SearchQuery, SearchRow
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.promotion import Entries, Entry
from orchestrator.saga.events import Event, SagaStarted

Progress = Callable[[str, int, int], None]
"""Hears what is done with sagas, with how many it is done, and of how many."""


class Origin(promotion.Origin, Journal, Catalogue, Protocol):
    """The store that is moved."""


class Destination(promotion.Destination, Journal, Catalogue, Cursors, Protocol):
    """The store that it becomes."""


@frozen
class Survey:
    """What a store holds."""

    sagas: int
    unfinished: int
    records: int
    digest: str
    """SHA-256, in hex, of every saga's id, uid and version: any change of the store is a change of it."""


@frozen
class Promoted:
    """What became of a promotion."""

    sagas: int
    records: int
    taken: int
    """Sagas that this run wrote; an earlier one, which was killed, wrote the others."""
    digest: str
    """SHA-256, in hex, of all records, byte for byte, in order of saga and version: the same on both sides.

    "" where an earlier run had finished, for sagas may have gone on since.
    """


async def survey(origin: Origin, on_progress: Progress) -> Survey:
    """Return what there is to move; `JournalCorrupted` where a saga's row cannot be read."""
    total = (await origin.count(SearchQuery())).get("", 0)
    digest, sagas, unfinished, records = hashlib.sha256(), 0, 0, 0
    async for page in _pages(origin):
        for row in page:
            digest.update(f"{row.saga_id} {row.uid} {row.version}\n".encode())
            unfinished += row.ended_at is None
            records += row.version
        sagas += len(page)
        on_progress("looked at", sagas, total)
    if sagas != total:
        raise JournalCorrupted(
            f"{total - sagas} of {total} search rows cannot be read, see the log: nothing was moved; restore the "
            f"journal from a backup"
        )
    return Survey(sagas=sagas, unfinished=unfinished, records=records, digest=digest.hexdigest())


async def promote(origin: Origin, destination: Destination, *, successor: str, on_progress: Progress) -> Promoted:
    """Move everything, or go on where an earlier run ended; `successor` is the destination's name, for people.

    `ConfigError` where the destination may not take it in, `JournalCorrupted` where a row or a column cannot be read.
    """
    if (other := await origin.successor()) and other != successor:
        raise ConfigError(f"the journal was moved to {other} before; nothing was done, go on with that one")
    surveyed = await survey(origin, on_progress)
    after = await destination.begin(surveyed.digest, origin.epoch, await origin.last_position())
    if after is None:  # sagas run there already
        await origin.retire(successor)
        return Promoted(sagas=surveyed.sagas, records=surveyed.records, taken=0, digest="")
    await _move_catalogue(origin, destination)
    await _move_cursors(origin, destination)
    taken = await _move_sagas(origin, destination, after, surveyed.sagas, on_progress)
    records, digest = await compare(origin, destination, surveyed.sagas, on_progress)
    await origin.retire(successor)
    await destination.finish()
    return Promoted(sagas=surveyed.sagas, records=records, taken=taken, digest=digest)


# --- moving ----------------------------------------------------------------------------------------------------------


async def _move_catalogue(origin: Catalogue, destination: Catalogue) -> None:
    for active in await origin.definitions():
        for revision in reversed(await origin.revisions(active.definition)):
            await destination.put(revision)
        await destination.activate(active.definition, active.revision)


async def _move_cursors(origin: Origin, destination: Destination) -> None:
    """Readers go on where they were: records keep their positions, so a place in the whole is one in every shard."""
    count = destination.shard_count
    suffixes = [""] if count == 1 else [f"/{shard}" for shard in range(count)]
    places = {name + suffix: at for name, at in (await origin.cursors()).items() for suffix in suffixes}
    await destination.advance(places)


async def _move_sagas(origin: Origin, destination: Destination, after: str, total: int, on_progress: Progress) -> int:
    families = _Families(origin, destination.shard_count)
    done = taken = 0
    async for page in _pages(origin):
        left = [row for row in page if row.saga_id > after]  # ids are ASCII: every store has them in this order
        if left:
            await _move_page(origin, destination, families, left)
            await destination.mark(page[-1].saga_id)
        done, taken = done + len(page), taken + len(left)
        on_progress("moved", done, total)
    return taken


async def _move_page(
    origin: Origin, destination: Destination, families: "_Families", page: Sequence[SearchRow]
) -> None:
    """Write sagas with all their records. Done again after a kill, it changes nothing that is there already."""
    rows = {row.saga_id: row for row in page}
    async for entries in _records(origin, (page[0].saga_id, 0), page[-1].saga_id):
        firsts = {entry.saga_id: entry for entry in reversed(entries) if entry.saga_id in rows}
        arriving = [await families.placed(rows.pop(saga_id), entry) for saga_id, entry in firsts.items()]
        await destination.take(arriving, entries)
    if rows:  # damaged sagas without a single record
        await destination.take([await families.placed(row, None) for row in rows.values()], [])


class _Families:
    """Finds where sagas lie: a child with its parent, whose parent may have one in turn."""

    def __init__(self, origin: Journal, shard_count: int) -> None:
        self._origin = origin
        self._shard_count = shard_count
        self._parents: dict[str, str] = {}

    async def placed(self, row: SearchRow, first: Entry | None) -> SearchRow:
        """Return the row with its parent and its shard. Rows of early releases leave it to the first record to say."""
        parent = row.parent or (_parent_of(_event_of(first)) if first is not None else "")
        top, seen = parent or row.saga_id, {row.saga_id}
        while top not in seen and (above := await self._parent(SagaId(top))):
            seen.add(SagaId(top))
            top = above
        return changed(row, parent=parent, shard=shard_of(SagaId(top), self._shard_count))

    async def _parent(self, saga_id: SagaId) -> str:
        """Return the parent of a saga; "" for one that has none, or is not there any more."""
        found = self._parents.get(saga_id)
        if found is None:
            if len(self._parents) >= PROMOTION_PARENTS_KEPT_MAX:
                self._parents.clear()
            found = self._parents[saga_id] = await self._look_up(saga_id)
        return found

    async def _look_up(self, saga_id: SagaId) -> str:
        row = await self._origin.row(saga_id)
        if row is None or row.parent:
            return "" if row is None else row.parent
        try:
            first = await self._origin.read(saga_id, 0, 1)
        except JournalCorrupted:
            return ""
        return _parent_of(first[0].event) if first else ""


def _event_of(entry: Entry) -> Event | None:
    """Return what a record says; None where it says nothing that can be trusted, which its own reader reports."""
    try:
        return decode_record(entry.saga_id, entry.version, entry.epoch, entry.type, entry.body).event
    except JournalCorrupted:
        return None


def _parent_of(first: Event | None) -> str:
    return first.parent.saga_id if isinstance(first, SagaStarted) and first.parent is not None else ""


# --- comparing -------------------------------------------------------------------------------------------------------


async def compare(origin: Origin, destination: Destination, total: int, on_progress: Progress) -> tuple[int, str]:
    """Hold every row and every record of both against each other; return how many records, and their digest.

    `JournalCorrupted` names the first saga that differs.
    """
    if (there := (await destination.count(SearchQuery())).get("", 0)) != total:
        raise JournalCorrupted(f"{there} sagas arrived of {total}; {_LEFT}")
    if await _catalogue(origin) != await _catalogue(destination):
        raise JournalCorrupted(f"the definitions that arrived are not those that were sent; {_LEFT}")
    digest, sagas, records, after = hashlib.sha256(), 0, 0, ""
    async for page in _pages(origin):
        arrived = {row.saga_id: row for row in await destination.search(_query(after))}
        for row in page:
            _check_row(row, arrived.get(row.saga_id))
        sent, came = _each(origin, page), _each(destination, page)
        async for entry in sent:
            if await anext(came, None) != entry:
                raise JournalCorrupted(f"record {entry.version} of saga {entry.saga_id!r} arrived as another; {_LEFT}")
            digest.update(f"{entry.saga_id} {entry.version} {entry.epoch} {entry.type} {len(entry.body)} ".encode())
            digest.update(entry.body)
            records += 1
        if (more := await anext(came, None)) is not None:
            raise JournalCorrupted(f"saga {more.saga_id!r} has a record {more.version} that nobody sent; {_LEFT}")
        sagas += len(page)
        after = page[-1].saga_id
        on_progress("compared", sagas, total)
    return records, digest.hexdigest()


_LEFT = "the origin was left as it is, and sagas can go on there; empty the destination and begin anew"


def _check_row(row: SearchRow, arrived: SearchRow | None) -> None:
    """Compare what both know; the shard is the destination's, and early releases kept no parent in a row.

    A called service's words may have a NUL in them, which PostgreSQL knows not; its store says U+FFFD instead.
    """
    if arrived is None or arrived != changed(
        row,
        shard=arrived.shard,
        parent=row.parent or arrived.parent,
        failure=arrived.failure if row.failure.replace("\0", "\ufffd") == arrived.failure else row.failure,
    ):
        raise JournalCorrupted(f"the search row of saga {row.saga_id!r} arrived as another; {_LEFT}")


async def _catalogue(store: Catalogue) -> Sequence[object]:
    return [await store.revisions(active.definition) for active in await store.definitions()]


# --- reading ---------------------------------------------------------------------------------------------------------


def _query(after: str) -> SearchQuery:
    seen = (after, after) if after else None
    return SearchQuery(order_by="saga_id", descending=False, limit=PROMOTION_SAGAS, after=seen)


async def _pages(store: Journal, after: str = "") -> AsyncIterator[Sequence[SearchRow]]:
    while page := await store.search(_query(after)):
        yield page
        after = page[-1].saga_id


async def _records(store: Entries, after: tuple[str, int], until: str) -> AsyncIterator[Sequence[Entry]]:
    """Yield all records behind a saga's version, up to another saga's last."""
    while page := await store.entries(after, until, PROMOTION_RECORDS):
        yield page
        after = (page[-1].saga_id, page[-1].version)


async def _each(store: Entries, page: Sequence[SearchRow]) -> AsyncIterator[Entry]:
    async for entries in _records(store, (page[0].saga_id, 0), page[-1].saga_id):
        for entry in entries:
            yield entry
