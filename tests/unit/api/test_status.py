"""Every error a caller may meet has one row, and its status always fits where statuses travel."""

import inspect

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors, limits
from orchestrator.api import status

# What only the process itself meets; on the wire it would be a bug.
PRIVATE = {errors.ConfigError, errors.VersionConflict, errors.Fenced}

SAMPLES: dict[type[errors.OrchestratorError], errors.OrchestratorError] = {
    errors.DefinitionInvalid: errors.DefinitionInvalid("1 error", ["job.yaml:3:7: error[E203]: no such method"]),
    errors.InputInvalid: errors.InputInvalid("input.items[2].value", "is 9, not 0 to 3"),
    errors.NotFound: errors.NotFound("saga", "a-1", "list what there is"),
    errors.AlreadyExists: errors.AlreadyExists("saga 'a-1' exists", saga_id="a-1"),
    errors.Rejected: errors.Rejected("TERMINAL_STATE", "saga a-1 has ended", saga_id="a-1"),
    errors.Overloaded: errors.Overloaded("MAILBOX_FULL", "too many messages wait for saga a-1", 1.5),
    errors.JournalUnavailable: errors.JournalUnavailable("the disk is full"),
    errors.TargetUnreachable: errors.TargetUnreachable("scoring is down"),
    errors.Draining: errors.Draining("the process stops"),
    errors.NotOwner: errors.NotOwner("shard 7 has another owner", shard=7, owner="10.0.0.7:7402"),
    errors.Pending: errors.Pending("the signal is durable and not answered yet", shard="7"),
    errors.JournalCorrupted: errors.JournalCorrupted("record 7 of saga a-1 does not decode"),
    errors.PlanMissing: errors.PlanMissing("revision r1 of job is gone"),
    errors.InvariantViolated: errors.InvariantViolated("M5", "two undos at once"),
    errors.ActorFailed: errors.ActorFailed("saga 'a' failed 3 times"),
}


def leaves() -> set[type[errors.OrchestratorError]]:
    return {
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.OrchestratorError) and not kind.__subclasses__()
    }


def opened(wire: status.WireStatus) -> dict[type[Message], Message]:
    whole = status_pb2.Status.FromString(wire.details)
    assert grpc.StatusCode(wire.code).value[0] == whole.code
    assert whole.message == wire.message
    found: dict[type[Message], Message] = {}
    for detail in whole.details:
        kind = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])
        message = kind()
        assert detail.Unpack(message)
        found[kind] = message
    return found


def test_every_public_error_has_a_row_and_no_private_one_has() -> None:
    assert set(status.TABLE) == leaves() - PRIVATE
    assert set(SAMPLES) == set(status.TABLE)
    assert not any(status.is_public(kind("x")) for kind in PRIVATE)
    assert not status.is_public(ValueError("x"))


def test_rows_say_what_the_tree_says() -> None:
    tree = errors.__doc__ or ""
    for kind, row in status.TABLE.items():
        (line,) = [line for line in tree.splitlines() if f"- {kind.__name__} " in line]
        assert line.split()[-1] == row.code.name


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_every_status_has_reason_domain_facts_and_request_id(kind: type[errors.OrchestratorError]) -> None:
    error = SAMPLES[kind]
    found = opened(status.to_wire(error, "mine-7"))
    info, request = found[error_details_pb2.ErrorInfo], found[error_details_pb2.RequestInfo]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert isinstance(request, error_details_pb2.RequestInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (error.reason, "orchestrator", error.metadata)
    assert request.request_id == "mine-7"


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (errors.DefinitionInvalid, error_details_pb2.BadRequest),
        (errors.InputInvalid, error_details_pb2.BadRequest),
        (errors.NotFound, error_details_pb2.ResourceInfo),
        (errors.AlreadyExists, error_details_pb2.ResourceInfo),
        (errors.Rejected, error_details_pb2.PreconditionFailure),
        (errors.Overloaded, error_details_pb2.RetryInfo),
        (errors.Draining, error_details_pb2.RetryInfo),
    ],
)
def test_a_row_has_the_detail_that_clients_look_for(
    kind: type[errors.OrchestratorError], detail: type[Message]
) -> None:
    assert detail in opened(status.to_wire(SAMPLES[kind], "x"))


def test_a_hint_says_when_to_come_back() -> None:
    hint = opened(status.to_wire(SAMPLES[errors.Overloaded], "x"))[error_details_pb2.RetryInfo]
    assert isinstance(hint, error_details_pb2.RetryInfo)
    assert hint.retry_delay.ToNanoseconds() == 1_500_000_000


@given(st.text(max_size=2_000), st.lists(st.text(max_size=500), max_size=60), st.text(max_size=1_000))
def test_a_status_always_fits(message: str, findings: list[str], fact: str) -> None:
    for error in (
        errors.DefinitionInvalid(message, findings, fact=fact),
        errors.InputInvalid(fact, message, fact=fact),
        errors.Rejected("REASON", message, **{f"fact{number}": fact for number in range(30)}),
        errors.NotFound("saga", fact, message),
    ):
        wire = status.to_wire(error, "x" * limits.API_REQUEST_ID_CHARS_MAX)
        assert len(wire.details) <= limits.API_STATUS_BYTES_MAX
        escaped = sum(1 if 0x20 <= byte < 0x7F else 3 for byte in wire.message.encode())
        assert escaped <= limits.API_ERROR_BYTES_MAX
        assert error_details_pb2.ErrorInfo in opened(wire)


def test_a_bug_says_nothing_of_itself() -> None:
    wire = status.internal("mine-7")
    assert wire.code is grpc.StatusCode.INTERNAL
    assert "mine-7" in wire.message


@pytest.mark.parametrize("reason", errors.REFUSALS)
def test_every_refusal_is_a_failed_precondition_that_names_its_reason_and_its_saga(reason: str) -> None:
    wire = status.to_wire(errors.Rejected(reason, "it cannot be", saga_id="s-1"), "r-1")
    assert wire.code is grpc.StatusCode.FAILED_PRECONDITION
    found = status_pb2.Status.FromString(wire.details)
    info, failure = error_details_pb2.ErrorInfo(), error_details_pb2.PreconditionFailure()
    assert found.details[0].Unpack(info)
    assert found.details[1].Unpack(failure)
    assert (info.reason, info.metadata["saga_id"]) == (reason, "s-1")
    assert (failure.violations[0].type, failure.violations[0].subject) == (reason, "s-1")
