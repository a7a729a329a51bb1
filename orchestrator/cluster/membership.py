"""This process as a member: it joins, renews, claims, hands over and leaves, and answers what it may write.

The states are drawn in the package's essay. One task keeps the membership; a timer ends trust whatever that task does;
hand-overs and gifts are tasks of the term. Nothing here stops the process: a store that is away is asked again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.holding import Change, Holding
from orchestrator.cluster.shares import Part, deal, part_of
from orchestrator.cluster.term import call_s_max, check_lease, fences_first, may_fence, renew_every_s, trusted_until
from orchestrator.errors import JournalUnavailable, NotOwner
from orchestrator.frozen import changed
from orchestrator.limits import (
    CLAIM_SHARDS_MAX,
    HAND_OVERS_MAX,
    LEASE_S_DEFAULT,
    LEAVE_S,
    LOOK_PAUSE_S,
    REBALANCE_GRACE_S,
    STORE_RETRY_S,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.leases import Leases, Member, View
from orchestrator.ports.ownership import Tenant
from orchestrator.tasks import Tasks

logger = logging.getLogger("orchestrator.cluster")

T = TypeVar("T")

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
class _Term:
    """One life as a member."""

    member: str
    view: View
    trusted_until: float
    reached_since_at: float | None
    """Since when every question to the store was answered, by this process's clock; None while it is away."""
    holding: Holding
    look_at: float = 0.0
    """When to look next, by the loop's clock."""
    acts: int = 0
    """Gifts that have ended: a view asked for before one of them is older than it."""
    is_over: bool = False
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """There are shards to be given."""
    tasks: Tasks = field(default_factory=Tasks)


class _StoreAway(Exception):
    """The store did not answer, or too late; what was asked of it may be done or not."""


class Membership:
    """`Ownership` of a process of a cluster. Use it inside `running()`."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        name: str,
        address: str,
        shard_count: int,
        lease_s: float = LEASE_S_DEFAULT,
        store_time: StoreTime | None = None,
        on_news: OnNews = lambda _: None,
    ) -> None:
        """`address` is where peers reach this process; `store_time` hears the store's clock with every answer."""
        self._leases = leases
        self._clock = clock
        self._me = Member(member="", name=name, address=address)
        self._shard_count = shard_count
        self._lease_s = check_lease(lease_s)
        self._store_time = store_time
        self._on_news = on_news
        self._tenant: Tenant
        self._term: _Term | None = None
        self._view: View | None = None
        self._away = ""
        self._is_leaving = False
        self._has_left = asyncio.Event()
        self._has_joined = asyncio.Event()
        self._grace_s = REBALANCE_GRACE_S
        self._wake = asyncio.Event()
        self._looked_at = 0.0
        self._rows: list[str] = []
        """UUIDs under which this process may have a row at the store."""
        self.counts = Counts()

    # --- what the runtime asks ---------------------------------------------------------------------------------------

    @property
    def shard_count(self) -> int:
        return self._shard_count

    @property
    def obstacle(self) -> str | None:
        if self._is_leaving:
            return "this process leaves the cluster; ask another one"
        if self._trusted() is None:
            why = f": {self._away}" if self._away else ""
            return f"this process is not a member of the cluster yet, or not any more, and goes on joining{why}"
        return None

    def owned(self) -> Sequence[int]:
        term = self._trusted()
        return () if term is None else sorted(term.holding.held)

    def epoch(self, shard: int) -> int:
        term = self._term
        if term is not None:
            epoch = term.holding.held.get(shard)
            if epoch is not None:
                if self._clock.now() < term.trusted_until:
                    return epoch
                asyncio.get_running_loop().call_soon(self._check_trust, term)
        raise self._refusal(shard)

    def _refusal(self, shard: int) -> NotOwner:
        owner = self.owner(shard)
        if owner is None or (self._term is not None and owner.member == self._term.member):
            why = self.obstacle or "nobody owns it yet, or it is on its way to another process"
            return NotOwner(f"shard {shard} cannot be written here: {why}; ask again in a moment", shard=shard)
        return NotOwner(
            f"shard {shard} belongs to {owner.name} at {owner.address}; ask there", shard=shard, owner=owner.address
        )

    def _trusted(self) -> _Term | None:
        term = self._term
        return None if term is None or self._clock.now() >= term.trusted_until else term

    # --- what is shown -----------------------------------------------------------------------------------------------

    @property
    def member(self) -> str:
        """Return this life's UUID; empty while it is no member."""
        return "" if self._term is None else self._term.member

    @property
    def trusted_until(self) -> float | None:
        """Return until when the lease is believed in, by this process's clock; None while there is none."""
        return None if self._term is None else self._term.trusted_until

    @property
    def view(self) -> View | None:
        """Return the cluster as it was seen last, with what this process has done since; None before the first look."""
        if self._view is None or self._term is None:
            return self._view
        return changed(self._view, shards=self._term.holding.shards)

    def owner(self, shard: int) -> Member | None:
        """Return who owns a shard, as far as it is known; None where nobody does."""
        view, term = self._view, self._term
        if view is None:
            return None
        if term is not None:
            owner = term.holding.owner(shard)
        else:
            owner = view.shards[shard].owner if shard < len(view.shards) else ""
        return next((each for each in view.members if each.member == owner), None)

    async def joined(self) -> None:
        """Wait until the process has joined and has made its first claim."""
        await self._has_joined.wait()

    # --- the life of a member ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, tenant: Tenant) -> AsyncGenerator["Membership"]:
        """Be a member while the block runs; at its end the tenant has lost everything and the row is gone."""
        self._tenant = tenant
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep(), name="membership")
            try:
                yield self
            finally:
                keeping.cancel()

    def nudge(self) -> None:
        """Look at the cluster now: a peer says that something has changed."""
        self._wake.set()

    async def drain(self, grace_s: float) -> None:
        """Hand every shard over as soon as it is quiet, and leave; calls in flight get the grace to end."""
        self._grace_s = grace_s
        self._is_leaving = True
        self._wake.set()
        try:
            async with asyncio.timeout(grace_s + LEAVE_S):
                await self._has_left.wait()
        except TimeoutError:
            logger.warning("the cluster was not left in time; what is still held here follows when the lease is over")

    async def _keep(self) -> None:
        """Be one member after the other, until it leaves; whatever ends this, no row of its own stays behind."""
        try:
            while not self._leaves():
                term = await self._join()
                if term is not None:
                    await self._be(term)
        finally:
            await self._leave()
            self._has_left.set()

    def _leaves(self) -> bool:
        return self._is_leaving

    async def _be(self, term: _Term) -> None:
        try:
            await self._serve(term)
        finally:
            self._end_trust(term)
            await term.tasks.cancel()

    async def _leave(self) -> None:
        """Take the rows away; where the store does not answer, the leases run out."""
        view = self._view
        try:
            for member in tuple(self._rows):
                await self._ask(partial(self._leases.leave, member), LEAVE_S)
                self._rows.remove(member)
                if view is not None and any(each.owner == member for each in view.shards):
                    self._on_news([each.address for each in view.members if each.member != member])
        except _StoreAway as away:
            logger.warning("the cluster was not left, the lease runs out instead: %s", away)

    # --- joining -----------------------------------------------------------------------------------------------------

    async def _join(self) -> _Term | None:
        """Join under a fresh UUID; None: it leaves before it has joined, or must try another."""
        member = str(self._clock.new_uid())
        self._rows.append(member)
        while not self._leaves():
            try:
                sent_at, view = await self._enter(member)
            except _StoreAway as away:
                self._tell_away(away)
                await self._pause_before_retry()
                continue
            if view is None or self._clock.now() >= trusted_until(sent_at, self._lease_s):
                return None
            return self._begin(member, sent_at, view)
        return None

    async def _enter(self, member: str) -> tuple[float, View | None]:
        """Join, and take over what earlier lives still have, if nobody has fenced them.

        Until those are gone this one says that it leaves, so that nobody deals shards to both.
        """
        before = [each for each in self._rows if each != member]
        sent_at = self._clock.now()
        me = changed(self._me, member=member, is_leaving=bool(before))
        view = await self._ask_view(partial(self._leases.join, me, self._lease_s))
        if view is None or not before:
            return sent_at, view
        for earlier in before:
            if own := [each for each in view.shards if each.owner == earlier]:
                await self._ask(partial(self._leases.give, earlier, own, member))
            await self._ask(partial(self._leases.leave, earlier))
            self._rows.remove(earlier)
        sent_at = self._clock.now()
        return sent_at, await self._ask_view(partial(self._leases.renew, member, self._lease_s, is_leaving=False))

    def _begin(self, member: str, sent_at: float, view: View) -> _Term:
        term = _Term(
            member=member,
            view=view,
            trusted_until=trusted_until(sent_at, self._lease_s),
            reached_since_at=sent_at,
            holding=Holding(member),
        )
        self._term = term
        self.counts.terms += 1
        self._tell_back()
        logger.info("joined the cluster as %s, one of %d members", member, len(view.members))
        self._arm(term)
        term.tasks.spawn(self._give_away(term), name="giving shards")
        return term

    # --- one term ----------------------------------------------------------------------------------------------------

    async def _serve(self, term: _Term) -> None:
        """Look, act and renew until trust is over, the member is fenced, or has handed everything over."""
        await self._act(term, term.view, term.acts)
        self._has_joined.set()
        self._announce(term)
        while True:
            await self._until_next_look(term)
            if term.is_over or (self._leaves() and self._is_handed_over(term)):
                return
            sent_at, acts = self._clock.now(), term.acts
            renewal = partial(self._leases.renew, term.member, self._lease_s, is_leaving=self._is_leaving)
            try:
                view = await self._ask_view(renewal)
            except _StoreAway as away:
                self._miss(term, away)
                continue
            if view is None:
                logger.warning("member %s was fenced: its lease was over; joining anew", term.member)
                return
            if not self._renewed(term, sent_at):
                return
            await self._act(term, view, acts)

    def _renewed(self, term: _Term, sent_at: float) -> bool:
        """Lengthen trust; return whether it never ended in between."""
        self._check_trust(term)
        if term.is_over:
            return False
        self.counts.renewals += 1
        self._tell_back()
        term.trusted_until = max(term.trusted_until, trusted_until(sent_at, self._lease_s))
        if term.reached_since_at is None:
            term.reached_since_at = sent_at
        return True

    def _miss(self, term: _Term, away: _StoreAway) -> None:
        self.counts.renewals_missed += 1
        term.reached_since_at = None
        self._tell_away(away)
        term.look_at = asyncio.get_running_loop().time() + self._retry_s()

    async def _act(self, term: _Term, view: View, acts: int) -> None:
        """Do what a view asks of this member."""
        term.view = self._view = view
        self._hear(term, term.holding.see(view.shards, is_latest=acts == term.acts))
        term.look_at = asyncio.get_running_loop().time() + self._look_in_s(term, view)
        try:
            await self._fence(term, view)
            await self._claim(term)
        except _StoreAway as away:
            self._miss(term, away)
        if not term.is_over:
            self._hand_over(term)

    def _hear(self, term: _Term, change: Change) -> None:
        """Tell the tenant what it has lost and what it has got."""
        self.counts.lost += len(change.lost)
        self.counts.taken += len(change.took)
        if change.lost:
            logger.warning("member %s: %d shards are another's now", term.member, len(change.lost))
            self._tenant.lost(change.lost)
        if change.took:
            logger.info("member %s took %d shards", term.member, len(change.took))
            self._tenant.took(change.took)

    def _part(self, term: _Term) -> Part:
        """Return what this member does of the deal."""
        members = [
            changed(each, is_leaving=self._is_leaving) if each.member == term.member else each
            for each in term.view.members
        ]
        return part_of(term.member, members, term.holding.shards, term.holding.order)

    async def _fence(self, term: _Term, view: View) -> None:
        """Remove members whose lease is over, where this one may judge that."""
        over = self._over(term, view)
        if not over or not self._may_fence(term):
            return
        gone = await self._ask(partial(self._leases.fence, [each.member for each in over]))
        if not gone:
            return
        self.counts.fenced += len(gone)
        names = ", ".join(sorted(each.name for each in over if each.member in gone))
        logger.warning("fenced %s: the lease was over; the shards are dealt out anew", names)
        self._wake.set()
        self._on_news([each.address for each in view.members if each.member != term.member and each.member not in gone])

    def _over(self, term: _Term, view: View) -> list[Member]:
        return [each for each in view.members if each.member != term.member and each.expires_at <= view.at]

    def _may_fence(self, term: _Term) -> bool:
        since_at = term.reached_since_at
        return since_at is not None and may_fence(self._clock.now(), since_at, self._lease_s)

    def _look_in_s(self, term: _Term, view: View) -> float:
        """Return when to look next: at the next renewal, or when a lease ends that is this member's to fence."""
        in_s = renew_every_s(self._lease_s)
        for each in view.members:
            left_s = each.expires_at - view.at
            if each.member == term.member or left_s >= in_s or fences_first(each, view.members) != term.member:
                continue
            if left_s > 0.0:
                in_s = left_s
            elif term.reached_since_at is not None and not self._may_fence(term):
                in_s = min(in_s, term.reached_since_at + self._lease_s - self._clock.now())
        return in_s

    async def _claim(self, term: _Term) -> None:
        """Take the free shards that are this member's, a batch at a look."""
        wanted = () if self._is_leaving or term.is_over else self._part(term).claim
        if not wanted:
            return
        batch = wanted[:CLAIM_SHARDS_MAX]
        got = await self._ask(partial(self._leases.claim, term.member, batch))
        if term.is_over:
            return
        self._hear(term, term.holding.claimed(got))
        missed = len(batch) - len(got)
        self.counts.claims_missed += missed
        if got and (missed or len(wanted) > len(batch)):
            self._wake.set()
        elif missed:
            term.look_at = min(term.look_at, asyncio.get_running_loop().time() + self._retry_s())

    def _announce(self, term: _Term) -> None:
        """Tell those who have too much that somebody has come."""
        dealt = deal(term.view.members, term.holding.shards)
        self._on_news(
            [each.address for each in term.view.members if each.member in dealt.givers and each.member != term.member]
        )

    # --- handing over ------------------------------------------------------------------------------------------------

    def _hand_over(self, term: _Term) -> None:
        """Begin to leave shards that others shall have, and give those that are quiet already."""
        holding = term.holding
        if self._is_leaving:
            going = sorted(holding.held)
        else:
            going = sorted(each.shard for given in self._part(term).give.values() for each in given)
        going = [shard for shard in going if shard in holding.held and shard not in holding.leaving]
        holding.begin_leaving(going)
        size = -(-len(going) // HAND_OVERS_MAX) or 1
        for at in range(0, len(going), size):
            group = going[at : at + size]
            term.tasks.spawn(self._leave_shards(term, group), partial(self._torn, term, group))
        if holding.left:
            term.left.set()

    async def _leave_shards(self, term: _Term, shards: Collection[int]) -> None:
        await self._tenant.leave(shards, self._grace_s)
        self._now_quiet(term, shards)

    def _now_quiet(self, term: _Term, shards: Collection[int]) -> None:
        if not term.is_over:
            term.holding.let_go(shards)
            term.left.set()

    def _torn(self, term: _Term, shards: Collection[int], error: BaseException) -> None:
        """Let go all the same where leaving failed: what is under way there is refused by the store."""
        logger.error("shards %s could not be left quietly", shards, exc_info=error)
        if not term.is_over:
            self._tenant.lost(shards)
            self._now_quiet(term, shards)

    async def _give_away(self, term: _Term) -> None:
        """Give what is quiet to whoever shall have it, all that there is at a time."""
        while True:
            await term.left.wait()
            term.left.clear()
            try:
                await self._give_left(term)
            except _StoreAway as away:
                self._tell_away(away)
                await asyncio.sleep(self._retry_s())
                term.left.set()
            if self._is_leaving:
                self._wake.set()

    async def _give_left(self, term: _Term) -> None:
        holding = term.holding
        addresses = {each.member: each.address for each in term.view.members}
        give = self._part(term).give
        going = {each.shard for given in give.values() for each in given}
        if stays := [] if self._is_leaving else [shard for shard in holding.left if shard not in going]:
            holding.take_back(stays)
            self._tenant.took(stays)
        for receiver, shards in give.items():
            quiet = [holding.left[each.shard] for each in shards if each.shard in holding.left]
            if not quiet:
                continue
            given = await self._ask(partial(self._leases.give, term.member, quiet, receiver))
            term.acts += 1
            holding.given(given)
            self.counts.given += len(given)
            logger.info("member %s gave %d shards to %s", term.member, len(given), receiver)
            self._on_news([addresses[receiver]])
            if len(given) < len(quiet):
                self._wake.set()

    def _is_handed_over(self, term: _Term) -> bool:
        """Return whether nothing is held any more, nor left where somebody could be given it."""
        holding = term.holding
        return not holding.held and (not holding.left or not self._part(term).give)

    # --- trust -------------------------------------------------------------------------------------------------------

    def _arm(self, term: _Term) -> None:
        in_s = max(term.trusted_until - self._clock.now(), LOOK_PAUSE_S)
        asyncio.get_running_loop().call_later(in_s, self._check_trust_again, term)

    def _check_trust_again(self, term: _Term) -> None:
        self._check_trust(term)
        if not term.is_over:
            self._arm(term)

    def _check_trust(self, term: _Term) -> None:
        """End the term where the last renewal is too long ago."""
        if not term.is_over and self._clock.now() >= term.trusted_until:
            logger.warning("member %s: the lease was not renewed in time; letting go of everything", term.member)
            self._end_trust(term)

    def _end_trust(self, term: _Term) -> None:
        if term.is_over:
            return
        term.is_over = True
        if self._term is term:
            self._view, self._term = self.view, None
        if lost := term.holding.drop():
            self.counts.lost += len(lost)
            self._tenant.lost(lost)
        self._wake.set()

    # --- the store ---------------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[], Awaitable[T]], s_max: float | None = None) -> T:
        """Ask the store, for a bounded time."""
        try:
            async with asyncio.timeout(call_s_max(self._lease_s) if s_max is None else s_max):
                return await question()
        except TimeoutError as late:
            raise _StoreAway("the store did not answer in time") from late
        except JournalUnavailable as away:
            raise _StoreAway(away.message) from away

    async def _ask_view(self, question: Callable[[], Awaitable[View | None]]) -> View | None:
        """Ask for a view, and hear the store's clock by it."""
        time = self._store_time
        sent = 0.0 if time is None else time.elapsed()
        view = await self._ask(question)
        if view is not None and time is not None:
            time.heard(sent, view.at, time.elapsed())
        return view

    async def _until_next_look(self, term: _Term) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(term.look_at):
                await self._wake.wait()
        except TimeoutError:
            pass
        if (too_soon_s := self._looked_at + LOOK_PAUSE_S - loop.time()) > 0.0:
            await asyncio.sleep(too_soon_s)
        self._wake.clear()
        self._looked_at = loop.time()

    async def _pause_before_retry(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(self._retry_s()):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _retry_s(self) -> float:
        return STORE_RETRY_S * (0.5 + self._clock.entropy())

    def _tell_away(self, away: _StoreAway) -> None:
        if not self._away:
            logger.warning("the store is away: %s", away)
        self._away = str(away)

    def _tell_back(self) -> None:
        if self._away:
            logger.info("the store answers again")
        self._away = ""
