"""docs/simulating.md is true: its files, its commands and their answers, and the test it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from orchestrator.testing import Kind
from tests.e2e.pages import Page

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]
PAGE = Page.read(ROOT / "docs" / "simulating.md")
FEWER = ("--from", "91", "--seeds", "10")
"""In place of a hundred seeds; the hundredth is among them, which is run twice."""
_DRAWN = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[\d,.]*\d"), "N"),
    (re.compile(r"N [A-Z_]+(, N [A-Z_]+)*$"), "N ENDED"),
    (re.compile(rf"^({'|'.join(map(re.escape, Kind))})\s+N$"), "KIND N"),
)
"""What hangs on which worlds are tried."""
_PROGRESS = re.compile(r"[\d,]+ of [\d,]+ seeds, ")
"""What a busy machine says besides, a line every few seconds."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files, beside the project's."""
    for name, text in PAGE.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("compose", "protos"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed: nothing compiles a .proto")
    (compiles,) = [command.text for command in PAGE.commands if command.text.startswith("python -m grpc_tools.protoc")]
    assert protoc.main(shlex.split(compiles)[2:]) == 0
    return tmp_path


def alike(line: str) -> str:
    """Take out of a line what is drawn, and how wide it is."""
    for pattern, instead in _DRAWN:
        line = pattern.sub(instead, line)
    return " ".join(line.split())


def is_shown(answer: list[str], shown: list[str]) -> bool:
    """Return whether a page shows an answer: line by line, `…` stands for some lines, and for the rest of one."""
    at, some = 0, False
    for line in map(alike, shown):
        if line == "…":
            some = True
            continue
        rest = range(at, len(answer)) if some else range(at, min(at + 1, len(answer)))
        found = next((number for number in rest if _is(alike(answer[number]), line)), None)
        if found is None:
            return False
        at, some = found + 1, False
    return some or at == len(answer)


def _is(line: str, shown: str) -> bool:
    return line.startswith(shown.removesuffix("…")) if shown.endswith("…") else line == shown


@pytest.mark.timeout(600)  # its commands run thousands of sagas
def test_every_command_answers_as_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [command for command in PAGE.commands if command.text.startswith("saga ")]
    assert len(commands) == 6
    for command in commands:
        arguments = shlex.split(command.text.replace("\\\n", " "))[1:]
        run([*arguments, *(() if "--tape" in arguments else FEWER)])
        said = capsys.readouterr()
        answer = [line for line in (said.out + said.err).splitlines() if not _PROGRESS.match(line)]
        assert is_shown(answer, command.shown.splitlines()), "\n".join([f"$ {command.text}", *answer])


def test_the_test_that_the_page_shows_passes_and_would_fail(folder: Path) -> None:
    test, shown = folder / "test_order.py", PAGE.files["test_order.py"]
    few = shown.replace("range(1, 51)", "range(1, 4)")
    assert few != shown
    test.write_text(few, encoding="utf-8")
    assert _pytest(folder) == 0
    test.write_text(few.replace("reply.lost s1/", "refuses s1/"), encoding="utf-8")
    assert _pytest(folder, "-k", "money") == 1


def _pytest(folder: Path, *more: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *more]
    return subprocess.run([*command, "test_order.py"], cwd=folder, check=False, capture_output=True).returncode


def test_an_answer_that_differs_in_more_than_figures_is_told_apart() -> None:
    answer = ["1 seeds, 10 sagas: 3 COMPLETED", "late   2", "  0 violations"]
    assert is_shown(answer, ["100 seeds, 1,000 sagas: 9 COMPLETED", "…", "  0 violations"])
    assert is_shown(answer, ["7 seeds, …", "late  1", "0 violations"])
    assert is_shown(answer, ["7 seeds, 8 sagas: 9 COMPENSATED, 8 COMPLETED", "slow  7", "0 violations"])
    assert not is_shown(answer, ["7 seeds, 8 children: 9 COMPLETED", "…"])
    assert not is_shown(answer, ["7 seeds, 8 sagas: 9 COMPLETED", "0 violations"])
    assert not is_shown(answer, ["7 seeds, 8 sagas: 9 COMPLETED", "late 2"])
