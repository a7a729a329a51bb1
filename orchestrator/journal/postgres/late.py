"""Which shards may not be read on now, because a record may come to light there behind later ones.

A record gets its position when it is written and is seen when its transaction commits. One group of a process after the
other would keep the two orders the same, but for two things: a stream that was put off is written beside the others,
and a statement whose answer was lost may still run when its streams are put off. Whoever follows the journal would
read the later record, note its position, and never see the other. So such a shard is left out of a look: from before
the statement runs until its end is known, and for every look that is under way when it begins. Only the process that
writes a shard follows it, hence all of this is known here; a process that takes the shard over does so after the end
of every transaction of the one before.
"""

from collections.abc import Collection, Iterable, Mapping

from orchestrator.ids import SagaId


class Late:
    """What is written out of turn, by its saga; bounded by the sagas that are put off, and by the shards."""

    def __init__(self) -> None:
        """Begin with none."""
        self._shards: dict[SagaId, int] = {}
        self._begun: dict[int, int] = {}

    def begin(self, saga_id: SagaId, shard: int) -> None:
        """From now on a record of the saga may come to light late."""
        if saga_id not in self._shards:
            self._shards[saga_id] = shard
            self._begun[shard] = self._begun.get(shard, 0) + 1

    def end(self, saga_id: SagaId) -> None:
        """It is recorded, or will not be."""
        self._shards.pop(saga_id, None)

    def clear(self) -> None:
        """Whatever was under way is over for the shards that are read from now on."""
        self._shards.clear()

    def leave(self, shards: Collection[int]) -> None:
        """Somebody else has these shards now; nobody here writes their sagas to the end any more."""
        self._shards = {saga_id: shard for saga_id, shard in self._shards.items() if shard not in shards}

    def marks(self, shards: Iterable[int]) -> Mapping[int, int]:
        """Return the shards that may be read on, each with a mark for `holds`."""
        late = set(self._shards.values())
        return {shard: self._begun.get(shard, 0) for shard in shards if shard not in late}

    def holds(self, mark: Mapping[int, int], shard: int) -> bool:
        """Return whether nothing was begun in the shard since it was marked: what was read meanwhile is in order."""
        return self._begun.get(shard, 0) == mark[shard]
