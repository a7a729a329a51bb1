import asyncio
import json
from pathlib import Path

import apsw
import pytest

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Printer
from orchestrator.cli.verify import _show, _values
from orchestrator.journal.sqlite import SqliteJournal, ownership
from orchestrator.journal.sqlite.schema import migrate, shipped
from orchestrator.verify import ELSEWHERE, INVARIANTS, Findings, Left
from tests.unit.cli.conftest import Saga


def test_a_journal_that_is_not_there_is_not_made(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "typo.sqlite"
    ended = saga("verify", "--journal", str(path))
    assert (ended.code, ended.out) == (Exit.CONFIG, "")
    assert f"there is no journal {path}" in ended.err
    assert not path.exists()


def test_a_journal_of_a_running_orchestrator_is_refused(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "saga.sqlite"
    held = ownership.claim(path)
    ended = saga("verify", "--journal", str(path))
    ownership.release(held)
    assert ended.code == Exit.CONFIG
    assert "is in use by process" in ended.err


def test_an_empty_journal_is_sound_and_says_that_nothing_was_checked(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "saga.sqlite"
    asyncio.run(SqliteJournal.open(path).close())
    ended = saga("verify", "--journal", str(path), "-o", "json")
    assert ended.code == Exit.OK
    values = json.loads(ended.out)
    assert {each["id"] for each in values["invariants"]} == set(INVARIANTS)
    assert all(each["not_checked"] for each in values["invariants"] if not each["checked"])
    assert {each["id"]: each["why"] for each in values["elsewhere"]} == ELSEWHERE
    assert values["violations"] == []
    assert (values["left_count"], values["left"]) == (0, [])


def test_an_empty_file_is_no_journal_and_is_not_made_one(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "failed-backup.sqlite"
    path.touch()  # SQLite takes it for a database without tables
    moving = ("store", "promote", "--from", f"sqlite:{path}", "--to", "postgres://127.0.0.1:1/none")
    for line in (("verify", "--journal", str(path)), (*moving, "--validate-only"), moving):
        ended = saga(*line)
        assert (ended.code, ended.out) == (Exit.CONFIG, ""), line
        assert f"{path} is empty, no journal: where it should be a backup, that failed" in ended.err
        assert path.stat().st_size == 0
        assert line == moving or list(tmp_path.iterdir()) == [path]


def test_a_journal_of_an_older_release_is_refused_and_not_brought_up(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "saga.sqlite"
    old = apsw.Connection(str(path))
    migrate(old, shipped()[:1], str(path))
    old.close()
    before = path.read_bytes()
    ended = saga("verify", "--journal", str(path))
    assert (ended.code, ended.out) == (Exit.CONFIG, "")
    assert f"{path} has schema 1, this release reads {len(shipped())}: " in ended.err
    assert "once `saga serve` of this one has brought it up" in ended.err
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


def test_what_people_let_stand_is_shown_and_is_no_violation(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings()
    findings.leave([Left(saga_id="s", path="reserve[17]", why="was left as it is")])
    _show(Printer(), findings)
    assert "no violation: saga s: reserve[17] was left as it is\n" in capsys.readouterr().out
    values = _values(findings)
    assert isinstance(values, dict)
    assert values["left"] == [{"saga_id": "s", "path": "reserve[17]", "why": "was left as it is"}]


def test_the_table_tells_of_all_fifty_in_order_and_what_of_them_was_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = Findings()
    findings.hold("I1", [7])
    findings.hold("I13", [2])
    findings.partly["I13"] = "no ledgers were given"
    findings.finish()
    _show(Printer(), findings)
    lines = capsys.readouterr().out.splitlines()[1:51]
    assert [line.split()[0] for line in lines] == [f"I{number}" for number in range(1, 51)]
    assert lines[0].split()[:3] == ["I1", "7", "0"]
    assert lines[12].endswith("(in part: no ledgers were given)")
    assert lines[31].split()[1] == "-"
    assert ELSEWHERE["I32"] in lines[31]


def test_a_folder_without_ledgers_is_refused_before_the_journal_is_opened(saga: Saga, tmp_path: Path) -> None:
    ended = saga("verify", "--journal", str(tmp_path / "any.sqlite"), "--ledger", str(tmp_path))
    assert ended.code == Exit.CONFIG
    assert "has no *.ledger.jsonl" in ended.err


def test_another_programs_database_is_refused(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE t (x)")
    theirs.close()
    ended = saga("verify", "--journal", str(path))
    assert ended.code == Exit.CONFIG
    assert "is a database of another program" in ended.err


def test_a_journal_whose_name_no_file_can_have_is_refused(saga: Saga) -> None:
    ended = saga("verify", "--journal", "9" * 256)
    assert ended.code == Exit.CONFIG
    assert ended.err == f"saga: the journal {'9' * 100} cannot be looked up: File name too long; give another path\n"
