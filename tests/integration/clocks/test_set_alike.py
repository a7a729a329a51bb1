"""A machine whose wall clock is set, with all that runs on it: services and orchestrator go by the same clock."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import START_WAIT_TERMINAL, StartSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.clocks.naps import HOUR_S
from tests.integration.clocks.offsets import Offsets
from tests.kit.mesh import Mesh, channel, reports

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

SAGAS = 5
STEPS_S = {"an hour on": HOUR_S, "an hour back": -2 * HOUR_S, "two minutes on": HOUR_S + 120.0}


def starts(life: str) -> list[StartSagaRequest]:
    """Start sagas of the demo, whose calls that have an effect all keep the barrier, and wait for their ends."""
    return [
        StartSagaRequest(
            saga_id=f"{report['reportId']}-{life}",
            definition="epro_intake",
            json=ParseDict(report, Struct()),
            wait=START_WAIT_TERMINAL,
        )
        for report in reports()[:SAGAS]
    ]


async def said(mesh: Mesh, *words: str) -> None:
    """Wait until the orchestrator's log has such a line; the test's own time limit bounds it."""
    while True:
        if any(all(word in line for word in words) for line in mesh.orchestrator.log.splitlines()):
            return
        await asyncio.sleep(0.01)  # poll: a log tells nobody that it grew


def offset_s(mesh: Mesh) -> float:
    (line,) = (line for line in mesh.page("/metrics").splitlines() if line.startswith("saga_clock_offset_seconds "))
    return float(line.split()[1])


async def test_a_clock_that_is_set_under_services_and_orchestrator_alike_turns_no_saga_back(
    tmp_path: Path, set_clock: Path
) -> None:
    offsets = Offsets(tmp_path / "offsets", set_clock)
    ended: dict[str, Counter[str]] = {}
    told_s: list[float] = []
    async with Mesh(tmp_path, offsets.environ) as mesh:
        await mesh.start()
        async with channel(mesh.orchestrator.address) as connection:
            stub = SagaServiceStub(connection)
            for name, step_s in STEPS_S.items():
                offsets.move(wall_s=step_s)
                replies = await asyncio.gather(
                    *(stub.StartSaga(each, timeout=40) for each in starts(name.replace(" ", "-")))
                )
                ended[name] = Counter(SagaStatus.Name(reply.saga.status) for reply in replies)
                told_s.append(offset_s(mesh))
        await said(mesh, "WARNING", "the wall clock is")
    assert ended == {name: Counter(SAGA_STATUS_COMPLETED=SAGAS) for name in STEPS_S}
    assert told_s == pytest.approx([HOUR_S, -HOUR_S, 120.0], abs=5.0), "less what is made up for meanwhile"
