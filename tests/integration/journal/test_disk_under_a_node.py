"""A disk that dies under a whole orchestrator with sagas in it: nothing is acknowledged after, nothing before is lost.

DISK_N=200 make test ARGS=tests/integration/journal/test_disk_under_a_node.py
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import apsw
import pytest

from orchestrator.bootstrap import Node, open_node, open_records
from orchestrator.config import Settings
from orchestrator.errors import BusyError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.ports.journal import SearchQuery
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.verify import Findings, Ledgers, verify
from tests.integration.journal.failing_vfs import Disk, Operation, dying_disk
from tests.integration.network.depot import Depot, depot, described
from tests.kit.figures import keep

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

N = int(os.environ.get("DISK_N", "170"))
"""The last write that fails, counted since the store was opened; of syncs a tenth as many, for there are fewer."""
STRIDE = int(os.environ.get("DISK_STRIDE", "7"))
"""Not a divisor of a commit's writes: each strikes another one of them."""
CALLERS = 4
THIRD = 3
"""Of the sagas so many are refused in the end, and undone."""
WAIT_S = 30.0
_DEFINITION = """
saga: load
input: json
targets: [depot]
steps:
  put:
    call: depot/depot.v1.Depot/Put
    compensate: {call: depot/depot.v1.Depot/Take}
  leave:
    after: [put]
    call: depot/depot.v1.Depot/Put
    compensate: {call: depot/depot.v1.Depot/Take}
  refuse:
    after: [leave]
    when: ${input.refuse}
    call: depot/depot.v1.Depot/Refuse
    kind: read
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dying:
    """What fails, from the n-th on, and with what."""

    operation: Operation
    n: int
    error: type[apsw.Error]


def values(folder: Path, store: Path, far: Depot) -> dict[str, object]:
    """Return a configuration, and write what it names."""
    (folder / "depot.binpb").write_bytes(described())
    (folder / "load.yaml").write_text(_DEFINITION)
    target = {"descriptors": {"set": str(folder / "depot.binpb")}, "idempotent": True, "barrier": True}
    return {
        "api": {"port": 0},
        "http": {"port": 0},
        "store": f"sqlite:{store}",
        "definitions": [str(folder / "load.yaml")],
        "targets": {"depot": {"address": far.address, **target}},
    }


async def judged(settings: Settings, far: Depot, answers: dict[SagaId, str]) -> Findings:
    """Hold journal, ledger and answers against each other; the ledger is of one store only."""
    assert settings.sqlite_path is not None
    async with open_records(settings.sqlite_path, settings) as (journal, plans):
        mine = {row.saga_id for row in await journal.search(SearchQuery(limit=10_000))} | answers.keys()
        lines = [line for line in far.lines if line.saga_id in mine]
        return await verify(
            journal,
            plans,
            ledgers=Ledgers(lines),
            answers=answers,
            knows_targets=True,
            frontier_is_complete=True,
            in_order=True,
        )


async def work_until_it_fails(node: Node, disk: Disk, prefix: str, answers: dict[SagaId, str]) -> None:
    """Start sagas, several at a time, and note what is told about them; return when the node has failed and drained."""
    numbers = count(1)

    async def call() -> None:
        while True:
            number = next(numbers)
            saga = SagaId(f"{prefix}-{number}")
            given = JsonInput({"refuse": number % THIRD == 0})
            try:
                await node.orchestrator.start(StartRequest(definition="load", input=given, saga_id=saga))
                answers[saga] = ""
                answers[saga] = (await node.orchestrator.wait(saga, Until.TERMINAL, 0, WAIT_S)).status.value
            except BusyError:
                return

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())
        await node.failed.wait()
        forward = (saga for saga, end in answers.items() if not end and int(saga.rpartition("-")[2]) % THIRD)
        running = next(forward, None)
        await acknowledges_nothing(node, running)
        disk.mend()
        await acknowledges_nothing(node, running)  # a disk that came back is not believed
        await node.drain(0.0)  # as a server does


async def acknowledges_nothing(node: Node, known: SagaId | None) -> None:
    start = StartRequest(definition="load", input=JsonInput({"refuse": False}), saga_id="late")
    for _ in range(3):
        with pytest.raises(JournalUnavailable):
            await node.orchestrator.start(start)
    if known is not None:
        with pytest.raises(JournalUnavailable):
            await node.orchestrator.cancel(known, "too late")


async def everything_ends(configured: Settings, answers: dict[SagaId, str]) -> None:
    """Open the store again, on a disk that is well, until every saga in it has ended."""
    async with open_node(configured, environ={}) as node:
        rows = await node.store.search(SearchQuery(limit=10_000))
        assert "late" not in {row.saga_id for row in rows}
        for saga in {row.saga_id for row in rows} | answers.keys():
            state = await node.orchestrator.wait(saga, Until.TERMINAL, 0, WAIT_S)
            assert state.status.value == (answers.get(saga) or state.status.value)
            answers[saga] = state.status.value


async def dies_at(store: Path, disk: Disk, far: Depot, dying: Dying) -> int:
    """Let the n-th operation fail; return how many sagas had been acknowledged."""
    configured = Settings.model_validate(values(store.parent, store, far))
    answers: dict[SagaId, str] = {}
    async with open_node(configured, environ={}) as node:
        disk.arm(dying.operation, dying.n, dying.error)
        await work_until_it_fails(node, disk, store.stem, answers)
        assert disk.struck
    acknowledged = len(answers)
    await everything_ends(configured, answers)
    findings = await judged(configured, far, answers)
    assert findings.violations == []
    return acknowledged


@pytest.fixture
def disk() -> Iterator[Disk]:
    with dying_disk() as disk:
        yield disk


@pytest.mark.timeout(300 + 2 * N)
async def test_the_nth_write_or_sync_fails_under_a_running_orchestrator(tmp_path: Path, disk: Disk) -> None:
    deaths = [
        Dying(operation=Operation.WRITE, n=n, error=apsw.FullError if number % 2 else apsw.IOError)
        for number, n in enumerate(range(1, N + 1, STRIDE))
    ]
    deaths += [Dying(operation=Operation.SYNC, n=n, error=apsw.IOError) for n in range(1, N // 10 + 1, 2)]
    acknowledged = 0
    async with depot(keeps=True) as far:
        for dying in deaths:
            store = tmp_path / f"{dying.operation}-{dying.n}.sqlite"
            acknowledged += await dies_at(store, disk, far, dying)
    figures = {"deaths": len(deaths), "acknowledged": acknowledged, "effects": len(far.lines)}
    keep("storage", **figures, lost=0, violations=0)  # or the test has failed before
    assert acknowledged > 0
