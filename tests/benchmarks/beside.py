"""The same sagas, bare and ours, in turns: on each store, failing, traced, from the API, and very long ones."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import flows
from tests.benchmarks.database import Database
from tests.benchmarks.kept import IS_SMOKE, ROUNDS, SAGAS
from tests.benchmarks.rounds import Side, compared, in_turns
from tests.benchmarks.stage import Stage, of_client, stage

BARE, OURS = "bare", "ours"


async def _compared(sides: Sequence[Side], concurrency: int, rounds: int = ROUNDS) -> dict[str, Any]:
    turns = await in_turns(sides, rounds)
    return {"concurrency": concurrency, "sides": compared(turns, sides[0].name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The saga of five calls and its bare twin."""

    concurrency: int
    failing: bool = False
    traced: bool = False

    @property
    def sagas(self) -> int:
        return min(200, SAGAS) if self.concurrency == 1 else SAGAS

    @property
    def wanted(self) -> dict[str, object]:
        return {"concurrency": self.concurrency, "failing": self.failing}

    def bare(self, on: Stage) -> Side:
        """Return the client that makes the calls and nothing else."""
        return Side(name=BARE, worker=on.bare(), sagas=self.sagas, wanted=self.wanted, meter=on.meter())

    async def on_sqlite(self) -> dict[str, Any]:
        """Measure the embedded orchestrator on a fresh file, traced or not."""
        with stage() as on:
            collector = on.collector() if self.traced else None
            ours = Side(
                name=OURS,
                worker=on.embedded(collector=collector.address if collector else ""),
                sagas=self.sagas,
                wanted=self.wanted,
                meter=on.meter(**({"collector": collector.pid} if collector else {})),
                settles=self.traced,
            )
            return await _compared([self.bare(on), ours], self.concurrency)

    async def on_postgres(self) -> dict[str, Any]:
        """Measure the embedded orchestrator on a fresh database."""
        with closing(Database()) as database, stage() as on:
            ours = Side(
                name=OURS,
                worker=on.embedded(database.dsn),
                sagas=self.sagas,
                wanted=self.wanted,
                meter={**on.meter(), "database_cpu_s": database.cpu_s, "wal_bytes": database.wal_bytes},
            )
            return await _compared([self.bare(on), ours], self.concurrency)

    async def over_api(self) -> dict[str, Any]:
        """Measure a client of the gRPC API; the server is a process of its own."""
        with stage() as on:
            server = on.server()
            ours = Side(
                name=OURS,
                worker=on.client(),
                sagas=self.sagas,
                wanted={**self.wanted, "address": server.address, "is_named": False},
                meter=on.meter(server=server.pid),
                reads=of_client,
                holds=server.pid,
            )
            return await _compared([self.bare(on), ours], self.concurrency)


async def tracing() -> dict[str, Any]:
    """Measure bare, untraced, traced, and traced to a collector that never answers.

    Whoever traces has its spans taken before the next one begins. The one whose collector hangs has filled its queue in
    its warm-up.
    """
    usual = Beside(concurrency=64)
    with stage() as on:
        taking, hanging = on.collector(), on.collector("--hang")
        meter = on.meter(collector=taking.pid)
        workers = {
            "untraced": on.embedded(),
            "traced": on.embedded(collector=taking.address),
            "hanging": on.embedded(collector=hanging.address),
        }
        await workers["hanging"].ask({**usual.wanted, "sagas": min(500, SAGAS)})
        ours = [
            Side(
                name=name, worker=worker, sagas=usual.sagas, wanted=usual.wanted, meter=meter, settles=name == "traced"
            )
            for name, worker in workers.items()
        ]
        return await _compared([usual.bare(on), *ours], usual.concurrency)


LONG_CONCURRENCY = 4
LONG_SAGAS = 1 if IS_SMOKE else 4
LONG_ROUNDS = min(ROUNDS, 3)
"""Some seconds each."""


async def long() -> dict[str, Any]:
    """Measure sagas of a thousand steps, a chain of them and all at once, beside the saga of five.

    Each has its bare twin, and each its rounds; `step_us` is what the engine spends of its processor for a step, over
    what the bare client spends for that call.
    """
    found: dict[str, Any] = {}
    texts = {name: flows.long_definition(name) for name in (flows.CHAIN, flows.WIDE)}
    with stage() as on:
        bare, folder = on.bare(), on.folder()
        for name, text in {**flows.DEFINITIONS, **texts}.items():
            (folder / f"{name}.yaml").write_text(text)
        ours = on.embedded(definitions=[str(folder / f"{name}.yaml") for name in (flows.EPRO, *texts)])
        for definition, steps in ((flows.EPRO, 5), (flows.CHAIN, flows.STEPS), (flows.WIDE, flows.STEPS)):
            wanted = {"concurrency": LONG_CONCURRENCY, "failing": False, "definition": definition}
            sagas = LONG_SAGAS * flows.STEPS // steps
            sides = [
                Side(name=name, worker=worker, sagas=sagas, wanted=wanted, meter=on.meter())
                for name, worker in ((BARE, bare), (OURS, ours))
            ]
            figures = await _compared(sides, LONG_CONCURRENCY, LONG_ROUNDS)
            over_us = figures["sides"][OURS]["over_ms"] / steps * 1e3
            found[definition] = {**figures, "steps": steps, "step_us": over_us}
    return found
