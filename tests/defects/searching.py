"""Searching for one defect from several starting points, in a process of its own; what it finds is held against here.

The process that asks has no defect in it, and runs each seed that told once more: one at which the sound program breaks
a rule as well tells nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from threading import Lock

from tests.defects.kept import Trial
from tests.defects.planting import ROOT
from tests.defects.seeking import Found, wrong
from tests.defects.table import DEFECTS

_ONE_AT_A_TIME = Lock()


def search(name: str, firsts: Sequence[int], count: int) -> tuple[Trial, ...]:
    """Run seeds from each starting point until one breaks a rule that the sound program keeps."""
    found = zip(firsts, _run(name, count, firsts), strict=True)
    return tuple(_trial(name, first, count, each) for first, each in found)


def _trial(name: str, first: int, count: int, found: Found) -> Trial:
    last, seconds = first + count, found.seconds
    clustered = DEFECTS[name].is_of_clusters
    while found.seed is not None and (anyway := _sound_is_wrong(found.seed, clustered=clustered)):
        print(f"seed {found.seed} tells nothing: without a defect too, {anyway}", flush=True)
        if (begin := found.seed + 1) == last:
            break
        (found,) = _run(name, last - begin, [begin])
        seconds += found.seconds
    ran = count if found.seed is None else found.seed - first + 1
    return Trial(first=first, seed=found.seed, ran=ran, told_by=found.told_by, seconds=round(seconds, 1))


@cache
def _sound_is_wrong(seed: int, *, clustered: bool) -> str:
    with _ONE_AT_A_TIME:
        return wrong(seed, clustered=clustered)


def _run(name: str, count: int, firsts: Sequence[int]) -> list[Found]:
    command = [sys.executable, "-P", "-m", "tests.defects.seeking", name, str(count), *map(str, firsts)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise RuntimeError(f"the search for {name} was ended by signal {-done.returncode}; it says nothing")
    if done.returncode != 0:
        # A defect may be fatal before the first seed: that is found at once, and says so.
        said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return [Found(seed=first, ran=1, told_by="the import", message=said[:300], seconds=0.0) for first in firsts]
    return [Found(**json.loads(line)) for line in done.stdout.splitlines()]
