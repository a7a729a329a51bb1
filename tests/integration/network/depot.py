"""The service at the far end of the bad network, and its ledger.

It keeps keys and the barrier contract, or it keeps nothing: then whatever is sent twice acts twice, and the ledger
shows it. It can be stopped and started again, at another address, with what it knows.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.rpc import code_pb2, status_pb2
from grpc import aio

from orchestrator.ids import SagaId, StepId
from orchestrator.verify.witnesses import LedgerLine

SERVICE = "depot.v1.Depot"
OPERATIONS = "google.longrunning.Operations"
ASKED = 2
"""How often one asks after an operation until it is done."""
TIRED = 2
"""How often one that is busy says so."""
_NOTHING = b""
_FOUND = b"\x10\x01"
_METHODS = {"Put": "Note", "Take": "Note", "Find": "Note", "Refuse": "Note", "Tire": "Note", "Build": "Operation"}

Context: TypeAlias = "aio.ServicerContext[bytes, bytes]"
Told = Mapping[str, str]


def described() -> bytes:
    """Return the depot's types, and those of long-running operations, as a descriptor set."""
    file = FileDescriptorProto(name="depot.proto", package="depot.v1", syntax="proto3")
    file.dependency.append("google/longrunning/operations.proto")
    note = file.message_type.add(name="Note")
    note.field.add(name="id", number=1, type=FieldDescriptorProto.TYPE_STRING)
    note.field.add(name="found", number=2, type=FieldDescriptorProto.TYPE_BOOL)
    service = file.service.add(name="Depot")
    types = {"Note": ".depot.v1.Note", "Operation": ".google.longrunning.Operation"}
    for name, reply in _METHODS.items():
        service.method.add(name=name, input_type=types["Note"], output_type=types[reply])
    files: dict[str, FileDescriptorProto] = {}
    _collect(operations_pb2.DESCRIPTOR, files)
    return FileDescriptorSet(file=[*files.values(), file]).SerializeToString()


def _collect(file: FileDescriptor, into: dict[str, FileDescriptorProto]) -> None:
    if file.name in into:
        return
    for imported in file.dependencies:
        _collect(imported, into)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    into[file.name] = copy


@dataclass(slots=True)
class _Work:
    """An operation: what was asked for, and how often somebody has asked after it."""

    told: Told
    asked: int = 0
    is_stopped: bool = False


@dataclass(slots=True, kw_only=True)
class Depot:
    """Things by saga and step; what was put can be taken back."""

    keeps: bool
    """Keys, and the barrier contract."""
    lines: list[LedgerLine] = field(default_factory=list[LedgerLine])
    address: str = ""
    _server: aio.Server | None = None
    _things: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _replies: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _forbidden: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    _works: dict[str, _Work] = field(default_factory=dict[str, _Work])
    _began: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict[str, asyncio.Event](asyncio.Event))

    async def start(self) -> None:
        server = self._server = aio.server()
        _register(
            server,
            SERVICE,
            Put=self.put,
            Take=self.take,
            Find=self.find,
            Refuse=self.refuse,
            Tire=self.tire,
            Build=self.build,
        )
        _register(server, OPERATIONS, GetOperation=self.ask, CancelOperation=self.stop_work)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()

    async def stop(self) -> None:
        """End, with every call that is under way; what is known stays."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def put(self, _request: bytes, context: Context) -> bytes:
        told = _told(context)
        known = await self._known(told, context)
        if known is None:
            self._make(told)
        return self._answer(told, _NOTHING) if known is None else known

    async def build(self, _request: bytes, context: Context) -> bytes:
        told = _told(context)
        known = await self._known(told, context)
        if known is not None:
            return known
        name = f"operations/{len(self._works)}"
        self._works[name] = _Work(told)
        return self._answer(told, operations_pb2.Operation(name=name).SerializeToString())

    async def take(self, _request: bytes, context: Context) -> bytes:
        told = _told(context)
        if self.keeps and told["idempotency-key"] in self._replies:
            self._write(told, 0)
            return _NOTHING
        thing = told["saga-id"], told["saga-step"]
        for work in self._works.values():
            work.is_stopped |= (work.told["saga-id"], work.told["saga-step"]) == thing
        self._write(told, self._things.pop(thing, 0))
        self._forbidden.add(thing)
        return self._answer(told, _NOTHING)

    async def find(self, _request: bytes, context: Context) -> bytes:
        told = _told(context)
        return _FOUND if self._things[told["saga-id"], told["saga-step"]] else _NOTHING

    async def refuse(self, request: bytes, context: Context) -> bytes:
        """Say no; where the saga builds something that is never done, once somebody has asked after that."""
        if request:
            await self._began[_told(context)["saga-id"]].wait()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        raise AssertionError("abort raises")

    async def tire(self, _request: bytes, context: Context) -> bytes:
        """Be busy for the first attempts."""
        if int(_told(context)["saga-attempt"]) <= TIRED:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return _NOTHING

    async def ask(self, request: bytes, context: Context) -> bytes:
        told, name = _told(context), operations_pb2.GetOperationRequest.FromString(request).name
        self._began[told["saga-id"]].set()
        work = self._works[name]
        work.asked += 1
        done = operations_pb2.Operation(name=name, done=True)
        if work.is_stopped:
            done.error.CopyFrom(status_pb2.Status(code=code_pb2.CANCELLED, message="stopped"))
            return bytes(done.SerializeToString())
        if work.asked < ASKED or told["saga-step"] == "endless":
            return bytes(operations_pb2.Operation(name=name).SerializeToString())
        if work.asked == ASKED:
            self._make(work.told)
        done.response.type_url = "type.googleapis.com/depot.v1.Note"
        return bytes(done.SerializeToString())

    async def stop_work(self, request: bytes, _context: Context) -> bytes:
        work = self._works[operations_pb2.CancelOperationRequest.FromString(request).name]
        work.is_stopped |= work.asked < ASKED or work.told["saga-step"] == "endless"
        return _NOTHING

    async def _known(self, told: Told, context: Context) -> bytes | None:
        """Return the reply that stands; refuse what the barrier contract forbids."""
        if not self.keeps:
            return None
        if (known := self._replies.get(told["idempotency-key"])) is not None:
            self._write(told, 0)
            return known
        late = time.time() > float(told["saga-not-after"])  # noqa: TID251  (a service has a clock of its own)
        if late or (told["saga-id"], told["saga-step"]) in self._forbidden:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "SAGA_STEP_ALREADY_COMPENSATED, or too late")
        return None

    def _make(self, told: Told) -> None:
        self._things[told["saga-id"], told["saga-step"]] += 1
        self._write(told, 1)

    def _answer(self, told: Told, reply: bytes) -> bytes:
        return self._replies.setdefault(told["idempotency-key"], reply) if self.keeps else reply

    def _write(self, told: Told, effect: int) -> None:
        line = LedgerLine(
            service="depot",
            saga_id=SagaId(told["saga-id"]),
            step=StepId(told["saga-step"]),
            operation="compensate" if told["saga-op"] == "compensate" else "forward",
            key=told["idempotency-key"],
            count=effect,
        )
        self.lines.append(line)


@asynccontextmanager
async def depot(*, keeps: bool) -> AsyncIterator[Depot]:
    """Serve while the block runs."""
    served = Depot(keeps=keeps)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


def _register(server: aio.Server, service: str, **methods: Any) -> None:
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def _told(context: Context) -> Told:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
