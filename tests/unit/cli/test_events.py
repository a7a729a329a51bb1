import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.cli.exits import Exit
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga, fail


def event(sequence: int, kind: str = "StepSettled", summary: str = "score APPLIED") -> pb.SagaEvent:
    at = Timestamp(seconds=1_767_600_000, nanos=sequence * 1_000_000)
    return pb.SagaEvent(sequence=sequence, type=kind, summary=summary, event_time=at, epoch=1)


def stream(*events: pb.SagaEvent, then: Any = None) -> Any:
    """Stream what comes after the sequence asked for; end with an error where one is given."""

    def answer(request: rpc.WatchSagaRequest, context: grpc.ServicerContext) -> Iterator[rpc.WatchSagaResponse]:
        yield rpc.WatchSagaResponse(heartbeat=rpc.WatchHeartbeat())
        for one in events:
            if one.sequence > request.after_sequence:
                yield rpc.WatchSagaResponse(event=one)
        if then:
            then(request, context)

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.events.CLI_RECONNECT_S", 0.001)


def test_watch_shows_events_as_lines(server: FakeServer, saga: Saga) -> None:
    server.answer("WatchSaga", stream(event(1, "SagaStarted", "started epro"), event(3)))
    ended = saga("watch", "R-1")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "    1         +0 us  started epro\n    3         +2 ms  score APPLIED\n"


def test_watch_resumes_where_the_stream_broke_off_and_shows_nothing_twice(server: FakeServer, saga: Saga) -> None:
    draining = fail(grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING")
    server.answer(
        "WatchSaga",
        stream(event(1), event(2), then=draining),
        fail(grpc.StatusCode.UNAVAILABLE, "not there yet"),
        stream(event(1), event(2), event(3)),
    )
    ended = saga("watch", "R-1", "-o", "json")
    assert ended.code == 0
    assert [json.loads(line)["sequence"] for line in ended.out.splitlines()] == ["1", "2", "3"]
    assert [one.after_sequence for one in server.requests("WatchSaga")] == [0, 2, 2]
    assert ended.err == f"the stream broke off; resuming after 2 as soon as {server.address} answers\n"


def test_watch_gives_up_on_a_server_that_stays_away_and_says_how_to_resume(
    server: FakeServer, saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cli.events.CLI_RESUME_S_MAX", 0.0)
    gone = fail(grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING")
    server.answer("WatchSaga", stream(event(7), then=gone), gone)
    ended = saga("watch", "R-1")
    assert ended.code == Exit.UNAVAILABLE
    assert ended.err.endswith("; resume with --after 7\n")


def test_watch_of_an_unknown_saga_ends_at_once(server: FakeServer, saga: Saga) -> None:
    server.answer("WatchSaga", fail(grpc.StatusCode.NOT_FOUND, "saga 'R-1' does not exist", "SAGA_NOT_FOUND"))
    ended = saga("watch", "R-1", "--after", "5")
    assert (ended.code, ended.out, ended.err) == (Exit.NOT_FOUND, "", "saga: saga 'R-1' does not exist\n")
    assert server.requests("WatchSaga")[0].after_sequence == 5


def test_watch_of_a_server_that_was_never_there_ends_at_once(saga: Saga) -> None:
    ended = saga("watch", "R-1", "--server", "127.0.0.1:1")
    assert ended.code == Exit.UNAVAILABLE
    assert "start one with `saga serve`" in ended.err


def test_history_has_all_pages_in_order(server: FakeServer, saga: Saga) -> None:
    first = rpc.ListSagaEventsResponse(events=[event(1, "SagaStarted", "started epro")], next_page_token="two")
    second = rpc.ListSagaEventsResponse(events=[event(2)])
    server.answer("ListSagaEvents", lambda request, _: second if request.page_token else first)
    assert saga("history", "R-1").out == (
        "SEQ  AT     EVENT        WHAT HAPPENED\n"
        "1    +0 us  SagaStarted  started epro\n"
        "2    +1 ms  StepSettled  score APPLIED\n"
    )
    assert [one["sequence"] for one in json.loads(saga("history", "R-1", "-o", "json", "--payloads").out)] == ["1", "2"]
    assert server.requests("ListSagaEvents")[-1].view == pb.SAGA_VIEW_FULL


def test_trace_is_80_columns_without_colours_in_a_pipe(server: FakeServer, saga: Saga) -> None:
    opened = event(2, "AttemptOpened")
    opened.step, opened.operation, opened.attempt = "score", pb.OPERATION_KIND_FORWARD, 1
    settled = event(9, "AttemptSettled")
    settled.step, settled.operation, settled.attempt = "score", pb.OPERATION_KIND_FORWARD, 1
    settled.outcome, settled.code = pb.STEP_OUTCOME_APPLIED, "OK"
    events = [event(1, "SagaStarted"), opened, settled, event(10, "SagaCompleted")]
    server.answer("ListSagaEvents", rpc.ListSagaEventsResponse(events=events))
    ended = saga("trace", "R-1")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert ended.out.startswith("R-1    COMPLETED in 9 ms\n")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert json.loads(saga("trace", "R-1", "-o", "json").out)["rows"][0]["step"] == "score"


def item(sequence: int, kind: str, index: int) -> pb.SagaEvent:
    made = event(sequence, kind, f"reserve[{index}] {kind}")
    made.step, made.operation, made.attempt = f"reserve[{index}]", pb.OPERATION_KIND_FORWARD, 1
    made.outcome = pb.STEP_OUTCOME_APPLIED
    return made


def list_of_two() -> list[pb.SagaEvent]:
    began = event(2, "StepBegan", "reserve began, 2 items")
    began.step = "reserve"
    began.details.update({"count": 2})
    calls = [item(3, "AttemptOpened", 0), item(4, "AttemptOpened", 1)]
    return [event(1, "SagaStarted", "started shop"), began, *calls, item(5, "StepSettled", 0)]


def test_history_counts_the_items_of_a_list_and_shows_each_where_that_is_wanted(server: FakeServer, saga: Saga) -> None:
    server.answer("ListSagaEvents", rpc.ListSagaEventsResponse(events=list_of_two()))
    folded = saga("history", "R-1").out.splitlines()
    assert folded[-1] == "3-5  +4 ms  items        reserve: 1 of 2 items done, 1 under way"
    assert len(folded) == 4
    assert len(saga("history", "R-1", "--items").out.splitlines()) == 6
    assert len(json.loads(saga("history", "R-1", "-o", "json").out)) == 5, "programs get every event"


def test_watch_counts_the_items_of_a_list_as_they_end(server: FakeServer, saga: Saga) -> None:
    server.answer("WatchSaga", stream(*list_of_two()))
    shown = saga("watch", "R-1").out.splitlines()
    assert shown[-1] == "    5         +4 ms  reserve: 1 of 2 items done, 1 under way"
    assert len(shown) == 3
    assert len(saga("watch", "R-1", "--items").out.splitlines()) == 5
    assert len(saga("watch", "R-1", "-o", "json").out.splitlines()) == 5
