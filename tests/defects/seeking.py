"""One process that seeks: it has one defect in it, or none, and runs seed after seed until a rule is broken.

`python -m tests.defects.seeking NAME COUNT FIRST...` prints one JSON object for each starting point; `-` is the program
as it is.
"""

import json
import re
import signal
import sys
import time
from dataclasses import asdict, dataclass
from types import FrameType

from tests.defects.planting import plant
from tests.defects.table import DEFECTS

SOUND = "-"
_SEED_S = 20.0
"""Processor time after which a seed runs for ever: ten sagas take a tenth of a second."""
_INVARIANT = re.compile(r"I\d+\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How far a search came."""

    seed: int | None
    """The first seed that broke a rule; None where none did."""
    ran: int
    """Seeds that were run."""
    told_by: str
    """The invariant, or what else was noticed."""
    message: str
    seconds: float
    """Processor time."""


class RanForEver(KeyboardInterrupt):
    """A seed took far longer than any does; of the one kind that no task of asyncio keeps to itself."""


def seek(first: int, count: int, *, clustered: bool) -> Found:
    """Run seeds in order until one breaks a rule."""
    began = time.process_time()
    signal.signal(signal.SIGPROF, _give_up)
    for seed in range(first, first + count):
        signal.setitimer(signal.ITIMER_PROF, _SEED_S)
        message = wrong(seed, clustered=clustered)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if message:
            seconds, ran = time.process_time() - began, seed - first + 1
            return Found(seed=seed, ran=ran, told_by=symptom(message), message=message[:300], seconds=seconds)
    return Found(seed=None, ran=count, told_by="", message="", seconds=time.process_time() - began)


def wrong(seed: int, *, clustered: bool) -> str:
    """Return what is wrong with a run (on several nodes), what tells most of it; empty where it is sound."""
    from orchestrator.testing import Fates, flows, swarm

    try:
        simulation = flows.clustered(seed) if clustered else flows.mixed(seed)
        violations = simulation.run(seed, rates=swarm(Fates(seed))).violations
    except (Exception, RanForEver) as error:  # noqa: BLE001  (a run that a defect breaks is a run that tells)
        return f"the run broke: {error!r}"
    return min(violations, key=_rank, default="")


def _rank(violation: str) -> int:
    """A saga that never ends is what most mistakes come to; what tells more of the mistake goes first."""
    told_by = symptom(violation)
    return ["the log", "I36", "a caller"].index(told_by) + 1 if told_by in {"the log", "I36", "a caller"} else 0


def symptom(message: str) -> str:
    """Return the invariant that a violation names, or in a word what else it is."""
    named = _INVARIANT.match(message)
    if named is not None:
        return named.group()
    return "the run" if message.startswith("the run broke") else "the log" if message.startswith("bug:") else "a caller"


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise RanForEver(f"more than {_SEED_S:g} s")


def main() -> None:
    name, count, *firsts = sys.argv[1:]
    if name != SOUND:
        plant(DEFECTS[name])
    clustered = name != SOUND and DEFECTS[name].is_of_clusters
    for first in firsts:
        print(json.dumps(asdict(seek(int(first), int(count), clustered=clustered))), flush=True)


if __name__ == "__main__":
    main()
