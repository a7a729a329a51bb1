"""A server process that takes a call and keeps it: prints its port, then `called` for each call."""

import asyncio
from typing import Any

import grpc
from grpc import aio


async def _hang(_request: bytes, _context: object) -> bytes:
    print("called", flush=True)
    await asyncio.Event().wait()
    return b""


async def _serve() -> None:
    server = aio.server()
    handlers: dict[str, Any] = {"Buy": grpc.unary_unary_rpc_method_handler(_hang)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.v1.Shop", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
