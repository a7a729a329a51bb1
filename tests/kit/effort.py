"""Whether a piece of work is bounded, by the processor's time that it takes."""

from collections.abc import Callable
from time import process_time

QUICK_S = 0.05
"""Some ten times what it takes to read the longest header or filter there can be."""
LENGTH = 128
"""Signs of a short hostile text: too many for work that doubles every few signs, which fails here and does not hang."""
_TRIES = 3


def is_quick(work: Callable[[], object]) -> bool:
    """Return whether the work is done in `QUICK_S`; a collection of garbage falls into one try, not into each."""
    return any(_took_s(work) < QUICK_S for _ in range(_TRIES))


def _took_s(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began
