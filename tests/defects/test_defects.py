import importlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.defects import kept
from tests.defects.kept import Detection
from tests.defects.planting import PACKAGE, ROOT, Defect, Misplanted, plant
from tests.defects.searching import search
from tests.defects.seeking import SOUND, symptom
from tests.defects.table import DEFECTS
from tests.kit.figures import keep

_AMONG = 25
"""Seeds, from the one that is known to tell: whatever is added to the simulation moves it a little."""
_CHEAP = 10


@pytest.mark.parametrize("name", DEFECTS)
def test_the_old_snippet_occurs_once_and_the_new_text_compiles_to_another_program(name: str) -> None:
    defect = DEFECTS[name]
    sound = (ROOT / defect.path).read_text(encoding="utf-8")
    spoilt = compile(defect.spoil(sound), defect.path, "exec")
    assert spoilt.co_code != b""
    assert spoilt != compile(sound, defect.path, "exec")


def test_a_snippet_that_is_gone_or_ambiguous_is_named() -> None:
    defect = Defect(name="x", breaks="I0", module="saga.budget", says="nothing", old="return", new="yield")
    with pytest.raises(Misplanted, match="occurs 2 times"):
        defect.spoil("return\nreturn\n")
    with pytest.raises(Misplanted, match="occurs 0 times"):
        defect.spoil("")


def test_a_defect_is_not_planted_into_a_program_that_runs_already() -> None:
    importlib.import_module(PACKAGE)
    with pytest.raises(Misplanted, match="has been imported"):
        plant(next(iter(DEFECTS.values())))


def test_the_page_and_the_file_follow_the_table() -> None:
    assert kept.check() == []


def test_every_kept_defect_was_found() -> None:
    assert [name for name, each in kept.read().items() if not each.is_found] == []


def _chosen() -> list[Detection]:
    every = sorted(kept.read().values(), key=lambda each: (each.seeds, each.seconds, each.name))
    return every if os.environ.get("DEFECTS") == "all" else every[:_CHEAP]


@pytest.mark.timeout(3_600)
def test_planted_defects_are_found() -> None:
    """The ten that are found soonest, or all of them with DEFECTS=all; the sound program is clean at the same seed."""
    chosen = _chosen()
    seeds = [trial.seed for each in chosen for trial in each.trials[:1] if trial.seed is not None]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(search, [each.name for each in chosen], [[seed] for seed in seeds], [_AMONG] * len(chosen))
        trials = [trial for (trial,) in found]
    missed = [each.name for each, trial in zip(chosen, trials, strict=True) if trial.seed is None]
    ran = sorted(trial.ran for trial in trials)
    keep(
        "defects",
        planted=len(trials),
        found=len(trials) - len(missed),
        median_seeds=ran[len(ran) // 2],
        seconds=round(sum(trial.seconds for trial in trials), 1),
        skipped="" if len(trials) == len(DEFECTS) else f"{len(DEFECTS) - len(trials)} more are run by DEFECTS=all",
    )
    assert missed == []


def test_the_program_as_it_is_breaks_no_rule_from_any_starting_point() -> None:
    command = [sys.executable, "-P", "-m", "tests.defects.seeking", SOUND, "2", "1", "10001"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert [(found["seed"], found["ran"]) for found in map(json.loads, done.stdout.splitlines())] == [(None, 2)] * 2


@pytest.mark.parametrize(
    ("message", "told_by"),
    [
        ("I24 saga s1: completed, and nothing stands", "I24"),
        ("bug: saga s1 is quarantined", "the log"),
        ("the run broke: KeyError('s1')", "the run"),
        ("caller of saga s1: was told NotFound()", "a caller"),
    ],
)
def test_a_finding_is_named_after_what_told(message: str, told_by: str) -> None:
    assert symptom(message) == told_by
