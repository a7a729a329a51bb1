"""`python -m tests.defects`: which planted defects the simulation finds, and in how many seeds."""

import argparse
import datetime
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from statistics import median

from tests.defects import kept
from tests.defects.kept import Detection
from tests.defects.searching import search
from tests.defects.table import DEFECTS
from tests.kit.figures import keep

SEEDS = 2_000
STARTS = 3
_APART = 10_000


def main() -> int:
    """Search for every defect that was asked for; 1 where one was not found."""
    asked = _asked()
    if asked.check:
        wrong = kept.check()
        print("\n".join(wrong))
        return 1 if wrong else 0
    unknown = [name for name in asked.names if name not in DEFECTS]
    if unknown:
        sys.exit(f"there is no such defect: {', '.join(unknown)}; known are {', '.join(DEFECTS)}")
    names = asked.names or list(DEFECTS)
    firsts = [1 + _APART * number for number in range(asked.starts)]
    began = time.monotonic()  # noqa: TID251  (how long a run takes is no saga's time)
    found: dict[str, Detection] = {}
    for detection in _detections(names, firsts, seeds=asked.seeds, jobs=asked.jobs):
        found[detection.name] = detection
        print(_line(detection, asked.seeds), flush=True)
    seconds = time.monotonic() - began  # noqa: TID251  (the same)
    missed = [name for name, each in found.items() if not each.is_found]
    seen = [each.seeds for each in found.values() if each.is_found]
    middle = int(median(seen)) if seen else 0
    print(f"{len(seen)} of {len(found)} found, half of them within {middle} seeds; {seconds:.0f} s")
    keep("defects", planted=len(found), found=len(seen), median_seeds=middle, seconds=round(seconds))
    if asked.write:
        kept.write(found, date=datetime.datetime.now(datetime.UTC).date().isoformat())  # noqa: TID251  (a run has a date)
    return 1 if missed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.defects", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these defects")
    parser.add_argument("--all", action="store_true", help="all of them, which is the default")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="give up after so many")
    parser.add_argument("--starts", type=int, default=STARTS, help="from so many starting points")
    parser.add_argument("--jobs", type=int, default=2, help="so many processes at a time")
    parser.add_argument("--write", action="store_true", help="keep what was found, and write it into the page")
    parser.add_argument("--check", action="store_true", help="search for nothing; hold the page against what is kept")
    return parser.parse_args()


def _detections(names: Sequence[str], firsts: Sequence[int], *, seeds: int, jobs: int) -> Iterator[Detection]:
    """Yield each defect when its searches are over."""
    with ThreadPoolExecutor(jobs) as pool:
        searches = {pool.submit(search, name, firsts, seeds): name for name in names}
        for done in as_completed(searches):
            yield Detection(name=searches[done], trials=done.result())


def _line(detection: Detection, seeds: int) -> str:
    ran = " ".join(str(trial.ran) if trial.seed is not None else "-" for trial in detection.trials)
    if not detection.is_found:
        return f"NOT FOUND in {seeds:,} seeds: {detection.name} ({ran})"
    return f"{detection.name}: {detection.seeds} seeds ({ran}), {detection.seconds:.1f} s, {detection.told_by}"


if __name__ == "__main__":
    sys.exit(main())
