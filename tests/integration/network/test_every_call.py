"""Every fault of a network at every kind of call a saga makes, to services that keep keys and to those that do not."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from orchestrator.ids import SagaId
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga.events import AttemptSettled, Phase
from orchestrator.verify import Answers
from tests.integration.network.cells import Cell, Line, Role, cells
from tests.integration.network.depot import depot, described
from tests.integration.network.judging import Verdict, judge
from tests.kit.faults import Request
from tests.kit.figures import keep
from tests.kit.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

AT_ONCE = 96
WAIT_S = 40.0
NOBODY = "127.0.0.1:1"


def settings(folder: Path, lines: dict[Cell, Proxy], *, keeps: bool) -> Settings:
    """Return a configuration with a definition and a target for each cell."""
    descriptors = folder / "depot.binpb"
    descriptors.write_bytes(described())
    targets = {
        cell.name: {
            "address": proxy.address,
            "descriptors": {"set": str(descriptors)},
            "idempotent": keeps,
            "barrier": keeps,
            # asked where a call may not be repeated
            "methods": {"depot.v1.Depot/Put": {"idempotent": False}} if cell.role is Role.PROBE else {},
        }
        for cell, proxy in lines.items()
    }
    definitions = folder / "definitions"
    definitions.mkdir()
    for cell in lines:
        (definitions / f"{cell.name}.yaml").write_text(cell.source)
    store = f"sqlite:{folder / 'saga.sqlite'}"
    return Settings.model_validate({"store": store, "targets": targets, "definitions": [str(definitions)]})


async def ended(node: Node, cell: Cell, line: Proxy, gone: set[Cell]) -> str:
    """Run the cell's saga; return its end."""
    match cell.fault:
        case Line.REFUSED:
            await line.refuse()
        case Line.MUTE:
            line.is_mute = True
        case Line.GONE:
            gone.add(cell)
        case _:
            pass
    await node.orchestrator.start(StartRequest(definition=cell.name, input=JsonInput({}), saga_id=cell.name))
    if isinstance(cell.fault, Line):
        await noticed(node, cell)
        line.is_mute = False
        gone.discard(cell)
        line.cut()
        await line.listen()
    state = await node.orchestrator.wait(cell.name, Until.TERMINAL, 0, WAIT_S)
    return state.status.value


async def noticed(node: Node, cell: Cell) -> None:
    """Wait until an attempt is recorded as not sent."""
    version = 0
    while True:
        state = await node.orchestrator.wait(cell.name, Until.CHANGE, version, WAIT_S)
        version = state.version
        events = [record.event for record in await node.orchestrator.events(cell.name, 0, 100)]
        if settled := [event for event in events if isinstance(event, AttemptSettled)]:
            assert settled[0].report.phase is Phase.NOT_SENT
            return


async def play(
    folder: Path, chosen: Sequence[Cell], at_once: int, *, keeps: bool
) -> tuple[dict[Cell, str], Verdict, dict[Cell, list[Request]]]:
    """Run cells; return the ends, the verdict, and what passed each cell's line."""
    room, gone = asyncio.Semaphore(at_once), set[Cell]()
    async with AsyncExitStack() as opened:
        far = await opened.enter_async_context(depot(keeps=keeps))

        def line_of(cell: Cell) -> Proxy:
            line = Proxy(lambda: NOBODY if cell in gone else far.address)
            line.choose = lambda request: cell.chosen(request, line.passed)
            return line

        lines = {cell: await opened.enter_async_context(line_of(cell)) for cell in chosen}
        configured = settings(folder, lines, keeps=keeps)
        async with open_node(configured, environ={}) as node:

            async def one(cell: Cell) -> str:
                async with room:
                    return await ended(node, cell, lines[cell], gone)

            async with asyncio.TaskGroup() as group:
                tasks = {cell: group.create_task(one(cell)) for cell in lines}
            assert not node.failed.is_set()
        passed = {cell: proxy.passed for cell, proxy in lines.items()}
    ends = {cell: task.result() for cell, task in tasks.items()}
    everything = [request for each in passed.values() for request in each]
    answers = Answers(ends={SagaId(cell.name): end for cell, end in ends.items()})
    return ends, await judge(configured, far.lines, everything, answers), passed


@pytest.mark.timeout(600)
@pytest.mark.parametrize("keeps", [True, False], ids=["keys kept", "nothing kept"])
async def test_no_fault_at_any_call_loses_doubles_or_misjudges_anything(tmp_path: Path, keeps: bool) -> None:
    phases, counts = Counter[str](), Counter[str]()
    left, at_once, rounds, unheard = cells(), AT_ONCE, 0, {"I7", "I10", "I13", "I24"}
    while left:  # what a busy machine was too slow for shows nothing, and is played again with fewer beside it
        rounds += 1
        (folder := tmp_path / str(rounds)).mkdir()
        ends, verdict, passed = await play(folder, left, at_once, keeps=keeps)
        late = [cell for cell in ends if cell.name in verdict.late and not isinstance(cell.fault, Line)]
        in_time = [cell for cell in ends if cell not in late]
        phases.update(verdict.phases)
        counts.update(
            sagas=len(ends),
            faults=sum(strikes(each) for each in passed.values()) + sum(isinstance(cell.fault, Line) for cell in ends),
            late=len(late),
            attempts=verdict.attempts,
            effects=verdict.findings.effects,
            misjudged=len(verdict.lies),
            violations=verdict.findings.violation_count,
        )
        keep(
            f"network_every_call_{'keyed' if keeps else 'bare'}",
            rounds=rounds,
            **counts,
            **{f"attempts_{phase.lower()}": count for phase, count in phases.items()},
        )
        assert [unstruck(cell, passed[cell]) for cell in in_time if strikes(passed[cell]) != cell.strikes] == []
        assert verdict.lies == []
        assert verdict.findings.violations == []
        unheard &= verdict.findings.not_checked.keys()
        wrong = [f"{cell} ended {end}" for cell in in_time if (end := ends[cell]) != cell.end(keeps=keeps)]
        assert wrong == []
        left, at_once = late, max(at_once // 4, 1)
    assert not unheard, "all three witnesses were heard, if not in every round"
    assert phases["NOT_SENT"] >= len(Line)


def strikes(passed: list[Request]) -> int:
    return sum(each.is_struck for each in passed)


def unstruck(cell: Cell, passed: list[Request]) -> str:
    return f"{cell}: {[(each.attempt[1:], each.is_struck, each.forwarded) for each in passed if each.told]}"
