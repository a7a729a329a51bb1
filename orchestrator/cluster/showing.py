"""What is shown of the cluster: by any process, of all of them, also while the store is away."""

import asyncio

from orchestrator.cluster.membership import Membership
from orchestrator.errors import JournalUnavailable
from orchestrator.limits import CLUSTER_LOOK_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.cluster import Look, Standing, owed_since
from orchestrator.ports.journal import Journal
from orchestrator.ports.leases import Leases, View


class Showing:
    """`ClusterView` of a process of a cluster."""

    def __init__(
        self, membership: Membership, leases: Leases, journal: Journal, clock: Clock, *, name: str, address: str
    ) -> None:
        """`name` and `address` are those that the process joins with."""
        self._membership = membership
        self._leases = leases
        self._journal = journal
        self._clock = clock
        self._name = name
        self._address = address

    def standing(self) -> Standing:
        """Return what this process knows of itself."""
        membership, counts = self._membership, self._membership.counts
        view = membership.view
        return Standing(
            shards=len(membership.owned()),
            shards_in_store=0 if view is None else len(view.shards),
            members=0 if view is None else len(view.members),
            trust_s=self._trust_s(),
            terms=counts.terms,
            taken=counts.taken,
            given=counts.given,
            lost=counts.lost,
            fenced=counts.fenced,
            renewals_missed=counts.renewals_missed,
        )

    async def look(self) -> Look:
        """Ask the store; where it does not answer in time, return what was seen last, and say so."""
        fresh = await self._fresh()
        view = fresh or self._membership.view
        if view is None:
            raise JournalUnavailable("the store is away, and this process has not seen the cluster yet; ask again")
        return Look(
            view=view,
            is_current=fresh is not None,
            member=self._membership.member,
            name=self._name,
            address=self._address,
            trust_s=self._trust_s(),
            obstacle=self._membership.obstacle,
            owed_since_at=None if fresh is None else await owed_since(self._journal, fresh.at),
        )

    async def _fresh(self) -> View | None:
        try:
            async with asyncio.timeout(CLUSTER_LOOK_S):
                return await self._leases.view()
        except (TimeoutError, JournalUnavailable):
            return None

    def _trust_s(self) -> float:
        until = self._membership.trusted_until
        return 0.0 if until is None else max(0.0, until - self._clock.now())
