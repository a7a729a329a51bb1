"""The trace of a saga that two processes had a part in, as a real Jaeger has stored it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ids import SagaId
from orchestrator.limits import STORE_TIME_ERROR_S
from orchestrator.ports.ownership import shard_of
from orchestrator.v1.admin_service_pb2 import ListShardsRequest
from orchestrator.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.integration.telemetry.clinic import CLOSED_SITE, Clinic, report, telling
from tests.kit import jaeger
from tests.kit.jaeger import Jaeger, Trace
from tests.kit.mesh import Mesh, Program, channel
from tests.kit.postgres import database
from tests.kit.trees import assert_sound, attempts, has_ended_after_a_crash, only, paths, root_of

pytestmark = pytest.mark.timeout(300 + jaeger.BUILD_S_MAX)

SHARDS = 8
LEASE_S = 2.0
UNDO = "saga epro_intake > saga.compensation > undo archive > epro.v1.Archive/Withdraw > epro.v1.Archive/Withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two processes over one store."""

    mesh: Mesh
    first: Program
    second: Program
    clinic: Clinic
    """Whose door is the second one's."""

    async def saga_of_the_first(self) -> str:
        """Return the name of a saga that the first process will own, once both own something."""
        async with channel(self.second.address) as connection:
            admin = AdminServiceStub(connection)
            owners: dict[int, str] = {}
            while set(owners.values()) != {"first", "second"}:
                shards = (await admin.ListShards(ListShardsRequest(), timeout=10)).shards
                owners = {each.shard: each.member_name for each in shards}
                await asyncio.sleep(0.05)  # poll: who owns what
        return next(name for name in map(str, count()) if owners[shard_of(SagaId(name), SHARDS)] == "first")


@asynccontextmanager
async def pair(folder: Path, running: Jaeger, dsn: str) -> AsyncGenerator[Pair]:
    async with Mesh(folder, telling(running), store=dsn, cluster=_cluster("first")) as mesh:
        first = mesh.orchestrator
        await mesh.start()
        settings = json.loads((folder / "saga.yaml").read_text())
        (folder / "second.yaml").write_text(json.dumps({**settings, "cluster": _cluster("second")}))
        second = Program(
            name="second",
            module="orchestrator",
            arguments=("serve", "--config", "second.yaml"),
            folder=folder,
            environ=telling(running),
        )
        try:
            clinic = Clinic(running, await second.start())
            yield Pair(mesh=mesh, first=first, second=second, clinic=clinic)
            await asyncio.to_thread(clinic.close)
            second.signal()
            assert await second.ended(within_s=20) == 0
        finally:
            await second.kill()


def _cluster(name: str) -> dict[str, Any]:
    return {"name": name, "port": 0, "lease_s": LEASE_S, "shards": SHARDS}


async def test_a_saga_that_came_to_another_process_is_one_tree_told_by_both(tmp_path: Path) -> None:
    async with jaeger.running() as running:
        with database() as dsn:
            async with pair(tmp_path, running, dsn) as world:
                await _fails_over(world)


async def _fails_over(world: Pair) -> None:
    name, clinic = await world.saga_of_the_first(), world.clinic
    await world.mesh.set_fault("archive", method="Store", dropReply={"neverAnswer": True}, firstCalls=1)
    await world.mesh.set_fault("scoring", method="Score", hang={}, firstCalls=1)  # so the refusal comes later
    with clinic.traced("take in a form") as carrier:
        await clinic.start(name, report(name, CLOSED_SITE), carrier)
        await world.mesh.calls_in_flight("archive", "Store")
        await world.mesh.calls_in_flight("scoring", "Score")
        told = await clinic.jaeger.trace(carrier.trace_id, _has_validated)
        assert _has_validated(told), "the first process has told its part"
        await world.first.kill()
        assert await clinic.end(name) == "COMPENSATED"
    trace = await clinic.trace(carrier, has_ended_after_a_crash)
    assert_sound(
        trace, is_retold=True, clocks_apart_s=2 * STORE_TIME_ERROR_S
    )  # each tells the store's time, as it knows it
    assert UNDO in paths(trace)
    lost = attempts(trace, "archive")[0]
    assert lost.tags["saga.call.lost"] is True
    served = only([span for span in trace if span.kind == "server" and span.parents[0].span_id == lost.span_id])
    assert served.service == "archive"
    assert root_of(trace).begin_us <= lost.begin_us <= lost.end_us <= root_of(trace).end_us


def _has_validated(trace: Trace) -> bool:
    return any(span.name == "step validate" for span in trace)
