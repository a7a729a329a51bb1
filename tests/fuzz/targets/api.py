"""The gRPC API: a line `Service/Method`, then the bytes of a request; or a line `raw`, then bytes for the port.

A real node with a real file behind a real port. The services that its definitions call answer every method with an
empty message, so that sagas move while strangers talk.
"""

import asyncio
import socket
import tempfile
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from orchestrator.api import ApiServer, paging
from orchestrator.bootstrap import open_node
from orchestrator.config import Settings
from orchestrator.v1 import definition_service_pb2, operator_service_pb2, saga_service_pb2
from tests.fuzz import messages
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import flipped, spliced
from tests.fuzz.targets.queries import SEEDS as QUERIES
from tests.fuzz.targets.worlds import DEFINITIONS, methods, texts

CALL_S: Final = 60.0
WAIT_S: Final = 0.02
"""Of what waits: nobody has to see it come."""
METHODS: Final = {
    f"{service.name}/{method.name}": method
    for file in (saga_service_pb2, definition_service_pb2, operator_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SAGAS: Final = ("approval-1", "order-1", "order-2", "transfer-1", "import-1", "trip-1", "paused-1", "nobody")
UIDS: Final = tuple(f"0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d{number:02x}" for number in range(8))
WORDS: Final = (
    *SAGAS, *SAGAS, *UIDS, "order", "approval", "transfer", "bulk_import", "travel", "epro_intake", "decision",
    "reserve",
    "insert", "insert[0]", "capture", "ship", "flight", "1", "2", "shop.v1.PlaceOrder",
    "type.googleapis.com/expenses.v1.Approval",
    "type.googleapis.com/google.protobuf.Struct", "status", "start_time desc", "saga_id", "definition",
    *(query.partition("\n")[2] for query in QUERIES), paging.token((17,), "ListSagaEvents", "order-1"),
    paging.token((2**70,), "ListSagaEvents", "order-1"), paging.token((-1,), "ListSagaEvents", "order-1"),
    paging.token((10**400, "x"), "ListSagas", "", "started_at", "True"),
    paging.token((1e300, "x"), "ListSagas", "", "started_at", "True"),
)  # fmt: skip
RAW: Final = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\5\1\4\0\0\0\1\x82\x86\x84\xbe\xff",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\4\3\0\0\0\0\1\0\0\0\x08" * 50,
)  # fmt: skip


@dataclass(slots=True)
class _Served:
    """A server that runs, and what closes it."""

    port: int
    channel: grpc.aio.Channel
    stack: AsyncExitStack


@contextmanager
def opened() -> Iterator[Target]:
    """Give a server, a new one with every batch."""
    with tempfile.TemporaryDirectory() as folder, _services() as address, asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: raised.append(str(context)))
        raised: list[str] = []
        served = [runner.run(_open(Path(folder), address, 0))]
        batches = 0

        def refresh() -> None:
            nonlocal batches
            batches += 1
            runner.run(served.pop().stack.aclose())
            served.append(runner.run(_open(Path(folder), address, batches)))

        def run(data: bytes) -> str:
            name, _, body = data.partition(b"\n")
            method = name.decode("utf-8", "replace")
            if method == "raw":
                word = runner.run(_garbage(served[0], body))
            elif method in METHODS:
                word = runner.run(_call(served[0].channel, method, body))
            else:
                return "nothing"
            assert not raised, raised
            return word

        yield Target(
            run=run, mutate=mutated, refresh=refresh, input_bytes_max=4 * 1024,
            seeds=[*_seeds(), *(b"raw\n" + raw for raw in RAW)],
        )  # fmt: skip
        runner.run(served.pop().stack.aclose())


@contextmanager
def _services() -> Iterator[str]:
    """Answer every method of every service with an empty message."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([_Anything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


class _Anything(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


async def _open(folder: Path, address: str, batch: int) -> _Served:
    targets = {}
    for name, data in methods().sets.items():
        path = folder / f"{name}.binpb"
        path.write_bytes(data or b"")
        targets[name] = {"address": address, "descriptors": {"set": str(path)}, "idempotent": True, "barrier": True}
    store = folder / f"{batch}.sqlite"
    settings = Settings.model_validate(
        {"store": f"sqlite:{store}", "definitions": [str(DEFINITIONS)], "targets": targets, "api": {"port": 0}}
    )
    stack = AsyncExitStack()
    node = await stack.enter_async_context(open_node(settings, {}))
    api = ApiServer(node.orchestrator, node.revisions, settings.api, clock=node.clock)
    port = await api.start()
    stack.push_async_callback(api.drain, 0.0)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    for saga, definition in zip(
        SAGAS, ("approval", "order", "order", "transfer", "bulk_import", "travel", "approval"), strict=False
    ):
        request = saga_service_pb2.StartSagaRequest(saga_id=saga, definition=definition)
        assert await _call(channel, "SagaService/StartSaga", request.SerializeToString(), CALL_S) == "taken"
    pause = operator_service_pb2.PauseSagaRequest(saga_id="paused-1", reason="to see")
    await _call(channel, "OperatorService/PauseSaga", pause.SerializeToString())
    return _Served(port, channel, stack)


async def _call(channel: grpc.aio.Channel, name: str, body: bytes, wait_s: float = WAIT_S) -> str:
    method = METHODS[name]
    path = f"/{method.containing_service.full_name}/{method.name}"
    waits = method.server_streaming or name in {
        "SagaService/WaitSaga",
        "SagaService/StartSaga",
        "SagaService/SignalWithStart",
    }
    read = method.output_type._concrete_class.FromString
    raw: Any = channel  # its stubs know no method that takes bytes as they are
    try:
        if method.server_streaming:
            async for _ in raw.unary_stream(path, None, read)(body, timeout=wait_s):
                pass
        else:
            await raw.unary_unary(path, None, read)(body, timeout=wait_s * 4 if waits else CALL_S)
    except grpc.aio.AioRpcError as error:
        if waits and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return "waited"
        _ours(error)
        return "refused"
    return "taken"


def _ours(error: grpc.aio.AioRpcError) -> None:
    """A status is one of ours: it says why in a sentence and in ErrorInfo, and is never the fault of a bug."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    assert isinstance(details, bytes), f"{error.code()} without details: {error.details()}"
    status, info = status_pb2.Status.FromString(details), error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status.details), f"{error.code()} without ErrorInfo"
    assert info.domain == "orchestrator"
    bugs = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
    assert error.code() not in bugs, f"{error.code()} {info.reason}: {error.details()}"
    clear(error.details() or "")


async def _garbage(served: _Served, data: bytes) -> str:
    """Send bytes to the port; the server may say what it likes, and goes on."""

    def send() -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", served.port), timeout=CALL_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.05)
            while connection.recv(4096):
                pass

    await asyncio.to_thread(send)
    request = saga_service_pb2.GetSagaRequest(saga_id="order-1")
    assert await _call(served.channel, "SagaService/GetSaga", request.SerializeToString()) == "taken"
    return "taken"


# --- requests --------------------------------------------------------------------------------------------------------


def _seeds() -> Iterator[bytes]:
    """Yield for each method a request about each saga that has its fields, so that most get past the first check."""
    for name, method in METHODS.items():
        for saga in (*SAGAS[:3], ""):
            request = method.input_type._concrete_class()
            _fill(request, saga)
            yield name.encode() + b"\n" + request.SerializeToString()
            if not saga or "saga_id" not in method.input_type.fields_by_name:
                break


def _fill(request: Message, saga: str) -> None:
    plain = {
        "saga_id": saga, "reason": "the shop called", "request_id": UIDS[0], "definition": "order",
        "signal": "decision",
        "step": "reserve", "source": texts()[6][1], "filename": "order.yaml",
    }  # fmt: skip
    for field in request.DESCRIPTOR.fields:
        if field.name in plain and field.message_type is None:
            setattr(request, field.name, plain[field.name])
        elif field.name in {"start", "signal"} and field.message_type is not None:
            _fill(getattr(request, field.name), saga if field.name == "start" else "")
    if request.DESCRIPTOR.name == "StartSagaRequest":
        request.ClearField("saga_id")


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change the request's fields, or its bytes; seldom ask another method, or send bytes without a method."""
    name, _, body = luck.choice(seeds).partition(b"\n")
    method = name.decode("utf-8", "replace")
    if method == "raw":
        return b"raw\n" + flipped(luck, body)
    if luck.random() < 0.15:
        method = luck.choice(list(METHODS))
    if method not in METHODS:
        return flipped(luck, body)
    kind = luck.random()
    if kind < 0.15:
        body = flipped(luck, body)
    elif kind < 0.2:
        body = spliced(luck, body, luck.choice(seeds).partition(b"\n")[2])
    else:
        request = METHODS[method].input_type._concrete_class()
        with suppress(DecodeError):
            request.ParseFromString(body)
        messages.changed(luck, request, WORDS)
        body = request.SerializeToString()
    return method.encode() + b"\n" + body
