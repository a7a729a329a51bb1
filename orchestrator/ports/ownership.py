"""Which sagas this process may write: those of the shards it owns, each under an epoch (R2).

Every saga lies in one of a fixed number of shards: its id's, or its parent's where it is a child, so that a family is
always in one place. A shard has one owner at a time, under an epoch that grows with every change of owner; the epoch
is in every record, and the store refuses a writer whose epoch is not the shard's. A store with one process has one
shard, which that process owns from its start to its end.

Two parties meet here. `Ownership` answers the runtime's question "may I still?" before every decision, append and
call; it is a comparison of two numbers and never waits. `Tenant` is the runtime, as whoever deals out the shards sees
it: it is told what it has got, asked to leave, and told what it has lost.
"""

import zlib
from collections.abc import Collection, Sequence
from typing import Protocol

from orchestrator.ids import SagaId


class Ownership(Protocol):
    """What this process owns now."""

    @property
    def shard_count(self) -> int:
        """Return how many shards the store has; fixed for its life."""
        ...

    @property
    def obstacle(self) -> str | None:
        """Return why this process can own nothing now (the store is away, it leaves), or None."""
        ...

    def owned(self) -> Sequence[int]:
        """Return the shards that this process may write, in order."""
        ...

    def epoch(self, shard: int) -> int:
        """Return the epoch under which this process writes the shard.

        Raise `NotOwner`, which names the owner as far as it is known, where it does not own the shard, or cannot be
        certain that it still does: its lease is renewed too long ago by a clock that also counts suspended time.
        """
        ...


class Tenant(Protocol):
    """Who runs the sagas of the shards that this process owns."""

    def took(self, shards: Collection[int]) -> None:
        """Hear that shards were taken over: their sagas that need an actor are taken up, a few at a time."""
        ...

    async def leave(self, shards: Collection[int], grace_s: float) -> None:
        """Begin nothing new there, let open calls end within the grace, and let go of every actor.

        When it returns nothing of these shards is on its way to the store any more.
        """
        ...

    def lost(self, shards: Collection[int]) -> None:
        """Hear that shards are this process's no longer: let go of their actors at once, and write nothing."""
        ...


class SoleOwnership:
    """The ownership of a process that has its store to itself: one shard, from the opening of the store to its end."""

    shard_count = 1
    obstacle = None

    def __init__(self, epoch: int) -> None:
        """`epoch` is that of the store's opening: greater than that of every earlier one."""
        self._epoch = epoch

    def owned(self) -> Sequence[int]:
        """Return the one shard."""
        return (0,)

    def epoch(self, shard: int) -> int:
        """Return the epoch of the store's opening."""
        return self._epoch


def shard_of(saga_id: SagaId, shard_count: int) -> int:
    """Return the shard that a saga without a parent lies in: CRC-32 of its id, which every language has."""
    return zlib.crc32(saga_id.encode()) % shard_count
