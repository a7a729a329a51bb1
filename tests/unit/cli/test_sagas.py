import io
import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, RetryInfo

from orchestrator.cli.exits import Exit
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga, fail

START = Timestamp(seconds=1_767_600_000)
END = Timestamp(seconds=1_767_600_000, nanos=48_000_000)


def made(status: Any = pb.SAGA_STATUS_COMPLETED, saga_id: str = "R-1", **more: Any) -> pb.Saga:
    ended = status in {pb.SAGA_STATUS_COMPLETED, pb.SAGA_STATUS_COMPENSATED}
    return pb.Saga(
        saga_id=saga_id,
        definition="epro",
        revision="r1",
        status=status,
        start_time=START,
        end_time=END if ended else None,
        **more,
    )


def test_start_sends_what_was_given(server: FakeServer, saga: Saga) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse(saga=made(), created=True))
    ended = saga(
        *("start", "epro", "--id", "R-1", "--input", '{"patient": "P", "n": 2}', "-a", "site=DE", "-a", "n=7"),
        *("-a", "big=true", "--deadline", "1500ms", "--revision", "r9", "--request-id", "u-1"),
    )
    assert ended.code == 0
    assert ended.out == "started R-1\n"
    assert ended.err == "next: saga wait R-1, or saga trace R-1\n"
    (sent,) = server.requests("StartSaga")
    assert (sent.saga_id, sent.definition, sent.revision, sent.request_id) == ("R-1", "epro", "r9", "u-1")
    assert dict(sent.json) == {"patient": "P", "n": 2}
    assert sent.deadline == Duration(seconds=1, nanos=500_000_000)
    assert sent.attributes["site"].string_value == "DE"
    assert sent.attributes["n"].number_value == 7
    assert sent.attributes["big"].bool_value is True


def test_start_reads_input_from_a_pipe(server: FakeServer, saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse(saga=made(), created=False))
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": {"b": [1, null]}}'))
    assert saga("start", "epro", "--input", "-").out == "exists already: R-1\n"
    assert (
        server.requests("StartSaga")[0].json.fields["a"].struct_value.fields["b"].list_value.values[0].number_value == 1
    )


@pytest.mark.parametrize(("flag", "out"), [(["-q"], "R-1\n"), ([], "started R-1\n")])
def test_quiet_prints_names_only(server: FakeServer, saga: Saga, flag: list[str], out: str) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse(saga=made(), created=True))
    assert saga("start", "epro", *flag).out == out


def test_a_timeout_without_a_wait_is_refused(saga: Saga) -> None:
    ended = saga("start", "epro", "--timeout", "1s")
    assert ended.code == Exit.USAGE
    assert "a saga's own budget is --deadline" in ended.err


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (pb.SAGA_STATUS_COMPLETED, Exit.OK),
        (pb.SAGA_STATUS_COMPENSATED, Exit.COMPENSATED),
        (pb.SAGA_STATUS_NEEDS_ATTENTION, Exit.NEEDS_ATTENTION),
        (pb.SAGA_STATUS_TERMINATED, Exit.TERMINATED),
    ],
)
@pytest.mark.parametrize("command", [("wait", "R-1"), ("start", "epro", "--wait"), ("cancel", "R-1", "--wait")])
def test_waiting_ends_as_the_saga_does(
    server: FakeServer, saga: Saga, command: tuple[str, ...], status: int, code: Exit
) -> None:
    server.answer("StartSaga", rpc.StartSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING), created=True))
    server.answer("CancelSaga", rpc.CancelSagaResponse(saga=made(pb.SAGA_STATUS_COMPENSATING)))
    server.answer(
        "WaitSaga",
        rpc.WaitSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING), reached=False),
        rpc.WaitSagaResponse(saga=made(status), reached=True),
    )
    ended = saga(*command)
    assert ended.code == code
    assert ended.err == ("next: saga explain R-1\n" if code is Exit.NEEDS_ATTENTION else "")
    assert len(server.requests("WaitSaga")) == 2


def test_a_wait_that_is_not_over_in_time_ends_with_124(server: FakeServer, saga: Saga) -> None:
    server.answer("WaitSaga", rpc.WaitSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING), reached=False))
    ended = saga("wait", "R-1", "--timeout", "50ms")
    assert (ended.code, ended.out) == (Exit.TIMEOUT, "")
    assert ended.err == "saga: R-1 is RUNNING after 50 ms; it goes on without you\n"
    assert server.requests("WaitSaga")[0].timeout.ToMilliseconds() <= 50


def test_a_wait_outlives_a_restart_of_the_server(
    server: FakeServer, saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.cli.sagas.CLI_RECONNECT_S", 0.001)
    gone = fail(grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING")
    server.answer(
        "WaitSaga",
        rpc.WaitSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING), reached=False),
        gone,
        gone,
        rpc.WaitSagaResponse(saga=made(), reached=True),
    )
    ended = saga("wait", "R-1")
    assert ended.code == 0
    assert ended.err == f"{server.address} is away; waiting for it to come back (Ctrl-C to stop)\n"


def test_get_shows_the_saga_and_its_steps(server: FakeServer, saga: Saga) -> None:
    steps = [
        pb.SagaStep(step="validate", status=pb.STEP_STATUS_APPLIED, code="OK", forward=pb.StepOperation(attempts=1)),
        pb.SagaStep(
            step="archive",
            status=pb.STEP_STATUS_UNDONE,
            code="OK",
            forward=pb.StepOperation(attempts=2),
            undo=pb.StepOperation(attempts=1),
        ),
        pb.SagaStep(step="notify", status=pb.STEP_STATUS_PENDING),
    ]
    cause = pb.SagaCause(step="safety", code="FAILED_PRECONDITION", message="the site is closed")
    server.answer("GetSaga", rpc.GetSagaResponse(saga=made(pb.SAGA_STATUS_COMPENSATED, steps=steps, cause=cause)))
    ended = saga("get", "R-1")
    assert ended.code == 0
    assert ended.out == (
        "saga        R-1\n"
        "status      COMPENSATED\n"
        "definition  epro r1\n"
        "started     2026-01-05 08:00:00.000Z\n"
        "ended       2026-01-05 08:00:00.048Z, after 48 ms\n"
        "cause       safety: FAILED_PRECONDITION the site is closed\n"
        "\n"
        "STEP      STATUS   ATTEMPTS    CODE  MESSAGE\n"
        "validate  APPLIED  1           OK\n"
        "archive   UNDONE   2 + 1 undo  OK\n"
        "notify    PENDING\n"
    )
    assert server.requests("GetSaga")[0].view == pb.SAGA_VIEW_STEPS


def test_json_is_the_api_s_message_with_the_proto_s_names(server: FakeServer, saga: Saga) -> None:
    server.answer("GetSaga", rpc.GetSagaResponse(saga=made(sequence=12)))
    values = json.loads(saga("get", "R-1", "-o", "json", "--payloads").out)
    assert values["saga_id"] == "R-1"
    assert values["status"] == "SAGA_STATUS_COMPLETED"
    assert values["sequence"] == "12"
    assert values["attention"] == [], "absent lists are there, so that a script need not ask"
    assert server.requests("GetSaga")[0].view == pb.SAGA_VIEW_FULL
    assert saga("get", "R-1", "-o", "yaml").out.startswith("saga_id: R-1\n")


def test_list_follows_pages_up_to_its_limit(server: FakeServer, saga: Saga) -> None:
    first = rpc.ListSagasResponse(sagas=[made(saga_id="a"), made(saga_id="b")], next_page_token="two")
    second = rpc.ListSagasResponse(sagas=[made(saga_id="c"), made(saga_id="d")])
    server.answer("ListSagas", lambda request, _: second if request.page_token else first)
    ended = saga("list", "--limit", "3", "--filter", "status = RUNNING", "--order", "saga_id")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["SAGA", "a", "b", "c"]
    assert ended.err == "the first 3; there are more: --limit or --all\n"
    sent = server.requests("ListSagas")
    assert [(one.filter, one.order_by, one.page_token) for one in sent] == [
        ("status = RUNNING", "saga_id", ""),
        ("status = RUNNING", "saga_id", "two"),
    ]
    ended = saga("list", "--all", "-q")
    assert (ended.out, ended.err) == ("a\nb\nc\nd\n", "")


def test_list_asks_for_no_page_beyond_its_limit(server: FakeServer, saga: Saga) -> None:
    endless = rpc.ListSagasResponse(sagas=[made(saga_id="a"), made(saga_id="b")], next_page_token="more")
    server.answer("ListSagas", endless)
    assert saga("list", "--limit", "2", "-q").out == "a\nb\n"
    assert len(server.requests("ListSagas")) == 2


def test_list_says_nothing_about_more_when_there_is_no_more(server: FakeServer, saga: Saga) -> None:
    server.answer("ListSagas", rpc.ListSagasResponse(sagas=[made()]))
    assert saga("list", "--limit", "1").err == ""
    assert len(json.loads(saga("list", "--limit", "1", "-o", "json").out)) == 1


def test_count_is_a_number_or_one_for_each_group(server: FakeServer, saga: Saga) -> None:
    server.answer("CountSagas", rpc.CountSagasResponse(total=3, counts={"RUNNING": 1, "COMPLETED": 2}))
    assert saga("count").out == "3\n"
    assert saga("count", "--by", "status").out == "STATUS     SAGAS\nCOMPLETED  2\nRUNNING    1\n"
    assert server.requests("CountSagas")[1].group_by == "status"
    server.answer("CountSagas", rpc.CountSagasResponse())
    assert json.loads(saga("count", "-o", "json").out) == {"total": "0", "counts": {}}


def test_cancel_says_what_the_saga_is_now(server: FakeServer, saga: Saga) -> None:
    server.answer("CancelSaga", rpc.CancelSagaResponse(saga=made(pb.SAGA_STATUS_COMPENSATING)))
    ended = saga("cancel", "R-1", "--reason", "by mistake")
    assert (ended.code, ended.out) == (0, "R-1 is COMPENSATING\n")
    assert server.requests("CancelSaga")[0].reason == "by mistake"


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (
            fail(grpc.StatusCode.NOT_FOUND, "saga 'R-1' does not exist", "SAGA_NOT_FOUND"),
            Exit.NOT_FOUND,
            "saga: saga 'R-1' does not exist\n",
        ),
        (
            fail(grpc.StatusCode.FAILED_PRECONDITION, "R-1 is COMPLETED", "TERMINAL_STATE"),
            Exit.FAILED,
            "saga: R-1 is COMPLETED\n",
        ),
        (
            fail(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "the queue is full",
                "QUEUE_FULL",
                RetryInfo(retry_delay=Duration(nanos=250_000_000)),
            ),
            Exit.UNAVAILABLE,
            "saga: the queue is full (try again in 0.25 s)\n",
        ),
        (
            fail(grpc.StatusCode.UNAVAILABLE, "the journal cannot record", "JOURNAL_UNAVAILABLE"),
            Exit.UNAVAILABLE,
            "saga: the journal cannot record\n",
        ),
        (
            fail(grpc.StatusCode.INTERNAL, "a bug", "INTERNAL", request_id="q-7"),
            Exit.FAILED,
            "saga: a bug (request q-7)\n",
        ),
        (
            fail(
                grpc.StatusCode.INVALID_ARGUMENT,
                "2 fields are wrong",
                "INPUT_INVALID",
                BadRequest(
                    field_violations=[
                        BadRequest.FieldViolation(field="input.a", description="is required"),
                        BadRequest.FieldViolation(field="input.b", description="is no number"),
                    ]
                ),
            ),
            Exit.FAILED,
            "saga: 2 fields are wrong\n  input.a: is required\n  input.b: is no number\n",
        ),
        (
            fail(
                grpc.StatusCode.INVALID_ARGUMENT,
                "input.a: is required",
                "INPUT_INVALID",
                BadRequest(field_violations=[BadRequest.FieldViolation(field="input.a", description="is required")]),
            ),
            Exit.FAILED,
            "saga: input.a: is required\n",
        ),
        (
            fail(grpc.StatusCode.PERMISSION_DENIED, "a proxy says no"),
            Exit.FAILED,
            "saga: a proxy says no\n",
        ),
    ],
)
def test_errors_are_one_clear_line_and_an_exit_code(
    server: FakeServer, saga: Saga, failure: Any, code: Exit, line: str
) -> None:
    server.answer("GetSaga", failure)
    ended = saga("get", "R-1")
    assert (ended.code, ended.out, ended.err) == (code, "", line)


def test_a_server_that_is_not_there_is_said_with_the_next_move(saga: Saga) -> None:
    ended = saga("get", "R-1", "--server", "127.0.0.1:1")
    assert ended.code == Exit.UNAVAILABLE
    assert ended.err == (
        "saga: no orchestrator answers at 127.0.0.1:1; start one with `saga serve`, or name another with --server\n"
    )


def test_another_kind_of_server_is_said_to_be_none_of_ours(server: FakeServer, saga: Saga) -> None:
    server.answer("GetSaga", fail(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))
    ended = saga("get", "R-1")
    assert ended.code == Exit.UNAVAILABLE
    assert ended.err == f"saga: {server.address} is not an orchestrator of this version: Method not found!\n"
