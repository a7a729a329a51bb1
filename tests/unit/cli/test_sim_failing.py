"""What `saga sim` says of a run that fails, what it takes to play it again, and what it refuses."""

import json
import re
import shlex
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.testing import Kind, Run, Simulation, flows, read_tape
from tests.unit.cli.conftest import Saga
from tests.unit.cli.test_sim import descriptors, good, written

__all__ = ["descriptors", "good"]

# --- whose seed ------------------------------------------------------------------------------------------------------


def test_a_tape_is_of_the_seed_in_its_first_line(saga: Saga, tmp_path: Path) -> None:
    tape = written(tmp_path / "a.tape", "# seed 3\nkill.turn life-1 40\n")
    told, repeated, other = (
        saga("sim", *seed, "--tape", path, "-o", "json")
        for seed, path in (
            ((), tape),
            (("--seed", "3"), tape),
            (("--seed", "4"), written(tmp_path / "b.tape", "kill.turn life-1 40\n")),
        )
    )
    assert json.loads(told.out)["seed"] == 3
    assert told == repeated
    assert json.loads(other.out)["seed"] == 4
    assert json.loads(other.out)["timeline"] != json.loads(told.out)["timeline"]


def test_a_tape_of_another_seed_is_refused(saga: Saga, tmp_path: Path) -> None:
    ended = saga("sim", "--seed", "5", "--tape", written(tmp_path / "a.tape", "# seed 3\n"))
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "a.tape is of seed 3, and of seed 5 it would be another run: leave --seed out" in ended.err


def test_a_tape_of_no_seed_is_refused_where_none_is_given(saga: Saga, tmp_path: Path) -> None:
    ended = saga("sim", "--tape", written(tmp_path / "a.tape", "late s1/a/forward/1\n# seed 3\n"))
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "a.tape does not say in its first line of which seed it is (`# seed N`): give --seed" in ended.err


def test_a_kill_that_does_not_say_when_is_refused_with_its_line(saga: Saga, tmp_path: Path) -> None:
    ended = saga("sim", "--tape", written(tmp_path / "a.tape", "# seed 3\n\nkill.turn life-1\n"))
    assert ended.code != Exit.OK
    assert "line 3: 'kill.turn life-1' is no fault; write kill.turn life-1 N, with the one pass" in ended.err


# --- a run that fails -----------------------------------------------------------------------------------------------


class Planted(Simulation):
    """Its saga 1 breaks a rule wherever a service is slow."""

    def run(self, seed: int, **given: object) -> Run:
        run = super().run(seed, **given)  # type: ignore[arg-type]  # passed on
        is_slow = any(fault.kind is Kind.SLOW for fault in run.tape)
        run.violations = ("I99 saga s1: is slow",) if is_slow else ()
        return run


def straight(kind: type[Simulation]) -> Simulation:
    (given,) = [flow.simulation() for flow in flows.FLOWS if flow.name == "straight"]
    return kind(plans=given.plans, begins=given.begins, catalogue=given.catalogue)


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Arguments with which the planted rule is broken, in a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flows, "mixed", lambda _seed, _sagas, _nodes: straight(Planted))
    return ("sim", "--seeds", "200")


def test_a_program_gets_the_shrunk_run_in_one_object_and_nothing_beside_it(
    saga: Saga, failing: tuple[str, ...], tmp_path: Path
) -> None:
    ended = saga(*failing, "-o", "json")
    found = json.loads(ended.out)
    shrunk = found["shrunk"]
    assert ended.code == Exit.FAILED
    assert [each["seed"] for each in found["failing"]] == [shrunk["seed"]]
    assert shrunk["violations"] == ["I99 saga s1: is slow"]
    (slow,) = [line for line in shrunk["tape"] if line.startswith("slow ")]
    assert len(shrunk["tape"]) < found["faults"]
    assert {"at_s", "who", "what"} == set(shrunk["timeline"][0])
    assert slow in [each["what"] for each in shrunk["timeline"]]
    assert [str(fault) for fault in read_tape((tmp_path / shrunk["path"]).read_text())] == shrunk["tape"]
    assert "play it again" in ended.err
    assert json.loads(saga("sim", "--tape", shrunk["path"], "-o", "json").out)["timeline"] == shrunk["timeline"]


def test_where_nothing_fails_nothing_is_shrunk(saga: Saga) -> None:
    assert json.loads(saga("sim", "--seeds", "1", "--sagas", "1", "-o", "json").out)["shrunk"] is None


def test_a_tape_that_was_there_is_replaced_and_that_is_said(
    saga: Saga, failing: tuple[str, ...], tmp_path: Path
) -> None:
    first = saga(*failing)
    (path,) = tmp_path.glob("seed-*.tape")
    assert f"written to {path.name}\n" in first.err
    path.write_text("somebody's own")
    second = saga(*failing)
    assert f"written to {path.name}, in place of what was there\n" in second.err
    assert "slow" in path.read_text()
    saga(*failing, "--save", "mine.tape")
    assert (tmp_path / "mine.tape").read_text() == path.read_text()


def test_a_tape_that_cannot_be_written_does_not_take_the_tale_with_it(saga: Saga, failing: tuple[str, ...]) -> None:
    ended = saga(*failing, "--save", "nowhere/a.tape", "-o", "json")
    assert ended.code == Exit.FAILED
    assert json.loads(ended.out)["shrunk"]["path"] is None
    assert "cannot write the tape to nowhere/a.tape: No such file or directory; name another place" in ended.err
    assert "play it again" not in ended.err


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_seed_that_is_not_the_same_run_again_is_not_shrunk(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    class Fickle(Simulation):
        def run(self, seed: int, **given: object) -> Run:
            run = super().run(seed, **given)  # type: ignore[arg-type]  # passed on
            run.digest = f"digest-{len(digests)}"
            digests.append(run.digest)
            return run

    digests: list[str] = []
    monkeypatch.setattr(flows, "mixed", lambda _seed, _sagas, _nodes: straight(Fickle))
    monkeypatch.chdir(tmp_path)
    ended = saga("sim", "--seed", "100", "-o", form)
    told = "repetition: the same seed gave another run: digest-0, then digest-1"
    assert ended.code == Exit.FAILED
    assert "seed 100 could not be repeated" in ended.err
    assert len(digests) == 2, "and it is not run again"
    assert list(tmp_path.iterdir()) == []
    if form == "json":
        found = json.loads(ended.out)
        assert (found["failing"], found["shrunk"]) == ([{"seed": 100, "violations": [told]}], None)
    else:
        assert ended.out.splitlines()[-1] == told


def test_a_failure_that_its_own_tape_does_not_show_is_told_as_such(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Once(Simulation):
        def run(self, seed: int, **given: object) -> Run:
            run = super().run(seed, **given)  # type: ignore[arg-type]  # passed on
            run.violations = () if "tape" in given else ("I99 saga s1: once",)
            return run

    monkeypatch.setattr(flows, "mixed", lambda _seed, _sagas, _nodes: straight(Once))
    monkeypatch.chdir(tmp_path)
    ended = saga("sim", "--seed", "3")
    assert (ended.code, ended.out.splitlines()[-1]) == (Exit.FAILED, "I99 saga s1: once")
    assert "its own faults, played from a tape, break no rule" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_the_line_that_plays_it_again_has_everything_that_makes_the_run(
    saga: Saga, good: str, descriptors: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.testing.Simulation", Planted)
    replies = written(tmp_path / "my replies.yaml", "steps: {validate: {reply: {valid: true}}}")
    written(tmp_path / "input.json", '{"report_id": "r1"}')
    given = ("--sagas", "4", "--input", "@input.json", "--replies", replies, "--descriptors", descriptors)
    ended = saga("sim", good, *given, "--set", "grace_s=5", "--seeds", "300", "--save", "a b.tape")
    (line,) = re.findall(r"play it again with `saga (.*)`", ended.err)
    again = shlex.split(line)
    assert again == ["sim", good, *given, "--set", "grace_s=5", "--tape", "a b.tape"]
    assert saga(*again).out.splitlines()[-1] == ended.out.splitlines()[-1]


# --- what would go unheard -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--input", "--replies", "--descriptors"])
def test_what_is_for_definitions_is_refused_without_any(saga: Saga, tmp_path: Path, option: str) -> None:
    value = "{}" if option == "--input" else written(tmp_path / "x", "{}")
    ended = saga("sim", "--seeds", "1", option, value)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert f"{option} is for definitions, and no FILE is given" in ended.err


@pytest.mark.parametrize(
    ("alone", "unheard"),
    [
        ("--seed", ("--seeds", "3")),
        ("--seed", ("--from", "1")),
        ("--tape", ("--seeds", "100")),
        ("--tape", ("--from", "3")),
        ("--tape", ("--save", "b.tape")),
    ],
)
def test_what_is_for_many_seeds_is_refused_with_one(
    saga: Saga, tmp_path: Path, alone: str, unheard: tuple[str, str]
) -> None:
    value = "3" if alone == "--seed" else written(tmp_path / "a.tape", "# seed 3\n")
    ended = saga("sim", alone, value, *unheard)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert f"{alone} is one run, and {unheard[0]} is for trying seeds" in ended.err


def test_that_nothing_was_run_twice_is_not_told_as_if_it_had_failed(saga: Saga) -> None:
    assert "bit for bit" not in saga("sim", "--seeds", "2", "--sagas", "1").out
    assert "; 1 seeds run twice, bit for bit\n" in saga("sim", "--seed", "100", "--sagas", "1").out
