"""One process after the other on one disk: how an orchestrator lives that has its store to itself."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TypeVar

from orchestrator.runtime import Orchestrator
from orchestrator.testing.callers import SPREAD_S
from orchestrator.testing.clocks import WallClock
from orchestrator.testing.disk import Disk
from orchestrator.testing.fates import Kind
from orchestrator.testing.loop import Life, SimulatedLoop
from orchestrator.testing.process import Alone, Around, ConnectionLost, Process

T = TypeVar("T")

_DOWN_S = 2.0
_FROZEN_S = 20.0
_LATER_S = 15.0
_STEP_S = 1_200.0
"""A clock set back over a restart holds timers up for so long, twice at most: less than the healing takes."""


class Sole:
    """Starts processes, and brings about what happens to them from outside."""

    spread_s = SPREAD_S

    def __init__(self, around: Around) -> None:
        """Begin with an empty disk."""
        self.database = Disk()
        self.lives: list[Process] = []
        self._around = around
        self._faults = around.faults
        self._wall = WallClock()
        self._process: Process | None = None
        self._is_over = False

    async def ask(self, work: Callable[[Orchestrator], Coroutine[None, None, T]], request_id: str = "") -> T:
        """Ask whichever process is there."""
        if self._process is None:
            raise ConnectionLost("nobody is there")
        return await self._process.ask(work)

    async def keep_running(self) -> None:
        """Start a process whenever there is none, as a supervisor does."""
        draw = self._faults.fates.draw
        process = self._begun()
        while not self._is_over:
            await process.ended
            if self._process is process:
                self._process = None
                await asyncio.sleep(_DOWN_S * draw(f"down/{process.name}") ** 2)
                self._begun()
            assert self._process is not None  # the one just begun, or one that took the store over
            process = self._process

    def _begun(self) -> Process:
        life = Life(f"life-{len(self.lives) + 1}")
        ground = Alone(self.database, life, self._wall, self._faults, self._around.network.outside)
        process = Process(life, ground, self._around)
        self.lives.append(process)
        self._process = process
        process.start()
        self._plan_its_troubles(process)
        return process

    def _plan_its_troubles(self, process: Process) -> None:
        """Draw when it is stopped, frozen, usurped, and when its clock is set; nothing of that but in chaos."""
        loop, draw = asyncio.get_running_loop(), self._faults.fates.draw
        troubles: Mapping[Kind, Callable[[Process], None]] = {
            Kind.STOP: Process.stop,
            Kind.FREEZE: self._freeze,
            Kind.USURP: self._usurp,
            Kind.CLOCK: self._set_clock,
        }
        for kind, happens in troubles.items():
            at_s = _LATER_S * draw(f"when/{kind}/{process.name}")
            loop.call_later(at_s, self._trouble, kind, process, happens)

    def _trouble(self, kind: Kind, process: Process, happens: Callable[[Process], None]) -> None:
        if not process.life.is_over and self._faults.strike(kind, process.name):
            happens(process)

    def _freeze(self, process: Process) -> None:
        process.life.is_frozen = True
        for_s = _FROZEN_S * self._faults.fates.draw(f"frozen/{process.name}")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.call_later(for_s, loop.thaw, process.life)

    def _usurp(self, process: Process) -> None:
        """Start another one; this one lives on for a while, and believes that the store is its own."""
        process.life.is_usurped = True
        for_s = _FROZEN_S * self._faults.fates.draw(f"usurped/{process.name}")
        asyncio.get_running_loop().call_later(for_s, process.life.kill)
        self._begun()

    def _set_clock(self, process: Process) -> None:
        self._wall.step_s = _STEP_S * (2 * self._faults.fates.draw(f"clock/{process.name}") - 1)

    def heal(self) -> None:
        """Become kind."""
        thaw(self.lives)

    async def at_rest(self) -> None:
        """Nothing is to be dealt out."""

    def close(self) -> Sequence[Process]:
        """Start nobody any more; return whoever has lived."""
        self._is_over = True
        return self.lives


def thaw(lives: Sequence[Process]) -> None:
    """Let everybody live on: nobody dies at a turn that is to come, and whoever stands still goes on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    for process in lives:
        process.life.dies_at_turn = None
        if process.life.is_frozen:
            loop.thaw(process.life)
