"""How long the orchestrator takes to leave once it is asked to."""

import asyncio
import signal

from tests.kit.effort import Watch
from tests.kit.mesh import Program

GRACE_S = 1.0
LEAVES_WITHIN_S = GRACE_S + 3.0


async def leaves(program: Program, within_s: float, code: int = 0, number: signal.Signals = signal.SIGTERM) -> float:
    """Signal it, and return how long it took to leave, but for the time in which others had the processors."""
    watch = Watch(program.pid)
    program.signal(number)
    ending = asyncio.get_running_loop().create_task(program.ended(within_s=60))
    while not ending.done():
        watch.starved_s()
        await asyncio.wait({ending}, timeout=0.01)  # poll: what it has waited for
    took_s = watch.took_s()
    assert ending.result() == code
    assert took_s < within_s
    return took_s
