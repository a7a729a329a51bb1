"""A node forgets what its settings say, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.bootstrap import Node, SystemClock, open_node
from orchestrator.config import Settings
from orchestrator.ports.journal import SearchQuery
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.runtime import retention as forgetting
from orchestrator.saga import SagaStatus
from tests.kit import postgres

DAY_S = 86_400.0
DEFINITION = """
saga: {name}
input: json
targets: []
steps:
  nap: {{sleep: {nap}}}
"""
NAPS = {"nap": "0.01s", "siesta": "0.01s", "winter": "300d"}


class Tomorrow(SystemClock):
    """A clock of a day that has passed, for whoever asks it from then on."""

    passed_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        steady = self.now
        self.now = lambda: steady() + self.passed_s


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        is_file = request.param == "sqlite"
        yield f"sqlite:{tmp_path / 'saga.sqlite'}" if is_file else stack.enter_context(postgres.database())


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20.0):
        while not await fact():  # noqa: ASYNC110  (what the node has done)
            await asyncio.sleep(0.01)  # poll: the fact


async def owns(node: Node) -> bool:
    return node.sharing is None or len(node.sharing.membership.owned()) == 1


async def is_left(node: Node, sagas: set[str]) -> bool:
    return {row.saga_id for row in await node.store.search(SearchQuery())} == sagas


async def begun(node: Node, name: str) -> str:
    request = StartRequest(definition=name, input=JsonInput({"reportId": "R"}), saga_id=f"s-{name}")
    return str((await node.orchestrator.start(request)).state.uid)


async def test_ended_sagas_go_after_their_time_and_their_ids_may_be_used_again(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "RETENTION_INTERVAL_S", 0.05)
    for name, nap in NAPS.items():
        (tmp_path / f"{name}.yaml").write_text(DEFINITION.format(name=name, nap=nap))
    settings = Settings.model_validate(
        {
            "store": store,
            "definitions": [str(tmp_path / f"{name}.yaml") for name in NAPS],
            "retention": {"default_s": DAY_S / 2, "definitions": {"siesta": None}},
            "cluster": {"port": 0, "shards": 1},
        }
    )
    clock = Tomorrow()
    async with open_node(settings, environ={}, clock=clock) as node:
        await until(lambda: owns(node))
        first = {name: await begun(node, name) for name in NAPS}
        for name in ("nap", "siesta"):
            ended = await node.orchestrator.wait(f"s-{name}", Until.TERMINAL, 0, 20.0)
            assert ended.status is SagaStatus.COMPLETED
        clock.passed_s = DAY_S
        await until(lambda: is_left(node, {"s-siesta", "s-winter"}))
        await until(lambda: owns(node))
        assert await begun(node, "nap") != first["nap"]
