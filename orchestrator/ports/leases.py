"""Where the store keeps who is there and who owns what. Time here is the store's own clock, and no node's.

Each call is one transaction, and each is safe to repeat after an unknown end, a join under a fresh UUID. The rules that
every store keeps (`tests/conformance/leases_suite.py`):

* A member is one life of one process: a fresh UUID that is never used again. It is a member while its row is there. An
  append names its member; without the row it changes nothing, so taking the row away *is* the fence.
* Nobody takes a shard from a member whose row is there, but the member itself (`give`). Nobody takes the row away but
  the member itself (`leave`), or another one once its lease is over by the store's clock (`fence`).
* Every change of owner raises the shard's epoch by one. An epoch belongs to one owner for ever (I2).
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from orchestrator.frozen import frozen


@frozen
class Member:
    """One life of one process of the cluster."""

    member: str
    """A UUID, fresh for each life."""
    name: str
    """For people, e.g. `orchestrator-1`; a restarted process has the same."""
    address: str
    """`host:port` where its peers reach it."""
    is_leaving: bool = False
    """It drains: it gives away what it has and is given nothing."""
    joined_at: float = 0.0
    expires_at: float = 0.0
    """When its lease is over unless it is renewed. Both by the store's clock, Unix seconds, as the store gave them."""


@frozen
class Shard:
    """Who may write a shard's sagas."""

    shard: int
    owner: str
    """The member's UUID; empty, or one of no member, where it is free."""
    epoch: int


@frozen
class View:
    """The cluster at one instant."""

    at: float
    """The store's clock, Unix seconds."""
    members: tuple[Member, ...]
    """By UUID."""
    shards: tuple[Shard, ...]
    """All of them, by number."""


class Leases(Protocol):
    """Who is there, and who owns what."""

    async def join(self, member: Member, lease_s: float) -> View:
        """Add a member with a lease from now on; from here on this store's appends name it as their writer.

        `JournalUnavailable` where a member of this UUID is there: an earlier try, whose lease began then, not now.
        """
        ...

    async def renew(self, member: str, lease_s: float, *, is_leaving: bool) -> View | None:
        """Lengthen the lease to `lease_s` from now; None where the member was fenced: it must join as another."""
        ...

    async def view(self) -> View:
        """Return the cluster as it is, without being a member."""
        ...

    async def claim(self, member: str, shards: Collection[Shard]) -> Sequence[Shard]:
        """Take shards that are free and still at the epoch given; return those that were, as they are now."""
        ...

    async def give(self, member: str, shards: Collection[Shard], to: str) -> Sequence[Shard]:
        """Hand the member's own shards, where they are still at the epoch given, to another member; "" sets them free.

        Return those that were given, as they are now.
        """
        ...

    async def fence(self, members: Collection[str]) -> Collection[str]:
        """Remove members whose lease is over, and set their shards free; return those that were removed."""
        ...

    async def leave(self, member: str) -> None:
        """Remove a member by its own wish, and set its shards free; nothing happens where it is gone already."""
        ...
