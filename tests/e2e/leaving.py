"""How long the orchestrator takes to leave once it is asked to."""

import signal
import time

from tests.kit.mesh import Program

GRACE_S = 1.0
LEAVES_WITHIN_S = GRACE_S + 3.0


async def leaves(program: Program, within_s: float, code: int = 0, number: signal.Signals = signal.SIGTERM) -> float:
    """Signal it, and return how long it took to leave."""
    began = time.monotonic()  # noqa: TID251  (what is measured)
    program.signal(number)
    assert await program.ended(within_s=30) == code
    took_s = time.monotonic() - began  # noqa: TID251  (the same)
    assert took_s < within_s
    return took_s
