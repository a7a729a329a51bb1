"""What the wire said, by table; each row was measured (tests/integration/invoker asks real peers again)."""

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from orchestrator.invoker.classify import Metadatum, classify
from orchestrator.saga.events import Phase, Report

NEVER_LIBRARY = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "DATA_LOSS",
)
MISCONFIGURED = ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED")
ANYBODY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED")


def report(code: str, details: str = "app says", *trailing: Metadatum) -> Report:
    return classify(code=code, details=details, trailing=trailing, sent_at=1.0, ended_at=2.0)


def details_bin(*details: Message) -> Metadatum:
    status = Status(code=code_pb2.UNAVAILABLE, message="m")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return ("grpc-status-details-bin", status.SerializeToString())


def test_every_code_but_ok_is_in_the_table() -> None:
    assert {*NEVER_LIBRARY, *MISCONFIGURED, *ANYBODY, "OK"} == set(code_pb2.Code.keys())


@pytest.mark.parametrize("code", [*NEVER_LIBRARY, *MISCONFIGURED])
def test_a_code_the_library_does_not_make_is_the_applications_answer(code: str) -> None:
    assert report(code).phase is Phase.REPLIED


@pytest.mark.parametrize("code", ANYBODY)
def test_a_code_that_anybody_makes_is_ambiguous(code: str) -> None:
    assert report(code).phase is Phase.SENT


@pytest.mark.parametrize("code", ANYBODY)
def test_trailing_metadata_proves_an_answer(code: str) -> None:
    assert report(code, "app says", ("x-any", "1")).phase is Phase.REPLIED


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNIMPLEMENTED", "Received http2 header with status: 404"),
        ("UNAUTHENTICATED", "Received http2 header with status: 401"),
        ("PERMISSION_DENIED", "Received http2 header with status: 403"),
        ("PERMISSION_DENIED", "Stream removed (RST_STREAM (Received RST_STREAM with error code 12))"),
        ("PERMISSION_DENIED", "Received RST_STREAM with error code 12"),
    ],
)
def test_a_code_made_from_http_is_not_an_answer(code: str, details: str) -> None:
    assert report(code, details).phase is Phase.SENT
    assert report(code, details, ("x-from", "a proxy")).phase is Phase.SENT


@pytest.mark.parametrize("code", sorted(set(code_pb2.Code.keys()) - {"OK"}))
@pytest.mark.parametrize(
    "text",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
        "connections to all backends failing; last error: UNAVAILABLE",
        "errors resolving no-such-host.invalid:80: Domain name not found",
    ],
)
def test_no_text_proves_that_nothing_was_sent(code: str, text: str) -> None:
    assert report(code, text).phase is not Phase.NOT_SENT


@pytest.mark.parametrize(
    ("said", "heard"), [("true", True), ("false", False), ("TRUE", True), ("", None), ("maybe", None)]
)
def test_error_info_tells_whether_the_effect_happened(said: str, heard: bool | None) -> None:
    info = ErrorInfo(reason="OUT_OF_STOCK", domain="shop", metadata={"applied": said} if said else {})
    got = report("UNAVAILABLE", "m", details_bin(info))
    assert (got.applied, got.error_reason, got.phase) == (heard, "OUT_OF_STOCK", Phase.REPLIED)


def test_retry_info_says_when_to_come_back() -> None:
    wait = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    got = report("UNAVAILABLE", "m", details_bin(ErrorInfo(reason="BUSY"), wait))
    assert (got.retry_after_s, got.error_reason) == (2.5, "BUSY")


def test_a_negative_retry_delay_means_now_not_never() -> None:
    got = report("UNAVAILABLE", "m", details_bin(RetryInfo(retry_delay=Duration(seconds=-5))))
    assert got.retry_after_s == 0.0


@pytest.mark.parametrize(
    ("pushback", "wait_s"),
    [("1500", 1.5), ("0", 0.0), ("-1", -1.0), ("soon", -1.0), ("", -1.0), (b"250", 0.25), ("9" * 400, 3600.0)],
)
def test_pushback_is_obeyed_and_forbids_retries_where_negative_or_unreadable(
    pushback: str | bytes, wait_s: float
) -> None:
    retry_info = details_bin(RetryInfo(retry_delay=Duration(seconds=9)))
    assert report("UNAVAILABLE", "m", ("grpc-retry-pushback-ms", pushback), retry_info).retry_after_s == wait_s


@pytest.mark.parametrize("data", [b"\xff\xff", b"", "text"])
def test_status_details_that_cannot_be_read_say_nothing(data: str | bytes) -> None:
    got = report("UNAVAILABLE", "m", ("grpc-status-details-bin", data))
    assert (got.applied, got.error_reason, got.retry_after_s) == (None, "", None)


def test_a_detail_of_a_broken_kind_says_nothing() -> None:
    broken = Status(details=[AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")])
    got = report("ABORTED", "m", ("grpc-status-details-bin", broken.SerializeToString()))
    assert (got.code, got.phase, got.applied) == ("ABORTED", Phase.REPLIED, None)


def test_a_long_text_is_cut_and_times_are_kept() -> None:
    got = report("NOT_FOUND", "x" * 5_000)
    assert (len(got.message), got.sent_at, got.ended_at) == (1_000, 1.0, 2.0)
