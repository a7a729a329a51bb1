"""Several API servers over one store in memory, each with its peers over real gRPC on loopback.

Who owns what is played: a test moves shards itself, and says what each node believes of the others. Everything else is
the real thing: the runtime, the API, the listener, the connections and the letter box.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc.aio
from google.rpc import status_pb2

from orchestrator.api import ApiServer, Links
from orchestrator.bootstrap import SystemClock
from orchestrator.cluster.letters import Collector, LetterBox
from orchestrator.cluster.listener import PeerListener
from orchestrator.cluster.peers import GrpcPeers
from orchestrator.cluster.wire import Tls
from orchestrator.errors import NotOwner
from orchestrator.ids import SagaId
from orchestrator.journal.memory_leases import MemoryCluster, MemoryLeases
from orchestrator.ports.leases import Member, Shard
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.peers import Desk, Errand
from orchestrator.ports.posts import Answer
from orchestrator.runtime import Orchestrator
from orchestrator.saga.events import Event
from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.api.rig import Hands, Listen, Shelf, status_of

if TYPE_CHECKING:  # these two are names of the stubs, for types only
    from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceAsyncStub
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub

SHARDS = 8
LEASE_S = 3_600.0


class Deeds:
    """What one node owns, and whom it believes to own the rest."""

    shard_count = SHARDS

    def __init__(self) -> None:
        self.held: dict[int, Shard] = {}
        self.believed: dict[int, str] = {}
        self.obstacle: str | None = None
        self.collects = True
        """False: its letters stay in the box."""
        self.away = ""
        """Why the store is away."""

    def owned(self) -> Sequence[int]:
        return sorted(self.held) if self.collects else ()

    def epoch(self, shard: int) -> int:
        if shard not in self.held:
            owner = self.believed.get(shard, "")
            raise NotOwner(f"shard {shard} is owned by {owner or 'nobody yet'}", shard=shard, owner=owner)
        return self.held[shard].epoch


class Tally(Silence):
    """Counts what was forwarded."""

    def __init__(self) -> None:
        self.forwarded_count: Counter[tuple[str, str]] = Counter()

    def forwarded(self, way: str, outcome: str) -> None:
        self.forwarded_count[way, outcome] += 1


class Door:
    """The desk as peers find it: it may do something else instead."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.errands: list[Errand] = []
        self.after: Callable[[], None] | None = None
        """Called when a request was done; its answer then never comes."""
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.silent = ""
        """A method that is never answered."""

    async def execute(self, errand: Errand, timeout_s: float) -> Answer:
        self.errands.append(errand)
        await self.is_open.wait()
        if self.silent and errand.method.endswith(self.silent):
            await asyncio.Event().wait()
        answer = await self.desk.execute(errand, timeout_s)
        if self.after is not None:
            self.after()
            await asyncio.Event().wait()
        return answer


@dataclass(slots=True, kw_only=True)
class Node:
    """One process, as far as it can be seen."""

    name: str
    address: str
    leases: MemoryLeases
    deeds: Deeds
    orchestrator: Orchestrator
    api: ApiServer
    listener: PeerListener
    peers: GrpcPeers
    collector: Collector
    door: Door
    hands: Hands
    tally: Tally
    channel: grpc.aio.Channel
    nudged: asyncio.Event
    stack: AsyncExitStack
    on_look: list[Callable[[], object]]
    """Called when this node wants the leases to be looked at."""
    is_up: bool = True

    @property
    def sagas(self) -> "SagaServiceAsyncStub":
        return SagaServiceStub(self.channel)

    @property
    def operators(self) -> "OperatorServiceAsyncStub":
        return OperatorServiceStub(self.channel)

    async def stop(self) -> None:
        """Be gone, as far as the others can tell."""
        if self.is_up:
            self.is_up = False
            await self.stack.aclose()


@dataclass(slots=True)
class Town:
    """The nodes, and the store that they share."""

    store: MemoryCluster
    nodes: list[Node] = field(default_factory=list)

    async def move(self, shards: Collection[int], to: Node) -> None:
        """Let a node own shards, whoever had them, and everybody who is up know it."""
        for shard in shards:
            for node in self.nodes:
                if (had := node.deeds.held.pop(shard, None)) is not None:
                    if node.is_up:
                        node.orchestrator.lost([shard])
                    await node.leases.give(node.name, [had], "")
        view = await to.leases.view()
        for taken in await to.leases.claim(to.name, [view.shards[shard] for shard in shards]):
            to.deeds.held[taken.shard] = taken
        self.say(shards, to)
        await to.collector.collect(shards)
        to.orchestrator.took(shards)

    def say(self, shards: Collection[int], owner: Node | None) -> None:
        """Let everybody believe that a node owns shards, whether it does or not."""
        for node in self.nodes:
            for shard in shards:
                node.deeds.believed[shard] = "" if owner is None else owner.address

    async def kill(self, node: Node) -> None:
        """Stop a node; the others go on believing that it owns what it owned."""
        await node.stop()

    async def events(self, saga_id: str) -> list[Event]:
        """What is recorded of a saga."""
        return [one.event for one in await self.nodes[0].leases.journal.read(SagaId(saga_id))]


@asynccontextmanager
async def town(count: int, *, tls: Sequence[Tls | None] = (), answer_at_once: bool = True) -> AsyncIterator[Town]:
    """Some nodes; the first one owns nothing, the second one everything."""
    clock = SystemClock()
    made = Town(MemoryCluster(now=clock.now, shard_count=SHARDS))
    shelf = Shelf()
    try:
        for number in range(count):
            made.nodes.append(await _node(made, f"n{number}", shelf, tls[number] if tls else None, answer_at_once))
        await made.move(range(SHARDS), made.nodes[min(1, count - 1)])
        yield made
    finally:
        for node in made.nodes:
            await node.stop()


async def _node(made: Town, name: str, shelf: Shelf, tls: Tls | None, answer_at_once: bool) -> Node:
    clock, deeds, hands, tally = SystemClock(), Deeds(), Hands(answer_at_once), Tally()
    stack = AsyncExitStack()
    leases = made.store.open()
    nudged = asyncio.Event()
    listener = PeerListener(host="127.0.0.1", port=0, on_nudge=nudged.set, tls=tls)
    address = f"127.0.0.1:{await listener.start()}"
    await leases.join(Member(member=name, name=name, address=address), LEASE_S)
    box, peers = LetterBox(leases), GrpcPeers(tls)
    failures: list[str] = []
    orchestrator = Orchestrator(
        journal=leases.journal,
        ownership=deeds,
        plans=shelf,
        invoker=hands,
        clock=clock,
        observer=tally,
        on_failed=failures.append,
    )
    await stack.enter_async_context(orchestrator.running())
    stack.push_async_callback(box.close)
    stack.push_async_callback(peers.close)
    on_look: list[Callable[[], object]] = []

    def look() -> None:
        for each in on_look:
            each()

    async def moved(shard: int, address: str) -> None:
        await until(lambda: deeds.believed.get(shard, "") != address)

    links = Links(peers=peers, letters=box, look=look, moved=moved, away=lambda: deeds.away, observer=tally)
    api = ApiServer(orchestrator, shelf, Listen(), clock=clock, links=links)  # type: ignore[arg-type]  # the shelf plays it
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{await api.start()}")
    stack.push_async_callback(channel.close)
    stack.push_async_callback(api.drain, 0.0)
    door = Door(api.desk)
    collector = Collector(leases, deeds, api.desk, clock)
    collecting = asyncio.get_running_loop().create_task(collector.run())
    stack.push_async_callback(_ended, collecting)
    listener.open(door)
    stack.push_async_callback(listener.stop, 0.0)
    return Node(
        name=name,
        address=address,
        leases=leases,
        deeds=deeds,
        orchestrator=orchestrator,
        api=api,
        listener=listener,
        peers=peers,
        collector=collector,
        door=door,
        hands=hands,
        tally=tally,
        channel=channel,
        nudged=nudged,
        stack=stack,
        on_look=on_look,
    )


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def id_in(shard: int) -> str:
    """A saga id that lies in a shard."""
    return next(name for name in (f"s-{n}" for n in range(1_000)) if shard_of(SagaId(name), SHARDS) == shard)


def shard(saga_id: str) -> int:
    return shard_of(SagaId(saga_id), SHARDS)


def wire_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    found = status_of(error)
    assert found is not None
    return found


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact of this process; the test's own time limit bounds it."""
    while not fact():  # noqa: ASYNC110  # facts of many kinds, none of which tells
        await asyncio.sleep(0.005)  # poll: the fact that the test names
