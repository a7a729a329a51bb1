"""What an error looks like on the wire: one table from class to gRPC code and details.

Every answer that is not OK carries a `google.rpc.Status` with `ErrorInfo` (reason, domain, metadata) and `RequestInfo`;
what else a class has to say is in its row. The status travels in trailing metadata, and a client reads no more than
8 KiB of that by default and loses the *whole* status past it, so what grows (findings, sentences) is cut here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from orchestrator import errors, limits

DOMAIN = "orchestrator"
DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class _Row:
    code: grpc.StatusCode
    details: Callable[[Any], Iterator[Message]]


def _nothing(_: errors.OrchestratorError) -> Iterator[Message]:
    return iter(())


def _field(error: errors.InputInvalid) -> Iterator[Message]:
    violation = error_details_pb2.BadRequest.FieldViolation(
        field=_cut(error.path, limits.API_ERROR_FACT_BYTES_MAX), description=_cut(error.why)
    )
    yield error_details_pb2.BadRequest(field_violations=[violation])


def _findings(error: errors.DefinitionInvalid) -> Iterator[Message]:
    bad = error_details_pb2.BadRequest()
    for number, finding in enumerate(error.findings):
        place, _, text = finding.partition(": ")
        bad.field_violations.add(
            field=_cut(place, limits.API_ERROR_FACT_BYTES_MAX), description=_cut(text, limits.API_FINDING_BYTES_MAX)
        )
        if bad.ByteSize() > limits.API_STATUS_BYTES_MAX // 2:
            del bad.field_violations[-1]
            rest = len(error.findings) - number
            bad.field_violations.add(field="source", description=f"and {rest} more; ask with validate_only for all")
            break
    yield bad


def _resource(error: errors.NotFound | errors.AlreadyExists) -> Iterator[Message]:
    kind = error.metadata.get("kind", "saga")
    name = error.metadata.get("name", "") or error.metadata.get("saga_id", "")
    yield error_details_pb2.ResourceInfo(
        resource_type=kind, resource_name=_cut(name, limits.API_ERROR_FACT_BYTES_MAX), description=_cut(error.message)
    )


def _precondition(error: errors.Rejected) -> Iterator[Message]:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=error.reason, subject=error.metadata.get("saga_id", ""), description=_cut(error.message)
    )
    yield error_details_pb2.PreconditionFailure(violations=[violation])


def _later(error: errors.BusyError) -> Iterator[Message]:
    after_s = getattr(error, "retry_after_s", limits.API_RETRY_AFTER_S)
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(int(after_s * 1e9))
    yield info


TABLE: Mapping[type[errors.OrchestratorError], _Row] = {
    errors.DefinitionInvalid: _Row(grpc.StatusCode.INVALID_ARGUMENT, _findings),
    errors.InputInvalid: _Row(grpc.StatusCode.INVALID_ARGUMENT, _field),
    errors.NotFound: _Row(grpc.StatusCode.NOT_FOUND, _resource),
    errors.AlreadyExists: _Row(grpc.StatusCode.ALREADY_EXISTS, _resource),
    errors.Rejected: _Row(grpc.StatusCode.FAILED_PRECONDITION, _precondition),
    errors.Overloaded: _Row(grpc.StatusCode.RESOURCE_EXHAUSTED, _later),
    errors.JournalUnavailable: _Row(grpc.StatusCode.UNAVAILABLE, _later),
    errors.TargetUnreachable: _Row(grpc.StatusCode.UNAVAILABLE, _later),
    errors.Draining: _Row(grpc.StatusCode.UNAVAILABLE, _later),
    errors.NotOwner: _Row(grpc.StatusCode.UNAVAILABLE, _later),
    errors.Pending: _Row(grpc.StatusCode.UNAVAILABLE, _later),
    errors.JournalCorrupted: _Row(grpc.StatusCode.DATA_LOSS, _nothing),
    errors.PlanMissing: _Row(grpc.StatusCode.DATA_LOSS, _nothing),
    errors.InvariantViolated: _Row(grpc.StatusCode.INTERNAL, _nothing),
    errors.ActorFailed: _Row(grpc.StatusCode.INTERNAL, _nothing),
}
"""Every class a caller may meet. `ConfigError`, `VersionConflict` and `Fenced` are none of theirs: one that gets this
far is a bug, and is answered like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireStatus:
    """What gRPC needs to end a call."""

    code: grpc.StatusCode
    message: str
    details: bytes
    """A serialised `google.rpc.Status`, for `grpc-status-details-bin`."""


_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def is_public(error: Exception) -> bool:
    """Return whether the error has a row of its own; anything else is a bug and its text stays here."""
    return type(error) in TABLE


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the code that an error is answered with."""
    row = TABLE.get(type(error))  # type: ignore[arg-type]  # whatever has no row is a bug
    return grpc.StatusCode.INTERNAL if row is None else row.code


def name_of(code: object) -> str:
    """Return the name of a code that gRPC knows as a number or as itself."""
    known = code if isinstance(code, grpc.StatusCode) else _CODES.get(code)  # type: ignore[call-overload]  # gRPC's own types do not say which of the two
    return grpc.StatusCode.UNKNOWN.name if known is None else str(known.name)


def to_wire(error: errors.OrchestratorError, request_id: str) -> WireStatus:
    """Return the status of an error that has a row."""
    row = TABLE[type(error)]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        if info.ByteSize() < limits.API_STATUS_BYTES_MAX // 4:
            info.metadata[key] = _cut(value, limits.API_ERROR_FACT_BYTES_MAX)
    return _wire(row.code, _headline(error.message), [info, *row.details(error)], request_id)


def internal(request_id: str) -> WireStatus:
    """Return the status of a bug: a number to quote, nothing of what went wrong inside."""
    sentence = f"the server failed to answer; nothing is known to be lost. Quote request id {request_id} in a report"
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN)
    return _wire(grpc.StatusCode.INTERNAL, sentence, [info], request_id)


def cancelled(request_id: str) -> WireStatus:
    """Return the status of a call that was given up, by the caller or by a server that stops."""
    info = error_details_pb2.ErrorInfo(reason="CANCELLED", domain=DOMAIN)
    return _wire(grpc.StatusCode.CANCELLED, "the call was cancelled before it was answered", [info], request_id)


def passed(details: bytes) -> WireStatus:
    """Return the status that another process gave, as it is."""
    given = status_pb2.Status.FromString(details)
    return WireStatus(code=_CODES.get(given.code, grpc.StatusCode.UNKNOWN), message=given.message, details=details)


def info_of(details: bytes) -> error_details_pb2.ErrorInfo:
    """Return the reason of a serialised status and its facts; empty where it has none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            break
    return info


def _wire(code: grpc.StatusCode, message: str, details: list[Message], request_id: str) -> WireStatus:
    details.append(error_details_pb2.RequestInfo(request_id=request_id))
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
        if status.ByteSize() > limits.API_STATUS_BYTES_MAX:
            del status.details[-1]
    return WireStatus(code=code, message=message, details=status.SerializeToString())


def _cut(text: str, bytes_max: int = limits.API_ERROR_BYTES_MAX) -> str:
    """Cut a text inside a detail, which travels as it is."""
    data = text.encode()
    return text if len(data) <= bytes_max else data[: bytes_max - 3].decode(errors="ignore") + "\u2026"


def _headline(text: str) -> str:
    """Cut the sentence that travels as a header of its own, where a byte outside ASCII takes three characters."""
    data = text.encode()
    room = limits.API_ERROR_BYTES_MAX - 9  # the dots that say it was cut
    for count, byte in enumerate(data):
        room -= 1 if _PLAIN_FROM <= byte < _PLAIN_TO else 3
        if room < 0:
            return data[:count].decode(errors="ignore") + "\u2026"
    return text


# The bytes that gRPC's percent-encoding leaves alone, but for the percent sign.
_PLAIN_FROM, _PLAIN_TO = 0x20, 0x7F
