"""The tutorial is true: its files, its commands and its answers, run as a reader would."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pages import Page, Shell, alike
from tests.kit.ports import free

PAGE = Page.read(Path(__file__).parents[2] / "docs" / "tutorial.md")
PORTS_ON_THE_PAGE = ("50061", "50062", "7400", "7401")


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


def test_every_command_of_the_tutorial_answers_as_the_page_says(shell: Shell, ports: dict[str, str]) -> None:
    for command in PAGE.commands:
        said = shell.type(with_free(command.text, ports))
        assert alike(said) == alike(command.shown), f"$ {command.text}\n{said}"


def test_the_tutorial_shows_a_service_short_enough_to_read() -> None:
    code = [line for line in PAGE.files["shop.py"].splitlines() if line.strip()]
    assert len(code) <= 75


def test_answers_that_differ_in_more_than_times_and_ids_are_told_apart() -> None:
    assert alike("reserve  ███  7 ms  APPLIED") == alike("reserve █ 12 ms APPLIED")
    assert alike("order-1 COMPLETED in 7 ms") != alike("order-1 COMPENSATED in 7 ms")
    assert alike("attempt 1 lost, 2 OK 3 ms") != alike("attempt 1 OK 3 ms")
