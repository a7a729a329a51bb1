"""Play every cell and say what was seen: at the server, and in the journal."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bootstrap import open_node
from orchestrator.runtime import Orchestrator, Until
from orchestrator.saga import SagaState
from orchestrator.saga.events import AttemptOpened, AttemptSettled, Phase, StepSettled
from orchestrator.saga.plan import Operation
from tests.integration.outcomes import living
from tests.integration.outcomes.cells import Cell, Crash
from tests.integration.outcomes.rules import SKEW_S, Then
from tests.kit.breaking import Arrival, BreakingServer, breaking_server, mute_server

WAIT_S = 300.0
"""For one saga, among all of them on a busy machine."""
STARTS_AT_ONCE = 24
LATE_AT_ONCE = 8
"""For each of those, so many sagas whose calls are late: they wait, and go on together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a cell."""

    cell: Cell
    status: str
    first: str
    """The recorded outcome of the first attempt."""
    outcome: str
    """What the step settled as; empty where it did not."""
    settled_at: float | None
    opened: tuple[AttemptOpened, ...]
    """Recorded attempts of the forward call."""
    undo_opened: tuple[AttemptOpened, ...]
    forward: tuple[Arrival, ...]
    """What reached the server."""
    undo: tuple[Arrival, ...]
    was_slow: bool
    """Whether this machine, and nobody's script, was too late with one of its calls: then it shows nothing."""

    @property
    def is_again(self) -> bool:
        return len(self.opened) > 1

    @property
    def is_undone(self) -> bool:
        return bool(self.undo)

    @property
    def is_undone_at_once(self) -> bool:
        """Whether the machine did not wait for the call's end: by its own records, which no busy computer delays."""
        if not self.undo_opened:
            return False
        opened_at = self.undo_opened[0].at
        return opened_at < self.closed_at or (self.cell.crash is Crash.NEVER and opened_at == self.settled_at)

    @property
    def is_overtaken(self) -> bool:
        """Whether the second call was made while the first could still arrive (R8a)."""
        later = [arrival.attempt for arrival in self.forward if arrival.attempt > 1]
        return bool(later) and self.opened[min(later) - 1].at < self.closed_at

    @property
    def closed_at(self) -> float:
        """When the unknown calls are known to have ended, whatever became of them (R12)."""
        unknown = self.opened if self.cell.then is Then.SAME else self.opened[:1]
        return max(each.deadline_at for each in unknown) + SKEW_S


async def play(cells: Sequence[Cell], folder: Path) -> list[Seen]:
    """Play all cells; what a busy machine was too slow for is played again, with fewer beside it."""
    found: dict[Cell, Seen] = {}
    at_once = STARTS_AT_ONCE
    left: Sequence[Cell] = cells
    while left:
        (own := folder / f"{at_once} at once").mkdir()
        found.update({seen.cell: seen for seen in await _played(left, own, at_once)})
        left = [cell for cell in left if found[cell].was_slow] if at_once > 1 else ()
        at_once = max(at_once // 4, 1)
    return [found[cell] for cell in cells]


async def _played(cells: Sequence[Cell], folder: Path, at_once: int) -> list[Seen]:
    """Play cells: those that see a death in a first life, and what is not over then in a second."""
    doomed = [cell for cell in cells if cell.crash is not Crash.NEVER]
    late = [cell for cell in cells if cell.is_late]
    others = [cell for cell in cells if cell.crash is Crash.NEVER and not cell.is_late]
    async with AsyncExitStack() as life:
        server = await life.enter_async_context(breaking_server())
        mute = await life.enter_async_context(mute_server())
        _teach(server, cells)
        addresses = {cell.target: server.address for cell in cells}
        addresses.update(absent=living.dead_address(), mute=mute)
        configured = living.settings(folder, addresses)
        async with living.first_life(configured, cells, doomed) as (orchestrator, deaths):
            # where a deadline of a moment counts, nothing else is going on
            for first in range(0, len(late), LATE_AT_ONCE * at_once):
                group = late[first : first + LATE_AT_ONCE * at_once]
                await living.start_all(orchestrator, server, group, at_once)
                await _ended(orchestrator, group)
            if doomed:
                await living.start_all(orchestrator, server, doomed, at_once)
                async with asyncio.timeout(WAIT_S):
                    await deaths.all_dead.wait()
        async with open_node(configured, environ={}, clock=living.HurriedClock()) as node:
            await living.start_all(node.orchestrator, server, others, at_once)
            async with asyncio.TaskGroup() as watching:
                ends = [watching.create_task(_seen(node.orchestrator, server, cell)) for cell in cells]
    return [end.result() for end in ends]


async def _ended(orchestrator: Orchestrator, cells: Sequence[Cell]) -> None:
    for cell in cells:
        await orchestrator.wait(cell.saga_id, Until.TERMINAL, 0, WAIT_S)


def _teach(server: BreakingServer, cells: Sequence[Cell]) -> None:
    for cell in cells:
        server.scripts[cell.saga_id] = cell.script
        if cell.what.is_gathered:
            server.expected[cell.target] = server.expected.get(cell.target, 0) + 1


async def _seen(orchestrator: Orchestrator, server: BreakingServer, cell: Cell) -> Seen:
    state: SagaState = await orchestrator.wait(cell.saga_id, Until.TERMINAL, 0, WAIT_S)
    events = [record.event for record in await orchestrator.events(cell.saga_id, 0, 1_000)]
    opened = [event for event in events if isinstance(event, AttemptOpened)]
    settled = [event for event in events if isinstance(event, AttemptSettled)]
    ends = [event for event in events if isinstance(event, StepSettled)]
    arrivals = server.arrivals[cell.saga_id]
    return Seen(
        cell=cell,
        status=state.status.value,
        first=settled[0].outcome.value if settled else "",
        outcome=ends[0].outcome.value if ends else "",
        settled_at=ends[0].at if ends else None,
        opened=tuple(event for event in opened if event.operation is Operation.FORWARD),
        undo_opened=tuple(event for event in opened if event.operation is Operation.COMPENSATE),
        forward=tuple(arrival for arrival in arrivals if arrival.operation == "forward"),
        undo=tuple(arrival for arrival in arrivals if arrival.operation == "compensate"),
        was_slow=_was_slow(cell, settled, {each.attempt for each in arrivals if each.operation == "forward"}),
    )


def _was_slow(cell: Cell, settled: Iterable[AttemptSettled], arrived: Collection[int]) -> bool:
    return cell.what.ending is not None and any(
        each.report.code == "DEADLINE_EXCEEDED"
        and each.report.phase is not Phase.LOST
        and not each.report.parked
        and not (each.operation is Operation.FORWARD and each.attempt in arrived and cell.is_overdue(each.attempt))
        for each in settled
    )
