from typing import Any

import grpc
import pytest

from orchestrator.cli import traffic
from orchestrator.cli.exits import Failure
from orchestrator.cli.ledgers import Answer
from orchestrator.cli.traffic import connect, read_reports
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, fail

GONE = fail(grpc.StatusCode.UNAVAILABLE, "gone")
APPLIED = pb.SagaStep(step="archive", status=pb.STEP_STATUS_APPLIED)
UNDONE = pb.SagaStep(step="archive", status=pb.STEP_STATUS_UNDONE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DEMO_RETRY_S", 0.001)


def ended(status: Any, *steps: pb.SagaStep, step: str = "") -> rpc.WaitSagaResponse:
    saga = pb.Saga(saga_id="R-1", status=status, steps=steps, cause=pb.SagaCause(step=step))
    return rpc.WaitSagaResponse(saga=saga, reached=True)


def test_reports_come_again_under_new_ids_past_the_end_of_the_file() -> None:
    lines = ['{"reportId": "R-1"}\n', '{"reportId": "R-2"}\n', "\n"]
    assert [one["reportId"] for one in read_reports(iter(lines), 5)] == ["R-1", "R-2", "R-1-2", "R-2-2", "R-1-3"]


def test_reports_may_have_a_prefix_before_their_ids() -> None:
    lines = ['{"reportId": "R-1", "site": "DE"}\n']
    assert read_reports(iter(lines), 2, "x-") == [
        {"reportId": "x-R-1", "site": "DE"},
        {"reportId": "x-R-1-2", "site": "DE"},
    ]


async def test_a_start_and_a_wait_are_asked_again_until_somebody_answers(server: FakeServer) -> None:
    running = rpc.WaitSagaResponse(saga=pb.Saga(status=pb.SAGA_STATUS_RUNNING), reached=False)
    server.answer("StartSaga", GONE, GONE, rpc.StartSagaResponse())
    server.answer("WaitSaga", running, GONE, ended(pb.SAGA_STATUS_COMPLETED, APPLIED))
    done: list[Answer] = []
    async with connect(server.address) as client:
        await client.send_all([{"reportId": "R-1", "site": "DE"}], 4, done.append)
        assert client.retries == 3
        assert client.in_flight == set()
    (answer,) = done
    assert (answer.saga_id, answer.is_acknowledged, answer.status) == ("R-1", True, "COMPLETED")
    assert answer.applied == ("archive",)
    assert answer.took_s > 0
    starts = server.requests("StartSaga")
    assert [one.saga_id for one in starts] == ["R-1"] * 3, "the same id: a lost answer starts no second saga"
    assert dict(starts[0].json) == {"reportId": "R-1", "site": "DE"}


async def test_what_was_undone_is_not_taken_for_applied(server: FakeServer) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse())
    server.answer("WaitSaga", ended(pb.SAGA_STATUS_COMPENSATED, UNDONE, step="adverse_event"))
    async with connect(server.address) as client:
        await client.send_all([{"reportId": "R-1"}], 1, lambda _: None)
        answer = client.answers["R-1"]
    assert (answer.status, answer.failed_step, answer.applied) == ("COMPENSATED", "adverse_event", ())


async def test_never_more_reports_are_under_way_than_allowed(server: FakeServer) -> None:
    most = 0
    async with connect(server.address) as client:

        def start(_: object, __: object) -> rpc.StartSagaResponse:
            nonlocal most
            most = max(most, len(client.in_flight))
            return rpc.StartSagaResponse()

        server.answer("StartSaga", start)
        server.answer("WaitSaga", ended(pb.SAGA_STATUS_COMPLETED))
        await client.send_all([{"reportId": f"R-{number}"} for number in range(40)], 3, lambda _: None)
        assert len(client.answers) == 40
    assert most == 3


async def test_a_refusal_ends_the_demo_with_its_reason(server: FakeServer) -> None:
    server.answer("StartSaga", fail(grpc.StatusCode.NOT_FOUND, "definition 'epro_intake' does not exist"))
    async with connect(server.address) as client:
        with pytest.raises(ExceptionGroup) as caught:
            await client.send_all([{"reportId": "R-1"}], 1, lambda _: None)
    assert caught.group_contains(Failure, match="NOT_FOUND: definition 'epro_intake' does not exist")


async def test_silence_is_waited_out_for_so_long_only(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DEMO_SILENCE_S_MAX", 0.01)
    server.answer("ListSagas", GONE)
    async with connect(server.address) as client:
        with pytest.raises(Failure, match="has not answered for 0 s: gone"):
            await client.statuses()


async def test_statuses_are_read_from_every_page(server: FakeServer) -> None:
    first = rpc.ListSagasResponse(sagas=[pb.Saga(saga_id="a", status=pb.SAGA_STATUS_COMPLETED)], next_page_token="two")
    second = rpc.ListSagasResponse(sagas=[pb.Saga(saga_id="b", status=pb.SAGA_STATUS_COMPENSATED)])
    server.answer("ListSagas", lambda request, _: second if request.page_token else first)
    async with connect(server.address) as client:
        assert await client.statuses() == {"a": "COMPLETED", "b": "COMPENSATED"}


async def test_a_saga_of_many_events_is_read_to_its_end(server: FakeServer) -> None:
    first = rpc.ListSagaEventsResponse(events=[pb.SagaEvent(sequence=1)], next_page_token="two")
    second = rpc.ListSagaEventsResponse(events=[pb.SagaEvent(sequence=2)])
    server.answer("ListSagaEvents", lambda request, _: second if request.page_token else first)
    async with connect(server.address) as client:
        assert [event.sequence for event in await client.events("R-1")] == [1, 2]
