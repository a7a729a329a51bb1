"""What an error of the API says, taken apart."""

from collections.abc import Awaitable

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2

from tests.integration.api.rig import status_of


def struct(**values: object) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, dict[str, object]]:
    """The code and the details by type; every error has ErrorInfo of our domain and a request id."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = status_of(caught.value)
    assert status is not None
    kinds = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.ResourceInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.RequestInfo,
    )
    found: dict[str, object] = {"message": status.message}
    for detail in status.details:
        for kind in kinds:
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    info = found["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert info.domain == "orchestrator"
    request = found["RequestInfo"]
    assert isinstance(request, error_details_pb2.RequestInfo)
    assert request.request_id
    return caught.value.code(), {**found, "reason": info.reason, "metadata": dict(info.metadata)}
