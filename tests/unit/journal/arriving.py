"""A destination in memory, which counts what it is told and can die at any of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId
from orchestrator.journal import MemoryJournal
from orchestrator.ports.journal import SearchRow
from orchestrator.ports.promotion import Entry


class Killed(Exception):
    """The process died here."""


class Arriving(MemoryJournal):
    """`journal.promoting.Destination`; what a database would hold outlives `revived`."""

    shard_count = 16

    def __init__(self) -> None:
        super().__init__()
        self.origin = ""
        self.after = ""
        self.epoch_floor = 0
        self.position_floor = 0
        self.is_finished = False
        self.held: dict[tuple[str, int], Entry] = {}
        self.steps = 0
        self.die_at: int | None = None
        self.is_told = False
        """Whether the step at which it dies is done before it does."""

    async def begin(self, origin: str, epoch: int, last_position: int) -> str | None:
        if self.origin not in {"", origin}:
            raise ConfigError("another origin is here")
        self._step()
        self.origin = origin
        self.epoch_floor, self.position_floor = max(self.epoch_floor, epoch), max(self.position_floor, last_position)
        return None if self.is_finished else self.after

    async def take(self, rows: Sequence[SearchRow], entries: Sequence[Entry]) -> None:
        if self._dies():
            self._write(rows, entries)
        self._step()
        self._write(rows, entries)

    async def advance(self, places: Mapping[str, int]) -> None:
        self._step()
        await super().advance(places)

    async def mark(self, saga_id: SagaId) -> None:
        self._step()
        self.after = saga_id

    async def finish(self) -> None:
        self._step()
        self.is_finished = True

    async def entries(self, after: tuple[str, int], until: str, limit: int) -> Sequence[Entry]:
        keys = sorted(key for key in self.held if after < key and key[0] <= until)
        return [self.held[key] for key in keys[:limit]]

    def damage(self, key: tuple[str, int]) -> None:
        self.held[key] = replace(self.held[key], body=self.held[key].body + b"!")

    def _write(self, rows: Sequence[SearchRow], entries: Sequence[Entry]) -> None:
        for row in rows:
            self._contents.rows.setdefault(row.saga_id, row)
        for entry in entries:
            assert entry.saga_id in self._contents.rows, "a record lies where its saga lies"
            self.held.setdefault((entry.saga_id, entry.version), entry)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.die_at:
            raise Killed

    def _dies(self) -> bool:
        return self.is_told and self.steps + 1 == self.die_at
