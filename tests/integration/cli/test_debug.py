"""`saga debug dump` of a real `saga serve`: what it waits for is on the page; a stuck one still writes its stacks."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import ParseDict

from orchestrator.v1 import diagnostics_service_pb2 as rpc
from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub
from orchestrator.v1.saga_service_pb2 import StartSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.kit.mesh import ROOT, Mesh, channel, reports

if TYPE_CHECKING:
    from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceAsyncStub
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

SAGAS = 12


@asynccontextmanager
async def waiting(folder: Path) -> AsyncIterator[Mesh]:
    """A mesh whose sagas wait for a service that does not answer."""
    async with Mesh(folder) as mesh:
        await mesh.start()
        await mesh.set_fault("scoring", method="Score", hang={})
        async with channel(mesh.orchestrator.address) as connection:
            sagas: SagaServiceAsyncStub = SagaServiceStub(connection)
            for number, given in enumerate(reports()[:SAGAS]):
                request = StartSagaRequest(saga_id=f"report-{number}", definition="epro_intake")
                ParseDict(given, request.json)
                await sagas.StartSaga(request)
        await mesh.calls_in_flight("scoring", "Score", SAGAS)
        yield mesh


async def page(mesh: Mesh, *arguments: str) -> str:
    """Run the command against the mesh; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator", "debug", "dump", *arguments),
        stdout=subprocess.PIPE,
        env={**os.environ, "ORCHESTRATOR_SERVER": mesh.orchestrator.address},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_sagas_that_wait_for_a_service_are_shown_with_the_call_they_wait_for(tmp_path: Path) -> None:
    async with waiting(tmp_path) as mesh, channel(mesh.orchestrator.address) as connection:
        stub: DiagnosticsServiceAsyncStub = DiagnosticsServiceStub(connection)
        found = await stub.DumpProcess(rpc.DumpProcessRequest())
        while any((each.doing, each.call_count) != ("calls", 1) for each in found.actors):  # another call ends
            found = await stub.DumpProcess(rpc.DumpProcessRequest())
        shown = await page(mesh, "--limit", "1000", "--objects")
    ids = {f"report-{number}" for number in range(SAGAS)}
    assert found.actor_count == found.call_count == SAGAS
    assert found.timer_count >= SAGAS
    assert {each.saga_id for each in found.actors} == {each.saga_id for each in found.calls} == ids
    assert {(each.doing, each.call_count, each.status) for each in found.actors} == {("calls", 1, "RUNNING")}
    for call in found.calls:
        assert (call.target, call.method, call.step) == ("scoring", "epro.v1.Scoring/Score", "score")
        assert call.phase == "sent"
        assert call.begin_time.ToNanoseconds() < found.as_of_time.ToNanoseconds() < call.deadline.ToNanoseconds()
    assert not found.suspects
    invoking = next(each for each in found.tasks if each.coroutine == "UnaryUnaryCall._invoke")
    assert invoking.count == SAGAS
    committer = next(each for each in found.tasks if each.name == "committer")
    assert committer.stack[0].startswith("orchestrator/runtime/committer.py:")
    assert committer.stack[-1].endswith(" in Event.wait")
    names = [each.name for each in found.threads]
    assert "MainThread" in names
    assert [name for name in names if name.startswith("stalls")] == ["stalls"], "one watches, and no second one"
    assert "sagas in memory" in shown
    says_nothing_of_the_machine_or_of_a_sagas_data(shown)


async def test_a_stall_is_counted_once_in_a_dump_and_in_the_metric(tmp_path: Path) -> None:
    async with Mesh(tmp_path, diagnostics={"stall_s": 0.02}) as mesh:
        await mesh.start()
        async with channel(mesh.orchestrator.address) as connection:
            stub: DiagnosticsServiceAsyncStub = DiagnosticsServiceStub(connection)
            os.kill(mesh.orchestrator.pid, signal.SIGSTOP)
            await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", "import asyncio, decimal, http.client, grpc"], check=True
            )
            os.kill(mesh.orchestrator.pid, signal.SIGCONT)
            before, counted, after = -1.0, 0, -2.0
            while not counted or before != after:  # none came between the looks
                before, counted, after = await stalls_of(stub), await stalls_dumped(stub), await stalls_of(stub)
    assert counted == before


async def stalls_of(stub: "DiagnosticsServiceAsyncStub") -> float:
    answer = await stub.GetFigures(rpc.GetFiguresRequest(prefixes=["saga_event_loop_stalls_total"]))
    (figure,) = answer.figures
    return figure.value


async def stalls_dumped(stub: "DiagnosticsServiceAsyncStub") -> int:
    return (await stub.DumpProcess(rpc.DumpProcessRequest(limit=1))).stall_count


def says_nothing_of_the_machine_or_of_a_sagas_data(shown: str) -> None:
    paths = [Path(path) for path in re.findall(r"^ {9}(\S+):\d+ in ", shown, re.MULTILINE)]
    assert Path("orchestrator/runtime/committer.py") in paths
    assert not [path for path in paths if path.is_absolute()]
    assert str(ROOT) not in shown
    assert not [given for given in reports()[:SAGAS] if str(given["patientId"]) in shown]


async def test_a_process_that_still_starts_writes_its_stacks_and_goes_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "saga.yaml")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator", "serve", "--config", str(tmp_path / "saga.yaml")),
        *("--store", "memory:", "--port", "0", "--http-port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        # Opened once the process opens the other end: it reads its settings, and has loaded nothing to serve with.
        settings = await asyncio.to_thread((tmp_path / "saga.yaml").open, "w")
        process.send_signal(signal.SIGUSR2)
        written = ""
        while "in load_settings" not in written:
            line = await process.stderr.readline()
            assert line, f"it ended:\n{written}"
            written += line.decode()
        settings.write("grace_s: 1")
        settings.close()
        assert (await process.stdout.readline()).startswith(b"listening ")
    finally:
        process.kill()
        await process.wait()


async def test_a_process_whose_loop_is_stuck_writes_the_stack_of_every_thread(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.cli.stuck", f"sqlite:{tmp_path}/saga.sqlite"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert (await process.stdout.readline()).startswith(b"stuck ")
        process.send_signal(signal.SIGUSR2)
        written = ""
        while "(most recent call first)" not in written or "in hold_up_the_loop" not in written:
            line = await process.stderr.readline()
            assert line, f"it ended:\n{written}"
            written += line.decode()
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()
