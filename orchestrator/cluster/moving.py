"""How shards come to a member and go from it, within one term: claimed, given, fenced free, handed over."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.cluster.asking import Asking, StoreAway
from orchestrator.cluster.holding import Change, Holding
from orchestrator.cluster.shares import Part, deal, part_of
from orchestrator.frozen import changed
from orchestrator.limits import CLAIM_SHARDS_MAX, HAND_OVERS_MAX, REBALANCE_GRACE_S
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.ports.ownership import Tenant
from orchestrator.tasks import Tasks

logger = logging.getLogger("orchestrator.cluster")

OnNews = Callable[[Collection[str]], None]
"""Told the addresses of peers that have something to look for: shards they were given, or may claim or hand over."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What has happened since the process began."""

    terms: int = 0
    """Lives as a member; more than one means that trust was lost."""
    taken: int = 0
    """Shards claimed, or given by others."""
    given: int = 0
    lost: int = 0
    """Shards that had to be let go of at once."""
    fenced: int = 0
    """Members whose lease was over, removed by this one."""
    claims_missed: int = 0
    """Free shards that another member was quicker to take."""
    renewals: int = 0
    renewals_missed: int = 0


@dataclass(slots=True, kw_only=True)
class Term:
    """One life as a member."""

    member: str
    view: View
    trusted_until: float
    reached_since_at: float | None
    """Since when every renewal was answered, by this process's clock; None while the store is away."""
    holding: Holding
    renewed: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """When each member's lease ends, and when that was seen first, by this process's clock."""
    look_at: float = 0.0
    """When to look next, by the loop's clock."""
    acts: int = 0
    """Gifts that have ended: a view asked for before one of them is older than it."""
    is_over: bool = False
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """There are shards to be given."""
    tasks: Tasks = field(default_factory=Tasks)


class Moving:
    """Does this member's part of each deal."""

    def __init__(self, asking: Asking, counts: Counts, look_now: Callable[[], None], on_news: OnNews) -> None:
        """`look_now` has the cluster looked at again."""
        self._asking = asking
        self._counts = counts
        self._look_now = look_now
        self._on_news = on_news
        self.tenant: Tenant
        self.drain_grace_s: float | None = None
        """What open calls get once the member leaves; None while it stays."""

    @property
    def is_leaving(self) -> bool:
        """Return whether the member gives away all it has."""
        return self.drain_grace_s is not None

    def see(self, term: Term, view: View, acts: int) -> None:
        """Take in a view that was asked for when so many acts had ended."""
        term.view = view
        self._tell(term, term.holding.see(view.shards, is_latest=acts == term.acts))

    def _tell(self, term: Term, change: Change) -> None:
        """Tell the tenant what it has lost and what it has got."""
        self._counts.lost += len(change.lost)
        self._counts.taken += len(change.took)
        if change.lost:
            logger.warning("member %s: %d shards are another's now", term.member, len(change.lost))
            self.tenant.lost(change.lost)
        if change.took:
            logger.info("member %s took %d shards", term.member, len(change.took))
            self.tenant.took(change.took)

    def _part(self, term: Term) -> Part:
        """Return what this member does of the deal; whether it leaves, it knows better than the view."""
        members = [
            changed(each, is_leaving=self.is_leaving) if each.member == term.member else each
            for each in term.view.members
        ]
        return part_of(term.member, members, term.holding.shards, term.holding.order)

    def announce(self, term: Term) -> None:
        """Tell those who have too much that somebody has come."""
        givers = deal(term.view.members, term.holding.shards).givers
        self._on_news([each.address for each in _others(term) if each.member in givers])

    # --- coming ------------------------------------------------------------------------------------------------------

    async def fence(self, term: Term, over: Collection[Member]) -> None:
        """Remove members whose lease is over; their shards are dealt out with the next view."""
        gone = await self._asking.fence([each.member for each in over])
        if not gone:
            return
        self._counts.fenced += len(gone)
        names = ", ".join(sorted(each.name for each in over if each.member in gone))
        logger.warning("fenced %s: the lease was over; the shards are dealt out anew", names)
        self._look_now()
        self._on_news([each.address for each in _others(term) if each.member not in gone])

    async def claim(self, term: Term) -> bool:
        """Take the free shards that are this member's, a batch at a look; return whether another was quicker."""
        wanted = () if self.is_leaving or term.is_over else self._part(term).claim
        if not wanted:
            return False
        batch = wanted[:CLAIM_SHARDS_MAX]
        got = await self._asking.claim(term.member, batch)
        if term.is_over:
            return False
        self._tell(term, term.holding.claimed(got))
        missed = len(batch) - len(got)
        self._counts.claims_missed += missed
        if len(wanted) > len(batch) and got:
            self._look_now()
        return missed > 0

    # --- going -------------------------------------------------------------------------------------------------------

    def hand_over(self, term: Term) -> None:
        """Begin to leave shards that others shall have, each by itself: one slow call holds up its own shard alone."""
        holding = term.holding
        if self.is_leaving:
            going = sorted(holding.held)
        else:
            going = sorted(each.shard for given in self._part(term).give.values() for each in given)
        going = [shard for shard in going if shard in holding.held and shard not in holding.leaving]
        holding.begin_leaving(going)
        size = -(-len(going) // HAND_OVERS_MAX) or 1
        for at in range(0, len(going), size):
            group = going[at : at + size]
            term.tasks.spawn(self._leave(term, group), partial(self._torn, term, group), name="leaving shards")
        if holding.left:
            term.quiet.set()

    async def _leave(self, term: Term, shards: Collection[int]) -> None:
        grace_s = REBALANCE_GRACE_S if self.drain_grace_s is None else self.drain_grace_s
        await self.tenant.leave(shards, grace_s)
        self._now_quiet(term, shards)

    def _now_quiet(self, term: Term, shards: Collection[int]) -> None:
        if not term.is_over:
            term.holding.let_go(shards)
            term.quiet.set()

    def _torn(self, term: Term, shards: Collection[int], error: BaseException) -> None:
        """Let go all the same where leaving failed: what is under way there is refused by the store."""
        logger.error(
            "shards %s could not be left quietly and are left all the same; please report this", shards, exc_info=error
        )
        if not term.is_over:
            self.tenant.lost(shards)
            self._now_quiet(term, shards)

    async def give_away(self, term: Term) -> None:
        """Give what is quiet to whoever shall have it, all that there is at a time, for as long as the term lasts."""
        while True:
            await term.quiet.wait()
            term.quiet.clear()
            try:
                await self._give(term)
            except StoreAway:
                await asyncio.sleep(self._asking.retry_s())
                term.quiet.set()
            if self.is_leaving:
                self._look_now()

    async def _give(self, term: Term) -> None:
        holding = term.holding
        addresses = {each.member: each.address for each in term.view.members}
        give = self._part(term).give
        going = {each.shard for given in give.values() for each in given}
        if stays := [] if self.is_leaving else [shard for shard in holding.left if shard not in going]:
            await self._take_back(term, stays)
        for receiver, shards in give.items():
            quiet = [holding.left[each.shard] for each in shards if each.shard in holding.left]
            if not quiet:
                continue
            given = await self._give_to(term, quiet, receiver)
            holding.given(given)
            self._counts.given += len(given)
            logger.info("member %s gave %d shards to %s", term.member, len(given), receiver)
            self._on_news([addresses[receiver]])
            if len(given) < len(quiet):
                self._look_now()

    async def _give_to(self, term: Term, shards: Sequence[Shard], receiver: str) -> Sequence[Shard]:
        numbers = {each.shard for each in shards}
        term.holding.doubtful |= numbers
        given = await self._asking.give(term.member, shards, receiver)
        term.holding.doubtful -= numbers
        term.acts += 1
        return given

    async def _take_back(self, term: Term, shards: Collection[int]) -> None:
        """Hold shards again that need not go.

        A gift that was not answered may yet be done, however late. Whoever gives the shard to itself raises its epoch,
        after which that gift changes nothing; until then nothing is begun there.
        """
        holding = term.holding
        doubtful = [holding.left[shard] for shard in shards if shard in holding.doubtful]
        if certain := [shard for shard in shards if shard not in holding.doubtful]:
            holding.take_back(certain)
            self.tenant.took(certain)
        if doubtful:
            again = await self._give_to(term, doubtful, term.member)
            if not term.is_over:
                self._tell(term, holding.returned(again))

    def is_handed_over(self, term: Term) -> bool:
        """Return whether nothing is held any more, nor left where somebody could be given it."""
        holding = term.holding
        return not holding.held and (not holding.left or not self._part(term).give)


def _others(term: Term) -> list[Member]:
    return [each for each in term.view.members if each.member != term.member]
