"""How far the trace reader has come: in every shard that this process owns, each from a durable place of its own.

A shard that is taken over is read from where its last owner had come, as far as that was saved; one that is lost is
read once more and then forgotten: whoever has it now reads on, and perhaps nobody does for long, because the last
process has left. What both of them send has the same ids.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import TRACE_BACKLOG_S_FIRST
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Cursors, Journal
from orchestrator.ports.ownership import Ownership
from orchestrator.telemetry.names import CURSOR


class Places:
    """The places of the shards that this process owns. A position is one of the journal."""

    def __init__(
        self,
        journal: Journal,
        cursors: Cursors,
        ownership: Ownership,
        *,
        confirmed: Callable[[int], int],
        clock: Clock,
    ) -> None:
        """Begin with none; `confirmed` tells up to where the spans of a shard have left."""
        self._journal = journal
        self._cursors = cursors
        self._ownership = ownership
        self._confirmed = confirmed
        self._clock = clock
        self._owned: Sequence[int] = ()
        self._begun: dict[int, int] = {}
        self._saved: dict[int, int] = {}
        self.read: dict[int, int] = {}
        """Up to where each shard is read."""
        self._lost: Collection[int] = ()

    @property
    def are_settled(self) -> bool:
        """Return whether this process owns what it owned when it last looked."""
        return self._ownership.owned() == self._owned

    def position(self, shard: int) -> int:
        """Return the position of a shard up to which every span has left; behind it nothing is missing."""
        return max(self._confirmed(shard), self._begun.get(shard, 0))

    async def settle(self) -> None:
        """Take up the places of shards that are new here, and note which are lost."""
        owned = self._ownership.owned()
        if owned == self._owned:
            return
        fresh = [shard for shard in owned if shard not in self.read]
        found = await self._cursors.places([self._name(shard) for shard in fresh])
        first = None
        for shard in fresh:
            saved = found.get(self._name(shard), 0)
            if not saved and first is None:
                first = await first_since(self._journal, self._clock.now() - TRACE_BACKLOG_S_FIRST)
            self._saved[shard] = saved
            self._begun[shard] = saved or first or 0
            self.read[shard] = self.position(shard)
        self._lost = self.read.keys() - set(owned)
        self._owned = owned

    async def forget_lost(self) -> Collection[int]:
        """Forget the shards that are lost; return them."""
        lost, self._lost = self._lost, ()
        if lost:
            await self.save()  # whoever has them now repeats the less
        for shard in lost:
            del self.read[shard], self._begun[shard], self._saved[shard]
        return lost

    def advance(self, ends: Mapping[int, int]) -> None:
        """Note up to where shards were read."""
        self.read.update(ends)

    async def save(self) -> bool:
        """Make durable up to where the spans have left; return whether the store took it."""
        ahead = {shard: reached for shard in self.read if (reached := self.position(shard)) > self._saved[shard]}
        if not ahead:
            return True
        try:
            await self._cursors.advance({self._name(shard): reached for shard, reached in ahead.items()})
        except JournalUnavailable:
            return False
        self._saved.update({shard: reached for shard, reached in ahead.items() if shard in self.read})
        return True

    def _name(self, shard: int) -> str:
        return CURSOR if self._ownership.shard_count == 1 else f"{CURSOR}/{shard}"


async def first_since(journal: Journal, not_before_at: float) -> int:
    """Return the position behind which no record is older than the instant, by halving: they lie in order of time.

    Where several processes write, as nearly as they agree on the time, and commit in it.
    """

    async def is_old(position: int) -> bool:
        records = await journal.since(position, 1)
        return bool(records) and records[0].record.event.at < not_before_at

    if not await is_old(0):
        return 0
    low, high = 0, 1
    while await is_old(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if await is_old(middle):
            low = middle
        else:
            high = middle
    return high
