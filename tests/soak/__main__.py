"""`make soak`: the lanes one after the other, and one page of figures."""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.kit.figures import FOLDER
from tests.soak.lanes import LANES, Lane, chosen, share_of
from tests.soak.page import Figures, Ran, page

PAGE = Path("build/soak.md")
LOGS = Path("build/soak")
SAYS_EVERY_S = 60.0
OVERRUN = 4.0
"""A lane that takes so many times what it should hangs."""
OVERRUN_MINUTES_LEAST = 15.0


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 1 where anything failed or is broken, or where nothing ran, which proves nothing."""
    names = [lane.name for lane in LANES]
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Run the long lanes; print one page.")
    parser.add_argument("--only", action="append", default=[], choices=names, help="this lane; may be given again")
    parser.add_argument("--minutes", type=float, help="how long everything may take: lanes do a share of their size")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    given = parser.parse_args(arguments)
    if given.minutes is not None and not given.minutes > 0:  # so that "nan" is none either
        parser.error(f"--minutes {given.minutes:g}: nothing can run in that; give more than 0, or leave it out for all")
    lanes = chosen(given.only)
    if given.list:
        print("".join(f"{lane.name:<16} {lane.minutes:>5.0f} min  {lane.proves}\n" for lane in lanes), end="")
        return 0
    began, begun = _now_s(), datetime.datetime.now(tz=datetime.UTC)  # noqa: TID251  (the day of a run)
    share = share_of(lanes, given.minutes)
    rans = _all(lanes, share, None if given.minutes is None else began + given.minutes * 60)
    took = f"{(_now_s() - began) / 60:.0f} min"
    size = "in full" if share == 1.0 else f"at {share:.1%} of the full size, but never less than `make test` does"
    text = page(rans, head=f"{begun:%Y-%m-%d %H:%M} UTC, {took}, {size}; {os.cpu_count()} cores.")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    print(f"\n{text}\nalso in {PAGE}; each lane's own words are in {LOGS}")
    if all(ran.skipped for ran in rans):
        print("nothing ran, so nothing is known: this is no success")
        return 1
    return int(not all(ran.is_good for ran in rans))


def _all(lanes: Sequence[Lane], share: float, until_s: float | None) -> list[Ran]:
    """Run them in order; what is left when the time is up, or somebody has enough, is skipped."""
    rans: list[Ran] = []
    why = ""
    for number, lane in enumerate(lanes, 1):
        left_minutes = None if until_s is None else (until_s - _now_s()) / 60
        if not why and left_minutes is not None and left_minutes <= 0:
            why = "the time was up"
        if not why and left_minutes is not None and not lane.knobs and lane.minutes > left_minutes:
            rans.append(
                Ran(lane=lane, skipped=f"it takes {lane.minutes:g} min in one piece; {left_minutes:.0f} are left")
            )
            continue
        if why:
            rans.append(Ran(lane=lane, skipped=why))
            continue
        print(f"[{number}/{len(lanes)}] {lane.name}: {lane.proves}", flush=True)
        try:
            rans.append(run(lane, share))
        except KeyboardInterrupt:
            why = "somebody stopped it"
            rans.append(Ran(lane=lane, skipped=why))
    return rans


def run(lane: Lane, share: float) -> Ran:
    """Run one lane in a process of its own, and collect what it has kept; what another run has kept goes first."""
    for report in lane.reports:
        (FOLDER / f"{report}.json").unlink(missing_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    log_path = LOGS / f"{lane.name}.log"
    knobs = {knob.name: str(knob.share(share)) for knob in lane.knobs}
    expected_minutes = lane.minutes * share if lane.knobs else lane.minutes
    command = [sys.executable, "-m", lane.module, *lane.arguments]
    print("    " + " ".join(f"{name}={value}" for name, value in (knobs | dict(lane.settings)).items()), *command[1:])
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **lane.settings, **knobs},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it is ended with everything that it has started
        )
        failed = _waited(process, expected_minutes)
    why = f"{failed}, see {log_path}" if failed else ""
    return Ran(lane=lane, figures=_kept(lane), failed=why, skipped_tests=_skipped_tests(log_path))


def _waited(process: subprocess.Popen[bytes], expected_minutes: float) -> str:
    """Wait for its end, saying that it is alive; return what is wrong with the end."""
    began = _now_s()
    bound_minutes = max(OVERRUN_MINUTES_LEAST, expected_minutes * OVERRUN)
    try:
        while True:
            try:
                code = process.wait(timeout=SAYS_EVERY_S)
            except subprocess.TimeoutExpired:
                minutes = (_now_s() - began) / 60
                if minutes > bound_minutes:
                    return f"it had not ended after {minutes:.0f} min"
                print(f"    {minutes:.0f} of about {expected_minutes:.0f} min", flush=True)
            else:
                return f"exit code {code}" if code else ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _kept(lane: Lane) -> dict[str, Figures]:
    kept: dict[str, Figures] = {}
    for report in lane.reports:
        path = FOLDER / f"{report}.json"
        if path.exists():
            with suppress(ValueError):  # its writer was struck in the middle: as good as none
                kept[report] = json.loads(path.read_text("utf-8"))
    return kept


def _skipped_tests(log_path: Path) -> tuple[str, ...]:
    """What pytest says at its end of tests that could not run here."""
    lines = log_path.read_text("utf-8", errors="replace").splitlines()
    return tuple(line.removeprefix("SKIPPED ") for line in lines if line.startswith("SKIPPED ["))


def _now_s() -> float:
    return time.monotonic()  # noqa: TID251  (how long a run takes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
