"""SIGTERM, a second signal, and everything that could keep a process from leaving."""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from orchestrator.v1.saga_service_pb2 import StartSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.e2e.crowd import Crowd
from tests.e2e.test_kill import judged
from tests.integration.telemetry.collector import black_hole
from tests.kit.mesh import Mesh, channel, reports

GRACE_S = 1.0
LEAVES_WITHIN_S = GRACE_S + 3.0


async def started(mesh: Mesh, saga_id: str) -> None:
    request = StartSagaRequest(saga_id=saga_id, definition="epro_intake")
    ParseDict(reports()[0], request.json)
    async with channel(mesh.orchestrator.address) as connection:
        await SagaServiceStub(connection).StartSaga(request, timeout=20, wait_for_ready=True)


@pytest.mark.timeout(120)
async def test_sigterm_under_load_drains_within_the_grace_and_loses_nothing(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=GRACE_S) as mesh:
        await mesh.start()
        await mesh.set_fault("scoring", method="Score", delay={"min": "0.05s", "max": "0.2s"})
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd(connection, Random(7))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(crowd.run(callers=16))
                for _ in range(4):
                    await crowd.more_answers(25)
                    began = time.monotonic()  # noqa: TID251  (what is measured)
                    mesh.orchestrator.signal()
                    assert await mesh.orchestrator.ended(within_s=30) == 0
                    assert time.monotonic() - began < LEAVES_WITHIN_S  # noqa: TID251  (the same)
                    await mesh.orchestrator.start()
                crowd.stop()
        findings = await judged(mesh, crowd)
    assert findings.violations == []
    assert findings.not_checked.keys() <= {"I28"}, "the demo has no child sagas; everything else was looked at"
    assert all(crowd.answers.values())
    assert crowd.counts["calls sent again"] > 0, "callers met the drain"


async def test_what_a_drain_could_not_wait_for_goes_on_after_the_next_start(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=0.2) as mesh:
        await mesh.start()
        await mesh.set_fault("archive", method="Store", hang={})
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd(connection, Random(1))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(crowd.run(callers=1))
                await mesh.calls_in_flight("archive", "Store")
                crowd.stop()
                mesh.orchestrator.signal()
                assert await mesh.orchestrator.ended(within_s=10) == 0
                assert not any(crowd.answers.values())
                await mesh.clear_faults()
                await mesh.orchestrator.start()
        findings = await judged(mesh, crowd)
    assert findings.violations == []
    assert all(crowd.answers.values())


async def test_a_hung_service_and_a_black_hole_collector_do_not_keep_it_from_leaving(tmp_path: Path) -> None:
    with black_hole() as collector:
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with Mesh(tmp_path, telemetry, grace_s=GRACE_S) as mesh:
            await mesh.start()
            await mesh.set_fault("archive", method="Store", hang={})
            await mesh.set_fault("archive", method="Store", ignoreCancellation={})
            await started(mesh, "stays")
            await mesh.calls_in_flight("archive", "Store")
            began = time.monotonic()  # noqa: TID251  (what is measured)
            mesh.orchestrator.signal()
            assert await mesh.orchestrator.ended(within_s=30) == 0
            assert time.monotonic() - began < LEAVES_WITHIN_S  # noqa: TID251  (the same)


async def test_a_waiting_caller_does_not_keep_it_from_leaving(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=GRACE_S) as mesh:
        await mesh.start()
        await mesh.set_fault("archive", method="Store", hang={})
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd(connection, Random(2))
            with suppress(asyncio.CancelledError):
                async with asyncio.TaskGroup() as tasks:
                    waiting = tasks.create_task(crowd.run(callers=8))
                    await mesh.calls_in_flight("archive", "Store", count=4)
                    began = time.monotonic()  # noqa: TID251  (what is measured)
                    mesh.orchestrator.signal(signal.SIGINT)
                    assert await mesh.orchestrator.ended(within_s=30) == 0
                    assert time.monotonic() - began < LEAVES_WITHIN_S  # noqa: TID251  (the same)
                    waiting.cancel()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with Mesh(tmp_path, grace_s=60) as mesh:
        await mesh.start()
        await mesh.set_fault("archive", method="Store", hang={})
        await started(mesh, "interrupted")
        await mesh.calls_in_flight("archive", "Store")
        mesh.orchestrator.signal()
        async with channel(mesh.orchestrator.address) as connection:
            await refuses_starts(connection)
        assert mesh.orchestrator.process is not None
        assert mesh.orchestrator.process.returncode is None, "it drains, for a minute if need be"
        began = time.monotonic()  # noqa: TID251  (what is measured)
        mesh.orchestrator.signal()
        assert await mesh.orchestrator.ended(within_s=10) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 1  # noqa: TID251  (the same)


async def refuses_starts(connection: grpc.aio.Channel) -> None:
    """Wait until a start is refused, with the reason that the API promises."""
    request = StartSagaRequest(saga_id="late", definition="epro_intake")
    ParseDict(reports()[1], request.json)
    refused: grpc.aio.AioRpcError | None = None
    while refused is None:
        try:
            await SagaServiceStub(connection).StartSaga(request, timeout=10)
        except grpc.aio.AioRpcError as error:
            refused = error
        else:
            await asyncio.sleep(0.01)  # poll: the signal may not have arrived yet
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "takes no new" in str(refused.details())
