"""How a service says no: one exception, one place that turns it into a gRPC status with details.

A status code alone cannot tell "this site is closed" from "this step was compensated already"; both are
FAILED_PRECONDITION. The difference travels as `google.rpc.ErrorInfo` (reason and domain) in the status details, where
any client in any language finds it; a bad field travels as `google.rpc.BadRequest`, a hint to come back as
`google.rpc.RetryInfo`.

`ErrorInfo.domain` names the program and whose it is, for example `archive.epro.example`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2


@dataclasses.dataclass(kw_only=True, eq=False)
class Refusal(Exception):
    """The service looked at the call and did nothing. Raised by services, ended by `end_with`.

    Not frozen like other values: Python writes the traceback into an exception while it is on its way.
    """

    code: grpc.StatusCode
    reason: str
    """Upper snake case; published, never renamed."""
    message: str
    field: str = ""
    """Path of the request field that is at fault, if one is."""
    retry_delay_s: float | None = None

    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message}"


def bad_field(field: str, why: str) -> Refusal:
    """A request that no repetition will mend."""
    return Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, reason="FIELD_INVALID", message=f"{field} {why}", field=field)


def require(request: message.Message, *names: str) -> None:
    """Raises Refusal for the first of these fields that is empty."""
    for name in names:
        if not getattr(request, name):
            raise bad_field(name, "is empty")


async def end_with(refusal: Refusal, context: grpc.aio.ServicerContext[Any, Any], domain: str) -> NoReturn:
    """End the call with the refusal's status and details."""
    status = status_pb2.Status(code=refusal.code.value[0], message=refusal.message)
    status.details.append(pack(error_details_pb2.ErrorInfo(reason=refusal.reason, domain=domain)))
    if refusal.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=refusal.field, description=refusal.message)
        status.details.append(pack(error_details_pb2.BadRequest(field_violations=[violation])))
    if refusal.retry_delay_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(refusal.retry_delay_s * 1e9))
        status.details.append(pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    await context.abort(
        refusal.code, refusal.message, trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),)
    )


def pack(detail: message.Message) -> any_pb2.Any:
    """A detail in its envelope."""
    envelope = any_pb2.Any()
    envelope.Pack(detail)
    return envelope
