"""Everything at once against one node: starts, cancels, watches, refusals, hung calls, targets that come and go.

The services are here, on loopback, and so are the callers; the node is a process of its own. What happens to a saga is
drawn from a seed and its number.
"""

import asyncio
import random  # noqa: TID251  # seeded
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias
from uuid import UUID

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from grpc_reflection.v1alpha import reflection

from orchestrator.v1 import definition_service_pb2 as definitions
from orchestrator.v1 import definition_service_pb2_grpc as definitions_wire
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1 import saga_service_pb2_grpc as wire
from services.epro.v1 import archive_service_pb2 as archive
from services.epro.v1 import report_pb2
from services.epro.v1 import validator_service_pb2 as validator

Stream: TypeAlias = "grpc.aio.UnaryStreamCall[rpc.WatchSagaRequest, rpc.WatchSagaResponse]"

AT_ONCE = 150
LARGE_CHARS = 500_000
"""More than the windows of a stream hold: who does not read makes the server wait."""
NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536), ("grpc.use_local_subchannel_pool", 1))
"""A client that reads ahead no more than it must, on a connection of its own."""
WAIT = duration_pb2.Duration(seconds=30)
OUTAGES = 1
RELOADS = 3
NEVER_READ = 2
"""Of each, so many in a round."""
CALM = 100
"""So many of a round's last sagas are left alone and small: the caches then hold the same kind of thing each time."""

STEPS = """
  check:
    call: steady/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
    refuse: "!reply.valid"
    timeout: 200ms
    retry: {max_attempts: 8, initial_backoff: 10ms, max_backoff: 100ms, multiplier: 2}
  keep:
    after: [check]
    call: fickle/epro.v1.Archive/Store
    request: {report: "${input}"}
    timeout: 200ms
    retry: {max_attempts: 8, initial_backoff: 10ms, max_backoff: 100ms, multiplier: 2}
    compensate:
      call: fickle/epro.v1.Archive/Withdraw
      request: {report_id: "${input.report_id}"}
      timeout: 200ms
      retry: {initial_backoff: 10ms, max_backoff: 100ms, multiplier: 2}
"""
MORE = {
    "straight": "",
    "waiting": "  go: {after: [check], wait: {signal: go, type: epro.v1.Report}}\n",
    "family": '  child: {saga: straight, input: "${input}", compensate: undo}\n',
}


def definition(name: str, edition: int) -> str:
    """A text that is a revision of its own for each edition."""
    return f"# {edition}\nsaga: {name}\ninput: epro.v1.Report\ntargets: [steady, fickle]\nsteps:{STEPS}{MORE[name]}"


class Peers:
    """Two services: one that is always there, and one that is stopped and comes back on its port."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._fickle: grpc.aio.Server | None = None
        self.fickle_port = 0
        self.called = 0
        self.hung = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Mapping[str, str]]:
        """Give the addresses of both."""
        steady, port = await self._serve({"epro.v1.Validator": {"Validate": self._validate}}, 0)
        await self.come()
        try:
            yield {"steady": f"127.0.0.1:{port}", "fickle": f"127.0.0.1:{self.fickle_port}"}
        finally:
            await steady.stop(None)
            await self.go()

    async def come(self) -> None:
        methods = {"epro.v1.Archive": {"Store": self._store, "Withdraw": self._withdraw}}
        self._fickle, self.fickle_port = await self._serve(methods, self.fickle_port)

    async def go(self) -> None:
        assert self._fickle is not None
        await self._fickle.stop(None)

    async def _serve(self, services: Mapping[str, Mapping[str, Any]], port: int) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        for service, methods in services.items():
            made: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
                method: grpc.unary_unary_rpc_method_handler(act) for method, act in methods.items()
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, made),))
        reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server, port

    async def _validate(self, _data: bytes, context: Any) -> bytes:
        await self._trouble(context, unavailable=0.04, hung=0.01)
        return validator.ValidateResponse(valid=self._luck.random() > 0.05).SerializeToString()

    async def _store(self, data: bytes, context: Any) -> bytes:
        await self._trouble(context, unavailable=0.04, hung=0.02, refused=0.03)
        return archive.StoreResponse(record_id=f"R{len(data)}").SerializeToString()

    async def _withdraw(self, _data: bytes, context: Any) -> bytes:
        await self._trouble(context, unavailable=0.05, hung=0.01)
        return archive.WithdrawResponse(withdrawn=1).SerializeToString()

    async def _trouble(self, context: Any, *, unavailable: float, hung: float, refused: float = 0.0) -> None:
        self.called += 1
        drawn = self._luck.random()
        if drawn < unavailable:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if drawn < unavailable + hung:
            self.hung += 1
            await asyncio.Event().wait()  # until the caller gives up, or this server stops
        if drawn < unavailable + hung + refused:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not ever")


class Callers:
    """Those who start, watch, cancel, lose interest and come back."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._channel = grpc.aio.insecure_channel(self._address)
        self._narrow: list[grpc.aio.Channel] = []
        self._sagas: wire.SagaServiceAsyncStub = wire.SagaServiceStub(self._channel)
        self._unread: list[Stream] = []
        self.did: Counter[str] = Counter()

    async def close(self) -> None:
        await self._channel.close()

    async def one(self, number: int, act: str = "") -> None:
        """Begin a saga, do something to it, and see it end."""
        luck, name = random.Random(number), f"s-{number}"
        act = act or luck.choices(list(ACTS), weights=[weight for weight, _ in ACTS.values()])[0]
        flow, visit = list(MORE)[number % len(MORE)], "v" * (LARGE_CHARS if act == "never read" else 100)
        start = rpc.StartSagaRequest(saga_id=name, definition=flow)
        start.typed.Pack(report_pb2.Report(report_id=name, visit=visit))
        await self._sagas.StartSaga(start)
        if flow == "waiting" and act != "cancel":
            go = rpc.SignalSagaRequest(saga_id=name, signal="go", request_id=str(UUID(int=number, version=4)))
            go.typed.Pack(report_pb2.Report(report_id="go"))
            await _unless_ended(self._sagas.SignalSaga(go))
        self.did[act] += 1
        await ACTS[act][1](self, name, luck)
        end = await self._sagas.WaitSaga(rpc.WaitSagaRequest(saga_id=name, until=rpc.WAIT_UNTIL_TERMINAL, timeout=WAIT))
        assert end.reached, f"{name} has not ended: {end.saga.status}"

    async def cancel(self, name: str, luck: random.Random) -> None:
        """After any of its events, some of which are its last."""
        stream = await self._watched(self._sagas, name, luck.randrange(8))
        await _unless_ended(self._sagas.CancelSaga(rpc.CancelSagaRequest(saga_id=name, reason="not wanted any more")))
        stream.cancel()

    async def watch(self, name: str, _luck: random.Random) -> None:
        """To the end."""
        await self._watched(self._sagas, name, sys.maxsize)

    async def lose_interest(self, name: str, luck: random.Random) -> None:
        """Drop a watch half-way, and a wait."""
        stream = await self._watched(self._sagas, name, luck.randrange(8))
        waiting = self._sagas.WaitSaga(rpc.WaitSagaRequest(saga_id=name, until=rpc.WAIT_UNTIL_TERMINAL, timeout=WAIT))
        await waiting.wait_for_connection()
        stream.cancel()
        waiting.cancel()

    async def vanish(self, name: str, luck: random.Random) -> None:
        """Be another client, which goes with its connection."""
        async with grpc.aio.insecure_channel(self._address, options=NARROW) as channel:
            await self._watched(wire.SagaServiceStub(channel), name, luck.randrange(8))

    async def never_read(self, name: str, _luck: random.Random) -> None:
        """Ask for more than the windows hold, and take nothing, until the server has had enough."""
        channel = grpc.aio.insecure_channel(self._address, options=NARROW)
        sagas: wire.SagaServiceAsyncStub = wire.SagaServiceStub(channel)
        self._unread.append(sagas.WatchSaga(rpc.WatchSagaRequest(saga_id=name, view=pb.SAGA_VIEW_FULL)))
        self._narrow.append(channel)

    async def read_unread(self) -> None:
        """Take what was left lying; see that the server has not waited for it."""
        while self._unread:
            stream = self._unread.pop()
            with suppress(grpc.aio.AioRpcError):
                async for _ in stream:
                    pass
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            self.did["cut off"] += 1
            await self._narrow.pop().close()

    async def counted(self) -> Counter[str]:
        """Count the node's sagas by status."""
        return Counter((await self._sagas.CountSagas(rpc.CountSagasRequest(group_by="status"))).counts)

    async def nothing(self, _name: str, _luck: random.Random) -> None:
        """Wait for its end, as everybody does."""

    async def _watched(self, sagas: "wire.SagaServiceAsyncStub", name: str, events: int) -> Stream:
        """Read so many events; on a machine that is too busy to read, be given up like anybody who does not."""
        stream = sagas.WatchSaga(rpc.WatchSagaRequest(saga_id=name))
        try:
            while events and await stream.read() is not grpc.aio.EOF:
                events -= 1
        except grpc.aio.AioRpcError as given_up:
            if given_up.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            self.did["given up"] += 1
        return stream

    async def reload(self, edition: int) -> None:
        """Renew every definition, and make the new revisions the active ones; have one with errors refused, too."""
        stub: definitions_wire.DefinitionServiceAsyncStub = definitions_wire.DefinitionServiceStub(self._channel)
        for name in MORE:
            for source in (definition(name, edition), definition(name, edition).replace("steady/", "lost/")):
                try:
                    made = await stub.CreateRevision(definitions.CreateRevisionRequest(source=source))
                except grpc.aio.AioRpcError as refused:  # one with errors, or while a service is away
                    if refused.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                        raise
                    self.did["definition refused"] += 1
                    continue
                named = {"definition": name, "revision": made.revision.revision}
                await stub.ActivateRevision(definitions.ActivateRevisionRequest(**named))
                self.did["definition renewed"] += 1


async def _unless_ended(call: Awaitable[object]) -> None:
    """Ask something of a saga that may have ended, or be past it."""
    try:
        await call
    except grpc.aio.AioRpcError as refused:
        if refused.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise


ACTS: Mapping[str, tuple[float, Callable[[Callers, str, random.Random], Awaitable[None]]]] = {
    "nothing": (31, Callers.nothing),
    "cancel": (30, Callers.cancel),
    "lose interest": (20, Callers.lose_interest),
    "watch": (12, Callers.watch),
    "vanish": (7, Callers.vanish),
    "never read": (0, Callers.never_read),
}
"""How often each, of a hundred."""


async def round_of(sagas: range, callers: Callers, peers: Peers, edition: int) -> None:
    """Run so many sagas, with outages and reloads meanwhile; it is over when all have ended."""
    wild, calm = iter(sagas[:-CALM]), iter(sagas[-CALM:])
    outages = {sagas.start + (len(sagas) - CALM) * (2 * n + 1) // (2 * OUTAGES) for n in range(OUTAGES)}
    reloads = {sagas.start + (len(sagas) - CALM) * n // RELOADS: edition * RELOADS + n for n in range(RELOADS)}

    async def worker() -> None:
        for number in wild:
            if number in outages:
                await peers.go()
                await peers.come()
            if number in reloads:
                await callers.reload(reloads[number])
            await callers.one(number, "never read" if number < sagas.start + NEVER_READ else "")

    async def calmly() -> None:
        for number in calm:
            await callers.one(number, "nothing")

    for work in (worker, calmly):
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
