"""OTLP receivers on loopback: one by gRPC, one by HTTP, and one that takes connections and never answers."""

import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Request = trace_service_pb2.ExportTraceServiceRequest
Response = trace_service_pb2.ExportTraceServiceResponse


class Received:
    """What came in, and a way to wait for more of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.metadata: dict[str, str] = {}

    def take(self, request: Request, metadata: dict[str, str]) -> None:
        with self._changed:
            self.metadata = metadata
            for part in request.resource_spans:
                self.resources.append({pair.key: pair.value.string_value for pair in part.resource.attributes})
                for scope in part.scope_spans:
                    self.spans.extend(scope.spans)
            self._changed.notify_all()

    def distinct(self) -> dict[bytes, Span]:
        """Spans by id; a span received twice must be the same, byte for byte."""
        found: dict[bytes, Span] = {}
        for span in self.spans:
            assert found.setdefault(span.span_id, span) == span
        return found

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len({span.span_id for span in self.spans}) >= count, timeout=20)


class _Servicer(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, received: Received) -> None:
        self._received = received

    def Export(self, request: Request, context: grpc.ServicerContext) -> Response:  # noqa: N802  (gRPC's name)
        self._received.take(request, {key: str(value) for key, value in context.invocation_metadata()})
        return Response()


@contextmanager
def grpc_collector(port: int = 0) -> Iterator[tuple[str, Received]]:
    received = Received()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Servicer(received), server)  # type: ignore[no-untyped-call]  # generated without types
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield f"http://127.0.0.1:{port}", received
    server.stop(grace=0).wait()


@contextmanager
def http_collector() -> Iterator[tuple[str, Received]]:
    received = Received()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.take(Request.FromString(body), dict(self.headers))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  (http.server's name)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def black_hole() -> Iterator[str]:
    """The kernel accepts connections for a listener nobody serves: bytes go in, none come out."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def attributes(span: Span) -> dict[str, str | int | bool]:
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: AnyValue) -> str | int | bool:
    kind = value.WhichOneof("value")
    assert kind in {"string_value", "int_value", "bool_value"}
    found = getattr(value, str(kind))
    assert isinstance(found, str | int | bool)
    return found
