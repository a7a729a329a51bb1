"""One node of a simulated cluster: its machine, and what its processes stand on."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.membership import Membership
from orchestrator.errors import JournalUnavailable, NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Journal, Record
from orchestrator.ports.ownership import Tenant
from orchestrator.runtime import Orchestrator
from orchestrator.testing.client import Client
from orchestrator.testing.clocks import SimulatedClock, WallClock
from orchestrator.testing.database import Line
from orchestrator.testing.loop import Life
from orchestrator.testing.oversight import Oversight
from orchestrator.testing.process import Process


class Node:
    """A machine on which one process lives after the other."""

    def __init__(self, name: str) -> None:
        """Begin with nobody, and a clock that is right."""
        self.name = name
        self.wall = WallClock()
        self.process: Process | None = None
        self.shared: Shared | None = None
        self.lives = 0

    def nudge(self) -> None:
        """Tell its process that there is something to look for."""
        if self.process is not None and self.shared is not None and not self.process.life.is_over:
            self.shared.membership.nudge()


class Believed:
    """`Ownership` that is held against the database at every question: nobody may believe in what is another's."""

    def __init__(self, membership: Membership, life: Life, oversight: Oversight) -> None:
        """Pass on what a membership says."""
        self._membership = membership
        self._life = life
        self._oversight = oversight

    @property
    def shard_count(self) -> int:
        return self._membership.shard_count

    @property
    def obstacle(self) -> str | None:
        return self._membership.obstacle

    def owned(self) -> Sequence[int]:
        return self._membership.owned()

    def epoch(self, shard: int) -> int:
        epoch = self._membership.epoch(shard)
        self.check(shard)
        return epoch

    def check(self, shard: int) -> None:
        """Hold it against the database that a shard is taken for one's own."""
        self._oversight.believed(self._life, shard)

    def is_own(self, records: Sequence[Record], saga: SagaId) -> bool:
        """Return whether a saga is still written here as it was when these records were decided on."""
        try:
            return self._membership.epoch(self._oversight.shard_of(saga)) == records[-1].epoch
        except NotOwner:
            return False


class _Checked:
    """`Tenant` that is given only what the database says is its."""

    def __init__(self, tenant: Tenant, believed: Believed) -> None:
        self._tenant = tenant
        self._believed = believed

    def took(self, shards: Collection[int]) -> None:
        for shard in shards:
            self._believed.check(shard)
        self._tenant.took(shards)

    async def leave(self, shards: Collection[int], grace_s: float) -> None:
        await self._tenant.leave(shards, grace_s)

    def lost(self, shards: Collection[int]) -> None:
        self._tenant.lost(shards)


class Shared:
    """A place in a cluster: `Ground` of one life."""

    is_ready = False

    def __init__(
        self,
        node: Node,
        life: Life,
        line: Line,
        *,
        stand_still: Callable[[], None],
        shard_count: int,
        lease_s: float,
        on_news: Callable[[Collection[str]], None],
    ) -> None:
        """Open the store; nobody is asked anything before `ready`."""
        self._store = line.database.store
        self.clock = SimulatedClock(node.wall, line.faults.fates, life.name)
        self._time = StoreTime(node.wall.elapsed, node.wall.at)
        self.journal = Client(line, stand_still)
        self.membership = Membership(
            self.journal,
            self.clock,
            name=node.name,
            address=node.name,
            shard_count=shard_count,
            lease_s=lease_s,
            store_time=self._time,
            on_news=on_news,
        )
        self.ownership = Believed(self.membership, life, line.database.oversight)

    async def ready(self) -> None:
        """Learn the store's clock, so that nothing is recorded by this machine's own."""
        while True:
            try:
                await self._time.learn(self.journal.view)
            except JournalUnavailable:
                continue  # a real process would end, and be started again
            self.clock.follow(self._time)
            return

    def living(self, tenant: Tenant) -> AbstractAsyncContextManager[object]:
        return self.membership.running(_Checked(tenant, self.ownership))

    async def drain(self, orchestrator: Orchestrator, grace_s: float) -> None:
        orchestrator.refuse_new()
        await self.membership.drain(grace_s)

    def store(self) -> Journal:
        return self._store
