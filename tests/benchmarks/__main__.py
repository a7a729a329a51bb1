"""`make bench [CASE=name]`: tables on the screen, figures in `build/bench.json`, aims beside what was reached.

Without a case all rows of the table of aims but growth, in ten minutes. A case may be named by its family: `postgres`
is all that begin so, and `scale` is what several processes do. Every case is a process of its own with a limit of its
own, so that one that fails costs nobody else's figures; all that it started goes with it. What a case needs and is kept
from run to run, such as a store with a million sagas, is made first and does not count.

`ROUNDS` and `SAGAS` of the environment make it shorter or longer: `ROUNDS=1 SAGAS=50` tries whether all of it works.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import uvloop

from orchestrator.bootstrap import calm_collector
from tests.benchmarks import kept, prefilled
from tests.benchmarks.cases import CASES, Case, aims, chosen

PREPARING_S_MAX = 1_800.0
LEAVE_S_MAX = 20.0
RUN, PREPARE = "--run", "--prepare"


def main() -> None:
    """Run what is wanted, case after case."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("case", nargs="?", default="", help="one case or family, e.g. epro-64 or postgres; see above")
    parser.add_argument(RUN, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(PREPARE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    wanted = chosen(given.case)
    if not wanted:
        sys.exit(f"no case {given.case!r}; there are {', '.join(case.name for case in CASES)}, and scale")
    if given.run or given.prepare:
        _in_this_process(wanted[0], prepares=given.prepare)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave as after Ctrl-C
        try:
            failed = _one_after_the_other(wanted)
        finally:
            prefilled.clear()
        sys.exit(failed)


def _in_this_process(case: Case, *, prepares: bool) -> None:
    calm_collector()  # as `saga serve` does
    if prepares:
        if case.prepare is not None:
            uvloop.run(case.prepare())
        return
    figures = uvloop.run(case.run())
    print(f"\n{case.name}\n\n{case.shows(figures)}\n")
    kept.keep(case.name, figures)


def _one_after_the_other(cases: Sequence[Case]) -> int:
    """Return the exit status: how many failed, told by name."""
    first = {case.prepare: case for case in reversed(cases) if case.prepare is not None}
    prepared = {prepare for prepare, case in first.items() if _child(case, PREPARE, PREPARING_S_MAX)}
    unprepared = {case.name for case in cases if case.prepare is not None and case.prepare not in prepared}
    began = time.perf_counter()
    failed = [case.name for case in cases if case.name in unprepared or not _child(case, RUN, case.limit_s)]
    sections = {name: section["figures"] for name, section in kept.load().items() if name not in failed}
    aimed = [case for case in cases if case.aims]
    if aimed:
        print(f"\n{aims(sections, aimed)}\n")
    print(f"{len(cases) - len(failed)} of {len(cases)} cases in {time.perf_counter() - began:.0f} s")
    for name in failed:
        print(f"FAILED: {name}; its figures are those of an earlier run, or none", file=sys.stderr)
    return len(failed)


def _child(case: Case, what: str, limit_s: float) -> bool:
    """Let a process of its own do it; return whether it did. Whatever it started ends with it."""
    print(f"{case.name}{': preparing' if what == PREPARE else ''} …", file=sys.stderr)
    command = [sys.executable, "-m", "tests.benchmarks", case.name, what]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        return child.wait(limit_s) == 0
    except subprocess.TimeoutExpired:
        print(f"{case.name} is not done after {limit_s:.0f} s, and is ended", file=sys.stderr)
        return False
    finally:
        _end_session(child)


def _end_session(child: "subprocess.Popen[bytes]") -> None:
    """Ask whoever is left of a case to leave, and make them; nobody is left of one that went well."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_S_MAX)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs are compiled
    main()
