"""The processes over one store, for people: who is there, who may write what, and how things go.

Two questions with two prices. `look` asks the store and is for a person; `standing` is what this process knows of
itself anyway, and is for every scrape.
"""

from typing import Protocol

from orchestrator.errors import JournalUnavailable
from orchestrator.frozen import frozen
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Journal
from orchestrator.ports.leases import Member, Shard, View

FOR_EVER = float("inf")
"""When the lease of a process ends that has its store to itself."""


@frozen
class Standing:
    """One process: what it holds now, and what has happened to it since it began."""

    shards: int = 0
    shards_in_store: int = 0
    """All there are, whoever owns them, as this process saw it last."""
    members: int = 0
    """Processes of the cluster that it knows of, itself included."""
    trust_s: float = 0.0
    """For how long it may still write without hearing from the store; 0 where it may not."""
    terms: int = 0
    """Lives as a member; more than one means that it has lost its lease."""
    taken: int = 0
    """Shards claimed, or given by others."""
    given: int = 0
    lost: int = 0
    """Shards that had to be let go of at once."""
    fenced: int = 0
    """Members whose lease was over, removed by this process."""
    renewals_missed: int = 0


@frozen
class Look:
    """The cluster, as one process found it in its store."""

    view: View
    is_current: bool
    """False where the store did not answer: it is as this process saw it last."""
    member: str
    """The UUID of the process that looked; empty while it is no member."""
    name: str
    address: str
    trust_s: float
    """As in its standing."""
    obstacle: str | None
    """Why the process that looked can own nothing now, or None."""
    owed_since_at: float | None
    """The earliest `wake_at` that is over: how far the timers are behind. None where none is, or it is not known."""


class ClusterView(Protocol):
    """What is shown of the processes over one store."""

    def standing(self) -> Standing:
        """Return what this process knows of itself, at no price."""
        ...

    async def look(self) -> Look:
        """Ask the store; raise `JournalUnavailable` where it does not answer, and nothing was seen before."""
        ...


class SoleView:
    """The view of a process that has its store to itself: one member, one shard."""

    def __init__(self, journal: Journal, clock: Clock, *, epoch: int, name: str, address: str = "") -> None:
        """`epoch` is that of the store's opening; `address` is empty, as nobody asks this process for others."""
        self._journal = journal
        self._clock = clock
        self._shard = Shard(shard=0, owner=str(clock.new_uid()), epoch=epoch)
        self._me = Member(
            member=self._shard.owner, name=name, address=address, joined_at=clock.now(), expires_at=FOR_EVER
        )

    def standing(self) -> Standing:
        """Return that it holds the one shard, for ever, unless the store has failed."""
        is_well = self._journal.failed is None
        return Standing(shards=1, shards_in_store=1, members=1, trust_s=FOR_EVER if is_well else 0.0, terms=1, taken=1)

    async def look(self) -> Look:
        """Return itself as the one member."""
        now = self._clock.now()
        return Look(
            view=View(at=now, members=(self._me,), shards=(self._shard,)),
            is_current=True,
            member=self._me.member,
            name=self._me.name,
            address=self._me.address,
            trust_s=self.standing().trust_s,
            obstacle=self._journal.failed,
            owed_since_at=await owed_since(self._journal, now),
        )


async def owed_since(journal: Journal, now: float) -> float | None:
    """Return the earliest `wake_at` that is over; None where no timer is behind, or the store does not say."""
    try:
        rows = await journal.due(now, 1)
    except JournalUnavailable:
        return None
    return rows[0].wake_at if rows else None
