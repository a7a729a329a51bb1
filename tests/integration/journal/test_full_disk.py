"""A real server process on a disk that fills up under its sagas, and the next one, on the same disk with room again."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import grpc
import pytest

from orchestrator.bootstrap import EXIT_STORAGE
from orchestrator.config import Settings
from orchestrator.ids import SagaId
from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.journal.test_disk_under_a_node import judged, values
from tests.integration.network.depot import depot
from tests.kit.figures import keep
from tests.kit.mesh import Program, channel

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

CALLERS = 8
CALL_S = 20.0
SMALL, LARGER = "3m", "64m"
# The last: a wait for a server that is gone, and does not come back.
UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
BULK = "x" * 5_000
"""In every input: the disk is soon full."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(mount)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        why = f"a small disk cannot be mounted here: {made.stderr.strip()}"
        keep("full_disk", skipped=why)
        pytest.skip(why)
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def make_room(mount: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={LARGER}", str(mount)], check=True)


async def start_until_nobody_answers(server: Program, answers: dict[SagaId, str]) -> None:
    """Start sagas, several at a time, each until it has ended; return when the process has gone."""
    numbers = count()

    async def call() -> None:
        while True:
            number = next(numbers)
            saga = SagaId(f"full-{number}")
            request = StartSagaRequest(saga_id=saga, definition="load")
            request.json.update({"refuse": number % 3 == 0, "bulk": BULK})
            try:
                await SagaServiceStub(connection).StartSaga(request, timeout=CALL_S)
                answers[saga] = ""
                answers[saga] = await end_of(connection, saga)
            except grpc.aio.AioRpcError as failed:
                assert failed.code() in UNANSWERED, failed  # noqa: PT017  (nobody is told that it was taken)
                return

    async with channel(server.address) as connection, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())


async def end_of(connection: grpc.aio.Channel, saga: SagaId) -> str:
    request = WaitSagaRequest(saga_id=saga)
    while True:
        reply = await SagaServiceStub(connection).WaitSaga(request, timeout=CALL_S, wait_for_ready=True)
        if reply.reached:
            return SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")


async def test_a_full_disk_ends_the_process_and_room_lets_the_next_one_end_every_saga(
    tmp_path: Path, small_disk: Path
) -> None:
    answers: dict[SagaId, str] = {}
    arguments = ("serve", "--config", "saga.yaml")
    server = Program(name="orchestrator", module="orchestrator", arguments=arguments, folder=tmp_path)
    async with depot(keeps=True) as far:
        configured = values(tmp_path, small_disk / "saga.sqlite", far)
        (tmp_path / "saga.yaml").write_text(json.dumps(configured), encoding="utf-8")
        try:
            await server.start()
            await start_until_nobody_answers(server, answers)
            assert await server.ended(within_s=20) == EXIT_STORAGE
            assert "disk is full" in server.log or "database or disk" in server.log
            assert "nothing is acknowledged any more" in server.log
            assert "Traceback" not in server.log
            acknowledged, running = len(answers), sum(not end for end in answers.values())
            await asyncio.to_thread(make_room, small_disk)
            await server.start()
            async with channel(server.address) as connection:
                for saga, told in tuple(answers.items()):
                    answers[saga] = end = await end_of(connection, saga)
                    assert told in {"", end}
            server.signal()
            assert await server.ended(within_s=20) == 0
        finally:
            await server.kill()
        findings = await judged(Settings.model_validate(configured), far, answers)
    keep(
        "full_disk",
        acknowledged=acknowledged,
        running_when_full=running,
        sagas=findings.sagas,
        effects=findings.effects,
        lost=findings.by_invariant["I7"],
        violations=findings.violation_count,
    )
    assert findings.violations == []
    assert acknowledged > CALLERS
