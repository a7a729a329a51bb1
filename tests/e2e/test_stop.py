"""SIGTERM, a second signal, and everything that could keep a process from leaving."""

import asyncio
import os
import signal
import statistics
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from orchestrator.v1.saga_service_pb2 import StartSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from services.epro.v1.admin_service_pb2 import MethodStats
from tests.e2e.crowd import Crowd
from tests.e2e.judging import judged, told
from tests.e2e.leaving import GRACE_S, LEAVES_WITHIN_S, leaves
from tests.integration.telemetry.collector import black_hole
from tests.kit.mesh import Mesh, channel, counted, reports

pytestmark = pytest.mark.alone  # how long leaving takes is measured, under load

SEED = int(os.environ.get("STOP_SEED", "7"))
CYCLES = int(os.environ.get("CYCLES", "4"))
"""Of stopping under load; a quarter as many with a collector that never answers, and with a second signal."""
FEW = max(1, CYCLES // 4)
AT_ONCE_S = 1.0


@asynccontextmanager
async def crowded(mesh: Mesh, callers: int) -> AsyncGenerator[Crowd]:
    """Let callers ask for sagas until the block is over; then all of them end."""
    async with channel(mesh.orchestrator.address) as connection:
        crowd = Crowd([connection], Random(SEED))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run(callers))
            yield crowd
            crowd.stop()


async def hang(mesh: Mesh, calls: int) -> None:
    """Let a service never answer, not even when it is told to stop, and wait until so many calls are caught in it."""
    address = mesh.services["archive"].address
    before = 0

    def note(stats: MethodStats) -> bool:
        nonlocal before
        before = stats.faulted
        return True

    await counted(address, "Store", note)
    await mesh.set_fault("archive", method="Store", hang={})
    await mesh.set_fault("archive", method="Store", ignoreCancellation={})
    # by the count of what was struck: a call that came before would go its way
    await counted(address, "Store", lambda stats: min(stats.faulted - before, stats.in_flight) >= calls)


async def assert_nothing_lost(lane: str, mesh: Mesh, crowd: Crowd, exits_s: list[float], bound_s: float) -> str:
    """Judge the run, and return its figures as a line."""
    judgement = await judged(mesh, crowd)
    line = told(
        lane,
        judgement,
        crowd,
        sum(exits_s),
        seed=SEED,
        restarts=len(exits_s),
        exit_p50_s=round(statistics.median(exits_s), 2),
        exit_max_s=round(max(exits_s), 2),
        exit_bound_s=bound_s,
    )
    assert judgement.findings.violations == []
    assert judgement.findings.not_checked.keys().isdisjoint({"I7", "I10", "I13", "I24"})
    assert all(crowd.ends.values())
    return line


@pytest.mark.timeout(300 + 10 * CYCLES)
async def test_sigterm_under_load_drains_within_the_grace_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exits_s: list[float] = []
    async with Mesh(tmp_path, grace_s=GRACE_S) as mesh:
        await mesh.start()
        async with crowded(mesh, callers=16) as crowd:
            for number in range(CYCLES):
                await mesh.set_fault("scoring", method="Score", delay={"min": "0.05s", "max": "0.2s"})
                await crowd.more_answers(25)
                if number % 4 == 3:
                    await hang(mesh, calls=4)
                exits_s.append(await leaves(mesh.orchestrator, LEAVES_WITHIN_S))
                await mesh.clear_faults()
                await mesh.orchestrator.start()
        line = await assert_nothing_lost("sigterm", mesh, crowd, exits_s, LEAVES_WITHIN_S)
    with capsys.disabled():
        print(f"\n{line}")
    assert crowd.counts["calls sent again"] > 0, "callers met the drain"


async def test_what_a_drain_could_not_wait_for_goes_on_after_the_next_start(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=0.2) as mesh:
        await mesh.start()
        await mesh.set_fault("archive", method="Store", hang={})
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd([connection], Random(1))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(crowd.run(callers=1))
                await mesh.calls_in_flight("archive", "Store")
                crowd.stop()
                mesh.orchestrator.signal()
                assert await mesh.orchestrator.ended(within_s=10) == 0
                assert not any(crowd.ends.values())
                await mesh.clear_faults()
                await mesh.orchestrator.start()
        judgement = await judged(mesh, crowd)
    assert judgement.findings.violations == []
    assert all(crowd.ends.values())


@pytest.mark.timeout(300 + 10 * FEW)
async def test_a_hung_service_and_a_black_hole_collector_do_not_keep_it_from_leaving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exits_s: list[float] = []
    with black_hole() as collector:
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with Mesh(tmp_path, telemetry, grace_s=GRACE_S) as mesh:
            await mesh.start()
            async with crowded(mesh, callers=8) as crowd:
                for _ in range(FEW):
                    await hang(mesh, calls=4)
                    exits_s.append(await leaves(mesh.orchestrator, LEAVES_WITHIN_S))
                    await mesh.clear_faults()
                    await mesh.orchestrator.start()
            line = await assert_nothing_lost("sigterm_black_hole", mesh, crowd, exits_s, LEAVES_WITHIN_S)
    with capsys.disabled():
        print(f"\n{line}")


async def test_a_waiting_caller_does_not_keep_it_from_leaving(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=GRACE_S) as mesh:
        await mesh.start()
        await mesh.set_fault("archive", method="Store", hang={})
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd([connection], Random(2))
            with suppress(asyncio.CancelledError):
                async with asyncio.TaskGroup() as tasks:
                    waiting = tasks.create_task(crowd.run(callers=8))
                    await mesh.calls_in_flight("archive", "Store", count=4)
                    await leaves(mesh.orchestrator, LEAVES_WITHIN_S, number=signal.SIGINT)
                    waiting.cancel()


@pytest.mark.timeout(300 + 10 * FEW)
async def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exits_s: list[float] = []
    async with Mesh(tmp_path, grace_s=60) as mesh:
        await mesh.start()
        async with crowded(mesh, callers=8) as crowd:
            for _ in range(FEW):
                await hang(mesh, calls=4)
                mesh.orchestrator.signal()
                async with channel(mesh.orchestrator.address) as connection:
                    await refuses_starts(connection)
                assert mesh.orchestrator.process is not None
                assert mesh.orchestrator.process.returncode is None, "it drains, for a minute if need be"
                exits_s.append(await leaves(mesh.orchestrator, AT_ONCE_S, code=128 + signal.SIGTERM))
                await mesh.clear_faults()
                await mesh.orchestrator.start()
        line = await assert_nothing_lost("sigterm_twice", mesh, crowd, exits_s, AT_ONCE_S)
    with capsys.disabled():
        print(f"\n{line}")


async def refuses_starts(connection: grpc.aio.Channel) -> None:
    """Wait until a start is refused, with the reason that the API promises."""
    request = StartSagaRequest(saga_id="late", definition="epro_intake")
    ParseDict(reports()[1], request.json)
    refused: grpc.aio.AioRpcError | None = None
    while refused is None:
        try:
            await SagaServiceStub(connection).StartSaga(request, timeout=10, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            refused = error
        else:
            await asyncio.sleep(0.01)  # poll: the signal may not have arrived yet
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "takes no new" in str(refused.details())
