import json
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.testing import flows, read_tape
from tests.unit.cli.conftest import Saga
from tests.unit.cli.test_check import GOOD, descriptors

__all__ = ["descriptors"]

PIVOT = GOOD.replace(
    """    compensate: {call: archive/epro.v1.Archive/Withdraw, request: {report_id: "${input.report_id}"}}
""",
    """    kind: pivot
    probe:
      call: validator/epro.v1.Validator/Validate
      request: {report: "${input}"}
      applied: ${reply.valid}
""",
)
ANSWER = "steps: {archive.probe: {reply: {valid: true}}}"


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def pivot(tmp_path: Path, good: str) -> str:
    path = tmp_path / "pivot.yaml"
    path.write_text(PIVOT)
    return str(path)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- the orchestrator's own flows ------------------------------------------------------------------------------------


def test_without_a_file_the_own_flows_are_run_and_the_sum_is_told(saga: Saga) -> None:
    ended = saga("sim", "--seeds", "3", "--sagas", "4")
    assert (ended.code, ended.err) == (Exit.OK, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("3 seeds, ")
    assert lines[2].split() == ["WHAT", "WENT", "WRONG", "TIMES"]
    assert lines[-1].endswith(" rules, 0 violations")


def test_the_sum_for_programs_has_every_figure(saga: Saga) -> None:
    ended = saga("sim", "--seeds", "2", "--sagas", "3", "--from", "7", "-o", "json")
    found = json.loads(ended.out)
    assert ended.code == Exit.OK
    assert (found["seeds"], found["violations"], found["failing"]) == (2, 0, [])
    assert found["executions"] == sum(found["statuses"].values()) >= 6
    assert found["faults"] == sum(found["struck"].values())
    assert found["facts_checked"] == sum(found["checked"].values()) > 100


def test_a_seed_alone_is_that_seed_and_always_the_same(saga: Saga) -> None:
    found = [json.loads(saga("sim", "--seed", seed, "-o", "json").out) for seed in ("11", "11", "12")]
    for each in found:
        del each["seconds"], each["sagas_per_second_per_core"]
    assert found[0] == found[1] != found[2]
    assert found[0]["seeds"] == 1


# --- tapes -----------------------------------------------------------------------------------------------------------


def test_a_tape_is_played_and_told_as_a_timeline(saga: Saga, good: str, tmp_path: Path, descriptors: str) -> None:
    tape = written(tmp_path / "a.tape", "# seed 1\nkill.send.after life-1 2\n")
    given = ("sim", good, "--descriptors", descriptors, "--sagas", "1", "--seed", "1")
    ended = saga(*given, "--tape", tape)
    assert (ended.code, ended.err) == (Exit.OK, "")
    assert any(line.split()[1:] == ["*", "kill.send.after", "life-1", "2"] for line in ended.out.splitlines())
    assert "archive forward 1 UNKNOWN UNKNOWN" in ended.out, "nobody knows what became of the call on the wire"
    assert ended.out.splitlines()[-1] == "no rule was broken: s1 COMPENSATED"
    found = json.loads(saga(*given, "--tape", tape, "-o", "json").out)
    assert (found["seed"], found["violations"]) == (1, [])
    assert {"at_s", "who", "what"} == set(found["timeline"][0])


def test_a_fault_that_nothing_came_to_is_told(saga: Saga, good: str, tmp_path: Path, descriptors: str) -> None:
    tape = written(tmp_path / "a.tape", "slow s1/archive/forward/1\nslow s1/archiv/forward/1\n")
    ended = saga("sim", good, "--descriptors", descriptors, "--seed", "1", "--tape", tape)
    assert ended.code == Exit.OK
    assert "did not strike" in ended.err
    assert "slow s1/archiv/forward/1" in ended.err
    assert "slow s1/archive/forward/1" not in ended.err


def test_a_tape_without_a_seed_is_refused_and_says_where_the_seed_is(saga: Saga, tmp_path: Path) -> None:
    ended = saga("sim", "--tape", written(tmp_path / "a.tape", "late s1/a/forward/1\n"))
    assert ended.code == Exit.USAGE
    assert "first line" in ended.err
    assert "give --seed" in ended.err


def test_a_tape_that_is_none_is_told_with_its_line(saga: Saga, tmp_path: Path) -> None:
    ended = saga("sim", "--seed", "3", "--tape", written(tmp_path / "a.tape", "# seed 3\nlately s1\n"))
    assert ended.code != Exit.OK
    assert "line 2: 'lately s1' is no fault; write KIND PLACE [N], with one of kill.turn, " in ended.err
    path = tmp_path / "b.tape"
    path.write_bytes(b"late \xff\n")
    ended = saga("sim", "--seed", "3", "--tape", str(path))
    assert (ended.code, "b.tape: it is not UTF-8 text" in ended.err) == (Exit.USAGE, True)


# --- definitions -----------------------------------------------------------------------------------------------------


def test_a_definition_is_run_in_worlds_that_fail(saga: Saga, good: str, descriptors: str) -> None:
    ended = saga("sim", good, "--descriptors", descriptors, "--seeds", "20", "--sagas", "5", "-o", "json")
    found = json.loads(ended.out)
    assert (ended.code, ended.err) == (Exit.OK, "")
    assert (found["executions"], found["violations"]) == (100, 0)
    assert found["faults"] > 20
    assert set(found["statuses"]) <= {"COMPLETED", "COMPENSATED", "NEEDS_ATTENTION"}


def test_answers_that_cannot_be_made_up_are_asked_for(saga: Saga, pivot: str, descriptors: str) -> None:
    ended = saga("sim", pivot, "--descriptors", descriptors)
    assert ended.code == Exit.USAGE
    assert "--replies: steps: say what answers once it is done: archive.probe" in ended.err


def test_a_probe_that_withholds_does_not_deny_what_was_done(
    saga: Saga, pivot: str, descriptors: str, tmp_path: Path
) -> None:
    withheld = "".join(f"withholds s1/archive/probe/{number}\n" for number in range(1, 4))
    tape = written(tmp_path / "a.tape", f"reply.lost s1/archive/forward/1\n{withheld}")
    replies = written(tmp_path / "replies.yaml", ANSWER)
    ended = saga(
        "sim", pivot, "--descriptors", descriptors, "--replies", replies, "--sagas", "1", "--seed", "1", "--tape", tape
    )
    assert ended.out.splitlines()[-1] == "no rule was broken: s1 COMPLETED"
    assert (ended.code, ended.err) == (Exit.OK, "")


def test_services_that_answer_what_nobody_meant_are_told_before_anything_is_tried(
    saga: Saga, good: str, descriptors: str, tmp_path: Path
) -> None:
    Path(good).write_text(GOOD.replace("    kind: read\n", "    kind: read\n    refuse: '!reply.valid'\n"))
    ended = saga("sim", good, "--descriptors", descriptors, "--seeds", "1")
    assert "where nothing goes wrong, sagas end COMPENSATED" in ended.err
    replies = written(tmp_path / "replies.yaml", "steps: {validate: {reply: {valid: true}}}")
    ended = saga("sim", good, "--descriptors", descriptors, "--seeds", "1", "--replies", replies)
    assert ended.err == ""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("steps: {archiv: {reply: {}}}", "steps.archiv: no such step; there are validate, archive"),
        ("steps: {archive: {reply: {record: 1}}}", "steps.archive"),
        ("steps: {archive.probe: {reply: {}}}", "steps.archive.probe: step archive makes no such call"),
        ("steps: {archive.redo: {reply: {}}}", "steps.archive.redo: step archive makes no such call"),
        ("- 1", "is a mapping"),
    ],
)
def test_a_mistake_in_the_replies_is_told_with_its_place(
    saga: Saga, good: str, descriptors: str, tmp_path: Path, *, script: str, told: str
) -> None:
    ended = saga("sim", good, "--descriptors", descriptors, "--replies", written(tmp_path / "replies.yaml", script))
    assert ended.code in {Exit.USAGE, Exit.FAILED}
    assert told in ended.err


def test_a_definition_with_errors_is_not_run(saga: Saga, good: str, descriptors: str) -> None:
    Path(good).write_text(GOOD.replace("kind: read", "kind: raed"))
    ended = saga("sim", good, "--descriptors", descriptors)
    assert (ended.code, "mend them first" in ended.err) == (Exit.FAILED, True)


# --- a rule that is broken -------------------------------------------------------------------------------------------

FORGETS = "reply.lost s1/a/forward/1\nforgets.key s1/a/forward/2\n"


def test_a_broken_rule_on_a_tape_ends_with_1_and_is_told_last(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (straight,) = [flow for flow in flows.FLOWS if flow.name == "straight"]
    monkeypatch.setattr(flows, "mixed", lambda _seed, _sagas, _nodes: straight.simulation())
    ended = saga("sim", "--seed", "5", "--tape", written(tmp_path / "a.tape", FORGETS))
    assert ended.code == Exit.FAILED
    broken = [line for line in ended.out.splitlines() if line.startswith("I")]
    assert [line.split(":")[0] for line in broken] == ["I13 saga s1", "I24 saga s1"]
    assert ended.out.splitlines()[-2:] == broken
    found = json.loads(saga("sim", "--seed", "5", "--tape", str(tmp_path / "a.tape"), "-o", "json").out)
    assert [each[:3] for each in found["violations"]] == ["I13", "I24"]


def test_a_failing_seed_is_shrunk_told_and_written_as_a_tape(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.testing.fates.NEVER_DRAWN", frozenset({"absent"}))
    ended = saga("sim", "--seeds", "400")
    assert ended.code == Exit.FAILED
    assert "leaving out what does not matter" in ended.err
    (path,) = tmp_path.glob("seed-*.tape")
    seed = path.stem.removeprefix("seed-")
    assert f"written to {path.name}" in ended.err
    assert "play it again with `saga sim " in ended.err
    kinds = [fault.kind for fault in read_tape(path.read_text()) if fault.kind != "absent"]
    assert "forgets.key" in kinds
    assert len(kinds) <= 3
    told = ended.out.splitlines()[-1]
    assert told[:3] in {"I13", "I12", "I24"}
    again = saga("sim", "--seed", seed, "--tape", path.name)
    assert (again.code, again.out.splitlines()[-1]) == (Exit.FAILED, told)
    named = saga("sim", "--from", seed, "--seeds", "1", "--save", "kept.tape")
    assert named.code == Exit.FAILED
    assert Path("kept.tape").read_text() == path.read_text()
