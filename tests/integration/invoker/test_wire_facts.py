"""What real peers, broken peers and gRPC itself put into a status: the facts that `classify.py` rests on."""

import asyncio
import contextlib

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from orchestrator.saga.events import Phase
from tests.integration.invoker import peers
from tests.integration.invoker.calling import calling
from tests.integration.invoker.peers import Context, Script, answering, raw_peer, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

CODES = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
ANSWERS = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
    *("DATA_LOSS", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"),
}


async def buy(request: bytes, context: Context) -> bytes:
    """Do as the request says: a code to abort with, then a text."""
    code, _, text = request.decode().partition(" ")
    if code in CODES:
        await context.abort(CODES[code], text)
    if code == "raise":
        raise ValueError(text)
    return b""


@pytest.mark.parametrize("code", CODES)
async def test_a_service_may_answer_with_any_code(code: str) -> None:
    async with serving({"Buy": buy}) as address, calling(address) as caller:
        report = await caller.call(data=f"{code} no more".encode())
    assert (report.code, report.message, report.reply) == (code, "no more", None)
    assert report.phase is (Phase.REPLIED if code in ANSWERS else Phase.SENT)
    assert report.sent_at is not None
    assert report.ended_at is not None
    assert report.sent_at <= report.ended_at


@pytest.mark.parametrize("code", CODES)
async def test_a_service_that_passes_on_a_refused_connection_is_not_taken_for_one(code: str) -> None:
    forged = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"
    async with serving({"Buy": buy}) as address, calling(address) as caller:
        report = await caller.call(data=f"{code} {forged}".encode())
    assert (report.code, report.message) == (code, forged)
    assert report.phase is not Phase.NOT_SENT


async def test_a_handler_that_raises_leaves_the_outcome_open() -> None:
    async with serving({"Buy": buy}) as address, calling(address) as caller:
        report = await caller.call(data=b"raise boom")
    assert (report.code, report.phase) == ("UNKNOWN", Phase.SENT)
    assert "boom" in report.message


async def test_error_info_and_retry_info_arrive() -> None:
    async def busy(_request: bytes, context: Context) -> bytes:
        status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="full")
        for detail in (
            ErrorInfo(reason="FULL", domain="shop", metadata={"applied": "false"}),
            RetryInfo(retry_delay=Duration(seconds=3)),
        ):
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        await context.abort_with_status(rpc_status.to_status(status))

    async with serving({"Buy": busy}) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.code, report.phase, report.message) == ("UNAVAILABLE", Phase.REPLIED, "full")
    assert (report.applied, report.error_reason, report.retry_after_s) == (False, "FULL", 3.0)


@pytest.mark.parametrize(("pushback", "wait_s"), [("250", 0.25), ("-1", -1.0)])
async def test_pushback_arrives_though_the_channel_does_not_retry(pushback: str, wait_s: float) -> None:
    asked = 0

    async def busy(_request: bytes, context: Context) -> bytes:
        nonlocal asked
        asked += 1
        trailing = (("grpc-retry-pushback-ms", pushback),)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "full", trailing)

    async with serving({"Buy": busy}) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.retry_after_s, report.phase, asked) == (wait_s, Phase.REPLIED, 1)


async def test_first_headers_before_a_broken_connection_prove_no_answer() -> None:
    async def half(_request: bytes, context: Context) -> bytes:
        await context.send_initial_metadata((("seen", "1"),))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    async with serving({"Buy": half}) as address, calling(address) as caller:
        assert (await caller.call()).phase is Phase.SENT


GRPC = ("content-type", "application/grpc")
BROKEN: dict[str, tuple[Script, str]] = {
    "reset: no error": (answering(peers.reset_stream(0)), "INTERNAL"),
    "reset: protocol error": (answering(peers.reset_stream(1)), "INTERNAL"),
    "reset: internal error": (answering(peers.reset_stream(2)), "INTERNAL"),
    "reset: refused stream": (answering(peers.reset_stream(7)), "UNAVAILABLE"),
    "reset: cancel": (answering(peers.reset_stream(8)), "CANCELLED"),
    "reset: enhance your calm": (answering(peers.reset_stream(11)), "RESOURCE_EXHAUSTED"),
    "reset: inadequate security": (answering(peers.reset_stream(12)), "PERMISSION_DENIED"),
    "goaway, then closed": (answering(peers.goaway(0, disown=False), stay=False), "UNAVAILABLE"),
    "goaway that disowns the stream": (answering(peers.goaway(0, disown=True)), "UNAVAILABLE"),
    "goaway: too many pings": (answering(peers.goaway(11, disown=False), stay=False), "UNAVAILABLE"),
    "closed": (answering(lambda _stream: b"", stay=False), "UNAVAILABLE"),
    "TCP reset": (peers.resetting, "UNAVAILABLE"),
    "http 200 without a status": (answering(peers.response((":status", "200"), GRPC)), "UNKNOWN"),
    "http 400": (answering(peers.response((":status", "400"))), "INTERNAL"),
    "http 401": (answering(peers.response((":status", "401"))), "UNAUTHENTICATED"),
    "http 403": (answering(peers.response((":status", "403"))), "PERMISSION_DENIED"),
    "http 404": (answering(peers.response((":status", "404"))), "UNIMPLEMENTED"),
    "http 429": (answering(peers.response((":status", "429"))), "UNAVAILABLE"),
    "http 500": (answering(peers.response((":status", "500"))), "UNKNOWN"),
    "http 502": (answering(peers.response((":status", "502"))), "UNAVAILABLE"),
    "http 503 with headers": (answering(peers.response((":status", "503"), ("server", "proxy"))), "UNAVAILABLE"),
    "http 504": (answering(peers.response((":status", "504"))), "UNAVAILABLE"),
    "a number that is no status": (
        answering(peers.response((":status", "200"), GRPC, ("grpc-status", "99"))),
        "UNKNOWN",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_stream_that_breaks_after_the_request_is_ambiguous(how: str) -> None:
    script, code = BROKEN[how]
    async with raw_peer(script) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.code, report.phase) == (code, Phase.SENT), report


async def test_ok_without_a_message_is_no_success() -> None:
    script = answering(peers.response((":status", "200"), GRPC, ("grpc-status", "0")))
    async with raw_peer(script) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.code, report.phase, report.applied, report.reply) == ("INTERNAL", Phase.REPLIED, None, None)
    assert "no message" in report.message


async def test_a_server_that_stops_under_a_call_leaves_it_open() -> None:
    arrived = asyncio.Event()

    async def hang(_request: bytes, _context: Context) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    async with contextlib.AsyncExitStack() as life:
        address = await life.enter_async_context(serving({"Buy": hang}))
        async with calling(address) as caller:
            _open, reported = caller.begin(caller.request())
            await arrived.wait()
            await life.aclose()
            report = await reported
    assert (report.code, report.phase) == ("UNAVAILABLE", Phase.SENT)
