"""The door: how calls come in, over a real server."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from orchestrator.api.door import Door, open_door
from orchestrator.limits import API_CALLS_ASKED_FOR

BURST = 2 * API_CALLS_ASKED_FOR
NAME = "/door.Room/Enter"
PATIENCE_S = 10.0


class Room(grpc.GenericRpcHandler):
    """One method, in which a call stays until it is let out."""

    def __init__(self) -> None:
        self._guests = 0
        self.full = asyncio.Event()
        self.out = asyncio.Event()

    async def enter(self, request: bytes, _context: object) -> bytes:
        self._guests += 1
        if self._guests == BURST:
            self.full.set()
        await self.out.wait()
        return request

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.enter) if details.method == NAME else None


def call(channel: grpc.aio.Channel, request: bytes, name: str = NAME) -> Any:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(name)
    return method(request)


async def begun(server: grpc.aio.Server, room: Room) -> grpc.aio.Channel:
    server.add_generic_rpc_handlers((room,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


def asked(server: grpc.aio.Server) -> int:
    """How many calls are asked for, come or not."""
    core = server._server  # type: ignore[attr-defined]
    return len(core._asked) + len(core._come)


async def test_calls_are_asked_for_ahead_of_time_in_this_release_of_grpc() -> None:
    # A release that never asks our core for its next call would let calls in one after the other, and say nothing.
    server = open_door(())
    async with await begun(server, Room()) as channel:
        await channel.channel_ready()
        assert isinstance(server, Door)
        assert asked(server) == API_CALLS_ASKED_FOR
        await server.stop(None)


async def test_a_burst_larger_than_what_is_asked_for_comes_in_whole_and_each_gets_its_own_answer() -> None:
    server, room = open_door(()), Room()
    async with await begun(server, room) as channel:
        calls = [call(channel, b"%d" % number) for number in range(BURST)]
        async with asyncio.timeout(PATIENCE_S):
            await room.full.wait()
        assert asked(server) == API_CALLS_ASKED_FOR
        room.out.set()
        assert [await each for each in calls] == [b"%d" % number for number in range(BURST)]
        await server.stop(None)


async def test_a_method_that_nobody_knows_is_unimplemented() -> None:
    server = open_door(())
    async with await begun(server, Room()) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, b"", "/door.Room/Leave")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await server.stop(None)


async def test_a_server_that_stops_in_the_middle_of_a_burst_ends_every_call() -> None:
    server, room = open_door(()), Room()
    async with await begun(server, room) as channel:
        await channel.channel_ready()
        calls = [call(channel, b"") for _ in range(BURST)]
        core = server._server  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE_S):
            while len(core._come) < 2:  # noqa: ASYNC110  # calls that have come, and nobody has looked at: gRPC tells nobody
                await asyncio.sleep(0)  # one turn: more of the burst comes
            await server.stop(None)
            ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, grpc.aio.AioRpcError) for end in ended)
        assert asked(server) == 0


async def test_where_grpc_is_built_otherwise_its_own_server_serves() -> None:
    def other(_options: object) -> object:
        raise TypeError("one argument more")

    server, room = open_door((), door=other), Room()
    room.out.set()
    async with await begun(server, room) as channel:
        assert not isinstance(server, Door)
        assert await call(channel, b"same") == b"same"
        await server.stop(None)
