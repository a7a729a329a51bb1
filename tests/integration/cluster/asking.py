"""What the tests of forwarding ask, and the facts that they wait for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.refusals import struct
from tests.integration.cluster.rig import Node, Town

FIRST = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f"
SECOND = "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e60"


def start(saga_id: str = "s-1", definition: str = "job", **more: Any) -> rpc.StartSagaRequest:
    return rpc.StartSagaRequest(saga_id=saga_id, definition=definition, **more)


def approved(saga_id: str = "s-1", request_id: str = FIRST) -> rpc.SignalSagaRequest:
    return rpc.SignalSagaRequest(saga_id=saga_id, signal="approved", request_id=request_id, json=struct(by="ann"))


async def ended(node: Node, saga_id: str = "s-1") -> pb.Saga:
    return (await node.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id=saga_id))).saga


async def step_is(node: Node, step: str, status: int, saga_id: str = "s-1") -> pb.Saga:
    after = 0
    while True:
        request = rpc.WaitSagaRequest(
            saga_id=saga_id, until=rpc.WAIT_UNTIL_CHANGE, after_sequence=after, view=pb.SAGA_VIEW_STEPS
        )
        saga = (await node.sagas.WaitSaga(request)).saga
        if any(each.step == step and each.status == status for each in saga.steps):
            return saga
        after = saga.sequence


def count(events: list[Any], kind: type) -> int:
    return sum(isinstance(each, kind) for each in events)


def task(work: Awaitable[Any]) -> "asyncio.Future[Any]":
    return asyncio.ensure_future(work)  # noqa: TID251  # each test awaits it


def once(node: Node, work: Callable[[], Awaitable[None]]) -> "list[asyncio.Future[Any]]":
    """Let something happen when a node first wants the leases to be looked at."""
    begun: list[asyncio.Future[Any]] = []

    def begin() -> None:
        if not begun:
            begun.append(task(work()))

    node.on_look.append(begin)
    return begun


async def posted(here: Town) -> int:
    return len(await here.nodes[0].leases.posted(range(8), 100))


async def left(here: Town, count: int = 1) -> None:
    while await posted(here) < count:  # noqa: ASYNC110  # a store tells nobody
        await asyncio.sleep(0.005)  # poll: the store's letter box
