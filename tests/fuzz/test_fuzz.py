import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)

import pytest

from tests.fuzz import lane
from tests.fuzz.__main__ import INPUTS_DEFAULT
from tests.fuzz.judging import Judge, Target, clear, forget_peak


@pytest.mark.timeout(24 * 3_600)
def test_no_input_crashes_hangs_eats_memory_or_is_refused_without_a_clear_word() -> None:
    """INPUTS and FUZZ_SEED as the command knows them; it writes the figures, too."""
    ended = subprocess.run([sys.executable, "-m", "tests.fuzz"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr[-20_000:]}"
    figures = json.loads(Path("build/figures/fuzz.json").read_text(encoding="utf-8"))
    assert figures["inputs"] >= int(os.environ.get("INPUTS", INPUTS_DEFAULT))
    read = "taken|a value|exit 0|violations"  # it came past whatever refuses
    for name in lane.SHARES:
        assert re.search(rf"^{name} .*({read})", ended.stdout, re.MULTILINE), f"{name} refuses all"


def judged(run: Callable[[bytes], str], data: bytes = b"input") -> tuple[str, str]:
    """What a judge says of one input: kind and place of the finding, empty where there is none."""
    _, finding = Judge(Target(run=run, mutate=lambda _, seeds: seeds[0]), stuck_s=0.5).judge(data)
    return (finding.kind, finding.where) if finding is not None else ("", "")


def work(cpu_s: float) -> None:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


def test_what_is_looked_for_is_found() -> None:
    def crash(data: bytes) -> str:
        raise KeyError(data)

    def leave(_: bytes) -> str:
        raise SystemExit(1)

    def slow(_: bytes) -> str:
        work(0.12)
        return "taken"

    def endless(_: bytes) -> str:
        while True:
            pass

    def large(_: bytes) -> str:
        _ = b"x" * (80 * 1024 * 1024)
        return "taken"

    def mumble(_: bytes) -> str:
        clear("?")
        return "refused"

    assert judged(crash)[1].startswith("KeyError at ")
    assert judged(leave)[1].startswith("SystemExit at ")
    assert judged(slow) == ("hang", "hang")
    assert judged(endless) == ("hang", "stuck")
    forget_peak()  # other tests of this process may have had more
    assert judged(large) == ("memory", "memory")
    assert judged(mumble)[0] == "unclear"
    assert judged(lambda _: "taken") == ("", "")


def test_a_pause_that_happens_once_is_nobodys_fault() -> None:
    seen: list[bytes] = []

    def warms_up(data: bytes) -> str:
        if not seen:
            work(0.12)
        seen.append(data)
        return "taken"

    assert judged(warms_up) == ("", "")
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["records", "queries"])
def test_the_same_seed_gives_the_same_inputs(name: str) -> None:
    def first(seed: int) -> list[bytes]:
        with lane.opened(name) as target:
            inputs = lane._inputs(name, target, seed)
            return [next(inputs) for _ in range(500)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_an_input_that_shows_a_defect_is_made_small_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lane, "FOUND", tmp_path)  # where this run's findings go, not the product

    def run(data: bytes) -> str:
        assert b"!" not in data
        return "taken"

    judge = Judge(Target(run=run, mutate=lambda _, seeds: seeds[0]))
    data = Random(1).randbytes(300).replace(b"!", b"") + b"!" + b"x" * 300
    finding = judge.judge(data)[1]
    assert finding is not None
    path = Path(lane._keep("records", judge, data, finding))
    assert path.read_bytes() == b"!"
    assert f"--replay {path}" in capsys.readouterr().err


def test_a_process_that_dies_leaves_its_input() -> None:
    code = (
        "from tests.fuzz import lane\nimport os\nwith lane._noted('probe') as note:\n  note(b'the last')\n  os.abort()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode < 0
    assert lane.noted_input("probe") == b"the last"
