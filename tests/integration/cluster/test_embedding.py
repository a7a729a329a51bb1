"""A Python program that opens a node without a server is a whole member: it owns sagas, so it answers for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.bootstrap import Node, SystemClock, open_node
from orchestrator.config import Settings
from orchestrator.errors import NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.peers import Errand
from orchestrator.ports.posts import Answer
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.cluster.rig import until
from tests.kit.postgres import schema

SHARDS = 8
DEFINITION = """
saga: night
input: json
targets: []
steps:
  go:
    wait: {signal: go, type: json, timeout: 1h}
"""


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Node]]:
    (tmp_path / "night.yaml").write_text(DEFINITION)
    with schema() as dsn:
        async with AsyncExitStack() as stack:
            opened = []
            for name in ("one", "two"):
                settings = Settings.model_validate(
                    {
                        "store": dsn,
                        "cluster": {"name": name, "port": 0, "shards": SHARDS},
                        "definitions": [str(tmp_path / "night.yaml")],
                    }
                )
                opened.append(await stack.enter_async_context(open_node(settings, environ={})))
            await until(lambda: [len(owned(node)) for node in opened] == [SHARDS // 2] * 2)
            yield opened


def owned(node: Node) -> set[int]:
    assert node.sharing is not None
    return set(node.sharing.membership.owned())


def of(node: Node) -> str:
    """A saga id that lies in one of a node's shards."""
    return next(name for name in (f"s-{n}" for n in range(1_000)) if shard_of(SagaId(name), SHARDS) in owned(node))


def start(saga_id: str) -> Errand:
    request = rpc.StartSagaRequest(definition="night", saga_id=saga_id, request_id=str(SystemClock().new_uid()))
    request.json.update({})
    return Errand(method="/orchestrator.v1.SagaService/StartSaga", request=request.SerializeToString())


async def forwarded(asker: Node, errand: Errand, saga_id: str) -> Answer:
    """Ask whoever the asker takes for the owner, at its peer listener."""
    assert asker.sharing is not None
    with pytest.raises(NotOwner) as elsewhere:
        asker.sharing.membership.epoch(shard_of(SagaId(saga_id), SHARDS))
    answer = await asker.sharing.peers.ask(elsewhere.value.owner, errand, 10.0)
    assert isinstance(answer, Answer), answer
    return answer


async def test_two_nodes_without_a_server_do_what_the_other_one_forwards(nodes: list[Node]) -> None:
    for asker, other in (nodes, nodes[::-1]):
        saga_id = of(other)
        answer = await forwarded(asker, start(saga_id), saga_id)
        assert answer.status == b""
        assert rpc.StartSagaResponse.FromString(answer.response).created
        assert (await other.orchestrator.get(saga_id)).version > 0
        pause = op.PauseSagaRequest(saga_id=saga_id, reason="look")
        repair = Errand(method="/orchestrator.v1.OperatorService/PauseSaga", request=pause.SerializeToString())
        paused = op.PauseSagaResponse.FromString((await forwarded(asker, repair, saga_id)).response)
        assert paused.saga.status == pb.SAGA_STATUS_RUNNING
        assert paused.saga.paused


async def test_what_is_left_in_the_store_for_a_node_without_a_server_is_done(nodes: list[Node]) -> None:
    asker, other = nodes
    assert asker.sharing is not None
    saga_id = of(other)
    number = await asker.sharing.letters.leave(shard_of(SagaId(saga_id), SHARDS), start(saga_id))
    async with asyncio.timeout(10.0):
        answer = await asker.sharing.letters.answer(number)
    assert rpc.StartSagaResponse.FromString(answer.response).created
