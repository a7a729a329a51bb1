"""The services every gRPC server is expected to have: health and reflection.

Both are known to the tools of every language: `grpc_health_probe`, Kubernetes, `grpcurl`, `grpcui`, service meshes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
HEALTH_CHECK = f"/{health.SERVICE_NAME}/Check"


class Health(health_pb2_grpc.HealthServicer):
    """SERVING while new work is taken, never again after a drain has begun; overall (the empty name) and per service.

    The library's own servicer forgets the other watchers of a service when one of them leaves, so theirs would never
    learn of the drain.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset({"", *names})
        self._is_draining = False
        self._is_serving = True
        self._changed = asyncio.Event()

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self.show(is_serving=False)
        self._is_draining = True

    def show(self, *, is_serving: bool) -> None:
        """Say so from now on, or until the drain."""
        if is_serving is not self._is_serving and not self._is_draining:
            self._is_serving = is_serving
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} is here")
        return self._status(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        while True:
            changed = self._changed
            yield self._status(request.service)
            await changed.wait()

    def _status(self, name: str) -> health_pb2.HealthCheckResponse:
        if name not in self._names:
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        words = health_pb2.HealthCheckResponse
        return health_pb2.HealthCheckResponse(status=words.SERVING if self._is_serving else words.NOT_SERVING)


def reflection_handlers(names: Iterable[str]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return server reflection under both of its names.

    The library has v1alpha only; v1 is the same messages with the same numbers under another name, so one servicer
    answers both, and tools that know only the newer one find it.
    """
    alpha = reflection.SERVICE_NAME
    servicer = reflection.aio.ReflectionServicer({*names, REFLECTION_V1, alpha, health.SERVICE_NAME})
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in (REFLECTION_V1, alpha)
    )


__all__ = ["HEALTH_CHECK", "REFLECTION_V1", "Health", "health_pb2_grpc", "reflection_handlers"]
