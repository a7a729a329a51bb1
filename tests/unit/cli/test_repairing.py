"""What a person types to mend a saga: what is sent, under which name, and what is said back."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.cli.exits import Exit
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from tests.unit.cli.conftest import FakeServer, Saga, fail
from tests.unit.cli.test_sagas import made

STEP = ("R-1", "ship")
Case = tuple[tuple[str, ...], str, str, dict[str, Any]]
VERBS: list[Case] = [
    (("retry", *STEP), "RetryStep", "RETRY", {"step": "ship"}),
    (("retry", *STEP, "--as-new"), "RetryStep", "RETRY", {"step": "ship", "as_new": True}),
    (("resolve", *STEP, "applied"), "ResolveStep", "RESOLVE", {"step": "ship", "outcome": pb.STEP_OUTCOME_APPLIED}),
    (
        ("resolve", *STEP, "not-applied"),
        "ResolveStep",
        "RESOLVE",
        {"step": "ship", "outcome": pb.STEP_OUTCOME_NOT_APPLIED},
    ),
    (("skip", "R-1", "ship[3]"), "SkipStep", "SKIP", {"step": "ship[3]"}),
    (("override", *STEP, "--request", '{"n": 2}'), "OverrideStepRequest", "OVERRIDE_REQUEST", {"step": "ship"}),
    (("force-complete", "R-1"), "ForceComplete", "FORCE_COMPLETE", {}),
    (("terminate", "R-1"), "TerminateSaga", "TERMINATE", {}),
    (("pause", "R-1"), "PauseSaga", "PAUSE", {}),
    (("resume", "R-1"), "ResumeSaga", "RESUME", {}),
    (("rerun", *STEP), "RerunFromStep", "RERUN", {"step": "ship"}),
]


def answer(server: FakeServer, method: str, verb: str, *, entry: bool = True) -> None:
    response = getattr(op, f"{method}Response")(saga=made(pb.SAGA_STATUS_COMPENSATING))
    if entry:
        response.audit_entry.verb, response.audit_entry.step = verb, "ship"
        response.audit_entry.outcome = pb.STEP_OUTCOME_APPLIED
    server.answer(method, response)


@pytest.mark.parametrize("case", VERBS)
def test_a_verb_sends_what_was_typed_with_its_reason_and_who_asked(server: FakeServer, saga: Saga, case: Case) -> None:
    typed, method, verb, fields = case
    answer(server, method, verb)
    ended = saga(
        "repair",
        *typed,
        "--reason",
        "the desk says so",
        "--etag",
        "7",
        "--by",
        "Andr\N{LATIN SMALL LETTER E WITH ACUTE}",
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("R-1 is COMPENSATING: ")
    (sent,) = server.requests(method)
    assert (sent.saga_id, sent.reason, sent.etag, sent.validate_only) == ("R-1", "the desk says so", "7", False)
    assert {name: getattr(sent, name) for name in fields} == fields
    assert server.metadata["x-operator"] == "Andr%C3%A9"


@pytest.mark.parametrize("case", VERBS)
def test_a_dry_run_says_what_would_be_and_that_nothing_was(server: FakeServer, saga: Saga, case: Case) -> None:
    typed, method, verb, _fields = case
    answer(server, method, verb)
    ended = saga("repair", *typed, "--reason", "x", "--dry-run")
    assert ended.code == 0
    assert ended.out.startswith("R-1 would take it: ")
    assert ended.out.endswith(". Nothing was changed.\n")
    assert server.requests(method)[0].validate_only
    programs = saga("repair", *typed, "--reason", "x", "--dry-run", "-o", "json")
    assert json.loads(programs.out)["audit_entry"]["verb"] == verb


@pytest.mark.parametrize("case", VERBS)
def test_a_verb_without_a_reason_is_not_even_sent(server: FakeServer, saga: Saga, case: Case) -> None:
    typed, _method, _verb, _fields = case
    ended = saga("repair", *typed)
    assert ended.code == Exit.USAGE
    assert "--reason" in ended.err
    assert not server.asked


def test_a_verb_that_had_nothing_to_do_says_so(server: FakeServer, saga: Saga) -> None:
    answer(server, "PauseSaga", "PAUSE", entry=False)
    assert saga("repair", "pause", "R-1", "--reason", "x").out == "R-1 is COMPENSATING: nothing to do\n"
    assert saga("repair", "pause", "R-1", "--reason", "x", "-q").out == ""


def test_who_asks_is_the_login_where_nothing_else_is_said(
    server: FakeServer, saga: Saga, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(server, "PauseSaga", "PAUSE")
    monkeypatch.setenv("SAGA_OPERATOR", "night shift")
    saga("repair", "pause", "R-1", "--reason", "x")
    assert server.metadata["x-operator"] == "night shift"
    monkeypatch.delenv("SAGA_OPERATOR")
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    saga("repair", "pause", "R-1", "--reason", "x")
    assert server.metadata["x-operator"] == "ann"

    def nobody() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    saga("repair", "pause", "R-1", "--reason", "x")
    assert server.metadata["x-operator"] == "unknown"


def test_replies_and_requests_are_taken_as_json(server: FakeServer, saga: Saga) -> None:
    answer(server, "ResolveStep", "RESOLVE")
    answer(server, "OverrideStepRequest", "OVERRIDE_REQUEST")
    saga("repair", "resolve", *STEP, "applied", "--reply", '{"id": "X"}', "--reason", "x")
    assert dict(server.requests("ResolveStep")[0].json) == {"id": "X"}
    saga("repair", "resolve", *STEP, "applied", "--reply", "{}", "--reason", "x")
    assert server.requests("ResolveStep")[1].WhichOneof("reply") == "json"
    saga("repair", "resolve", *STEP, "applied", "--reason", "x")
    assert server.requests("ResolveStep")[2].WhichOneof("reply") is None
    saga("repair", "override", *STEP, "--request", "{}", "--reason", "x")
    assert server.requests("OverrideStepRequest")[0].WhichOneof("request") == "json"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("repair", "resolve", *STEP, "maybe", "--reason", "x"), "'maybe' is not one of"),
        (("repair", "resolve", *STEP, "--reason", "x"), "Missing argument"),
        (("repair", "override", *STEP, "--reason", "x"), "--request"),
        (("repair", "override", *STEP, "--request", "{", "--reason", "x"), "not JSON"),
        (("repair", "override", *STEP, "--request", "@/nowhere", "--reason", "x"), "cannot read"),
        (("repair", "mend", "R-1"), "No such command"),
        (("repair", "retry", "R-1", "--reason", "x"), "Missing argument"),
        (("signal", "R-1"), "Missing argument"),
        (("signal", "R-1", "paid", "--payload", "[]"), "not a JSON object"),
        (("signal", "R-1", "paid", "--input", "{}"), "--input goes with --start"),
        (("cancel", "R-1", "--dry-run", "--wait"), "--wait has nothing to wait for"),
        (("attention", "--limit", "0"), "--limit"),
        (("audit", "--limit", "x"), "--limit"),
        (("explain",), "Missing argument"),
        (("undo-plan",), "Missing argument"),
    ],
)
def test_a_line_that_makes_no_sense_is_told_so_without_a_traceback(
    server: FakeServer, saga: Saga, typed: tuple[str, ...], says: str
) -> None:
    ended = saga(*typed)
    assert ended.code == Exit.USAGE
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert not server.asked


@pytest.mark.parametrize(
    ("code", "reason", "ending"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "STEP_STATE", Exit.FAILED),
        (grpc.StatusCode.FAILED_PRECONDITION, "ETAG_MISMATCH", Exit.FAILED),
        (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND", Exit.NOT_FOUND),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", Exit.UNAVAILABLE),
    ],
)
def test_a_refusal_is_one_line_and_its_exit_code(
    server: FakeServer, saga: Saga, code: grpc.StatusCode, reason: str, ending: Exit
) -> None:
    server.answer("SkipStep", fail(code, "step 'ship' is APPLIED: only a step that is stuck can be skipped", reason))
    ended = saga("repair", "skip", *STEP, "--reason", "x")
    assert (ended.code, ended.out) == (ending, "")
    assert ended.err == "saga: step 'ship' is APPLIED: only a step that is stuck can be skipped\n"


def test_a_server_of_before_is_named_as_such(server: FakeServer, saga: Saga) -> None:
    server.answer("SkipStep", fail(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))
    ended = saga("repair", "skip", *STEP, "--reason", "x")
    assert ended.code == Exit.UNAVAILABLE
    assert "is not an orchestrator of this version" in ended.err


def needing(saga_id: str, *entries: pb.AttentionEntry) -> op.AttentionSaga:
    shown = made(pb.SAGA_STATUS_NEEDS_ATTENTION, saga_id, attention_entries=entries, attention=["UNDO_REFUSED"])
    return op.AttentionSaga(saga=shown)


def test_attention_has_a_line_for_each_reason_and_names_alone_where_asked(server: FakeServer, saga: Saga) -> None:
    refused = pb.AttentionEntry(reason="UNDO_REFUSED", step="ship", message="the parcel\nis gone")
    overdue = pb.AttentionEntry(reason="COMPENSATION_OVERDUE", message="late")
    server.answer(
        "ListAttention",
        op.ListAttentionResponse(sagas=[needing("R-1", refused, overdue), needing("R-2")], next_page_token="t"),
        op.ListAttentionResponse(sagas=[needing("R-3", refused)]),
    )
    ended = saga("attention", "--reason", "undo_refused", "--definition", "epro")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["SAGA", "DEFINITION", "CHANGED", "REASON", "STEP", "MESSAGE"]
    assert [line.split()[0] for line in lines[1:]] == ["R-1", "R-1", "R-2", "R-3"]
    assert "the parcel\\nis gone" in lines[1]
    assert "next: saga explain" in ended.err
    (first, second) = server.requests("ListAttention")
    assert (first.reason, first.definition, second.page_token) == ("UNDO_REFUSED", "epro", "t")
    server.answer("ListAttention", op.ListAttentionResponse(sagas=[needing("R-1", refused, overdue)]))
    assert saga("attention", "-q").out == "R-1\n"
    assert json.loads(saga("attention", "-o", "json").out)[0]["attention_entries"][0]["reason"] == "UNDO_REFUSED"


def test_a_list_that_is_cut_says_so(server: FakeServer, saga: Saga) -> None:
    server.answer("ListAttention", op.ListAttentionResponse(sagas=[needing("R-1"), needing("R-2")]))
    server.answer("ListAuditEntries", op.ListAuditEntriesResponse(entries=[pb.AuditEntry(), pb.AuditEntry()]))
    assert "the first 1; there are more" in saga("attention", "--limit", "1").err
    assert "the newest 1; there are more" in saga("audit", "--limit", "1").err


def test_where_nobody_is_needed_and_nobody_did_anything_that_is_said(server: FakeServer, saga: Saga) -> None:
    server.answer("ListAttention", op.ListAttentionResponse())
    server.answer("ListAuditEntries", op.ListAuditEntriesResponse())
    assert (saga("attention").out, saga("attention").err) == ("", "no saga needs a person\n")
    assert (saga("audit").out, saga("audit").err) == ("", "nobody did anything\n")
    assert saga("audit", "-o", "json").out == "[]\n"


def test_the_audit_says_who_did_what_why_and_when(server: FakeServer, saga: Saga) -> None:
    entry = pb.AuditEntry(
        saga_id="R-1",
        sequence=9,
        event_time=Timestamp(seconds=1_767_600_000),
        verb="RESOLVE",
        by="ann",
        reason="the bank\x1b[2J says so",
        step="pay",
        outcome=pb.STEP_OUTCOME_APPLIED,
    )
    server.answer("ListAuditEntries", op.ListAuditEntriesResponse(entries=[entry]))
    ended = saga("audit", "R-1")
    assert ended.out.splitlines()[1].split() == [
        "R-1", "2026-01-05", "08:00:00.000Z", "RESOLVE", "pay", "APPLIED", "ann", "the", "bank\\x1b[2J", "says", "so"
    ]  # fmt: skip
    assert server.requests("ListAuditEntries")[0].saga_id == "R-1"
    assert json.loads(saga("audit", "-o", "json").out)[0]["by"] == "ann"
