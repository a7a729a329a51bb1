"""The program against a real server with real services, each command as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

REPORTS = Path(__file__).parents[3] / "services" / "data" / "reports.jsonl"


def program(*arguments: str, server: str = "127.0.0.1:1", given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=given,
        timeout=150,
        env={**os.environ, "ORCHESTRATOR_SERVER": server},
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A mesh with a few sagas in it, left running by the demo."""
    folder = tmp_path_factory.mktemp("mesh") / "files"
    command = [sys.executable, "-m", "orchestrator", "demo", "--keep", "--no-kill", "--reports", "40", "-q"]
    with subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = ""
        for line in process.stdout:
            if "ORCHESTRATOR_SERVER=" in line:
                address = line.strip().partition("=")[2]
            if line.startswith("Ctrl-C"):
                break
        try:
            assert address, "the demo said where it listens"
            yield folder, address
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0


@pytest.fixture
def saga(mesh: tuple[Path, str]) -> Run:
    return lambda *arguments, given=None: program(*arguments, server=mesh[1], given=given)


def report(number: int, new_id: str) -> str:
    values = json.loads(REPORTS.read_text().splitlines()[number])
    return json.dumps({**values, "reportId": new_id})


def test_a_saga_is_started_waited_for_and_shown(saga: Run) -> None:
    ended = saga("start", "epro_intake", "--id", "MINE-1", "--input", "-", "--wait", given=report(0, "MINE-1"))
    assert ended.returncode == 0, ended.stderr
    assert "COMPLETED" in ended.stdout
    again = saga("start", "epro_intake", "--id", "MINE-1", "--input", "-", given=report(0, "MINE-1"))
    assert again.stdout == "exists already: MINE-1\n"
    other = saga("start", "epro_intake", "--id", "MINE-1", "--input", "-", given=report(1, "MINE-1"))
    assert other.returncode == 1
    assert "MINE-1" in other.stderr
    assert "Traceback" not in other.stderr


def test_whatever_is_drawn_is_drawn_where_ascii_is_spoken(mesh: tuple[Path, str], saga: Run) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "20"}
    name = saga("list", "-q", "--limit", "1").stdout.strip()
    for command in (("top", "--once"), ("list", "--all"), ("trace", name)):
        shown = subprocess.run(
            [sys.executable, "-m", "orchestrator", *command],
            capture_output=True,
            check=True,
            timeout=50,
            env={**os.environ, **plain, "ORCHESTRATOR_SERVER": mesh[1]},
        )
        assert shown.stderr == b""
        assert shown.stdout.isascii()
        assert b"~" in shown.stdout or command[0] != "top"


def test_a_refused_saga_ends_with_3_and_says_why(saga: Run) -> None:
    ended = saga("start", "epro_intake", "--id", "BAD-1", "--input", '{"reportId": "BAD-1"}', "--wait")
    assert ended.returncode == 3
    assert "cause       validate: refused: patient_id is empty" in ended.stdout
    waited = saga("wait", "BAD-1", "-o", "json")
    assert waited.returncode == 3
    assert json.loads(waited.stdout)["status"] == "SAGA_STATUS_COMPENSATED"


def test_wrong_input_names_the_field(saga: Run) -> None:
    ended = saga("start", "epro_intake", "--input", '{"answers": [{"item": "x"}]}')
    assert ended.returncode == 1
    assert "input.answers[0].item" in ended.stderr
    unknown = saga("start", "epro_intak")
    assert unknown.returncode == 4
    assert "epro_intake" in unknown.stderr, "it says what was probably meant"


def test_lists_and_counts_agree(saga: Run) -> None:
    listed = saga("list", "--all", "-q", "--filter", "status = COMPENSATED").stdout.split()
    counts = json.loads(saga("count", "--by", "status", "-o", "json").stdout)["counts"]
    assert len(listed) == int(counts["COMPENSATED"]) > 0
    assert len(saga("list", "--limit", "3").stdout.splitlines()) == 4
    wrong = saga("list", "--filter", "status ~ X")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("saga: ")


def test_history_watch_and_trace_tell_the_same_story(saga: Run) -> None:
    history = json.loads(saga("history", "R00001", "-o", "json").stdout)
    watched = [json.loads(line) for line in saga("watch", "R00001", "-o", "json").stdout.splitlines()]
    assert [one["sequence"] for one in watched] == [one["sequence"] for one in history]
    assert history[-1]["type"] == "SagaCompleted"
    rest = saga("watch", "R00001", "--after", str(len(history) - 2)).stdout.splitlines()
    assert len(rest) == 2
    drawn = saga("trace", "R00001")
    assert drawn.returncode == 0
    assert {"validate", "score", "archive"} <= {line.split(" ")[0] for line in drawn.stdout.splitlines()}
    assert max(map(len, drawn.stdout.splitlines())) <= 80


def test_an_ended_saga_cannot_be_cancelled(saga: Run) -> None:
    ended = saga("cancel", "R00001", "--reason", "too late")
    assert ended.returncode == 1
    assert "COMPLETED" in ended.stderr
    assert saga("get", "NOBODY").returncode == 4


def test_an_ended_saga_is_explained_and_every_verb_is_refused_in_one_line(saga: Run) -> None:
    saga("start", "epro_intake", "--id", "OVER-1", "--input", "-", "--wait", given=report(2, "OVER-1"))
    told = saga("explain", "OVER-1")
    assert told.returncode == 0
    assert told.stdout.startswith("OVER-1 is COMPLETED: it has ended COMPLETED at ")
    verbs = [
        ("repair", "retry", "OVER-1", "score"),
        ("repair", "resolve", "OVER-1", "score", "applied"),
        ("repair", "skip", "OVER-1", "score"),
        ("repair", "force-complete", "OVER-1"),
        ("repair", "terminate", "OVER-1"),
        ("repair", "pause", "OVER-1"),
        ("repair", "resume", "OVER-1", "--dry-run"),
        ("repair", "rerun", "OVER-1", "score"),
    ]
    for verb in verbs:
        ended = saga(*verb, "--reason", "to see")
        assert (ended.returncode, ended.stdout) == (1, ""), verb
        assert ended.stderr == "saga: saga 'OVER-1' has ended COMPLETED; an ended saga is never changed (R4)\n", verb
    for command in (("undo-plan", "OVER-1"), ("cancel", "OVER-1", "--dry-run")):
        assert saga(*command).returncode == 1
    assert saga("audit", "OVER-1").stdout == ""


def test_every_new_answer_is_had_as_json_too(saga: Run) -> None:
    saga("start", "epro_intake", "--id", "JSON-1", "--input", "-", "--wait", given=report(3, "JSON-1"))
    assert json.loads(saga("explain", "JSON-1", "-o", "json").stdout)["saga_id"] == "JSON-1"
    assert json.loads(saga("attention", "-o", "json").stdout) == []
    assert json.loads(saga("audit", "-o", "json").stdout) == []
    assert "not a status" not in saga("list", "--filter", "status = TERMINATED").stderr
    unknown = saga("signal", "JSON-1", "approved", "-o", "json")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "has ended COMPLETED" in unknown.stderr
    stale = saga("cancel", "JSON-1", "--etag", "one")
    assert stale.returncode == 1
    assert "etag: 'one' is none that this server gave" in stale.stderr


def test_definitions_are_checked_kept_and_activated(saga: Run, mesh: tuple[Path, str], tmp_path: Path) -> None:
    source = saga("definitions", "get", "epro_intake", "-q").stdout
    assert source.rstrip() == (mesh[0] / "epro_intake.yaml").read_text().rstrip()
    changed = tmp_path / "epro_intake.yaml"
    changed.write_text(source.replace("forward: 30s", "forward: 20s"))
    assert saga("definitions", "create", str(changed), "--dry-run").returncode == 0
    kept = json.loads(saga("definitions", "create", str(changed), "-o", "json").stdout)[0]["revision"]
    assert not kept["active"]
    assert saga("definitions", "activate", "epro_intake", kept["revision"]).returncode == 0
    revisions = json.loads(saga("definitions", "revisions", "epro_intake", "-o", "json").stdout)
    assert [(one["revision"] == kept["revision"], one["active"]) for one in revisions] == [(True, True), (False, False)]
    changed.write_text(source.replace("kind: read", "kind: raed"))
    refused = saga("definitions", "create", str(changed))
    assert refused.returncode == 1
    assert f"{changed}:" in refused.stderr


def test_check_needs_no_server(mesh: tuple[Path, str], tmp_path: Path) -> None:
    config = ("--config", str(mesh[0] / "saga.yaml"))
    good = program("check", str(mesh[0] / "epro_intake.yaml"), *config)
    assert (good.returncode, good.stdout) == (0, "")
    assert good.stderr == "1 definition: 0 errors, 0 warnings\n"
    broken = tmp_path / "broken.yaml"
    broken.write_text((mesh[0] / "epro_intake.yaml").read_text().replace("patient_id: ", "patent_id: "))
    found = program("check", str(broken), *config)
    assert found.returncode == 1
    assert len(found.stdout.splitlines()) >= 2
    assert all(line.startswith(f"{broken}:") for line in found.stdout.splitlines())
    values = json.loads(program("check", str(broken), *config, "-o", "json").stdout)
    assert {one["severity"] for one in values} >= {"error"}


def test_a_port_in_use_is_a_clear_refusal(mesh: tuple[Path, str]) -> None:
    port = mesh[1].rpartition(":")[2]
    ended = program("serve", "--store", "memory:", "--http-port", "0", "--port", port)
    assert ended.returncode == 78
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_process_on_the_store_is_a_clear_refusal(mesh: tuple[Path, str]) -> None:
    ended = program("serve", "--store", f"sqlite:{mesh[0] / 'saga.sqlite'}", "--port", "0", "--http-port", "0")
    assert ended.returncode == 78
    assert "saga.sqlite" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unwritable_path_is_a_clear_refusal() -> None:
    ended = program("serve", "--store", "sqlite:/nowhere/at/all.sqlite", "--port", "0", "--http-port", "0")
    assert ended.returncode == 78
    assert "/nowhere/at" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_drains_on_sigterm_and_ends_with_0(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator", "serve", "--store", f"sqlite:{tmp_path}/s.sqlite"]
    with subprocess.Popen(
        [*command, "--port", "0", "--http-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening 127.0.0.1:")
        assert program("count", server=line.split()[1]).stdout == "0\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
