"""Standard streams that are closed, full, or speak no Unicode."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from orchestrator.cli import main, output, streams
from orchestrator.cli.exits import Exit
from orchestrator.cli.main import run
from orchestrator.cli.waterfall import ASCII, UNICODE

SAGA = f"{sys.executable} -m orchestrator"
NOBODY = "127.0.0.1:1"
SERVE = "serve --store memory: --port 0 --http-port 0"

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")


def shell(line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "ORCHESTRATOR_SERVER": NOBODY, **environ}
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, env=given, timeout=60)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_ending(closed: str) -> None:
    assert shell(f"{SAGA} config schema {closed}").returncode == Exit.OK
    assert shell(f"{SAGA} get x {closed}").returncode == Exit.UNAVAILABLE


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_answer_that_cannot_be_written_ends_with_1_and_one_line(unbuffered: str) -> None:
    for command in ("config schema", "--help", "config show -o yaml"):
        ended = shell(f"{SAGA} {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert ended.returncode == Exit.FAILED
        assert ended.stderr.startswith("saga: the answer could not be written (No space left on device)")
        assert ended.stderr.count("\n") == 1


@needs_full
def test_a_complaint_that_cannot_be_written_leaves_the_exit_code() -> None:
    for command, code in (("get x", Exit.UNAVAILABLE), ("strat", Exit.USAGE), ("serve --set x=1", Exit.CONFIG)):
        assert shell(f"{SAGA} {command} 2> /dev/full").returncode == code


@pytest.mark.parametrize(
    "left",
    [
        "<&- 2>&1 >&-",
        "<&- 2>&-",
        pytest.param("2>&1 >/dev/full", marks=needs_full),
        pytest.param("2>/dev/full", marks=needs_full),
    ],
)
def test_the_orchestrator_runs_and_drains_whatever_becomes_of_its_words(left: str) -> None:
    """Of its two streams the other one is read."""
    with subprocess.Popen(["sh", "-c", f"exec {SAGA} {SERVE} {left}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = ""
        while "listen" not in told:
            told += (line := process.stdout.readline())
            assert line, told
        process.send_signal(signal.SIGTERM)
        told += process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert "bug" not in told
    assert ("standard output took no word" in told) is (left == "2>&1 >/dev/full")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_has_not_is_written_as_a_mark_or_an_escape(encoding: str) -> None:
    shown = f"{UNICODE.applied}{UNICODE.not_applied}{UNICODE.unknown}…"
    streams.settle()
    assert shown.encode(encoding, "saga.escaped") == b"#x?~"
    assert json.loads(json.dumps("中😀", ensure_ascii=False).encode(encoding, "saga.escaped")) == "中😀"
    assert "\udcff".encode(encoding, "saga.escaped") == b"\\xff"


def test_a_drawing_in_ascii_is_of_the_marks_that_stand_for_it() -> None:
    streams.settle()
    for name in ("applied", "not_applied", "unknown", "waiting"):
        assert getattr(UNICODE, name).encode("ascii", "saga.escaped").decode() == getattr(ASCII, name)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_cell_that_is_cut_is_shown_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    streams.settle()
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, "saga.escaped"))
    output.Printer().columns(("id", "why"), [("n" * 500, "中")])
    sys.stdout.flush()
    assert b"n~  \\u4e2d\n" in raw.getvalue()


@pytest.mark.parametrize("line", [("get", "\udcff\udcfe"), ("get", "x", "--server", "\udcff\udcfe")])
def test_an_argument_that_is_no_text_is_named(capsys: pytest.CaptureFixture[str], line: tuple[str, ...]) -> None:
    assert run(line) == Exit.USAGE
    assert capsys.readouterr().err == (
        "saga: the argument '\\xff\\xfe' holds bytes that are no UTF-8; write it in UTF-8\n"
    )


def test_a_variable_that_is_no_text_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SERVER", "\udcff\udcfe")
    assert run(["get", "x"]) == Exit.USAGE
    assert "saga: ORCHESTRATOR_SERVER '\\xff\\xfe' holds bytes that are no UTF-8" in capsys.readouterr().err


def test_a_clock_that_cannot_be_read_is_a_wrong_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late() -> float:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")

    monkeypatch.setattr("time.time", late)
    assert run(["serve", "--store", "memory:"]) == Exit.CONFIG
    assert "clock shows a time after the year 2261" in capsys.readouterr().err


def test_a_folder_that_may_not_be_used_is_no_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/far")

    monkeypatch.setattr(main.saga, "main", refused)
    assert run([]) == Exit.FAILED
    assert capsys.readouterr().err.startswith("saga: '/far' cannot be used (Permission denied)")


def test_a_number_that_no_record_can_have_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "L1", "--after", "99999999999999999999"]) == Exit.USAGE
    assert "99999999999999999999 is not in the range" in capsys.readouterr().err


def test_an_address_of_a_database_that_is_no_url_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--journal", "postgres://user:secret@[::1"]) == Exit.CONFIG
    told = capsys.readouterr().err
    assert "the address of a journal on PostgreSQL cannot be read (Invalid IPv6 URL)" in told
    assert "secret" not in told


def test_the_help_names_the_server_where_it_is_taken() -> None:
    context = click.Context(main.saga)
    told = " ".join(main.saga.get_help(context).split())
    assert "`saga get ID --server HOST:PORT`" in told
