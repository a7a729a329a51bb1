"""The failing line itself: each way is shut, slow or narrow by itself, and what is cut is cut as it was asked for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.kit.tcp import Line

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo(heard: bytearray) -> AsyncGenerator[Line]:
    """A line to a server that repeats what it hears, and keeps it."""

    serving: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        try:
            while data := await reader.read(1_000):
                heard.extend(data)
                writer.write(data)
                await writer.drain()
        except ConnectionResetError:
            heard.extend(b"RESET")
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with Line(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as line:
        yield line
        for client in _opened:
            client.transport.abort()
        _opened.clear()
    server.close()
    await asyncio.gather(*(each for each in serving if each is not None))


_opened: list[asyncio.StreamWriter] = []
"""Clients of the test that runs."""


async def opened(line: Line) -> Streams:
    streams = await asyncio.open_connection("127.0.0.1", line.port)
    _opened.append(streams[1])
    return streams


async def said(streams: Streams, words: bytes) -> bytes:
    streams[1].write(words)
    return await streams[0].readexactly(len(words))


async def is_silent(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await streams[0].read(1)
    except TimeoutError:
        return True
    return False


async def arrived(heard: bytearray, words: bytes) -> None:
    while bytes(heard) != words:  # noqa: ASYNC110  (what a server has heard)
        await asyncio.sleep(0.001)  # poll: what the server has heard


async def test_a_way_that_is_shut_holds_everything_back_and_loses_nothing() -> None:
    heard = bytearray()
    async with echo(heard) as line:
        streams = await opened(line)
        assert await said(streams, b"one") == b"one"
        line.back.shut()
        streams[1].write(b"two")
        await arrived(heard, b"onetwo")
        assert await is_silent(streams)
        line.there.shut()
        streams[1].write(b"three")
        line.back.open()
        assert await streams[0].readexactly(3) == b"two"
        assert await is_silent(streams)
        assert bytes(heard) == b"onetwo"
        line.heal()
        assert await streams[0].readexactly(5) == b"three"


async def test_a_connection_that_begins_while_the_way_is_shut_comes_about_later() -> None:
    heard = bytearray()
    async with echo(heard) as line:
        line.there.shut()
        streams = await opened(line)
        streams[1].write(b"one")
        assert await is_silent(streams)
        assert not heard
        line.heal()
        assert await streams[0].readexactly(3) == b"one"


async def test_an_end_does_not_pass_a_way_that_is_shut() -> None:
    heard = bytearray()
    async with echo(heard) as line:
        streams = await opened(line)
        await said(streams, b"one")
        line.there.shut()
        streams[1].close()
        again = await opened(line)
        line.heal()
        assert await said(again, b"two") == b"two"
        assert await streams[0].read() == b""


@pytest.mark.parametrize("reset", [True, False])
async def test_what_is_cut_ends_by_a_reset_or_by_an_end_at_both_sides(reset: bool) -> None:
    heard = bytearray()
    async with echo(heard) as line:
        streams = await opened(line)
        await said(streams, b"one")
        assert line.cut(reset=reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                await streams[0].read()
            await arrived(heard, b"oneRESET")
        else:
            assert await streams[0].read() == b""
        assert await said(await opened(line), b"two") == b"two"


async def test_a_line_refuses_until_it_listens_again_on_the_same_port() -> None:
    async with echo(bytearray()) as line:
        streams = await opened(line)
        await said(streams, b"one")
        line.refuse()
        with pytest.raises(ConnectionResetError):
            await streams[0].read()
        with pytest.raises(ConnectionRefusedError):
            await opened(line)
        await line.listen()
        assert await said(await opened(line), b"two") == b"two"


async def test_a_reset_of_one_side_reaches_the_other_as_one() -> None:
    heard = bytearray()
    async with echo(heard) as line:
        streams = await opened(line)
        await said(streams, b"one")
        streams[1].transport.abort()
        line.cut()
        await arrived(heard, b"oneRESET")


async def test_a_way_is_slow_or_narrow_by_itself() -> None:
    loop = asyncio.get_running_loop()
    async with echo(bytearray()) as line:
        streams = await opened(line)
        line.there.delay_s = 0.1
        began = loop.time()
        assert await said(streams, b"one") == b"one"
        assert loop.time() - began >= 0.1
        line.heal()
        line.back.bytes_per_s = 100.0
        began = loop.time()
        assert await said(streams, b"0123456789" * 2) == b"0123456789" * 2
        assert loop.time() - began >= 0.2


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    async with Line("127.0.0.1:1") as line:
        streams = await opened(line)
        with pytest.raises(ConnectionResetError):
            await streams[0].read()
