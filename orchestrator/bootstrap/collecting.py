"""Python's collector of cycles, kept from holding up the event loop: it cannot be interrupted.

What a saga leaves is freed by counting, all of it: among a thousand sagas the collector finds not one object of ours
(`tests/unit/runtime/test_no_cycles.py`). It is for what libraries leave, and for our own mistakes. By default it looks
after every 700 new containers, several times for one saga, and finds nothing; here it looks so seldom that most
processes under load go through thousands of sagas without one look.

=============  ============================================  ========================================================
what it looks  when                                          how long that takes
at
=============  ============================================  ========================================================
what is young  `GC_CONTAINERS` more live than at the last     about 10 ms: 0.3 microseconds for each
               look
what is a      at every third of these                       about 30 ms, for three times as many
little older
everything     every `GC_WHOLE_S`, by our own hand, and      about 20 ms; with 20,000 sagas awake it would take a
               only while few sagas are awake                quarter of a second, with 100,000 more than one
what was       never: it stays for good
loaded
=============  ============================================  ========================================================
"""

import asyncio
import gc
import sys
from collections.abc import Callable

from orchestrator.limits import GC_CONTAINERS, GC_WHOLE_ACTORS_MAX, GC_WHOLE_S

_NEVER = sys.maxsize >> 32
"""As many middle looks before a whole one that nobody asked for: the largest number that the collector takes."""


def calm_collector() -> None:
    """Have the collector look seldom and shortly, and not once at what is loaded.

    A look at 70,000 objects that are loaded takes 40 ms, and finds two thousand at most, half a megabyte. `saga serve`
    has the collector off until here for the same reason.
    """
    gc.freeze()
    gc.set_threshold(GC_CONTAINERS, 1, _NEVER)
    gc.enable()


async def collect_in_quiet(count_awake: Callable[[], int]) -> None:
    """For ever: look at everything now and then, while few enough sagas are awake for that to be short."""
    while True:
        await asyncio.sleep(GC_WHOLE_S)
        if count_awake() <= GC_WHOLE_ACTORS_MAX:
            gc.collect()
