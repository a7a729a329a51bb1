"""Several real `saga serve` processes on one database, and who of them owns what, as the database has it."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.bootstrap.clock import elapsed
from orchestrator.limits import LEASE_S_DEFAULT
from tests.benchmarks.database import Database
from tests.benchmarks.programs import Listening
from tests.benchmarks.sagas import configured
from tests.kit.mesh import Program

LOOK_S = 0.005
STOP_S_MAX = 30.0
FACT_S_MAX = 120.0


@dataclass(slots=True, kw_only=True)
class Nodes:
    """The processes, by name."""

    database: Database
    services: Listening
    folder: Path
    lease_s: float
    running: dict[str, Program] = field(default_factory=dict[str, Program])

    async def start(self, name: str) -> Program:
        """Start one, and wait until it listens."""
        started = await self.spawn(name)
        await started.ready()
        return started

    async def spawn(self, name: str) -> Program:
        """Let one begin."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        cluster = {"port": 0, "name": name, "lease_s": self.lease_s}
        file = configured(self.services.address, folder, self.database.dsn, cluster=cluster)
        started = Program(
            name=name, module="orchestrator", arguments=("serve", "--config", str(file)), folder=self.folder
        )
        self.running[name] = started
        await started.spawn()
        return started

    async def stop(self, name: str) -> None:
        """Have one drain, and wait for its end."""
        stopping = self.running.pop(name)
        stopping.signal(signal.SIGTERM)
        await stopping.ended(STOP_S_MAX)

    async def kill(self, name: str) -> None:
        """End one with SIGKILL."""
        await self.running.pop(name).kill()

    def owned(self) -> dict[str, int]:
        """Return how many shards each member has; a member that is dead has its own until it is fenced."""
        found = self.database.ask(
            "SELECT m.name, count(*) FROM shards s JOIN members m ON m.member = s.owner GROUP BY m.name"
        )
        return dict(found)

    async def shared(self, *names: str) -> float:
        """Wait until these own everything, in fair parts; return when it was so, by the clock of all processes."""
        total = int(self.database.number("SELECT count(*) FROM shards"))
        fair = total // len(names)

        def is_shared() -> bool:
            owned = self.owned()
            return set(owned) == set(names) and sum(owned.values()) == total and min(owned.values()) >= fair

        return await until(is_shared)


async def until(fact: Callable[[], bool]) -> float:
    """Wait for a fact; return when it was seen."""
    async with asyncio.timeout(FACT_S_MAX):
        while not fact():  # noqa: ASYNC110  # it is another process's
            await asyncio.sleep(LOOK_S)  # poll: a fact of another process
    return elapsed()


@asynccontextmanager
async def cluster(services: Listening, lease_s: float = LEASE_S_DEFAULT) -> AsyncGenerator[Nodes]:
    """Give a cluster without processes on an empty database; whatever runs at the end is killed."""
    with tempfile.TemporaryDirectory() as folder, closing(Database()) as database:
        nodes = Nodes(database=database, services=services, folder=Path(folder), lease_s=lease_s)
        try:
            yield nodes
        finally:
            for name in tuple(nodes.running):
                await nodes.kill(name)
