"""The door: how calls come in, over a real server."""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc._cython import cygrpc

from orchestrator.api.door import fits, open_door
from orchestrator.limits import API_CALLS_ASKED_FOR, API_MESSAGE_BYTES_MAX, API_UNREAD_BYTES_MAX
from tests.integration.api.rig import running
from tests.kit.frames import NO_TEXT, falling
from tests.kit.frames import asked as fallen_over
from tests.kit.pushing import pushed

if fits(grpc.__version__, cygrpc.AioServer):
    from orchestrator.api import ahead

ahead_of_time = pytest.mark.skipif(
    not fits(grpc.__version__, cygrpc.AioServer),
    reason=f"with grpcio {grpc.__version__} calls are let in one by one, as gRPC's own server does",
)

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


async def ended(server: grpc.aio.Server) -> None:
    """Wait until it has ended, or raise what it has ended by: it looks anew only when it is asked anew."""
    while await server.wait_for_termination(0.01):
        pass


def asked(server: grpc.aio.Server) -> int:
    """How many calls are asked for, come or not."""
    core = server._server  # type: ignore[attr-defined]
    return len(core._asked) + len(core._come)


@pytest.fixture
def other_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc, "__version__", "1.86.0")


class Hallway:
    """Where calls that have come stand until the door looks at them all, as after one long turn of the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.come: list[Callable[[], None]] = []
        self._is_shut = True
        came = ahead._Core._came

        def stand(core: Any, asked: Any) -> None:
            if self._is_shut:
                self.come.append(lambda: came(core, asked))
            else:
                came(core, asked)

        monkeypatch.setattr(ahead._Core, "_came", stand)

    async def fill(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.come) < number:  # noqa: ASYNC110  # gRPC tells nobody
                await asyncio.sleep(0)  # one turn: more have come

    def open(self) -> None:
        self._is_shut = False
        while self.come:
            self.come.pop(0)()


@ahead_of_time
async def test_calls_are_asked_for_ahead_of_time_in_this_release_of_grpc() -> None:
    # A release that never asks our core for its next call would let calls in one after the other, and say nothing.
    server = open_door(())
    async with await begun(server, Room()) as channel:
        await channel.channel_ready()
        assert isinstance(server, ahead.Door)
        assert asked(server) == API_CALLS_ASKED_FOR
        await server.stop(None)


@ahead_of_time
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


@ahead_of_time
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
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, grpc.aio.AioRpcError) for end in ends)
        assert asked(server) == 0


@ahead_of_time
@pytest.mark.parametrize("grace_s", [None, PATIENCE_S])
async def test_a_server_stops_when_all_that_is_asked_for_has_come_and_nobody_has_looked(
    grace_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hallway, server, room = Hallway(monkeypatch), open_door(()), Room()
    room.out.set()
    async with await begun(server, room) as channel:
        calls = [call(channel, b"") for _ in range(API_CALLS_ASKED_FOR)]
        await hallway.fill(API_CALLS_ASKED_FOR)
        async with asyncio.timeout(PATIENCE_S / 2), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.stop(grace_s))
            while not server._server._is_closing:  # type: ignore[attr-defined]  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)  # one turn: the stop begins
            hallway.open()
        await asyncio.gather(*calls, return_exceptions=True)


@ahead_of_time
async def test_who_has_come_before_a_drain_and_was_not_looked_at_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hallway = Hallway(monkeypatch)
    async with running() as rig:
        calls = [call(rig.channel, b"", "/orchestrator.v1.SagaService/GetSaga") for _ in range(API_CALLS_ASKED_FOR)]
        await hallway.fill(API_CALLS_ASKED_FOR)
        hallway.open()
        await rig.api.drain(0.0)
        told = {(await each.code(), (await each.details())[:17]) for each in calls}
    assert told == {(grpc.StatusCode.UNAVAILABLE, "the server drains")}


@ahead_of_time
async def test_a_call_that_nobody_has_looked_at_takes_no_more_of_our_memory_than_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hallway = Hallway(monkeypatch)
    async with running() as rig, asyncio.timeout(PATIENCE_S):
        sent = await pushed(rig.port, "/orchestrator.v1.SagaService/StartSaga", calls=20, size=API_MESSAGE_BYTES_MAX)
        hallway.open()
    assert max(sent.values()) <= API_UNREAD_BYTES_MAX


@falling
async def test_a_server_that_falls_says_why_once_and_to_who_waits_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    server = open_door(())
    server.add_generic_rpc_handlers((Room(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with fallen_over(port, NO_TEXT), asyncio.timeout(PATIENCE_S):
        with pytest.raises(UnicodeDecodeError):
            await ended(server)
        await server.stop(None)
    del server
    gc.collect()
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


async def test_a_server_that_was_stopped_before_its_start_serves_a_burst_after_it() -> None:
    server, room = open_door(()), Room()
    room.out.set()
    await server.stop(None)
    async with await begun(server, room) as channel, asyncio.timeout(PATIENCE_S):
        calls = [call(channel, b"%d" % number) for number in range(BURST)]
        assert [await each for each in calls] == [b"%d" % number for number in range(BURST)]
        await server.stop(None)


async def test_a_server_that_stops_leaves_no_error_that_nobody_has_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    server = open_door(())
    async with await begun(server, Room()) as channel:
        await channel.channel_ready()
        await server.stop(None)
    del server
    gc.collect()
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.parametrize(
    ("release", "core", "is_known"),
    [
        ("1.84.0", cygrpc.AioServer, "known"),
        ("1.85.1", cygrpc.AioServer, "known"),
        ("1.85.0rc1", cygrpc.AioServer, "known"),
        ("1.83.2", cygrpc.AioServer, ""),
        ("1.86.0.dev0", cygrpc.AioServer, ""),
        ("2.0.0", cygrpc.AioServer, ""),
        ("1.85.1", object, ""),
        ("1.85.1", None, ""),
    ],
)
def test_only_releases_that_were_tried_and_have_what_is_used_are_asked_ahead(
    release: str, core: object, is_known: str
) -> None:
    has_all = hasattr(cygrpc.AioServer, "_make_request_call_future")
    assert fits(release, core) is bool(is_known and has_all)


@pytest.mark.usefixtures("other_release")
async def test_with_another_release_one_line_says_that_calls_come_in_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        server = open_door(())
    assert type(server) is type(grpc.aio.server())
    (line,) = [each for each in caplog.records if each.name == "orchestrator.api.door"]
    assert line.levelno == logging.WARNING
    assert "one by one with grpcio 1.86.0" in line.getMessage()
    assert "1.84 to 1.85" in line.getMessage()


ALONE = """
import asyncio, gc, grpc, grpc.aio
grpc.__version__ = "1.86.0"
from tests.integration.api.test_door import Room, begun, call, open_door

async def main():
    server, room = open_door(()), Room()
    room.out.set()
    gc.collect()
    for served in range(2):
        if not served:
            channel = await begun(server, room)
        print((await call(channel, b"served")).decode())
        gc.collect()
    await server.stop(None)
    await channel.close()

asyncio.run(asyncio.wait_for(main(), 10))
"""


async def test_with_another_release_grpcs_own_server_serves_alone_in_its_process() -> None:
    # Another server or channel that is alive in the process would keep the library up, and hide that it was let go of.
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"served\nserved\n")
