"""A whole process, and all that it shows to anybody but a saga's own caller: each a text to look for a word in."""

import asyncio
import base64
import io
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection

from orchestrator.api import ApiServer
from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from orchestrator.telemetry.exposition import OPENMETRICS
from orchestrator.telemetry.logs import LogFormat, Speaker, configure_logging
from orchestrator.v1 import diagnostics_service_pb2 as diagnostics
from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub
from services.expenses.v1 import expenses_pb2 as pb
from tests.integration.api.rig import Listen
from tests.integration.telemetry.collector import Received, grpc_collector

CANARY = "canary-7f3a-4111"
"""What is only in payloads, headers and errors of code."""
WORDS = "parrot-55c1-says"
"""What a called service says beside its status code; for whoever looks at the saga, and its trace."""
SERVICE = "expenses.v1.Claims"
Refusing = Callable[[str, str], grpc.StatusCode | None]
"""Method and claim to how the next call of it ends; None: well."""


def shapes(word: str) -> Iterator[str]:
    """Every form in which a word may lie about: as it is, in hex, in base64 at each of three offsets, in part."""
    yield word
    yield word.encode().hex()
    for offset in range(3):
        packed = base64.b64encode(b"\0" * offset + word.encode()).decode()
        yield packed[4 if offset else 0 : -4]
    yield word[:8]


@dataclass(slots=True, kw_only=True)
class Clerk:
    """A service whose every reply, message and trailer has the words in it."""

    refuses: dict[tuple[str, str], list[grpc.StatusCode]] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """Claims whose Submit does not end before this is set; it is taken out when the call is there."""
    holds: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether such a call is there."""

    def _end(self, method: str, claim_id: str) -> grpc.StatusCode | None:
        waiting = self.refuses.get((method, claim_id), [])
        return waiting.pop(0) if waiting else None

    async def submit(self, request: pb.SubmitRequest, context: "Context") -> pb.SubmitResponse:
        if (gate := self.held.pop(request.claim_id, None)) is not None:
            self.holds.set()
            await gate.wait()
        await self._say(self._end("Submit", request.claim_id), context)
        return pb.SubmitResponse(receipt_id=CANARY)

    async def withdraw(self, request: pb.WithdrawRequest, context: "Context") -> pb.WithdrawResponse:
        await self._say(self._end("Withdraw", request.claim_id), context)
        return pb.WithdrawResponse()

    async def check(self, request: pb.CheckApprovalRequest, context: "Context") -> pb.CheckApprovalResponse:
        await self._say(self._end("CheckApproval", request.claim.claim_id), context)
        return pb.CheckApprovalResponse(valid=request.approval.approved, problem=CANARY)

    async def _say(self, code: grpc.StatusCode | None, context: "Context") -> None:
        context.set_trailing_metadata((("x-session", CANARY),))
        if code is None:
            return
        info = error_details_pb2.ErrorInfo(reason="ODD", domain="expenses", metadata={"token": CANARY})
        packed = any_pb2.Any()
        packed.Pack(info)
        status = status_pb2.Status(code=code.value[0], message=WORDS, details=[packed])
        trailing = (("grpc-status-details-bin", status.SerializeToString()), ("x-session", CANARY))
        await context.abort(code, WORDS, trailing)


Context = grpc.aio.ServicerContext[object, object]


@asynccontextmanager
async def clerk() -> AsyncGenerator[tuple[Clerk, str]]:
    """The service and its address."""
    one = Clerk()
    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[message.Message, message.Message]] = {
        name: grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=kind.FromString, response_serializer=lambda reply: reply.SerializeToString()
        )
        for name, behaviour, kind in (
            ("Submit", one.submit, pb.SubmitRequest),
            ("Withdraw", one.withdraw, pb.WithdrawRequest),
            ("CheckApproval", one.check, pb.CheckApprovalRequest),
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield one, f"127.0.0.1:{port}"
    await server.stop(None)


class Heard(io.StringIO):
    """A stream that says when something has been written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._awaited: dict[str, asyncio.Event] = {}

    def write(self, text: str) -> int:
        for words, event in self._awaited.items():
            if words in text:
                self._loop.call_soon_threadsafe(event.set)
        return super().write(text)

    async def until(self, words: str) -> None:
        """Wait for a line with these words that has not been written yet."""
        event = self._awaited.setdefault(words, asyncio.Event())
        await event.wait()


@contextmanager
def log_to(stream: io.StringIO, log_format: LogFormat) -> Iterator[None]:
    """Everything that is logged in this process, at DEBUG."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging(log_format, "DEBUG", stream, Speaker(node="desk"))
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)


@dataclass(slots=True, kw_only=True)
class Sinks:
    """Where a word may leak to."""

    log: Heard
    spans: Received
    pages: list[str] = field(default_factory=list)
    """Metrics and dumps, as often as they were looked at."""
    errors: list[str] = field(default_factory=list)
    """What callers were told that went wrong."""

    def texts(self) -> Mapping[str, str]:
        """Return each sink as one text."""
        spans = [str(span) for span in self.spans.spans] + [str(each) for each in self.spans.resources]
        return {
            "log": self.log.getvalue(),
            "spans": "\n".join(spans),
            "pages": "\n".join(self.pages),
            "errors": "\n".join(self.errors),
        }

    def told(self, error: grpc.aio.AioRpcError) -> grpc.StatusCode:
        """Keep everything of an error that its caller sees; return its code."""
        trailing = [f"{key}: {value!r}" for key, value in error.trailing_metadata()]
        self.errors.append("\n".join([str(error.details()), str(error.debug_error_string()), *trailing]))
        return error.code()

    async def look(self, node: Node, channel: grpc.aio.Channel) -> None:
        """Take what a scrape and a person who looks for a fault see now."""
        self.pages += [node.metrics.render(accept)[1].decode() for accept in ("", OPENMETRICS)]
        stub = DiagnosticsServiceStub(channel)
        dump = await stub.DumpProcess(diagnostics.DumpProcessRequest(limit=1_000, objects=True))
        figures = await stub.GetFigures(diagnostics.GetFiguresRequest())
        self.pages += [str(dump), str(figures)]


@asynccontextmanager
async def process(
    folder: Path, address: str, sinks: Sinks, environ: Mapping[str, str]
) -> AsyncGenerator[tuple[Node, grpc.aio.Channel]]:
    """One life of the orchestrator over the file in the folder, and a connection to its API."""
    settings = Settings.model_validate(
        {
            "store": f"sqlite:{folder / 'saga.sqlite'}",
            "targets": {"claims": {"address": address, "idempotent": True}},
            "definitions": [str(folder)],
        }
    )
    async with open_node(settings, environ=environ) as node:
        api = ApiServer(
            node.orchestrator,
            node.revisions,
            Listen(),
            clock=node.clock,
            cluster=node.cluster,
            diagnostics=node.diagnostics,
            observer=node.observer,
        )
        port = await api.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                yield node, channel
            finally:
                await sinks.look(node, channel)
                await api.drain(0.0)


@contextmanager
def sinks(log_format: LogFormat) -> Iterator[tuple[Sinks, str]]:
    """Open every sink; the second is the address that spans go to."""
    stream = Heard()
    with grpc_collector() as (endpoint, received), log_to(stream, log_format):
        yield Sinks(log=stream, spans=received), endpoint
