import json
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.limits import CLI_COLUMNS_MAX
from tests.unit.cli.conftest import Saga
from tests.unit.cli.test_check import GOOD, descriptors

__all__ = ["descriptors"]

REPLIES = """
steps:
  validate: {reply: {valid: true}, after: 20ms}
  archive:
    - {error: UNAVAILABLE, sent: false, after: 50ms}
    - {error: FAILED_PRECONDITION, message: "the shelf is full"}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


def test_a_definition_is_proven_and_the_table_says_what_each_failure_leaves(
    saga: Saga, good: str, descriptors: str
) -> None:
    ended = saga("explore", good, "--descriptors", descriptors)
    assert ended.code == Exit.OK
    lines = ended.out.splitlines()
    assert lines[0].startswith("take_in: ")
    assert "proven: every path ends COMPLETED" in lines[1]
    refused = next(line for line in lines if line.startswith("archive: refuses"))
    assert refused.split()[2:] == ["COMPENSATED", "done", "failed"]


def test_an_exploration_for_programs_has_every_outcome(saga: Saga, good: str, descriptors: str) -> None:
    ended = saga("explore", good, "--descriptors", descriptors, "--faults", "1", "-o", "json", "-q")
    (found,) = json.loads(ended.out)
    assert found["proven"] is True
    assert found["flaws"] == []
    nothing = [each for each in found["outcomes"] if not each["faults"]]
    assert [(each["status"], each["steps"]) for each in nothing] == [
        ("COMPLETED", {"validate": "done", "archive": "done"})
    ]


def test_a_definition_with_errors_is_not_explored(saga: Saga, tmp_path: Path, descriptors: str) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("kind: read", "kind: raed"))
    ended = saga("explore", str(tmp_path / "bad.yaml"), "--descriptors", descriptors)
    assert ended.code == Exit.FAILED
    assert "mend them first" in ended.err


def test_a_saved_path_is_played_and_one_that_cannot_happen_is_refused(
    saga: Saga, good: str, descriptors: str, tmp_path: Path
) -> None:
    path = tmp_path / "path.txt"
    path.write_text("# a comment\nthe saga starts\nvalidate succeeds\narchive succeeds\n")
    ended = saga("explore", good, "--descriptors", descriptors, "--replay", str(path))
    assert ended.code == Exit.OK
    assert ended.out.splitlines()[-1].split()[:3] == ["archive", "succeeds", "COMPLETED"]
    path.write_text("the saga starts\narchive succeeds\n")
    ended = saga("explore", good, "--descriptors", descriptors, "--replay", str(path))
    assert ended.code == Exit.FAILED
    assert "cannot happen here" in ended.err


def test_a_saga_is_played_with_its_script_and_its_end_is_the_exit_code(
    saga: Saga, good: str, descriptors: str, tmp_path: Path
) -> None:
    (tmp_path / "replies.yaml").write_text(REPLIES)
    arguments = ("simulate", good, "--descriptors", descriptors, "--input", '{"report_id": "r"}')
    ended = saga(*arguments)
    assert (ended.code, "COMPLETED in 200 ms" in ended.out) == (Exit.OK, True)
    ended = saga(*arguments, "--replies", str(tmp_path / "replies.yaml"))
    assert ended.code == Exit.COMPENSATED
    assert "archive the shelf is full" in ended.out
    assert "attempt 1 UNAVAILABLE 50 ms" in ended.out
    ended = saga(*arguments, "--cancel-at", "150ms")
    assert ended.code == Exit.COMPENSATED


def test_a_script_that_is_no_text_is_told(saga: Saga, good: str, descriptors: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.yaml"
    path.write_bytes(b"steps: \xff")
    for arguments in (("simulate", good, "--replies", str(path)), ("explore", good, "--replay", str(path))):
        ended = saga(*arguments, "--descriptors", descriptors)
        assert (ended.code, "replies.yaml: it is not UTF-8 text" in ended.err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("steps: {archiv: {error: ABORTED}}", "steps.archiv: no such step; there are validate, archive"),
        ("steps: {archive.redo: {error: ABORTED}}", "write `archive` or `archive.undo`"),
        ("steps: {archive: {eror: ABORTED}}", "steps.archive"),
        ("steps: {archive: {reply: {record: 1}}}", "steps.archive"),
        ("signals: [{at: 1s, signal: go}]", "no step waits for 'go'"),
        ("steps: [", "replies.yaml"),
        ("- 1", "is a mapping"),
    ],
)
def test_a_mistake_in_a_script_is_told_with_its_place(
    saga: Saga, good: str, descriptors: str, *, script: str, told: str
) -> None:
    replies = str(Path(good).with_name("replies.yaml"))
    Path(replies).write_text(script)
    ended = saga("simulate", good, "--descriptors", descriptors, "--input", '{"report_id": "r"}', "--replies", replies)
    assert ended.code in {Exit.USAGE, Exit.FAILED}
    assert told in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("columns", [39, CLI_COLUMNS_MAX + 1, 2**32])
def test_a_drawing_is_at_most_as_wide_as_anybody_can_look_at(
    saga: Saga, good: str, descriptors: str, columns: int
) -> None:
    ended = saga("simulate", good, "--descriptors", descriptors, "--width", str(columns))
    assert ended.code == Exit.USAGE
    assert f"{columns} is not in the range 40<=x<={CLI_COLUMNS_MAX}" in ended.err
    assert saga("simulate", good, "--descriptors", descriptors, "--width", str(CLI_COLUMNS_MAX)).code == 0
