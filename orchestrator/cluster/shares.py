"""Who shall own what: dealt out, so that nobody has to race for it.

Every member computes the whole deal from the view it has, and does its own part of it. From the same view all members
compute the same deal, so their parts are disjoint; from different views two may want the same shard, the store lets one
of them have it, and the next view is the same for both again.

::

    shards   0 1 2 3 4 5 6 7 8 9          A has 6, B has 2, two are free, C has come: 10 shards for 3 members
    owner    A A A A A A B B . .
                                          targets: A 4 (the one more goes to whoever has it already), B 3, C 3
    pool     8 9 (free)  5 4 (A's excess)
    places   B C C C                      by UUID, as many as each lacks
    deal     8 -> B, 9 -> C (both claim)  5 -> C, 4 -> C (A gives)

* Fair: numbers differ by at most one.
* As little as can be moves: what is free, and what somebody has over its fair share.
* A member that leaves is given nothing and gives all it has. A member whose lease is over still counts, until somebody
  has fenced it: nothing moves on a suspicion.
* Ties, places and givers go by UUID, free shards by number: half a deal done leaves the other half as it was.

It sorts once and walks twice: 100,000 shards of 500 members take some tens of milliseconds.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from orchestrator.frozen import frozen
from orchestrator.ports.leases import Member, Shard


@frozen
class Part:
    """What one member does of a deal."""

    claim: tuple[Shard, ...] = ()
    """Free shards that it takes, by number."""
    give: Mapping[str, tuple[Shard, ...]]
    """Its own shards that it hands over, by the UUID of who gets them."""


@frozen
class Deal:
    """Who shall own how many, and who has how many now."""

    counts: Mapping[str, int]
    """What each member has now, leaving ones too."""
    targets: Mapping[str, int]
    """What each member that stays shall have."""
    free: tuple[Shard, ...]
    """By number."""

    @property
    def givers(self) -> Collection[str]:
        """Return the members that have more than they shall have."""
        return [member for member, count in self.counts.items() if count > self.targets.get(member, 0)]


def deal(members: Collection[Member], shards: Collection[Shard]) -> Deal:
    """Count, and set targets that differ by at most one."""
    counts = dict.fromkeys(sorted(each.member for each in members), 0)
    free: list[Shard] = []
    for shard in shards:
        if shard.owner in counts:
            counts[shard.owner] += 1
        else:
            free.append(shard)
    staying = {each.member for each in members if not each.is_leaving}
    targets: dict[str, int] = {}
    if staying:
        fair, more = divmod(len(shards), len(staying))
        for place, member in enumerate(sorted(staying, key=lambda each: (counts[each] <= fair, each))):
            targets[member] = fair + (place < more)
    return Deal(counts=counts, targets=targets, free=tuple(sorted(free, key=lambda shard: shard.shard)))


def _any_order(_: int) -> int:
    return 0


def part_of(
    member: str,
    members: Collection[Member],
    shards: Sequence[Shard],
    order: Callable[[int], int] = _any_order,
) -> Part:
    """Return what a member does of the deal of this view; `order` ranks its own shards, the lowest to go first.

    Where nobody stays, nothing is dealt: whoever leaves last sets its shards free.
    """
    dealt = deal(members, shards)
    if not dealt.targets:
        return Part(give={})
    places = _places(dealt)
    at = 0
    claim: tuple[Shard, ...] = ()
    for receiver, count in places:
        mine = min(at + count, len(dealt.free)) - at
        if receiver == member and mine > 0:
            claim = dealt.free[at : at + mine]
        at += count
    return Part(claim=claim, give=_given(member, dealt, places, shards, order))


def _places(dealt: Deal) -> list[tuple[str, int]]:
    """Return who lacks how many, by UUID; together as many as there are to deal out."""
    lacking = ((member, target - dealt.counts[member]) for member, target in dealt.targets.items())
    return sorted((member, count) for member, count in lacking if count > 0)


def _given(
    member: str, dealt: Deal, places: list[tuple[str, int]], shards: Sequence[Shard], order: Callable[[int], int]
) -> dict[str, tuple[Shard, ...]]:
    """Return what the member gives: the free shards are dealt first, then each giver's excess, by UUID."""
    excess = dealt.counts.get(member, 0) - dealt.targets.get(member, 0)
    if excess <= 0:
        return {}
    before = len(dealt.free) + sum(
        dealt.counts[giver] - dealt.targets.get(giver, 0) for giver in dealt.givers if giver < member
    )
    own = (shard for shard in shards if shard.owner == member)
    mine = sorted(own, key=lambda each: (order(each.shard), -each.shard))
    receivers = _from_place(places, before)
    given: dict[str, list[Shard]] = {}
    for shard, receiver in zip(mine[:excess], receivers, strict=False):
        given.setdefault(receiver, []).append(shard)
    return {receiver: tuple(each) for receiver, each in given.items()}


def _from_place(places: list[tuple[str, int]], skip: int) -> Iterator[str]:
    """Yield the receivers, each as often as it lacks a shard, behind the first `skip` of them."""
    for receiver, count in places:
        if skip >= count:
            skip -= count
            continue
        for _ in range(count - skip):
            yield receiver
        skip = 0
