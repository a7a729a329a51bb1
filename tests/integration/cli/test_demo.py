"""The demo as a newcomer runs it: real processes, a real kill, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KEYS = [
    "reports",
    "completed",
    "alerted",
    "refused",
    "compensated",
    "needs_attention",
    "lost",
    "duplicated_effects",
    "left_undone",
    "kills",
    "seconds",
]


def demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> list[int]:
    """Processes that were started with a path inside a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(str(folder).encode() in word for word in command) and b"demo" not in command:
                found.append(int(entry.name))
    return found


def test_the_demo_survives_a_kill_and_accounts_for_every_report() -> None:
    with demo("--reports", "80", "--json", "-q", "--seed", "5") as process:
        out, err = process.communicate(timeout=150)
    assert (process.returncode, err) == (0, "")
    (line,) = out.splitlines()
    figures = json.loads(line)
    assert list(figures) == KEYS
    assert figures["reports"] == 80
    assert figures["completed"] + figures["refused"] + figures["compensated"] == 80
    assert 0 < figures["alerted"] < figures["completed"]
    assert figures["compensated"] > 0
    assert [figures[name] for name in ("needs_attention", "lost", "duplicated_effects", "left_undone")] == [0] * 4
    assert figures["kills"] == 1


def test_the_table_and_the_waterfalls_fit_a_pipe() -> None:
    with demo("--reports", "30", "--no-kill") as process:
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0
    assert "30 of 30 reports" in err
    assert "One that went well, with an alert:" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_the_ledgers_contradict_ends_with_1(tmp_path: Path) -> None:
    # an effect that no saga asked for twice: the ledger of a service that does not keep its keys
    with demo("--reports", "4", "--no-kill", "--keep", "--dir", str(tmp_path), "--json", "-q") as process:
        assert process.stdout is not None
        figures = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert figures["duplicated_effects"] == 0
    ledger = tmp_path / "data" / "archive.ledger.jsonl"
    line = ledger.read_text().splitlines()[0]
    with ledger.open("a") as file:
        file.write(line + "\n")
    from orchestrator.cli.ledgers import EFFECT_STEPS, judge, read_balance

    assert len(judge([], {}, read_balance(tmp_path / "data"), EFFECT_STEPS).duplicated) == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with demo("--reports", "5000", "--no-kill", "--dir", str(tmp_path)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("500 of"):
                break
        assert len(processes_of(tmp_path)) == 6
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "saga: interrupted"
    assert "Traceback" not in err
    assert processes_of(tmp_path) == []


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with demo("--dir", str(tmp_path)) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "exists and is not an empty folder" in err


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    for process_id in processes_of(tmp_path):
        os.kill(process_id, signal.SIGKILL)
