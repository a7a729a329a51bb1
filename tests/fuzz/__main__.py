"""Feed everything that takes words or bytes from strangers with what strangers might send.

::

    python -m tests.fuzz                               # as the gate does: INPUTS of them, by FUZZ_SEED, all targets
    INPUTS=5000000 JOBS=1 python -m tests.fuzz         # the long lane
    python -m tests.fuzz --only definitions --inputs 20000
    python -m tests.fuzz --replay build/fuzz/NAME      # one input again; the target is in its name

An input ends well if it is taken, or refused in a clear sentence: no crash, no hang, no memory without bound. Inputs
are made from the corpus by a seeded mutator: the same seed gives the same inputs. What fails is made small and written
to `build/fuzz/`; once mended, the file goes to `corpus/TARGET/` and is fed to it first, for ever.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.fuzz import lane
from tests.kit import figures

INPUTS_DEFAULT: Final = 50_500
SEED_DEFAULT: Final = 20_261
TARGET_S_MAX: Final = 24 * 3_600.0


def main(arguments: list[str]) -> int:
    """Run the command line; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--only", choices=list(lane.SHARES), help="this target alone, in this process")
    parser.add_argument("--inputs", type=int, default=int(os.environ.get("INPUTS", INPUTS_DEFAULT)))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FUZZ_SEED", SEED_DEFAULT)))
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", "2")))
    parser.add_argument("--replay", type=Path, help="feed this file alone")
    given = parser.parse_args(arguments)
    if given.replay is not None:
        spoken = {given.replay.name.partition("-")[0], given.replay.resolve().parent.name}
        name = given.only or next(each for each in lane.SHARES if each in spoken)
        return int(lane.replay(name, given.replay.resolve()) is not None)
    if given.only is not None:
        found = lane.run(given.only, given.inputs, given.seed)
        print(found.line())
        return int(bool(found.findings))
    return everything(given.inputs, given.seed, given.jobs)


def everything(inputs: int, seed: int, jobs: int) -> int:
    """Feed every target its share, each in its own process; tell and keep the figures."""
    begin = time.perf_counter()
    shares = {name: -(-inputs * share // sum(lane.SHARES.values())) for name, share in lane.SHARES.items()}
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda each: _process(each[0], each[1], seed), shares.items()))
    seconds = time.perf_counter() - begin
    defects = [f"{each['target']}: {where}: {path}" for each in found for where, path in each["findings"].items()]
    for each in found:
        ends = ", ".join(f"{word} {count:,}" for word, count in sorted(each["words"].items()))
        print(
            f"{each['target']:<12} {each['inputs']:>9,} inputs {each['seconds']:>7.1f} s  slowest "
            f"{each['slowest_s'] * 1e3:>4.0f} ms  +{each['grown_bytes'] >> 20} MiB  {ends}"
        )
    total = sum(each["inputs"] for each in found)
    print(f"seed {seed}: {total:,} inputs, {len(defects)} findings, {seconds:.1f} s")
    print("".join(f"  {defect}\n" for defect in defects), end="")
    figures.keep(
        "fuzz",
        seed=seed,
        inputs=total,
        findings=len(defects),
        slowest_ms=round(max(each["slowest_s"] for each in found) * 1e3, 1),
        seconds=round(seconds, 1),
        **{each["target"]: each["inputs"] for each in found},
    )
    return int(bool(defects))


def _process(name: str, inputs: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz", "--only", name, "--inputs", str(inputs), "--seed", str(seed)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=TARGET_S_MAX)
    line = ended.stdout.rpartition("\n{")[2] if "\n{" in ended.stdout else ended.stdout.removeprefix("{")
    try:
        found: dict[str, Any] = json.loads("{" + line)
    except ValueError:
        path = lane.FOUND / f"{name}-died"
        path.write_bytes(lane.noted_input(name))
        died = f"the process ended with {ended.returncode}"
        dead: dict[str, Any] = json.loads(lane.Found(target=name, findings={died: str(path)}).line())
        return dead
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
