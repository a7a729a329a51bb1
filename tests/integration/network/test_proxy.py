"""The failing network itself: each fault strikes the call it is meant for, at its moment, and no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc import aio

from tests.kit.faults import Fault, Forwarded, Request, What, When
from tests.kit.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

CALL_S = 5.0
SHORT_S = 1.0
LARGE = b"x" * 100_000
"""More than a window: streams that are kept back must give it back."""


@dataclass(slots=True)
class Echo:
    """A service that repeats what it is told, and remembers it."""

    heard: list[bytes] = field(default_factory=list[bytes])

    async def say(self, request: bytes, _context: object) -> bytes:
        self.heard.append(request)
        return request

    async def count(self, request: bytes, _context: object) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()


@dataclass(slots=True, kw_only=True)
class Line:
    """A caller, a proxy, and a service behind it."""

    echo: Echo
    proxy: Proxy
    channel: aio.Channel

    async def say(self, words: bytes, timeout_s: float = CALL_S) -> str:
        """Return the reply, or the code without one."""
        say: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary("/echo.v1.Echo/Say")
        try:
            said = await say(words, timeout=timeout_s, wait_for_ready=True)
        except aio.AioRpcError as failed:
            return failed.code().name
        return said.decode()

    async def insist(self, words: bytes) -> str:
        """Say it until it is answered: a connection that has just been cut may still be given a call."""
        while (said := await self.say(words)) != words.decode():
            assert said == "UNAVAILABLE"
        return said

    async def count(self, until: int) -> AsyncIterator[bytes]:
        counting: aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream("/echo.v1.Echo/Count")
        async for each in counting(str(until).encode()):
            yield each


@asynccontextmanager
async def line(fault: Fault | None = None) -> AsyncIterator[Line]:
    """The fault strikes the second call."""
    echo, server = Echo(), aio.server()
    handlers: dict[str, Any] = {
        "Say": grpc.unary_unary_rpc_method_handler(echo.say),
        "Count": grpc.unary_stream_rpc_method_handler(echo.count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.v1.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    def second(_request: Request) -> Fault | None:
        return fault if len(proxy.passed) == 2 else None

    async with Proxy(lambda: f"127.0.0.1:{port}", second) as proxy:
        options = [("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 50)]
        async with aio.insecure_channel(proxy.address, options=options) as channel:
            yield Line(echo=echo, proxy=proxy, channel=channel)
    await server.stop(None)


HARMLESS = [
    Fault(when=When.BEFORE, what=What.PAUSE, pause_s=0.05),
    Fault(when=When.REQUEST, what=What.PAUSE, pause_s=0.05),
    Fault(when=When.LOST, what=What.PAUSE, pause_s=0.05),
    Fault(when=When.REPLY, what=What.PAUSE, pause_s=0.05),
    Fault(when=When.BEFORE, what=What.TRICKLE, pause_s=0.001),
    Fault(when=When.LOST, what=What.TRICKLE, pause_s=0.001),
    Fault(when=When.BEFORE, what=What.AGE),
    Fault(when=When.SENT, what=What.AGE),
    Fault(when=When.ANSWERED, what=What.CLOSE),
]
FATAL = [
    *(Fault(when=when, what=what) for when in When if when is not When.ANSWERED for what in (What.CLOSE, What.RESET)),
    *(Fault(when=when, what=what) for when in (When.BEFORE, When.SENT) for what in (What.REFUSE, What.DISOWN)),
]
STALLED = [Fault(when=when, what=What.STALL) for when in When if when is not When.ANSWERED]


async def test_without_a_fault_everything_passes_as_it_is() -> None:
    async with line() as on:
        said = await asyncio.gather(*(on.say(str(number).encode()) for number in range(50)))
        assert said == [str(number) for number in range(50)]
        assert await on.say(LARGE) == LARGE.decode()
        counted = [each async for each in on.count(20)]
        assert counted == [str(number).encode() for number in range(20)]
        assert on.proxy.connections == 1
        assert {each.forwarded for each in on.proxy.passed} == {Forwarded.WHOLE}
        assert all(each.is_answered for each in on.proxy.passed)


@pytest.mark.parametrize("fault", HARMLESS, ids=str)
async def test_what_only_takes_time_or_comes_after_the_end_changes_no_answer(fault: Fault) -> None:
    async with line(fault) as on:
        assert [await on.say(b"one"), await on.say(b"two"), await on.insist(b"three")] == ["one", "two", "three"]
        assert on.echo.heard == [b"one", b"two", b"three"]
        assert on.proxy.passed[1].is_struck
        expected = 2 if fault.what in {What.AGE, What.CLOSE} else 1
        assert on.proxy.connections == expected


@pytest.mark.parametrize("fault", FATAL, ids=str)
async def test_a_cut_ends_its_call_and_says_truly_what_was_forwarded(fault: Fault) -> None:
    async with line(fault) as on:
        assert await on.say(b"one") == "one"
        assert await on.say(b"two") == "UNAVAILABLE"
        await on.insist(b"three")
        struck = on.proxy.passed[1]
        assert struck.is_struck
        assert not struck.is_answered
        assert struck.forwarded == {When.BEFORE: Forwarded.NOTHING, When.REQUEST: Forwarded.PART}.get(
            fault.when, Forwarded.WHOLE
        )
        if struck.forwarded is not Forwarded.WHOLE:
            assert on.echo.heard == [b"one", b"three"]
        elif fault.when in {When.LOST, When.REPLY}:
            assert on.echo.heard == [b"one", b"two", b"three"]


@pytest.mark.parametrize("fault", STALLED, ids=str)
async def test_a_stalled_connection_neither_answers_nor_ends(fault: Fault) -> None:
    async with line(fault) as on:
        assert await on.say(b"one") == "one"
        assert await on.say(b"two", SHORT_S) == "DEADLINE_EXCEEDED"
        assert on.proxy.passed[1].is_struck
        await on.insist(b"three")
        assert on.proxy.connections == 2


async def test_a_connection_that_stalls_between_two_calls_holds_up_the_next_one() -> None:
    async with line(Fault(when=When.ANSWERED, what=What.STALL)) as on:
        assert [await on.say(word) for word in (b"one", b"two")] == ["one", "two"]
        assert await on.say(b"three", SHORT_S) == "DEADLINE_EXCEEDED"
        await on.insist(b"four")
        assert on.echo.heard == [b"one", b"two", b"four"]


@pytest.mark.parametrize("what", [What.REFUSE, What.DISOWN])
async def test_a_stream_that_is_kept_back_leaves_its_connection_whole(what: What) -> None:
    async with line(Fault(when=When.BEFORE, what=what)) as on:
        await on.say(b"one")
        assert await on.say(LARGE) == "UNAVAILABLE"
        for number in range(20):
            await on.insist(LARGE + str(number).encode())
        assert on.proxy.connections == (1 if what is What.REFUSE else 2)


async def test_a_stream_of_messages_is_cut_among_them() -> None:
    fault = Fault(when=When.REPLY, what=What.RESET, messages=7)
    async with line(fault) as on:
        await on.say(b"one")
        counted: list[bytes] = []

        async def count() -> None:
            async for each in on.count(20):
                counted.append(each)  # noqa: PERF401  (what came before the end is what is asked)

        with pytest.raises(aio.AioRpcError):
            await count()
        assert len(counted) <= 7
        assert on.proxy.passed[1].messages == 7


async def test_a_refused_connection_and_a_mute_one_forward_nothing() -> None:
    async with line() as on:
        await on.proxy.refuse()
        assert await on.say(b"one", SHORT_S) == "DEADLINE_EXCEEDED"
        assert on.proxy.connections == 0
        on.proxy.is_mute = True
        await on.proxy.listen()
        while on.proxy.connections == 0:  # the channel pauses between its tries, as long as it likes
            assert await on.say(b"two", SHORT_S) == "DEADLINE_EXCEEDED"
        on.proxy.is_mute = False
        on.proxy.cut()
        await on.insist(b"three")
        assert on.echo.heard == [b"three"]


async def test_a_server_that_is_not_there_is_a_connection_that_comes_to_nothing() -> None:
    async with Proxy(lambda: "127.0.0.1:1") as proxy, aio.insecure_channel(proxy.address) as channel:
        say: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/echo.v1.Echo/Say")
        with pytest.raises(aio.AioRpcError) as failed:
            await say(b"one", timeout=CALL_S)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert proxy.passed == []
