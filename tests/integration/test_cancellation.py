"""How long it takes until a peer knows that nobody wants its answer any more.

Measured from the moment somebody asks for the cancel, or a sibling has answered with a refusal, to the moment the
peer's handler is cancelled: the request's way, the commit that makes it a fact, and the stream's reset are in it. For
how long others had the processors meanwhile is not.
"""

import asyncio
import gc
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaStatus
from services.epro.v1 import scoring_service_pb2, validator_service_pb2
from tests.kit.effort import Watch

CANCELS = 180
"""Of each kind; three kinds are more than five hundred."""
AT_ONCE = 6
P99_S_MAX = 0.050
ROUNDS_MAX = 3

HELD = """
saga: held
input: epro.v1.Report
targets: [peer]
steps:
  wait:
    call: peer/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
"""
SIBLINGS = """
saga: siblings
input: epro.v1.Report
targets: [peer]
steps:
  wait:
    call: peer/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
  refuse:
    call: peer/epro.v1.Scoring/Score
    kind: read
    request: {report: "${input}"}
"""
PARENT = """
saga: parent
input: epro.v1.Report
targets: [peer]
steps:
  child:
    saga: held
    input: "${input}"
    compensate: undo
"""


@dataclass(slots=True)
class Peer:
    """A service whose one method never answers, and whose other one refuses when it is told to."""

    entered: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    refuse: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    asked: dict[str, Watch] = field(default_factory=dict[str, Watch])
    """Since when nobody wants the answer."""
    left: dict[str, "asyncio.Future[float]"] = field(default_factory=dict[str, "asyncio.Future[float]"])
    """How long it took until its handler was cancelled."""

    def expect(self, name: str) -> None:
        self.entered[name] = asyncio.Event()
        self.refuse[name] = asyncio.Event()
        self.left[name] = asyncio.get_running_loop().create_future()

    async def hold(self, data: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        name = validator_service_pb2.ValidateRequest.FromString(data).report.report_id
        self.entered[name].set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left[name].set_result(self.asked[name].took_s())
            raise
        raise AssertionError("nobody sets that event")

    async def say_no(self, data: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        name = scoring_service_pb2.ScoreRequest.FromString(data).report.report_id
        await self.refuse[name].wait()
        self.asked[name] = Watch()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")
        raise AssertionError("abort raises")


@asynccontextmanager
async def serving(peer: Peer) -> AsyncGenerator[str]:
    server = grpc.aio.server()
    for service, method, act in (
        ("epro.v1.Validator", "Validate", peer.hold),
        ("epro.v1.Scoring", "Score", peer.say_no),
    ):
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {method: grpc.unary_unary_rpc_method_handler(act)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    reflection.enable_server_reflection(["epro.v1.Validator", "epro.v1.Scoring", reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def house(folder: Path, peer: Peer, definitions: Mapping[str, str]) -> AsyncGenerator[Node]:
    """An orchestrator on SQLite on disk, and the peer on a socket."""
    for name, text in definitions.items():
        (folder / f"{name}.yaml").write_text(text)
    async with serving(peer) as address:
        settings = Settings.model_validate(
            {
                "store": f"sqlite:{folder / 'saga.sqlite'}",
                "targets": {"peer": {"address": address}},
                "definitions": [str(folder / f"{name}.yaml") for name in definitions],
            }
        )
        async with open_node(settings, environ={}) as node:
            yield node


async def ask(node: Node, peer: Peer, name: str) -> None:
    """Cancel as an operator does."""
    peer.asked[name] = Watch()
    await node.orchestrator.cancel(name, "not wanted any more")


async def let_sibling_refuse(_node: Node, peer: Peer, name: str) -> None:
    """Let the other branch answer its refusal."""
    peer.refuse[name].set()


Cancel = Callable[[Node, Peer, str], Awaitable[None]]
KINDS: dict[str, tuple[dict[str, str], Cancel]] = {
    "an operator's cancel": ({"held": HELD}, ask),
    "a sibling's refusal": ({"siblings": SIBLINGS}, let_sibling_refuse),
    "a parent's cancel": ({"held": HELD, "parent": PARENT}, ask),
}


async def took(kind: str, folder: Path) -> list[float]:
    """Cancel so many sagas, a few at a time; return how long each took, shortest first."""
    definitions, cancel = KINDS[kind]
    definition = list(definitions)[-1]
    found: list[float] = []
    peer = Peer()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, node: Node) -> None:
        name = f"{definition}-{number}"
        async with gate:
            peer.expect(name)
            given = JsonInput({"report_id": name})
            await node.orchestrator.start(StartRequest(definition=definition, input=given, saga_id=name))
            await peer.entered[name].wait()
            await cancel(node, peer, name)
            found.append(await peer.left[name])
            ended = await node.orchestrator.wait(name, Until.TERMINAL, 0, 30.0)
            assert ended.status is SagaStatus.COMPENSATED

    async with house(folder, peer, definitions) as node, asyncio.TaskGroup() as group:
        for number in range(CANCELS):
            group.create_task(one(number, node))
    return sorted(found)


@pytest.fixture
def tidy_memory() -> Iterator[None]:
    """What thousands of tests before this one left behind is not the collector's business while it is measured."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.alone  # milliseconds are measured
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("tidy_memory")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_peer_hears_of_a_cancel_within_milliseconds(kind: str, tmp_path: Path) -> None:
    """The best of a few rounds: a neighbour that takes the disk for a moment is not what is measured."""
    best_s = math.inf
    for number in range(ROUNDS_MAX):
        folder = tmp_path / str(number)
        folder.mkdir()
        took_s = await took(kind, folder)
        p50, p99 = took_s[CANCELS // 2], took_s[CANCELS * 99 // 100]
        figures = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, longest {took_s[-1] * 1e3:.1f} ms"
        print(f"{kind}: {CANCELS} cancels, {figures}")
        best_s = min(best_s, p99)
        if best_s <= P99_S_MAX:
            break
    assert best_s <= P99_S_MAX
