"""Wrap every unary method of a server, each method once.

gRPC asks an interceptor for the method's handler at every call. What a service wants around its methods (a span, the
fault knobs, its refusals) depends on the method alone, so the wrapped handler is made at the first call and kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, cast

import grpc

Behaviour = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]
"""What runs a unary method: given the parsed request, gives the reply."""

Wrap = Callable[[str, Behaviour], Behaviour]
"""Given the method as "package.Service/Method" and what runs it now, gives what shall run it."""


class WrapMethods(grpc.aio.ServerInterceptor):
    """Applies `wraps` to the methods of some services, the last one outermost; other services pass untouched."""

    def __init__(self, services: Collection[str], wraps: list[Wrap]) -> None:
        """`services` are full names, for example "epro.v1.Archive"."""
        self._services = frozenset(services)
        self._wraps = wraps
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        path = handler_call_details.method
        known = self._wrapped.get(path)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        method = path.removeprefix("/")
        if handler is None or method.rpartition("/")[0] not in self._services:
            return handler
        behaviour = cast("Behaviour", handler.unary_unary)  # grpc.aio calls it as one; the stubs know the other kind
        for wrap in self._wraps:
            behaviour = wrap(method, behaviour)
        self._wrapped[path] = grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[path]
