"""An OTLP receiver in a process of its own that takes every span and keeps none; with `--hang` it never answers."""

import asyncio
import sys

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Says thank you, or nothing."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    async def Export(  # noqa: N802  # gRPC's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        if self._hangs:
            await asyncio.Event().wait()
        return trace_service_pb2.ExportTraceServiceResponse()


async def main(*, hangs: bool) -> None:
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(hangs=hangs), server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening 127.0.0.1:{port}")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(hangs="--hang" in sys.argv))
