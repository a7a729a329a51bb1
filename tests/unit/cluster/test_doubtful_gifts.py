"""A gift that was not answered may still be done: what is kept after all is kept under a new epoch."""

from collections.abc import Collection, Sequence
from typing import cast

import pytest

from orchestrator.cluster.asking import Asking, StoreAway
from orchestrator.cluster.holding import Holding
from orchestrator.cluster.moving import Counts, Moving, Term
from orchestrator.ports.leases import Member, Shard, View

ME, OTHER = "a", "b"


class Store:
    """Gives, under the epochs that it has; the first answer is lost, and its gift may be done later."""

    def __init__(self, *, loses: bool) -> None:
        self.shards = {number: Shard(shard=number, owner=ME, epoch=1) for number in range(2)}
        self._loses = loses

    async def give(self, member: str, shards: Sequence[Shard], to: str) -> Sequence[Shard]:
        if self._loses:
            self._loses = False
            raise StoreAway("it did not answer")
        return self.done(member, shards, to)

    def done(self, member: str, shards: Sequence[Shard], to: str) -> Sequence[Shard]:
        own = [
            each
            for each in shards
            if self.shards[each.shard] == Shard(shard=each.shard, owner=member, epoch=each.epoch)
        ]
        for each in own:
            self.shards[each.shard] = Shard(shard=each.shard, owner=to, epoch=each.epoch + 1)
        return [self.shards[each.shard] for each in own]


class Tenant:
    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[int, ...]]] = []

    def took(self, shards: Collection[int]) -> None:
        self.heard.append(("took", tuple(shards)))

    async def leave(self, shards: Collection[int], grace_s: float) -> None: ...

    def lost(self, shards: Collection[int]) -> None:
        self.heard.append(("lost", tuple(shards)))


def view_of(store: Store, *members: str) -> View:
    there = tuple(Member(member=each, name=each, address=each) for each in members)
    return View(at=0.0, members=there, shards=tuple(store.shards.values()))


def parted(store: Store) -> tuple[Moving, Term, Tenant]:
    """A member that has two shards, and has left one of them for another that has come."""
    moving, tenant = Moving(cast("Asking", store), Counts(), lambda: None, lambda _: None), Tenant()
    moving.tenant = tenant
    term = Term(member=ME, view=view_of(store, ME), trusted_until=9.0, reached_since_at=0.0, holding=Holding(ME))
    moving.see(term, view_of(store, ME), 0)
    moving.see(term, view_of(store, ME, OTHER), 0)
    term.holding.begin_leaving([1])
    term.holding.let_go([1])
    tenant.heard.clear()
    return moving, term, tenant


async def test_a_shard_that_stays_after_a_gift_without_an_answer_is_held_under_a_new_epoch() -> None:
    store = Store(loses=True)
    moving, term, tenant = parted(store)
    with pytest.raises(StoreAway):
        await moving._give(term)
    term.view = view_of(store, ME)  # the other one has gone
    await moving._give(term)
    assert term.holding.held == {0: 1, 1: 2}
    assert tenant.heard == [("took", (1,))]
    assert store.done(ME, [Shard(shard=1, owner=ME, epoch=1)], OTHER) == [], "the gift that comes late changes nothing"


async def test_a_shard_that_was_never_given_is_taken_back_as_it_was() -> None:
    store = Store(loses=False)
    moving, term, tenant = parted(store)
    term.view = view_of(store, ME)
    await moving._give(term)
    assert (term.holding.held, tenant.heard) == ({0: 1, 1: 1}, [("took", (1,))])


async def test_a_gift_that_is_answered_leaves_no_doubt() -> None:
    store = Store(loses=False)
    moving, term, _ = parted(store)
    await moving._give(term)
    assert (store.shards[1].owner, term.holding.doubtful, term.holding.left) == (OTHER, set(), {})
