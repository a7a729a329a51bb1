"""What one member holds: its own acts and the store's views, brought into one.

::

              took                        hand-over begins                 quiet                   given
    (none) ----------> held ---------------------------> held, leaving ----------> left ------------------> (none)
                         ^                                                          |
                         '------------------- it need not go after all -------------'

A shard may be written while it is held. Where a view and an act contradict each other the view is older, and of two
entries for a shard the one with the higher epoch is the later one: every change of owner raises it.
"""

from collections.abc import Collection, Iterable, Sequence

from orchestrator.frozen import frozen
from orchestrator.ports.leases import Shard


@frozen
class Change:
    """What a view changed."""

    took: tuple[int, ...]
    """Shards that are the member's now, and were not held."""
    lost: tuple[int, ...]
    """Shards that were held, and are somebody else's."""


class Holding:
    """The shards of one member in one term."""

    def __init__(self, member: str) -> None:
        """Begin with none; `member` is the member's UUID."""
        self._member = member
        self.held: dict[int, int] = {}
        """Shards that the member may write, and their epochs."""
        self.leaving: set[int] = set()
        """Held ones that are being handed over."""
        self.left: dict[int, Shard] = {}
        """Shards that nothing is written to any more, and which are still the member's at the store."""
        self.doubtful: set[int] = set()
        """Those of them that were given, and nobody knows whether they went."""
        self._known: dict[int, Shard] = {}

    @property
    def shards(self) -> Sequence[Shard]:
        """Return all shards as they are now, as far as it is known, by number."""
        return tuple(self._known.values())

    def owner(self, shard: int) -> str:
        """Return the UUID of a shard's owner, or nothing."""
        known = self._known.get(shard)
        return "" if known is None else known.owner

    def order(self, shard: int) -> int:
        """Return which of the member's shards goes first: one that has been left, then one that is being left."""
        return 0 if shard in self.left else 1 if shard in self.leaving else 2

    def see(self, shards: Iterable[Shard], *, is_latest: bool) -> Change:
        """Take in a view; `is_latest`: no act of this member ended while it was asked for, so that it stands alone."""
        if is_latest:
            self._known = {each.shard: each for each in shards}
        else:
            self._learn(shards)
        return self._settle()

    def claimed(self, shards: Iterable[Shard]) -> Change:
        """Take in what a claim brought."""
        self._learn(shards)
        return self._settle()

    def given(self, shards: Iterable[Shard]) -> None:
        """Take in which shards went to another member."""
        passed = tuple(shards)
        self._learn(passed)
        for each in passed:
            self.left.pop(each.shard, None)

    def begin_leaving(self, shards: Collection[int]) -> None:
        """Note that shards are being handed over; they are held until they are quiet."""
        self.leaving.update(shards)

    def let_go(self, shards: Collection[int]) -> None:
        """Note that nothing is written to shards any more."""
        for shard in shards:
            self.leaving.discard(shard)
            epoch = self.held.pop(shard, None)
            if epoch is not None:
                self.left[shard] = Shard(shard=shard, owner=self._member, epoch=epoch)

    def take_back(self, shards: Collection[int]) -> None:
        """Hold shards again that were left, and need not go."""
        for shard in shards:
            self.held[shard] = self.left.pop(shard).epoch

    def returned(self, shards: Iterable[Shard]) -> Change:
        """Take in shards that the member has given to itself, under a new epoch."""
        own = tuple(shards)
        self._learn(own)
        for each in own:
            self.left.pop(each.shard, None)
        return self._settle()

    def drop(self) -> tuple[int, ...]:
        """Let go of everything at once; return what was held."""
        held = tuple(sorted(self.held))
        self.held.clear()
        self.leaving.clear()
        self.left.clear()
        self.doubtful.clear()
        return held

    def _learn(self, shards: Iterable[Shard]) -> None:
        for each in shards:
            known = self._known.get(each.shard)
            if known is None or each.epoch > known.epoch or (each.epoch == known.epoch and not each.owner):
                self._known[each.shard] = each

    def _settle(self) -> Change:
        """Compare what is known with what is held."""
        own = {shard: each.epoch for shard, each in self._known.items() if each.owner == self._member}
        lost = tuple(sorted(shard for shard, epoch in self.held.items() if own.get(shard) != epoch))
        for shard in lost:
            del self.held[shard]
            self.leaving.discard(shard)
        for shard in [shard for shard, each in self.left.items() if own.get(shard) != each.epoch]:
            del self.left[shard]
        took = tuple(sorted(shard for shard in own if shard not in self.held and shard not in self.left))
        for shard in took:
            self.held[shard] = own[shard]
        return Change(took=took, lost=lost)
