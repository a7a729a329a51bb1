"""`saga top` on a terminal: one that types, one that cannot, one that goes away, and what it looks like afterwards."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from orchestrator.v1.diagnostics_service_pb2 import GetFiguresResponse
from orchestrator.v1.saga_service_pb2 import CountSagasResponse, ListSagasResponse
from tests.unit.cli.conftest import FakeServer, server

__all__ = ["server"]

PATIENCE_S = 60.0
SCREEN_AWAY, CURSOR_BACK = "\x1b[?1049l", "\x1b[?25h"


@dataclass(slots=True, kw_only=True)
class Terminal:
    """A terminal of 80 columns and 24 lines, and what was written to it."""

    ours: int
    theirs: int
    shown: str = ""

    def read(self, process: "subprocess.Popen[bytes]") -> bool:
        """Take what comes next; false where the process has ended and nothing is left."""
        while not select.select([self.ours], [], [], 0.1)[0]:
            if process.poll() is not None and not select.select([self.ours], [], [], 0.0)[0]:
                return False
        self.shown += os.read(self.ours, 65_536).decode()
        return True

    def settings(self) -> Sequence[object]:
        return termios.tcgetattr(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    found = Terminal(ours=ours, theirs=theirs)
    yield found
    for each in (found.ours, found.theirs):
        if each >= 0:
            os.close(each)


@pytest.fixture(autouse=True)
def answering(server: FakeServer) -> None:
    server.answer("GetFigures", GetFiguresResponse(process_name="vm"))
    server.answer("CountSagas", CountSagasResponse())
    server.answer("ListSagas", ListSagasResponse())


@contextmanager
def top(
    server: FakeServer, terminal: Terminal, *, stdin: int | None = None, stderr: int | None = None, term: str = "xterm"
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the program there; it is ended, whatever became of the test."""
    command = [sys.executable, "-m", "orchestrator", "top", "--server", server.address, "--interval", "0.5"]
    with subprocess.Popen(
        command,
        stdin=terminal.theirs if stdin is None else stdin,
        stdout=terminal.theirs,
        stderr=terminal.theirs if stderr is None else stderr,
        env={**os.environ, "TERM": term},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def after_two_pages(terminal: Terminal, process: "subprocess.Popen[bytes]") -> None:
    while terminal.shown.count("saga top  version") < 2:
        assert terminal.read(process), terminal.shown


def ended(terminal: Terminal, process: "subprocess.Popen[bytes]") -> int:
    while terminal.read(process):
        pass
    return process.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_whoever_ends_it_finds_the_terminal_as_it_was(
    server: FakeServer, terminal: Terminal, number: signal.Signals
) -> None:
    before = terminal.settings()
    with top(server, terminal) as process:
        after_two_pages(terminal, process)
        assert terminal.settings() != before
        process.send_signal(number)
        assert ended(terminal, process) == 0, terminal.shown
    assert terminal.settings() == before
    assert SCREEN_AWAY in terminal.shown
    assert terminal.shown.rindex(CURSOR_BACK) > terminal.shown.rindex("saga top  version")
    assert "Traceback" not in terminal.shown
    assert "a bug" not in terminal.shown


def test_keys_that_were_typed_at_once_are_all_seen(server: FakeServer, terminal: Terminal) -> None:
    with top(server, terminal) as process:
        after_two_pages(terminal, process)
        assert "q quits" in terminal.shown
        os.write(terminal.ours, b"xxq")
        assert ended(terminal, process) == 0, terminal.shown


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE], ids=["nothing", "a pipe"])
def test_it_goes_on_where_nobody_can_type(server: FakeServer, terminal: Terminal, stdin: int) -> None:
    with top(server, terminal, stdin=stdin) as process:
        after_two_pages(terminal, process)
        process.send_signal(signal.SIGINT)
        assert ended(terminal, process) == 0, terminal.shown
    assert "Ctrl-C quits" in terminal.shown
    assert "a bug" not in terminal.shown


def test_it_ends_with_its_terminal(server: FakeServer, terminal: Terminal) -> None:
    with top(server, terminal, stderr=subprocess.PIPE) as process:
        after_two_pages(terminal, process)
        os.close(terminal.theirs)
        os.close(terminal.ours)
        terminal.ours = terminal.theirs = -1
        _, told = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, told) == (0, b"")


def test_a_terminal_that_cannot_be_drawn_on_gets_one_page(server: FakeServer, terminal: Terminal) -> None:
    with top(server, terminal, term="dumb") as process:
        assert ended(terminal, process) == 0
    assert "one page, as with --once" in terminal.shown
    assert terminal.shown.count("saga top  version") == 1
    assert "\x1b" not in terminal.shown
