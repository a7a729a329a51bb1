"""`saga top` and `saga debug profile` against a real server that is busy."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.cli.test_program import mesh, program

__all__ = ["mesh"]


@pytest.fixture(scope="module")
def busy(mesh: tuple[Path, str]) -> Iterator[str]:
    """The address of a server that is sent reports all the time."""
    _, server = mesh
    command = [sys.executable, "-m", "orchestrator", "load", "--server", server, "--reports", "20", "--rounds", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as load:
        assert load.stdout is not None
        assert "20 reports" in load.stdout.readline()
        try:
            yield server
        finally:
            load.kill()


def test_a_page_of_a_busy_server_has_its_rates_and_its_targets(busy: str) -> None:
    ended = program("top", "--once", "-o", "json", server=busy)
    assert ended.returncode == 0, ended.stderr
    page = json.loads(ended.stdout)
    [process] = page["processes"]
    assert process["up_s"] > 0.0
    assert process["cores"] > 0.0
    [intake] = [each for each in page["definitions"] if each["name"] == "epro_intake"]
    assert intake["started"] > 0.0
    assert intake["completed"] > 0.0
    assert intake["p50"]["seconds"] > 0.0
    targets = {each["name"]: each for each in page["targets"]}
    assert set(targets) == {"validator", "scoring", "archive", "safety", "notifier"}
    assert targets["validator"]["calls"] > 0.0
    assert page["journal"]["records"] > page["journal"]["commits"] > 0.0


def test_a_page_for_people_fits_its_pipe(busy: str) -> None:
    ended = program("top", "--once", "--interval", "1", server=busy)
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("saga top  version ")
    assert any(line.startswith("epro_intake") for line in lines)
    assert max(map(len, lines)) <= 80


def test_on_a_terminal_it_goes_on_until_q(busy: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "orchestrator", "top", "--server", busy, "--interval", "0.5"]
    environ = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = ""
        while len(re.findall(r"rates of", shown)) < 2:  # two looks and their rates
            shown += os.read(ours, 65_536).decode()
        os.write(ours, b"q")
        while process.poll() is None:
            try:
                shown += os.read(ours, 65_536).decode()
            except OSError:  # it has closed its end
                break
        assert process.wait(timeout=60) == 0
    os.close(ours)
    assert "epro_intake" in shown
    assert shown.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in shown  # the screen is as it was


def test_a_profile_of_a_busy_server_shows_what_it_does(busy: str, tmp_path: Path) -> None:
    ended = program("debug", "profile", "2", "--out", str(tmp_path / "a.svg"), server=busy)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"at 99 Hz: \d+ samples, the event loop busy in [\d.]+ %", ended.stdout)
    picture = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(picture)
    assert "orchestrator.runtime.actor:Actor" in picture
