"""Three orchestrators on one PostgreSQL as real processes, with a line that fails on request at every connection.

::

    callers ──── at_door ────► node ──── to_store ────► PostgreSQL
                               ▲  │
                others ── to_it ──┘   (where the others are told that it is)

Each life of a node has a name of its own, which its connections to the database bear, for the witness there.
"""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc.aio
import pytest

from orchestrator.bootstrap import open_records
from orchestrator.config import Settings
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.e2e.judging import Judgement, close_down, compared
from tests.e2e.witness import SETTING, Witness
from tests.kit.figures import keep
from tests.kit.mesh import Mesh, NotStarted, Program, channel
from tests.kit.ports import free
from tests.kit.postgres import Server, struck_server
from tests.kit.tcp import Line

SHARDS = 48
GRACE_S = 1.0
_SERVICE_AWAY = "did not describe its methods: UNAVAILABLE"


@dataclass(slots=True, kw_only=True)
class Node:
    """One orchestrator of the cluster, over all its lives."""

    name: str
    program: Program
    to_store: Line
    to_it: Line
    """Its peers' connections to it."""
    at_door: Line
    """Its callers'."""
    settings: Mapping[str, Any]
    """What all nodes have in common."""
    dsn: str
    peer_port: int
    lives: int = 0

    @property
    def life(self) -> str:
        """What this life of it is called."""
        return f"{self.name}.{self.lives}"

    @property
    def lines(self) -> tuple[Line, Line, Line]:
        return self.to_store, self.to_it, self.at_door

    async def start(self) -> None:
        """Begin another life, and wait until it listens."""
        self.lives += 1
        cluster = {
            **self.settings["cluster"],
            "name": self.life,
            "port": self.peer_port,
            "advertise": self.to_it.address,
        }
        store = f"{self.dsn}?{SETTING}={quote(self.life)}"
        settings = {**self.settings, "store": store, "cluster": cluster, "api": {"port": 0}, "http": {"port": 0}}
        path = self.program.folder / f"{self.name}.yaml"
        await asyncio.to_thread(path.write_text, json.dumps(settings))
        while True:
            try:
                self.at_door.upstream = await self.program.start()
            except NotStarted as refused:  # as an init would: a service that it asks for its methods is on its way back
                if _SERVICE_AWAY not in str(refused):
                    raise
            else:
                return

    async def kill(self) -> None:
        await self.program.kill()

    async def leave(self, within_s: float) -> None:
        """Ask it to leave, and wait until it has."""
        self.program.signal(signal.SIGTERM)
        code = await self.program.ended(within_s)
        assert code == 0, f"{self.life} ended with {code}:\n{self.program.log[-2_000:]}"

    def pause(self) -> None:
        self.program.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.program.signal(signal.SIGCONT)


@dataclass(slots=True, kw_only=True)
class Cluster:
    """All nodes, what they stand on, and who watches them."""

    mesh: Mesh
    server: Server
    witness: Witness
    nodes: Sequence[Node]
    lease_s: float
    channels: list[grpc.aio.Channel] = field(default_factory=list[grpc.aio.Channel])
    """To each node."""

    def others(self, *nodes: Node) -> list[Node]:
        return [each for each in self.nodes if each not in nodes]

    def heal(self) -> None:
        """Have good lines everywhere."""
        for node in self.nodes:
            for line in node.lines:
                line.heal()

    async def restart_store(self, mode: str = "immediate") -> None:
        await asyncio.to_thread(self.server.restart, mode)

    async def judged(self, crowd: Crowd) -> Judgement:
        """Stop everything but the database, and compare what everybody has written down."""
        for node in self.nodes:
            node.program.signal(signal.SIGTERM)
        for node in self.nodes:
            code = await node.program.ended(within_s=30)
            assert code == 0, f"{node.life} ended with {code}:\n{node.program.log[-2_000:]}"
        await close_down(self.mesh)
        for node in self.nodes:
            assert "Traceback" not in node.program.log, node.program.log[-5_000:]
        settings = Settings.model_validate({**self.nodes[0].settings, "store": self.dsn})
        async with open_records(self.dsn, settings) as (journal, plans):
            return await compared(journal, plans, self.mesh, crowd)

    @property
    def dsn(self) -> str:
        """The way to the database that no line is on."""
        return self.server.dsn(self.witness.database)


@asynccontextmanager
async def cluster(
    folder: Path, *, lease_s: float, nodes: int = 3, definitions: Sequence[Path] = ()
) -> AsyncGenerator[Cluster]:
    """Run a database and so many nodes while the block runs; nothing of it is left afterwards.

    They have all shapes and the services for them, or (`definitions`) such as need none.
    """
    async with AsyncExitStack() as stack:
        try:
            server = await asyncio.to_thread(stack.enter_context, struck_server())
        except pytest.skip.Exception as why:
            for lane in ("cluster", "cluster_failover"):
                keep(lane, skipped=str(why))
            raise
        database = await asyncio.to_thread(server.database)
        mesh = await stack.enter_async_context(Mesh(folder))
        settings = {
            **({"definitions": [str(path) for path in definitions]} if definitions else await town.settle(mesh)),
            "grace_s": GRACE_S,
            "cluster": {"host": "127.0.0.1", "lease_s": lease_s, "shards": SHARDS},
        }
        made = [
            await _node(number, mesh, server, database=database, settings=settings, stack=stack)
            for number in range(1, nodes + 1)
        ]
        for node in made:
            stack.push_async_callback(node.kill)
        async with asyncio.TaskGroup() as starting:
            for node in made:
                starting.create_task(node.start())
        witness = Witness(server=server, database=database)
        await asyncio.to_thread(witness.install)
        channels = [await stack.enter_async_context(channel(node.at_door.address)) for node in made]
        yield Cluster(mesh=mesh, server=server, witness=witness, nodes=made, lease_s=lease_s, channels=channels)


async def _node(
    number: int, mesh: Mesh, server: Server, *, database: str, settings: Mapping[str, Any], stack: AsyncExitStack
) -> Node:
    peer_port = free()
    to_store = await stack.enter_async_context(Line(f"127.0.0.1:{server.port}"))
    to_it = await stack.enter_async_context(Line(f"127.0.0.1:{peer_port}"))
    at_door = await stack.enter_async_context(Line("127.0.0.1:1"))
    name = f"node-{number}"
    program = Program(
        name=name, module="orchestrator", arguments=("serve", "--config", f"{name}.yaml"), folder=mesh.folder
    )
    return Node(
        name=name,
        program=program,
        to_store=to_store,
        to_it=to_it,
        at_door=at_door,
        settings=settings,
        dsn=server.dsn(database, port=to_store.port),
        peer_port=peer_port,
    )
