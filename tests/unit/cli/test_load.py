import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestrator.cli import load, traffic
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from services import ledger
from tests.unit.cli.conftest import FakeServer, Saga, fail


def ended(status: Any, *applied: str, step: str = "") -> Any:
    """Answer a wait with a saga that ended so."""

    def reply(request: Any, _: object) -> rpc.WaitSagaResponse:
        steps = [pb.SagaStep(step=name, status=pb.STEP_STATUS_APPLIED) for name in applied]
        saga = pb.Saga(saga_id=request.saga_id, status=status, steps=steps, cause=pb.SagaCause(step=step))
        return rpc.WaitSagaResponse(saga=saga, reached=True)

    return reply


def started(server: FakeServer) -> list[str]:
    return [request.saga_id for request in server.requests("StartSaga")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DEMO_RETRY_S", 0.001)


@pytest.fixture(autouse=True)
def answering(server: FakeServer) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse())
    server.answer("WaitSaga", ended(pb.SAGA_STATUS_COMPLETED, "archive"))


def entry(saga_id: str) -> str:
    return ledger.Entry(
        seq=1, ts=0.0, service="archive", method="Store", saga_id=saga_id, saga_step="archive", op="forward",
        attempt=1, key="k", report_id="R-1", effect=1, outcome="applied",
    ).to_line()  # fmt: skip


def test_a_round_sends_so_many_reports_and_tells_how_they_ended(saga: Saga, server: FakeServer) -> None:
    told = saga("load", "--reports", "20", "--prefix", "x-")
    assert told.code == 0
    assert sorted(started(server)) == [f"x-R{number:05}" for number in range(1, 21)]
    assert told.out.startswith("round 1: 20 reports in ")
    assert "20 completed, 0 of them alerted, 0 refused, 0 compensated, 0 need attention; 0 retries" in told.out
    assert told.err.splitlines()[-1] == "20 of 20 reports"


def test_every_round_has_ids_of_its_own(saga: Saga, server: FakeServer) -> None:
    told = saga("load", "--reports", "1", "--rounds", "3", "--prefix", "x-", "-q")
    assert started(server) == ["x-R00001", "x-2-R00001", "x-3-R00001"]
    assert (len(told.out.splitlines()), told.err) == (3, "")


def test_a_second_run_starts_new_sagas(saga: Saga, server: FakeServer) -> None:
    for _ in range(2):
        assert saga("load", "--reports", "1").code == 0
    assert len(set(started(server))) == 2


def test_without_ledgers_nothing_is_said_of_effects(saga: Saga) -> None:
    told = json.loads(saga("load", "--reports", "1", "--json", "-q").out)
    assert told.keys().isdisjoint({"lost", "duplicated_effects", "left_undone", "kills"})
    assert (told["round"], told["reports"], told["completed"], told["retries"]) == (1, 1, 1, 0)
    assert 0 < told["p50_s"] <= told["p99_s"]


@pytest.mark.parametrize(("effects", "figures"), [(1, (0, 0, 0)), (0, (1, 0, 0)), (2, (0, 1, 0))])
def test_a_round_is_held_against_the_ledgers(
    saga: Saga, server: FakeServer, tmp_path: Path, effects: int, figures: tuple[int, ...]
) -> None:
    listed = pb.Saga(saga_id="x-R00001", status=pb.SAGA_STATUS_COMPLETED)
    server.answer("ListSagas", rpc.ListSagasResponse(sagas=[listed]))
    (tmp_path / "archive.ledger.jsonl").write_text(entry("x-R00001") * effects)
    told = saga("load", "--reports", "1", "--prefix", "x-", "--ledgers", str(tmp_path), "--json")
    assert told.code == int(any(figures))
    found = json.loads(told.out)
    assert (found["lost"], found["duplicated_effects"], found["left_undone"]) == figures


def test_a_saga_that_needs_a_person_is_no_success(saga: Saga, server: FakeServer) -> None:
    server.answer("WaitSaga", ended(pb.SAGA_STATUS_NEEDS_ATTENTION))
    assert saga("load", "--reports", "1").code == 1


def test_what_nobody_answered_is_asked_again_and_counted(saga: Saga, server: FakeServer) -> None:
    gone = fail(grpc.StatusCode.UNAVAILABLE, "gone")
    late = fail(grpc.StatusCode.DEADLINE_EXCEEDED, "the machine is gone, and nobody says so")
    server.answer("StartSaga", gone, late, rpc.StartSagaResponse())
    told = saga("load", "--reports", "1", "--prefix", "x-")
    assert (told.code, started(server)) == (0, ["x-R00001"] * 3)
    assert "2 retries" in told.out


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is noted while nobody answers, which is soon."""
    told: list[str] = []
    monkeypatch.setattr(load, "note", told.append)
    monkeypatch.setattr(traffic, "DEMO_SILENCE_TOLD_S", 0.01)
    return told


def test_somebody_who_waits_for_an_absent_server_is_told(saga: Saga, server: FakeServer, silence: list[str]) -> None:
    def start(request: object, context: grpc.ServicerContext) -> rpc.StartSagaResponse:
        return rpc.StartSagaResponse() if silence else fail(grpc.StatusCode.UNAVAILABLE, "gone")(request, context)

    server.answer("StartSaga", start)
    assert saga("load", "--reports", "20").code == 0
    assert silence[0] == f"{server.address} does not answer; asking again for 60 s in all (Ctrl-C to stop)"


def test_somebody_who_waits_for_a_server_that_hangs_is_told(
    saga: Saga, server: FakeServer, silence: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def note(text: str) -> None:
        silence.append(text)
        told.set()

    monkeypatch.setattr(load, "note", note)
    server.answer("StartSaga", lambda *_: rpc.StartSagaResponse() if told.wait(20.0) else None)
    assert saga("load", "--reports", "1").code == 0
    assert "does not answer" in silence[0]


def test_a_server_that_goes_away_while_a_saga_is_waited_for_is_told_of(
    saga: Saga, server: FakeServer, silence: list[str]
) -> None:
    over = ended(pb.SAGA_STATUS_COMPLETED)

    def wait(request: object, context: grpc.ServicerContext) -> rpc.WaitSagaResponse:
        found: rpc.WaitSagaResponse = (over if silence else fail(grpc.StatusCode.UNAVAILABLE, "gone"))(request, context)
        return found

    server.answer("WaitSaga", wait)
    assert saga("load", "--reports", "1").code == 0
    assert "does not answer" in silence[0]


async def test_a_silence_is_told_of_once_and_the_next_one_again() -> None:
    told: list[int] = []
    client = traffic.Client(stub=None, on_silence=lambda: told.append(1))  # type: ignore[arg-type]  # nobody is asked

    async def answer() -> None:
        return None

    client._tell_silence()
    client._tell_silence()
    assert len(told) == 1
    await client._ask(answer)
    client._tell_silence()
    assert len(told) == 2


@pytest.mark.parametrize(("takes_s", "silences"), [(0.0, 1), (1_000.0, 0)])
async def test_an_answer_that_takes_its_time_is_no_silence(
    takes_s: float, silences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "DEMO_SILENCE_TOLD_S", 0.0)
    told: list[int] = []
    client = traffic.Client(stub=None, on_silence=lambda: told.append(1))  # type: ignore[arg-type]  # nobody is asked

    async def answer() -> None:
        for _ in range(3):
            await asyncio.sleep(0)  # one turn: for the timer that would tell

    await client._ask(answer, takes_s)
    assert len(told) == silences


def test_a_refusal_ends_the_load_with_its_reason(saga: Saga, server: FakeServer) -> None:
    server.answer("StartSaga", fail(grpc.StatusCode.NOT_FOUND, "definition 'epro_intake' does not exist"))
    told = saga("load", "--reports", "1")
    assert told.code == 1
    assert "NOT_FOUND: definition 'epro_intake' does not exist" in told.err


def test_reports_are_not_sent_faster_than_asked_for(
    saga: Saga, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)  # one turn: nobody waits for the time itself

    monkeypatch.setattr(asyncio, "sleep", noted)
    assert saga("load", "--reports", "4", "--rate", "0.5", "--concurrency", "1").code == 0
    assert len(started(server)) == 4
    assert [round(pause) for pause in pauses] == [0, 2, 4, 6], "the clock stands still for who does not wait"


def test_a_load_that_is_told_to_stop_stops(saga: Saga, server: FakeServer) -> None:
    def stop(_: object, __: object) -> rpc.StartSagaResponse:
        os.kill(os.getpid(), signal.SIGTERM)
        return rpc.StartSagaResponse()

    server.answer("StartSaga", rpc.StartSagaResponse(), rpc.StartSagaResponse(), stop)
    told = saga("load", "--reports", "1", "--rounds", "0", "-q")
    assert (told.code, told.err) == (130, "saga: interrupted\n")
