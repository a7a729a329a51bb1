"""What it costs a caller to ask the wrong process: one at a time, the owner and the other in turn."""

import asyncio
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc

from orchestrator.ids import SagaId
from orchestrator.ports.ownership import shard_of
from orchestrator.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc
from tests.benchmarks import flows
from tests.benchmarks.kept import SAGAS
from tests.benchmarks.nodes import Nodes, cluster
from tests.benchmarks.rounds import percentile, run
from tests.benchmarks.shown import table
from tests.benchmarks.stage import stage

if TYPE_CHECKING:  # a name of the stubs, for types only
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub as Stub

TIMES = max(min(SAGAS // 5, 300), 5)
"""Of each question at each process."""
TIMEOUT_S = 30.0
ON_ITS_WAY_S = 0.02
"""For a wait to arrive."""


async def measure() -> dict[str, Any]:
    """Ask, and return the medians."""
    async with AsyncExitStack() as stack:
        services = stack.enter_context(stage()).services
        to_services = await stack.enter_async_context(grpc.aio.insecure_channel(services.address))
        nodes = await stack.enter_async_context(cluster(services))
        stubs: dict[str, Stub] = {}
        for name in ("a", "b"):
            started = await nodes.start(name)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(started.address))
            stubs[name] = saga_service_pb2_grpc.SagaServiceStub(channel)
        await nodes.shared("a", "b")
        names = owned_names(nodes)
        bare = await run(flows.bare(to_services, failing=False), TIMES, 1)
        rows = {what: await _in_turn(ask, stubs, names) for what, ask in QUESTIONS.items()}
    bare_p50_ms = percentile(bare.latencies_ms, 50)
    return {"bare_p50_ms": bare_p50_ms, "times": TIMES, "rows": rows}


def owned_names(nodes: Nodes) -> Callable[[], str]:
    """Return a source of saga ids that all lie at the process called a."""
    database = nodes.database
    total = int(database.number("SELECT count(*) FROM shards"))
    found = database.ask("SELECT s.shard FROM shards s JOIN members m ON m.member = s.owner WHERE m.name = 'a'")
    owned = {row[0] for row in found}
    names = (f"f-{number}" for number in count())
    return lambda: next(name for name in names if shard_of(SagaId(name), total) in owned)


async def _in_turn(ask: "Question", stubs: "dict[str, Stub]", names: Callable[[], str]) -> dict[str, float]:
    took: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(-3, TIMES):  # the first ones make connections
        for asked in ("a", "b"):
            ms = await ask(stubs[asked], stubs["a"], names())
            if number >= 0:
                took[asked].append(ms)
    owner, other = took["a"], took["b"]
    return {
        "owner_p50_ms": statistics.median(owner),
        "owner_p99_ms": percentile(owner, 99),
        "other_p50_ms": statistics.median(other),
        "other_p99_ms": percentile(other, 99),
    }


Question = Callable[["Stub", "Stub", str], Awaitable[float]]
"""Asks the first process, arranges what it needs at the owner, about a saga; returns milliseconds."""


def _start(
    saga_id: str, definition: str, wait: "saga_service_pb2.StartWait.ValueType"
) -> saga_service_pb2.StartSagaRequest:
    request = saga_service_pb2.StartSagaRequest(saga_id=saga_id, definition=definition, wait=wait)
    request.typed.Pack(flows.report())
    return request


async def start(asked: "Stub", owner: "Stub", saga_id: str) -> float:
    """A start, until it is durable."""
    request = _start(saga_id, flows.SIGNALLED, saga_service_pb2.START_WAIT_ACCEPTED)
    began = time.perf_counter()
    await asked.StartSaga(request, timeout=TIMEOUT_S)
    return (time.perf_counter() - began) * 1e3


async def whole(asked: "Stub", owner: "Stub", saga_id: str) -> float:
    """A saga of five calls, until it has ended."""
    request = _start(saga_id, flows.EPRO, saga_service_pb2.START_WAIT_TERMINAL)
    began = time.perf_counter()
    reply = await asked.StartSaga(request, timeout=TIMEOUT_S)
    assert reply.saga.status == saga_pb2.SAGA_STATUS_COMPLETED, reply.saga
    return (time.perf_counter() - began) * 1e3


async def signal(asked: "Stub", owner: "Stub", saga_id: str) -> float:
    """A signal to a saga that waits for it."""
    await owner.StartSaga(_start(saga_id, flows.SIGNALLED, saga_service_pb2.START_WAIT_ACCEPTED), timeout=TIMEOUT_S)
    request = saga_service_pb2.SignalSagaRequest(saga_id=saga_id, signal="go", request_id=_request_id(saga_id))
    request.typed.Pack(flows.report())
    began = time.perf_counter()
    await asked.SignalSaga(request, timeout=TIMEOUT_S)
    return (time.perf_counter() - began) * 1e3


async def wait(asked: "Stub", owner: "Stub", saga_id: str) -> float:
    """A wait for the end, from the signal that brings it."""
    await owner.StartSaga(_start(saga_id, flows.SIGNALLED, saga_service_pb2.START_WAIT_ACCEPTED), timeout=TIMEOUT_S)
    waiting = asked.WaitSaga(saga_service_pb2.WaitSagaRequest(saga_id=saga_id), timeout=TIMEOUT_S)
    await asyncio.sleep(ON_ITS_WAY_S)  # poll: nothing shows that the server has it
    request = saga_service_pb2.SignalSagaRequest(saga_id=saga_id, signal="go", request_id=_request_id(saga_id))
    request.typed.Pack(flows.report())
    began = time.perf_counter()
    await owner.SignalSaga(request, timeout=TIMEOUT_S)
    answer = await waiting
    assert answer.reached, (saga_id, answer.saga)
    return (time.perf_counter() - began) * 1e3


def _request_id(saga_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, saga_id))


QUESTIONS: dict[str, Question] = {
    "start, until durable": start,
    "start, until the saga has ended": whole,
    "signal": signal,
    "wait, from the signal that ends it": wait,
}


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    rows = [
        (
            what, f"{row['owner_p50_ms']:.1f}", f"{row['other_p50_ms']:.1f}",
            f"{row['other_p50_ms'] / row['owner_p50_ms']:.2f}", f"{row['owner_p99_ms']:.1f}",
            f"{row['other_p99_ms']:.1f}",
        )
        for what, row in figures["rows"].items()
    ]  # fmt: skip
    headings = ("asked, C=1", "p50 ms at the owner", "at the other", "ratio", "p99 ms at the owner", "at the other")
    return (
        f"{table(headings, rows)}\n\nThe bare client's p50 for five calls in this run: {figures['bare_p50_ms']:.1f} ms."
    )
