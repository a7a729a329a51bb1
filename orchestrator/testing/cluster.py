"""Two or three nodes on one database: they come and go, stand still, are cut off, and take over from each other.

::

    callers --- any node --- NotOwner? ---> the node that owns the saga      (forward.lost, forward.unheard, peers.cut)
                  |                            |
                  +---------- database --------+                             (database.away, database.cut, statement.*)

Callers ask whichever node they like. What a node may not do itself it forwards, as an edge does: to the owner it knows
of, or after a pause again to itself, until it has an answer or no patience. Nobody is told `NotOwner`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import TypeVar

from orchestrator.errors import NotOwner
from orchestrator.ids import SagaId
from orchestrator.limits import SIMULATED_ROWS_MAX
from orchestrator.ports.journal import SearchQuery
from orchestrator.runtime import Orchestrator
from orchestrator.saga.state import SagaState
from orchestrator.testing.database import Database, Line
from orchestrator.testing.fates import Kind
from orchestrator.testing.loop import Life, SimulatedLoop
from orchestrator.testing.node import Node, Shared
from orchestrator.testing.oversight import Oversight
from orchestrator.testing.process import Around, ConnectionLost, Process
from orchestrator.testing.sole import thaw

T = TypeVar("T")

SHARDS = 8
LEASES_S = (2.0, 3.0, 6.0)
"""One of them is a run's."""
_TURNS_MEAN = 1_500
"""Of a life that is killed at an await: nodes look at each other and at their leases many times a second."""
_DOWN_LEASES = 2.5
_FROZEN_LEASES = 3.0
_AWAY_LEASES = 2.5
"""Each in leases, at most: below one a node keeps what it has, above it loses everything."""
_WINDOWS = 3
"""How often a node, a pair of them, or the database may be out of reach."""
_LATER_S = 15.0
"""Within which something happens to a life, or an outage begins: most sagas are under way then."""
_LATE_S = 15.0
_STEP_S = 1_200.0
_DRIFT = 0.008
_HOP_S = 0.002
_PAUSE_S = 0.1
_PATIENCE_S = 8.0
_DEALT_S = 30.0
"""Within which a kind world has its shards dealt out evenly."""


class Cluster:
    """Keeps its nodes running, and brings about what happens to them from outside."""

    spread_s = 15.0
    """Longer than with one process: what goes wrong with nodes takes leases."""

    def __init__(self, around: Around, nodes: int) -> None:
        """Begin with an empty database and nobody there."""
        self.nodes = [Node(f"n{number}") for number in range(1, nodes + 1)]
        self.lease_s = around.faults.fates.pick("lease", LEASES_S)
        self.oversight = Oversight(self.lease_s, around.broken)
        self.database = Database(self.oversight, shard_count=SHARDS)
        self.lives: list[Process] = []
        self._around = around
        self._faults = around.faults
        self._broken = around.broken
        self._cut: dict[frozenset[str], None] = {}
        """Pairs of nodes that do not reach each other."""
        self._is_over = False
        self._asked: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        """Request -> how often it was sent to somebody who has not refused it: it may be done there."""
        around.network.on_begun = self.oversight.begins

    # --- callers -----------------------------------------------------------------------------------------------------

    async def ask(self, work: Callable[[Orchestrator], Coroutine[None, None, T]], request_id: str = "") -> T:
        """Ask some node, and have it forward what it may not do itself; who asks gives the request a name, or none."""
        self._asked[request_id] += 1
        site = f"{request_id}/{self._asked[request_id]}"
        entry = self._faults.fates.pick(f"entry/{site}", self.nodes).process
        if entry is None:
            raise ConnectionLost("nobody is there")
        try:
            return await self._put(entry, work, request_id)
        except NotOwner as refused:
            return await self._forwarded(entry, refused, work, request_id, site)

    async def _forwarded(
        self,
        entry: Process,
        elsewhere: NotOwner,
        work: Callable[[Orchestrator], Coroutine[None, None, T]],
        request_id: str,
        site: str,
    ) -> T:
        loop, tries = asyncio.get_running_loop(), 0
        until = loop.time() + _PATIENCE_S
        while loop.time() < until:
            tries += 1
            owner = next((each for each in self.nodes if each.name == elsewhere.owner), None)
            try:
                if owner is not None:
                    return await self._hop(entry, owner, work, request_id, f"{site}/{tries}")
            except NotOwner as again:
                elsewhere = again
            await asyncio.sleep(_PAUSE_S)
            try:
                return await self._put(entry, work, request_id)  # it may be ours by now
            except NotOwner as again:
                elsewhere = again
        raise ConnectionLost("nobody was found in time who may do it")

    async def _hop(
        self,
        entry: Process,
        owner: Node,
        work: Callable[[Orchestrator], Coroutine[None, None, T]],
        request_id: str,
        site: str,
    ) -> T:
        """Have it done at another node; raise `NotOwner` where it certainly was not."""
        await asyncio.sleep(_HOP_S * self._faults.fates.draw(f"hop/{site}"))
        process = owner.process
        is_cut = frozenset((_node_of(entry), owner.name)) in self._cut
        if process is None or is_cut or self._faults.strike(Kind.FORWARD_LOST, site):
            raise NotOwner("the owner is not reached", shard=0)
        answer = await self._put(process, work, request_id)
        if entry.life.is_over or self._faults.strike(Kind.FORWARD_UNHEARD, site):
            raise ConnectionLost("the answer did not come back")
        return answer

    async def _put(
        self, process: Process, work: Callable[[Orchestrator], Coroutine[None, None, T]], request_id: str
    ) -> T:
        """I8: put it to a process; who says that a saga is not its own has done nothing, and will not."""
        self._open[request_id] += 1
        try:
            return await process.ask(work)
        except NotOwner:
            self._open[request_id] -= 1
            if request_id and not self._open[request_id] and self.database.knows(request_id):
                self._broken.append(f"I8 request {request_id}: {process.name} refused it as not its own, and did it")
            raise

    def is_refused(self, request_id: str) -> bool:
        """Return whether everybody who was sent a request has said that it is not theirs."""
        return request_id in self._open and not self._open[request_id]

    # --- nodes -------------------------------------------------------------------------------------------------------

    async def keep_running(self) -> None:
        """Keep a process on every node."""
        self.database.is_refused = self.is_refused
        self._plan_outages()
        async with asyncio.TaskGroup() as tasks:
            for node in self.nodes:
                tasks.create_task(self._keep_running(node), name=f"keeper of {node.name}")

    async def _keep_running(self, node: Node) -> None:
        """Start a process there whenever there is none."""
        draw = self._faults.fates.draw
        if node is not self.nodes[0] and self._faults.strike(Kind.JOINS_LATE, node.name):
            await asyncio.sleep(_LATE_S * draw(f"late/{node.name}"))
        if self._faults.strike(Kind.CLOCK_DRIFT, node.name):
            node.wall.drift = _DRIFT * (2 * draw(f"drift/{node.name}") - 1)
        while not self._is_over:
            process = self._begun(node)
            await process.ended
            node.process = None
            down_s = _DOWN_LEASES * self.lease_s * draw(f"down/{process.name}") ** 2
            await asyncio.sleep(min(down_s, 1.0) if self._faults.is_over else down_s)

    def _begun(self, node: Node) -> Process:
        node.lives += 1
        life = Life(f"{node.name}.life-{node.lives}")
        line = Line(self.database, life, node.name, self._faults, self._around.network.outside)

        def on_news(addresses: Collection[str]) -> None:
            self._nudge(node, addresses)

        shared = Shared(
            node,
            life,
            line,
            stand_still=lambda: self._freeze(life),
            shard_count=SHARDS,
            lease_s=self.lease_s,
            on_news=on_news,
        )
        process = Process(life, shared, self._around, turns_mean=_TURNS_MEAN)
        process.heed.is_own = shared.ownership.is_own
        self.oversight.believes[life] = shared.membership.owned
        self.lives.append(process)
        node.process, node.shared = process, shared
        process.start()
        self._plan_its_troubles(node, process)
        return process

    def _nudge(self, sender: Node, addresses: Collection[str]) -> None:
        """Bring news to peers, as far as they are reached."""
        for node in self.nodes:
            process = node.process
            if node.name not in addresses or process is None or frozenset((sender.name, node.name)) in self._cut:
                continue
            way_s = _HOP_S * self._faults.fates.draw(f"news/{sender.name}/{node.name}/{self._count('news')}")
            asyncio.get_running_loop().call_later(way_s, node.nudge, context=process.life.context)

    def _count(self, what: str) -> int:
        self._asked[what] += 1
        return self._asked[what]

    def _plan_its_troubles(self, node: Node, process: Process) -> None:
        """Draw when a life is stopped, when it stands still, and when its clock is set."""
        troubles: Mapping[Kind, Callable[[], None]] = {
            Kind.STOP: process.stop,
            Kind.FREEZE: lambda: self._freeze(process.life),
            Kind.CLOCK: lambda: self._set_clock(node, process),
        }
        draw = self._faults.fates.draw
        for kind, happens in troubles.items():
            at_s = _LATER_S * draw(f"when/{kind}/{process.name}")
            asyncio.get_running_loop().call_later(at_s, self._trouble, kind, process, happens)

    def _trouble(self, kind: Kind, process: Process, happens: Callable[[], None]) -> None:
        if not process.life.is_over and self._faults.strike(kind, process.name):
            happens()

    def _freeze(self, life: Life) -> None:
        """Stand still for a while: for less than a lease, or for longer than anybody waits."""
        life.is_frozen = True
        for_s = _FROZEN_LEASES * self.lease_s * self._faults.fates.draw(f"frozen/{life.name}/{self._count(life.name)}")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.call_later(for_s, loop.thaw, life, context=self._around.network.outside)

    def _set_clock(self, node: Node, process: Process) -> None:
        node.wall.step_s = _STEP_S * (2 * self._faults.fates.draw(f"clock/{process.name}") - 1)

    # --- what lies between -------------------------------------------------------------------------------------------

    def _plan_outages(self) -> None:
        """Draw when the database, a node's way to it, and the way between two nodes are gone."""
        for number in range(_WINDOWS):
            self._plan_outage(Kind.DATABASE_AWAY, f"database/{number}", self._database_goes)
            for node in self.nodes:
                self._plan_outage(
                    Kind.DATABASE_CUT,
                    f"{node.name}/{number}",
                    lambda *, gone, name=node.name: _toggle(self.database.cut_off, name, gone=gone),
                )
            for one, other in combinations(self.nodes, 2):
                pair = frozenset((one.name, other.name))
                self._plan_outage(
                    Kind.PEERS_CUT,
                    f"{one.name}-{other.name}/{number}",
                    lambda *, gone, pair=pair: _toggle(self._cut, pair, gone=gone),
                )

    def _plan_outage(self, kind: Kind, site: str, goes: Callable[..., None]) -> None:
        draw, loop = self._faults.fates.draw, asyncio.get_running_loop()
        at_s = _LATER_S * draw(f"when/{kind}/{site}")
        for_s = _AWAY_LEASES * self.lease_s * draw(f"for/{kind}/{site}")

        def strikes() -> None:
            if self._faults.strike(kind, site):
                goes(gone=True)
                loop.call_later(for_s, lambda: goes(gone=False))

        loop.call_later(at_s, strikes)

    def _database_goes(self, *, gone: bool) -> None:
        self.database.is_away = gone
        self.oversight.was_away(is_away=gone)

    # --- afterwards --------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Become kind: everybody reaches everybody, and nobody stands still."""
        if self.database.is_away:
            self._database_goes(gone=False)
        self.database.cut_off.clear()
        self._cut.clear()
        thaw(self.lives)

    async def at_rest(self) -> None:
        """Wait until the shards are dealt out evenly, and everybody knows what it has (I36)."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _DEALT_S + 3 * self.lease_s
        while why := await self._uneven():
            if loop.time() > until:
                self._broken.append(f"I36 shards: not dealt out evenly in a kind world: {why}")
                return
            await asyncio.sleep(1.0)
        await self._all_show_the_same(until)

    async def _all_show_the_same(self, until: float) -> None:
        """I45: whichever node is asked, every saga is shown as it is recorded, now that nothing moves any more."""
        rows = await self.database.store.search(SearchQuery(limit=SIMULATED_ROWS_MAX))
        for process in filter(None, [node.process for node in self.nodes]):
            for row in rows:
                shown = await process.ask(partial(_shown, row.saga_id))
                while shown.version < row.version and asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(1.0)  # the answer to its last append may be on its way
                    shown = await process.ask(partial(_shown, row.saga_id))
                if (shown.version, shown.status) != (row.version, row.status):
                    what = (
                        f"{shown.status.value} at version {shown.version}, and is {row.status.value} at {row.version}"
                    )
                    self._broken.append(f"I45 saga {row.saga_id}: {process.name} shows it as {what}")

    async def _uneven(self) -> str:
        view = await self.database.leases.view()
        counts = []
        for node in self.nodes:
            if node.process is None or node.shared is None:
                return f"nobody is at {node.name}"
            owned = list(node.shared.membership.owned())
            theirs = [each.shard for each in view.shards if self.oversight.is_owner(node.process.life, each.shard)]
            if owned != theirs:
                return f"{node.process.name} holds {owned}, and by the database {theirs}"
            counts.append(len(owned))
        return "" if max(counts) - min(counts) <= 1 and sum(counts) == SHARDS else f"{counts}"

    def close(self) -> Sequence[Process]:
        """Start nobody any more; return whoever has lived."""
        self._is_over = True
        return self.lives


async def _shown(saga: SagaId, orchestrator: Orchestrator) -> SagaState:
    return await orchestrator.get(saga)


def _toggle(out: dict[T, None], who: T, *, gone: bool) -> None:
    if gone:
        out[who] = None
    else:
        out.pop(who, None)


def _node_of(process: Process) -> str:
    return process.name.partition(".")[0]
