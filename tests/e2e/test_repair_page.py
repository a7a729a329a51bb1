"""The page on repair is true: one stuck saga of each kind, and how a person ends it, run as a reader would."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.saga.events import AttentionReason, Verb
from tests.e2e.pages import Page, Shell, alike
from tests.kit.ports import free

pytestmark = pytest.mark.alone  # sagas become overdue while its commands run, in the page's own time

PATH = Path(__file__).parents[2] / "docs" / "repair.md"
PAGE = Page.read(PATH)
PORTS_ON_THE_PAGE = ("50071", "7400", "7401")


@pytest.fixture
def ports() -> dict[str, str]:
    """Free ports in place of the page's, which may be taken here."""
    return {written: str(free()) for written in PORTS_ON_THE_PAGE}


@pytest.fixture
def shell(tmp_path: Path, ports: dict[str, str]) -> Iterator[Shell]:
    """A shell in a folder with the page's files, where `saga` is found and `venv` is this environment."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed, so nothing can compile the page's .proto")
    if shutil.which("bash") is None:
        pytest.skip("the page is written for bash, which is not on the path")
    for name, text in PAGE.files.items():
        (tmp_path / name).write_text(with_free(text, ports), encoding="utf-8")
    (tmp_path / "venv").symlink_to(sys.prefix)
    environ = {
        **os.environ,
        "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
        "ORCHESTRATOR_SERVER": f"127.0.0.1:{ports['7400']}",
        "ORCHESTRATOR_API__PORT": ports["7400"],
        "ORCHESTRATOR_HTTP__PORT": ports["7401"],
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "80",
    }
    opened = Shell(tmp_path, environ)
    yield opened
    opened.close()


def with_free(text: str, ports: dict[str, str]) -> str:
    for written, instead in ports.items():
        text = text.replace(written, instead)
    return text


@pytest.mark.timeout(600)
def test_every_command_of_the_page_answers_as_it_says(shell: Shell, ports: dict[str, str]) -> None:
    for command in PAGE.commands:
        said = shell.type(with_free(command.text, ports))
        assert alike(said) == alike(command.shown), f"$ {command.text}\n{said}"


def test_the_page_has_every_reason_and_every_verb() -> None:
    text = PATH.read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (.+)$", text, re.MULTILINE))
    anchors = {title.lower().replace(" ", "-").replace(",", "") for title in sections}
    for reason in AttentionReason:
        found = re.search(rf"\| \[`{reason}`\]\(#([a-z-]+)\) \|", text)
        assert found is not None, reason
        assert found[1] in anchors, reason
    for verb in Verb:
        word = {"OVERRIDE_REQUEST": "override"}.get(verb, verb.lower().replace("_", "-"))
        assert f"saga repair {word}" in text or f"`{word}`" in text, verb
