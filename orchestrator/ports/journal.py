"""Append-only memory, one stream per saga, with a search row kept in the same transaction.

The contract every store keeps (`tests/conformance/journal_suite.py`):

* `append` is atomic per stream and durable when it returns: after any crash the stream holds all of the records or
  none. Several streams share one commit (group commit), yet one stream's conflict does not hinder another's.
* An append names the version it builds on and the writer's epoch. A different version is `VersionConflict`; a higher
  recorded epoch is `Fenced`; either changes nothing (R2).
* After an error of its own storage nothing is acknowledged any more: every call raises `JournalUnavailable` until the
  process is started anew, which re-reads what is really there. A store that is a server of its own may be away: its
  reads raise `JournalUnavailable` meanwhile, an append waits until it knows what became of it, and all goes on by
  itself.
* A writer that does not own a stream's shard under the append's epoch is `Fenced` (`leases.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Protocol

from orchestrator.errors import JournalUnavailable, OrchestratorError
from orchestrator.frozen import frozen
from orchestrator.ids import SagaId
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.saga.events import Event
from orchestrator.saga.state import SagaStatus
from orchestrator.values import Attributes


@frozen
class Record:
    """One entry of a stream: an event, its number in the stream (1..n, no gap) and its writer's epoch."""

    version: int
    epoch: int
    event: Event


class Rest(StrEnum):
    """Whether a saga needs an actor, as its last append left it."""

    AWAKE = "awake"
    """Calls are open, or things are to be begun: recovery takes it up."""
    CHILDREN = "children"
    """Only child sagas are open: the end of one wakes it. Recovery takes it up too, for one may have ended unseen."""
    ASLEEP = "asleep"
    """Nothing happens before `wake_at`, a message or a person: recovery leaves it alone."""


@frozen
class SearchRow:
    """What List shows and filters by; written with every append."""

    saga_id: SagaId
    uid: str
    request_id: str
    definition: str
    revision: str
    status: SagaStatus
    version: int
    epoch: int
    attributes: Attributes = field(default_factory=dict[str, str | int | float | bool])
    """As the first append of a stream gives them; later ones repeat them to no effect."""
    started_at: float
    updated_at: float
    ended_at: float | None
    wake_at: float | None
    """The earliest timer the saga owes; None where it owes none. What `due` looks for."""
    rest: Rest = Rest.AWAKE
    attention: str = ""
    failure: str = ""
    """The cause in a sentence, for a saga that goes or went backward."""
    shard: int = 0
    """Where the saga lies; as the first append of a stream gives it, for ever."""
    parent: str = ""
    """The saga that this one is a child of; empty where it is nobody's. As the first append gives it, for ever."""


@frozen
class Append:
    """Records for one stream, and the search row as it is after them."""

    saga_id: SagaId
    expected_version: int
    """Version of the last record before these; 0 creates the stream."""
    epoch: int
    records: tuple[Record, ...]
    row: SearchRow


Shards = Collection[int] | None
"""The shards that a question is about; None: all of them."""

AppendResult = OrchestratorError | None
"""None: durable. `VersionConflict`, `Fenced`: nothing of this append was written. `JournalUnavailable`: nobody here can
find out any more; the stream's next reader sees it, unless `is_put_off` says that there is more to come."""


def is_put_off(result: AppendResult) -> bool:
    """Return whether nothing was written because the store refuses this stream now, and others not.

    Whoever gave it gives it again after a pause, unchanged and alone, so that it hinders nobody.
    """
    return isinstance(result, JournalUnavailable) and "is_put_off" in result.metadata


@frozen
class SearchQuery:
    """Which rows, in which order, after which row; empty fields match everything."""

    statuses: frozenset[SagaStatus] = frozenset()
    definition: str = ""
    revision: str = ""
    attributes: Attributes = field(default_factory=dict[str, str | int | float | bool])
    started_from_at: float | None = None
    started_before_at: float | None = None
    order_by: str = "started_at"
    """`started_at`, `updated_at` or `saga_id`; ties are broken by saga id."""
    descending: bool = True
    limit: int = 100
    after: tuple[float | str, str] | None = None
    """Keyset: (value of `order_by`, saga id) of the last row already seen; never an offset, so pages neither miss
    nor repeat a saga that exists throughout."""


@frozen
class PositionedRecord:
    """A record with its place in the whole store: positions grow with every commit, over all streams of a shard."""

    position: int
    saga_id: SagaId
    record: Record
    shard: int = 0


class Journal(Protocol):
    """The store of streams. Several processes may read it; who may write which stream is `ownership.py`'s."""

    @property
    def failed(self) -> str | None:
        """Return why nothing is recorded here any more, for good; None while all is well, or the store is only away."""
        ...

    @property
    def obstacle(self) -> str | None:
        """Return why nothing has been recorded for a while, though it may be again; None where all is well."""
        ...

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        """Commit a group; results in the order of the batch. Raise `JournalUnavailable` where nothing is durable."""
        ...

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        """Return records `after_version + 1 …` in order; empty where the saga is unknown.

        Raise `JournalCorrupted` with saga and version where a record does not decode.
        """
        ...

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        """Return the saga's search row."""

    async def row_by_request(self, request_id: str) -> SearchRow | None:
        """Return the row of the saga that was started with this request id."""

    async def versions(self, saga_ids: Collection[SagaId]) -> Mapping[SagaId, int]:
        """Return the versions at which sagas stand, of those that exist: one look for all that anybody waits for."""
        ...

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        """Return rows of sagas that are not terminal and not asleep, by saga id after `after`: what recovery walks."""
        ...

    async def due(
        self, before_at: float, limit: int, after: tuple[float, str] | None = None, shards: Shards = None
    ) -> Sequence[SearchRow]:
        """Return rows whose `wake_at` is at or before the instant, earliest first; terminal sagas owe none.

        `after` is the `wake_at` and the saga id of the last row already seen: the next page begins behind it.
        """
        ...

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        """Return one page of rows."""
        ...

    async def count(self, query: SearchQuery, group_by: str = "") -> dict[str, int]:
        """Return counts by group: "" (one group, key ""), `status`, `definition` or `revision`."""
        ...

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        """Return records of one shard with a position greater than the given, in order of position.

        Within a shard, whatever is durable later has a greater position, so that a reader who goes on from the last
        one misses nothing. Over all shards (None) that holds only while one process writes, or nobody does.
        """
        ...

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        """Return records of several shards, each behind a position of its own, the lowest positions first.

        At most `limit` in all, and of each shard the next ones, as `since` has them: one look however many shards. A
        shard where a record may yet come to light behind later ones is left out until it has.
        """
        ...

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        """Return the `OperatorActed` records of all streams, newest first, with a position below the given.

        From the newest on where none is given. It is an index of its own: people act seldom, and everything else is
        not looked at.
        """
        ...

    async def close(self) -> None:
        """Let go of the store; closing twice is harmless."""


class Cursors(Protocol):
    """Durable positions of readers of the whole store, by name (the trace exporter has one).

    Where there are several shards, a reader has a place in each: `name/shard`.
    """

    async def load(self, name: str) -> int:
        """Return the position last saved; 0 at first."""
        ...

    async def save(self, name: str, position: int) -> None:
        """Save a position; it may be lost in a crash, in which case the reader repeats a little."""
        ...

    async def places(self, names: Collection[str]) -> Mapping[str, int]:
        """Return several positions at one look; of names that were never saved nothing."""
        ...

    async def advance(self, places: Mapping[str, int]) -> None:
        """Save several positions at once, each unless a greater one is there: who comes late takes nothing back."""
        ...


class Pruning(Protocol):
    """Forgetting what ended long ago."""

    async def forget(self, definition: str, ended_before_at: float, limit: int, shards: Shards = None) -> int:
        """Remove terminal sagas of a definition that ended before the instant, records and all, the earliest first.

        At most `limit` of them, and fewer where they have many records (`FORGET_RECORDS_MAX`), so that it is one short
        transaction. Returns how many went; 0 means that none is left. A child stays as long as its parent is there:
        while any saga above it is unfinished, a completed child may still have to be undone (R21).
        """
        ...
