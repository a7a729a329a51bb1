"""A server that answers as it is told, and the program run in this process."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from orchestrator.cli.main import run
from orchestrator.v1 import (
    admin_service_pb2,
    definition_service_pb2,
    diagnostics_service_pb2,
    operator_service_pb2,
    saga_service_pb2,
)


@dataclass(slots=True, kw_only=True)
class FakeServer:
    """Methods are answered by functions of (request, context); what was asked is kept."""

    address: str = ""
    answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the last call."""

    def answer(self, method: str, *replies: Message | Callable[[Any, grpc.ServicerContext], Any]) -> None:
        """Answer a method with these, one after the other; the last one again and again."""
        left = list(replies)

        def next_reply(request: Any, context: grpc.ServicerContext) -> Any:
            reply = left.pop(0) if len(left) > 1 else left[0]
            return reply(request, context) if callable(reply) else reply

        self.answers[method] = next_reply

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.asked if name == method]


def fail(
    code: grpc.StatusCode, message: str, reason: str = "", *details: Message, **metadata: str
) -> Callable[[Any, grpc.ServicerContext], NoReturn]:
    """End the call with a status and its google.rpc details."""

    def abort(request: Any, context: grpc.ServicerContext) -> NoReturn:
        status = Status(code=code_pb2.Code.Value(code.name), message=message)
        said = [ErrorInfo(reason=reason, domain="orchestrator", metadata=metadata), *details] if reason else details
        for detail in said:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        context.abort_with_status(rpc_status.to_status(status))

    return abort


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    pool = ThreadPoolExecutor(max_workers=4)
    listening = grpc.server(pool)
    for file in (
        saga_service_pb2,
        operator_service_pb2,
        definition_service_pb2,
        admin_service_pb2,
        diagnostics_service_pb2,
    ):
        for service in file.DESCRIPTOR.services_by_name.values():
            handlers = {method.name: _handler(fake, method) for method in service.methods}
            listening.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service.full_name, handlers)],
            )
    fake.address = f"127.0.0.1:{listening.add_insecure_port('127.0.0.1:0')}"
    listening.start()
    yield fake
    listening.stop(0).wait()
    pool.shutdown()


def _handler(fake: FakeServer, method: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    def answered(request: Any, context: grpc.ServicerContext) -> Any:
        fake.asked.append((method.name, request))
        fake.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        return fake.answers[method.name](request, context)

    make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
    return make(
        answered,
        request_deserializer=method.input_type._concrete_class.FromString,
        response_serializer=method.output_type._concrete_class.SerializeToString,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Saga = Callable[..., Ended]


@pytest.fixture
def saga(server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Saga:
    """Run the program against the fake server."""
    monkeypatch.setenv("ORCHESTRATOR_SERVER", server.address)
    for name in ("NO_COLOR", "ORCHESTRATOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        printed = capsys.readouterr()
        return Ended(code=int(code), out=printed.out, err=printed.err)

    return command
