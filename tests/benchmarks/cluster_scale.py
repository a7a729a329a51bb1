"""Five hundred members and a hundred thousand shards, without a process or a store: what a deal costs the cluster.

    python -m tests.benchmarks.cluster_scale

The rules are the real ones (`shares.py`, `term.py`), the members and the store are played: a look shows the store as it
is, what a member does about it arrives a few milliseconds later, and peers are told as `moving.py` tells them. Nothing
runs on a shard, so that handing one over takes no time.
"""

import heapq
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random  # noqa: TID251  (seeded)

from orchestrator.cluster.shares import deal, part_of
from orchestrator.cluster.term import fences_first, look_pause_s, renew_every_s
from orchestrator.frozen import changed
from orchestrator.limits import CLAIM_SHARDS_MAX
from orchestrator.ports.leases import Member, Shard

LEASE_S = 6.0
WAY_S = 0.004
"""To the store and back, or to a peer."""
BEGIN_S = 60.0
"""By then everybody has been a member for long."""

Story = Callable[["Played"], None]


@dataclass(slots=True)
class _Place:
    """One member, as the simulation plays it."""

    uuid: str
    expires_at: float
    look_at: float
    looked_at: float = 0.0
    is_alive: bool = True
    is_leaving: bool = False
    is_gone: bool = False


@dataclass(slots=True)
class Figures:
    """What a story cost."""

    story: str
    moves_min: int
    """Changes of owner that any fair outcome needs: free shards taken, and excess handed over."""
    moves: int = 0
    missed: int = 0
    """Shards that were claimed in vain."""
    fences: int = 0
    settled_s: float = 0.0
    waits_s: list[float] = field(default_factory=list[float])
    """Of each shard whose owner died: how long it had none that may write it."""
    looks: list[float] = field(default_factory=list[float])
    writes: list[float] = field(default_factory=list[float])
    """Instants of claims, gifts and fences."""
    taken: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def line(self) -> str:
        """Return a row of the table."""
        waits = sorted(self.waits_s)
        told = "-" if not waits else f"{statistics.median(waits):.1f} / {waits[-1]:.1f}"
        cells = [
            self.story,
            f"{self.moves:,} of {self.moves_min:,}",
            f"{self.missed:,}",
            f"{self.settled_s:.2f}",
            told,
            f"{busiest(self.looks):,}",
            f"{busiest(self.writes):,}",
            f"{busiest_sum(self.taken):,}",
        ]
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| story | shards moved, of at least | claimed in vain | settled after, s | without an owner, median / longest, s |"
    " looks in the busiest second | writes in the busiest second | shards taken up in the busiest second |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def busiest(instants: Iterable[float]) -> int:
    """Return how many fall into the busiest second."""
    return busiest_sum((at, 1) for at in instants)


def busiest_sum(counted: Iterable[tuple[float, int]]) -> int:
    """Return the largest sum of any second, by a window that slides."""
    most, within, first = 0, 0, 0
    ordered = sorted(counted)
    for at, count in ordered:
        within += count
        while ordered[first][0] <= at - 1.0:
            within -= ordered[first][1]
            first += 1
        most = max(most, within)
    return most


class Played:
    """The cluster while a story is told."""

    def __init__(self, member_count: int, shard_count: int, seed: int) -> None:
        """Begin with fair shares, and members that renew at instants of their own."""
        self.luck = Random(seed)
        self._every_s = renew_every_s(LEASE_S)
        self.now = BEGIN_S
        self.places: dict[str, _Place] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._queued = 0
        for number in range(member_count):
            self._add(f"{self.luck.getrandbits(64):016x}", self.luck.random() * self._every_s, number)
        uuids = sorted(self.places)
        owners = [uuids[number % member_count] for number in range(shard_count)]
        self.shards = [Shard(shard=number, owner=owner, epoch=1) for number, owner in enumerate(owners)]
        self.ownerless: dict[int, float] = {}
        """Shards whose owner died, and when."""
        self.figures = Figures(story="", moves_min=0)

    def _add(self, uuid: str, phase_s: float, _: int = 0) -> _Place:
        place = _Place(uuid=uuid, expires_at=self.now + LEASE_S - self._every_s + phase_s, look_at=self.now + phase_s)
        self.places[uuid] = place
        self._at(place.look_at, lambda: self._look(place))
        return place

    # --- what a story may do -----------------------------------------------------------------------------------------

    def join(self) -> None:
        """Let one more member come, which tells those that have too much."""
        place = self._add(f"{self.luck.getrandbits(64):016x}", 0.0)
        place.expires_at = self.now + LEASE_S
        givers = deal(self._members(), self.shards).givers
        self._tell(givers)

    def drain(self, uuid: str) -> None:
        """Let a member leave."""
        self.places[uuid].is_leaving = True
        self._look_soon(self.places[uuid])

    def kill(self, uuid: str) -> None:
        """End a member without a word; whoever has its shards knows nothing yet."""
        self.places[uuid].is_alive = False
        for shard in self.shards:
            if shard.owner == uuid:
                self.ownerless[shard.shard] = self.now

    # --- time --------------------------------------------------------------------------------------------------------

    def _at(self, at: float, what: Callable[[], None]) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (at, self._queued, what))

    def run(self) -> Figures:
        """Let time pass until shares are fair again and everybody who left is gone; return what it cost."""
        began = self.now
        while not self._is_settled():
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.figures.settled_s = self.now - began
        return self.figures

    def _is_settled(self) -> bool:
        if self.ownerless or any(not place.is_gone for place in self.places.values() if not place.is_alive):
            return False
        dealt = deal(self._members(), self.shards) if self._is_dirty else None
        if dealt is None:
            return self._was_settled
        self._is_dirty = False
        self._was_settled = not dealt.free and not dealt.givers
        return self._was_settled

    _is_dirty = True
    _was_settled = False

    # --- what members do ---------------------------------------------------------------------------------------------

    def _members(self) -> tuple[Member, ...]:
        return tuple(
            Member(member=uuid, name="", address="", is_leaving=place.is_leaving, expires_at=place.expires_at)
            for uuid, place in sorted(self.places.items())
            if not place.is_gone
        )

    def _pause_s(self) -> float:
        return look_pause_s(sum(not place.is_gone for place in self.places.values()), LEASE_S)

    def _tell(self, uuids: Iterable[str]) -> None:
        for uuid in uuids:
            self._look_soon(self.places[uuid])

    def _look_soon(self, place: _Place) -> None:
        at = max(self.now + WAY_S * self.luck.random(), place.looked_at + self._pause_s())
        if at < place.look_at:
            place.look_at = at
            self._at(at, lambda: self._look(place))

    def _look(self, place: _Place) -> None:
        """Renew, and do what the view asks for."""
        if not place.is_alive or place.is_gone or place.look_at > self.now:
            return
        self.figures.looks.append(self.now)
        place.looked_at = self.now
        place.expires_at = self.now + LEASE_S
        members, shards = self._members(), tuple(self.shards)
        place.look_at = self.now + min(self._every_s, self._first_to_fence_s(place, members))
        self._at(place.look_at, lambda: self._look(place))
        over = [each for each in members if each.expires_at <= self.now]
        if over:
            self._at(self.now + WAY_S, lambda: self._fence(place, over))
        if not self._was_settled or self._is_dirty:
            part = part_of(place.uuid, members, shards)
            batch = part.claim[:CLAIM_SHARDS_MAX]
            if batch:
                self._at(
                    self.now + WAY_S * (1 + self.luck.random()), lambda: self._claim(place, batch, len(part.claim))
                )
            for receiver, given in part.give.items():
                self._at(self.now + WAY_S * (1 + self.luck.random()), self._gift(place, given, receiver))

    def _first_to_fence_s(self, place: _Place, members: tuple[Member, ...]) -> float:
        due = [each for each in members if 0.0 < each.expires_at - self.now < self._every_s]
        mine = [each.expires_at - self.now for each in due if fences_first(each, members) == place.uuid]
        return min(mine, default=self._every_s)

    # --- what the store does -----------------------------------------------------------------------------------------

    def _fence(self, place: _Place, over: list[Member]) -> None:
        gone = {each.member for each in over if not self.places[each.member].is_gone}
        self.figures.writes.append(self.now)
        if not gone:
            return
        self.figures.fences += len(gone)
        self._is_dirty = True
        for uuid in gone:
            self.places[uuid].is_gone = True
        for shard in [each for each in self.shards if each.owner in gone]:
            self.shards[shard.shard] = changed(shard, owner="", epoch=shard.epoch + 1)
        self._tell(uuid for uuid, each in self.places.items() if each.is_alive)

    def _claim(self, place: _Place, batch: tuple[Shard, ...], wanted: int) -> None:
        got = 0
        self.figures.writes.append(self.now)
        for each in batch:
            held = self.shards[each.shard]
            if held.epoch == each.epoch and not held.owner:
                self._pass(held, place.uuid)
                got += 1
        self.figures.missed += len(batch) - got
        self.figures.taken.append((self.now, got))
        if wanted > len(batch) and got:
            self._look_soon(place)

    def _gift(self, place: _Place, given: tuple[Shard, ...], receiver: str) -> Callable[[], None]:
        def arrive() -> None:
            self.figures.writes.append(self.now)
            own = [each for each in given if self.shards[each.shard] == each and each.owner == place.uuid]
            for each in own:
                self._pass(each, receiver)
            self.figures.taken.append((self.now + WAY_S, len(own)))
            self._tell([receiver])

        return arrive

    def _pass(self, shard: Shard, to: str) -> None:
        self._is_dirty = True
        self.figures.moves += 1
        self.shards[shard.shard] = changed(shard, owner=to, epoch=shard.epoch + 1)
        if (died_at := self.ownerless.pop(shard.shard, None)) is not None:
            self.figures.waits_s.append(self.now - died_at)


def _moves_min(before: Played, gone: set[str], leaving: set[str], come: int) -> int:
    """Return how many shards must change hands: those without an owner, and the excess of those that stay."""
    staying = [uuid for uuid in before.places if uuid not in gone | leaving]
    counts = dict.fromkeys(staying, 0)
    for shard in before.shards:
        if shard.owner in counts:
            counts[shard.owner] += 1
    fair, more = divmod(len(before.shards), len(staying) + come)
    kept = 0
    for place, count in enumerate(sorted(counts.values(), reverse=True)):
        kept += min(count, fair + (place < more))
    return len(before.shards) - kept


def one_joins(member_count: int, shard_count: int, seed: int) -> Figures:
    """Let one more member join."""
    played = Played(member_count, shard_count, seed)
    played.figures = Figures(story="one joins", moves_min=_moves_min(played, set(), set(), 1))
    played.join()
    return played.run()


def one_leaves(member_count: int, shard_count: int, seed: int) -> Figures:
    """Drain one member."""
    played = Played(member_count, shard_count, seed)
    leaver = sorted(played.places)[member_count // 2]
    played.figures = Figures(story="one is drained", moves_min=_moves_min(played, set(), {leaver}, 0))
    played.drain(leaver)
    return played.run()


def a_third_dies(member_count: int, shard_count: int, seed: int) -> Figures:
    """Kill a third of the members at one instant."""
    played = Played(member_count, shard_count, seed)
    dead = set(played.luck.sample(sorted(played.places), member_count // 3))
    played.figures = Figures(story="a third dies at once", moves_min=_moves_min(played, dead, set(), 0))
    for uuid in sorted(dead):
        played.kill(uuid)
    return played.run()


def main() -> None:
    """Print the table."""
    member_count = int(os.environ.get("MEMBERS", "500"))
    shard_count = int(os.environ.get("SHARDS", "100000"))
    print(f"{member_count} members, {shard_count:,} shards, a lease of {LEASE_S:g} s\n\n{HEAD}")
    for story in (one_joins, one_leaves, a_third_dies):
        print(story(member_count, shard_count, 1).line(), flush=True)


if __name__ == "__main__":
    main()
