"""Long-running operations (`google.longrunning`): what answers about them say, and how one asks.

The messages are this process's own: their wire format is published and fixed, and a target that answers with an
operation need not describe the service that tells how it goes.
"""

# pyright: reportMissingTypeStubs=false
# (the library ships .pyi files without the marker that says so)
from collections.abc import Mapping
from typing import Final, cast

from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodDescriptorProto
from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from orchestrator.saga.plan import Answer, ExpressionFailure, Facts, Outcome, ReadAnswer, Render
from orchestrator.values import Payload

TYPE: Final = "google.longrunning.Operation"
GET: Final = "google.longrunning.Operations/GetOperation"
CANCEL: Final = "google.longrunning.Operations/CancelOperation"
GET_REQUEST: Final = "google.longrunning.GetOperationRequest"
GET_REPLY: Final = TYPE
CANCEL_REQUEST: Final = "google.longrunning.CancelOperationRequest"
CANCEL_REPLY: Final = "google.protobuf.Empty"
MESSAGES: Final[Mapping[str, Descriptor]] = {
    message.full_name: cast("Descriptor", message)
    for message in (operations_pb2.GetOperationRequest.DESCRIPTOR, operations_pb2.CancelOperationRequest.DESCRIPTOR)
}
"""What is asked: types of every plan, whether or not its services describe them."""
_INFO: Final = operations_pb2.operation_info.full_name
"""The option of a method that says what its operation gives."""


def response_of(method: MethodDescriptor) -> str:
    """Return the full name of the response type that a method's `operation_info` names; empty where it says nothing."""
    proto = MethodDescriptorProto()
    method.CopyToProto(proto)
    return response_in(proto, method.containing_service.file.package)


def response_in(method: MethodDescriptorProto, package: str) -> str:
    """Return the same of a method that is in no pool yet; a name without a dot is of the method's own package."""
    said = [value for field, value in method.options.ListFields() if field.full_name == _INFO]
    name = cast("operations_pb2.OperationInfo", said[0]).response_type if said else ""
    return f"{package}.{name}" if name and package and "." not in name else name


def ask() -> Render:
    """Return the request of `GetOperation` for the operation that the step's reply is."""
    return lambda facts: _named(facts, operations_pb2.GetOperationRequest)


def cancel() -> Render:
    """Return the request of `CancelOperation`."""
    return lambda facts: _named(facts, operations_pb2.CancelOperationRequest)


def _named(
    facts: Facts, make: type[operations_pb2.GetOperationRequest] | type[operations_pb2.CancelOperationRequest]
) -> Payload | ExpressionFailure:
    operation = _operation(facts)
    if isinstance(operation, ExpressionFailure):
        return operation
    if not operation.name:
        return ExpressionFailure("the operation has no name to ask for")
    request = make(name=operation.name)
    return Payload(request.DESCRIPTOR.full_name, request.SerializeToString(deterministic=True))


def reader(response: str) -> ReadAnswer:
    """Return what an answer says about an operation whose response has the given type."""

    def read(facts: Facts) -> Answer | ExpressionFailure:
        operation = _operation(facts)
        if isinstance(operation, ExpressionFailure):
            return operation
        if not operation.done:
            return Answer(outcome=None)
        if operation.HasField("error"):
            return Answer(
                outcome=Outcome.NOT_APPLIED, code=_code(operation.error.code), message=operation.error.message
            )
        if not operation.HasField("response"):
            return ExpressionFailure(f"operation {operation.name} is done, with neither response nor error")
        name = operation.response.type_url.rpartition("/")[2]
        if name != response:
            return ExpressionFailure(f"operation {operation.name} gave a {name or 'nothing'}, not a {response}")
        return Answer(outcome=Outcome.APPLIED, reply=Payload(response, operation.response.value))

    return read


def _operation(facts: Facts) -> operations_pb2.Operation | ExpressionFailure:
    payload = facts.own_reply
    if payload is None or payload.type_name != TYPE:
        return ExpressionFailure(f"a {TYPE} is needed, not {payload.type_name if payload is not None else 'nothing'}")
    try:
        return operations_pb2.Operation.FromString(payload.data)
    except DecodeError:
        return ExpressionFailure(f"the recorded {TYPE} cannot be read")


def _code(number: int) -> str:
    """Return a status code's name; one that gRPC does not have, or none, tells as much as UNKNOWN."""
    known = code_pb2.Code.values()
    return code_pb2.Code.Name(number) if number in known and number else "UNKNOWN"
