"""What a process has besides that shares its store with others: a place among them, and the ways to and from them.

::

    store (PostgreSQL) ── Leases ──► Membership ──── Ownership ───► runtime          what may be written here
          │                             │   ▲ nudge
          │                             ▼   │
          │                 GrpcPeers ◄─┴── PeerListener ── Desk ──► the API's own methods
          └─ Posts ──► LetterBox (left for others) · Collector (left for us) ─┘
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from orchestrator.bootstrap.clock import elapsed, wall_clock
from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.letters import Collector, LetterBox
from orchestrator.cluster.listener import PeerListener
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.peers import GrpcPeers
from orchestrator.cluster.showing import Showing
from orchestrator.config import Settings
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.clock import Clock
from orchestrator.ports.peers import Desk
from orchestrator.runtime import Orchestrator
from orchestrator.tasks import Tasks


@dataclass(slots=True, kw_only=True)
class Sharing:
    """One process's part in a cluster."""

    store: PostgresJournal
    clock: Clock
    membership: Membership
    peers: GrpcPeers
    letters: LetterBox
    listener: PeerListener
    showing: Showing

    @asynccontextmanager
    async def answering(self, orchestrator: Orchestrator, desk: Desk) -> AsyncGenerator[None]:
        """While the block runs, do at this desk what other processes forward here, or have left for our shards."""
        collector = Collector(self.store, self.membership, desk, self.clock)
        orchestrator.do_before_timers(collector.collect)
        self.listener.open(desk)
        tasks = Tasks()
        tasks.spawn(collector.run(), name="letters")
        try:
            yield
        finally:
            await tasks.cancel()


async def open_shared(settings: Settings, stack: AsyncExitStack) -> tuple[PostgresJournal, StoreTime]:
    """Open the store, and learn its clock first, so that nothing is recorded by this machine's own."""
    assert settings.postgres_dsn is not None  # it is what the settings name
    store = await PostgresJournal.open(settings.postgres_dsn, shard_count=settings.cluster.shards)
    stack.push_async_callback(store.close)
    await store.refuse_half_moved()
    time = StoreTime(elapsed, wall_clock)
    await time.learn(store.view)
    return store, time


async def share(
    settings: Settings, store: PostgresJournal, clock: Clock, time: StoreTime, stack: AsyncExitStack
) -> Sharing:
    """Listen for peers and get ready to join; what is opened is closed by the stack."""
    cluster = settings.cluster
    tls = None if cluster.tls is None else cluster.tls.files()
    peers = GrpcPeers(tls, insecure=cluster.insecure)
    stack.push_async_callback(peers.close)
    letters = LetterBox(store)
    stack.push_async_callback(letters.close)
    joining: list[Membership] = []  # filled below: its address is known when the port is

    def nudge() -> None:
        for each in joining:
            each.nudge()

    listener = PeerListener(
        host=cluster.host,
        port=cluster.port,
        on_nudge=nudge,
        tls=tls,
        insecure=cluster.insecure,
    )
    port = await listener.start()
    stack.push_async_callback(listener.stop, 0.0)
    name, address = cluster.shown_name(), cluster.address(port)
    membership = Membership(
        store,
        clock,
        name=name,
        address=address,
        shard_count=store.shard_count,
        lease_s=cluster.lease_s,
        store_time=time,
        on_news=peers.nudge,
    )
    joining.append(membership)
    return Sharing(
        store=store,
        clock=clock,
        membership=membership,
        peers=peers,
        letters=letters,
        listener=listener,
        showing=Showing(membership, store, store, clock, name=name, address=address),
    )
