"""This process as a member: it joins, renews, leaves, and answers what it may write.

The states are drawn in the package's essay. One task keeps the membership, a timer ends trust whatever that task does.
Nothing here stops the process: a store that is away is asked again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from orchestrator.cluster import others
from orchestrator.cluster.asking import Asking, StoreAway
from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.holding import Holding
from orchestrator.cluster.moving import Counts, Moving, OnNews, Term
from orchestrator.cluster.term import check_lease, look_pause_s, may_fence, trusted_until
from orchestrator.errors import NotOwner
from orchestrator.frozen import changed
from orchestrator.limits import JOINS_KEPT, LEASE_S_DEFAULT, LEAVE_AWAY_S, LEAVE_S, LOOK_PAUSE_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.leases import Leases, Member, Shard, View
from orchestrator.ports.ownership import Tenant

logger = logging.getLogger("orchestrator.cluster")


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
        """`address` is where peers reach this process; `store_time` hears the store's clock with every view."""
        self._clock = clock
        self._me = Member(member="", name=name, address=address)
        self._shard_count = shard_count
        self._lease_s = check_lease(lease_s)
        self._asking = Asking(leases, clock, lease_s, store_time)
        self.counts = Counts()
        self._moving = Moving(self._asking, self.counts, self.nudge, on_news)
        self._on_news = on_news
        self._rows: list[str] = []
        """UUIDs under which this process may have a row at the store."""
        self._term: Term | None = None
        self._view: View | None = None
        """The last one of the last term; while there is a term, its own counts."""
        self._wake = asyncio.Event()
        self._looked_at = 0.0
        self._seen = asyncio.Event()
        """Set at the next look, and then another one."""
        self._has_joined = asyncio.Event()
        self._has_left = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    # --- what the runtime asks ---------------------------------------------------------------------------------------

    @property
    def shard_count(self) -> int:
        return self._shard_count

    @property
    def obstacle(self) -> str | None:
        if self._moving.is_leaving:
            return "this process leaves the cluster; ask another one"
        if self._trusted() is None:
            why = f": the store is away, {self._asking.away}" if self._asking.away else ""
            return f"this process is no member of the cluster now, and goes on trying to join{why}"
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
                asyncio.get_running_loop().call_soon(self._check_trust, term)  # after a pause no timer has run yet
        raise self._refusal(shard)

    def _refusal(self, shard: int) -> NotOwner:
        owner = self.owner(shard)
        if owner is None or owner.member in self._rows:
            why = self.obstacle or "nobody owns it now, or it is on its way to another process"
            return NotOwner(f"shard {shard} cannot be written here: {why}; ask again in a moment", shard=shard)
        return NotOwner(
            f"shard {shard} belongs to {owner.name} at {owner.address}; ask there", shard=shard, owner=owner.address
        )

    def _trusted(self) -> Term | None:
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
        """Return the cluster as it was seen last, and as this process has changed it since; None before any look."""
        term = self._term
        return self._view if term is None else changed(term.view, shards=term.holding.shards)

    def owner(self, shard: int) -> Member | None:
        """Return who owns a shard, as far as it is known; None where nobody does."""
        term = self._term
        if term is not None:
            owner, view = term.holding.owner(shard), term.view
        elif self._view is not None and 0 <= shard < len(self._view.shards):
            owner, view = self._view.shards[shard].owner, self._view
        else:
            return None
        return next((each for each in view.members if each.member == owner), None)

    @property
    def store_away(self) -> str:
        """Return why the store is away, once nothing can be written here because of that; empty else."""
        return f"the store is away, {self._asking.away}" if self._asking.away and self._trusted() is None else ""

    async def moved(self, shard: int, address: str) -> None:
        """Wait until a shard has changed its owner, as far as it is known here, and is not of the process there."""
        before = self._entry(shard)
        while self._entry(shard) == before or ((owner := self.owner(shard)) is not None and owner.address == address):
            await self._seen.wait()

    def _entry(self, shard: int) -> Shard | None:
        view = self.view
        return view.shards[shard] if view is not None and 0 <= shard < len(view.shards) else None

    async def joined(self) -> None:
        """Wait until the process has joined and made its first claim."""
        await self._has_joined.wait()

    # --- from the beginning to the end -------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, tenant: Tenant) -> AsyncGenerator["Membership"]:
        """Be a member while the block runs; at its end the tenant has lost everything and the row is gone."""
        self._moving.tenant = tenant
        async with asyncio.TaskGroup() as group:
            self._keeping = group.create_task(self._keep(), name="membership")
            try:
                yield self
            finally:
                self._keeping.cancel()

    def nudge(self) -> None:
        """Look at the cluster now: a peer says that something has changed."""
        self._wake.set()

    async def drain(self, grace_s: float) -> None:
        """Hand every shard over as soon as it is quiet, and leave; calls in flight get the grace to end.

        What is not handed over by then is let go of: when this returns the process owns nothing, and no append waits.
        While the store is away that is right after the grace, else at most `LEAVE_S` later.
        """
        self._moving.drain_grace_s = grace_s
        self._wake.set()
        more_s = LEAVE_S - 2 * LEAVE_AWAY_S
        if await self._left_within(grace_s) or (not self._asking.away and await self._left_within(more_s)):
            return
        logger.warning("not everything was handed over in time; the rest is let go of")
        if self._keeping is not None:
            self._keeping.cancel()  # it may be waiting for an answer of the store
        await self._left_within(2 * LEAVE_AWAY_S)

    async def _left_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_left.wait()
        except TimeoutError:
            return False
        return True

    async def _keep(self) -> None:
        """Be one member after the other, until it leaves; whatever ends this, no row of its own stays behind."""
        try:
            while not self._moving.is_leaving:
                term = await self._join()
                if term is not None:
                    await self._be(term)
        finally:
            await self._leave()
            self._has_left.set()

    async def _be(self, term: Term) -> None:
        try:
            await self._serve(term)
        finally:
            self._end(term)
            await term.tasks.cancel()

    async def _leave(self) -> None:
        """Take the rows away; where the store does not answer, the leases run out."""
        view = self._view
        try:
            for member in tuple(self._rows):
                await self._asking.leave(member)
                self._rows.remove(member)
                if view is not None and any(each.owner == member for each in view.shards):
                    self._on_news([each.address for each in view.members if each.member != member])
        except StoreAway:
            logger.warning("the cluster was not left, the lease runs out instead")

    # --- joining -----------------------------------------------------------------------------------------------------

    async def _join(self) -> Term | None:
        """Join under a fresh UUID; None: it leaves before it has joined, or must try another.

        Each try has a UUID of its own, because nobody knows what becomes of one that had no answer: its row may come
        late, and is then an earlier life's. While the store is away it is asked for a view, which leaves nothing.
        """
        while not self._moving.is_leaving:
            try:
                if self._asking.away:
                    await self._asking.view()
                member = str(self._clock.new_uid())
                self._rows.append(member)
                sent_at, view = await self._enter(member)
            except StoreAway:
                del self._rows[1:-JOINS_KEPT]  # the first may be a life that had shards
                self._wake.clear()
                await self._woken(asyncio.get_running_loop().time() + self._asking.retry_s())
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
        view = await self._asking.join(changed(self._me, member=member, is_leaving=bool(before)))
        if not before:
            return sent_at, view
        for earlier in before:
            if own := [each for each in view.shards if each.owner == earlier]:
                await self._asking.give(earlier, own, member)
            await self._asking.leave(earlier)
            self._rows.remove(earlier)
        sent_at = self._clock.now()
        return sent_at, await self._asking.renew(member, is_leaving=False)

    def _begin(self, member: str, sent_at: float, view: View) -> Term:
        term = Term(
            member=member,
            view=view,
            trusted_until=trusted_until(sent_at, self._lease_s),
            reached_since_at=sent_at,
            holding=Holding(member),
        )
        self._term = term
        self.counts.terms += 1
        logger.info("joined the cluster as %s, one of %d members", member, len(view.members))
        self._arm(term)
        term.tasks.spawn(self._moving.give_away(term), partial(self._break_off, term), name="giving shards")
        return term

    def _break_off(self, term: Term, error: BaseException) -> None:
        """Join anew where a bug has stopped the giving: what was left would stay with nobody."""
        logger.error("member %s: giving shards failed; joining anew; please report this", term.member, exc_info=error)
        self._end(term)

    # --- one term ----------------------------------------------------------------------------------------------------

    async def _serve(self, term: Term) -> None:
        """Act, wait and renew until trust is over, the member is fenced, or has handed everything over."""
        await self._act(term, term.view, term.acts)
        self._has_joined.set()
        self._moving.announce(term)
        while True:
            await self._until_next_look(term)
            if term.is_over or (self._moving.is_leaving and self._moving.is_handed_over(term)):
                return
            sent_at, acts = self._clock.now(), term.acts
            try:
                view = await self._asking.renew(term.member, is_leaving=self._moving.is_leaving)
            except StoreAway:
                self._miss(term)
                continue
            if view is None:
                logger.warning("member %s was fenced: its lease was over; joining anew", term.member)
                return
            if not self._renewed(term, sent_at):
                return
            await self._act(term, view, acts)

    def _renewed(self, term: Term, sent_at: float) -> bool:
        """Lengthen trust; return whether it never ended in between."""
        self._check_trust(term)
        if term.is_over:
            return False
        self.counts.renewals += 1
        term.trusted_until = max(term.trusted_until, trusted_until(sent_at, self._lease_s))
        if term.reached_since_at is None:
            term.reached_since_at = sent_at
        return True

    def _miss(self, term: Term) -> None:
        self.counts.renewals_missed += 1
        term.reached_since_at = None
        term.look_at = asyncio.get_running_loop().time() + self._asking.retry_s()

    async def _act(self, term: Term, view: View, acts: int) -> None:
        """Do what a view asks of this member."""
        self._moving.see(term, view, acts)
        self._seen.set()
        self._seen = asyncio.Event()
        now_at, may_fence_now = self._clock.now(), self._may_fence(term)
        look_in_s = others.look_in_s(term, now_at, self._lease_s, may_fence=may_fence_now)
        term.look_at = asyncio.get_running_loop().time() + look_in_s
        over = others.over(term, now_at, self._lease_s)
        try:
            if over and may_fence_now:
                await self._moving.fence(term, over)
            if await self._moving.claim(term):
                term.look_at = min(term.look_at, asyncio.get_running_loop().time() + self._asking.retry_s())
        except StoreAway:
            self._miss(term)
        if not term.is_over:
            self._moving.hand_over(term)

    def _may_fence(self, term: Term) -> bool:
        since_at = term.reached_since_at
        return since_at is not None and may_fence(self._clock.now(), since_at, self._lease_s)

    async def _until_next_look(self, term: Term) -> None:
        await self._woken(term.look_at)
        loop = asyncio.get_running_loop()
        pause_s = look_pause_s(len(term.view.members), self._lease_s)
        if (too_soon_s := self._looked_at + pause_s - loop.time()) > 0.0:
            await asyncio.sleep(too_soon_s)
        self._wake.clear()
        self._looked_at = loop.time()

    async def _woken(self, until: float) -> None:
        """Wait until somebody says "now", or an instant of the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError:
            pass

    # --- trust -------------------------------------------------------------------------------------------------------

    def _arm(self, term: Term) -> None:
        in_s = max(term.trusted_until - self._clock.now(), LOOK_PAUSE_S)
        asyncio.get_running_loop().call_later(in_s, self._look_at_trust, term)

    def _look_at_trust(self, term: Term) -> None:
        self._check_trust(term)
        if not term.is_over:
            self._arm(term)

    def _check_trust(self, term: Term) -> None:
        """End the term where the last renewal is too long ago."""
        if not term.is_over and self._clock.now() >= term.trusted_until:
            logger.warning("member %s: the lease was not renewed in time; letting go of everything", term.member)
            self._end(term)

    def _end(self, term: Term) -> None:
        """Own nothing from here on."""
        if term.is_over:
            return
        self._view, self._term = self.view, None
        term.is_over = True
        if lost := term.holding.drop():
            self.counts.lost += len(lost)
            self._moving.tenant.lost(lost)
        self._wake.set()
