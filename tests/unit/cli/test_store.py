import json
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.journal.sqlite import SqliteJournal
from tests.conformance.journal_values import append, cancelled
from tests.kit import postgres
from tests.unit.cli.conftest import Saga

UID = "5ff6a7c2-45b8-5d3c-8a6b-0d1f7d2c9e11"


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    path = tmp_path / "saga.sqlite"
    journal = SqliteJournal.open(path)
    assert list(await journal.append([append("a", cancelled(1), cancelled(2), uid=UID)])) == [None]
    await journal.close()
    return path


@pytest.mark.parametrize(
    ("origin", "destination"),
    [
        ("saga.sqlite", "postgres://h/d"),
        ("sqlite:x", "sqlite:y"),
        ("postgres://h/d", "sqlite:x"),
        ("memory:", "memory:"),
    ],
)
def test_only_a_file_is_promoted_and_only_to_postgresql(saga: Saga, origin: str, destination: str) -> None:
    ended = saga("store", "promote", "--from", origin, "--to", destination)
    assert ended.code == Exit.USAGE
    assert "--from sqlite:PATH --to postgres://USER@HOST/DATABASE" in ended.err


def test_a_file_that_is_not_there_is_not_made(saga: Saga, tmp_path: Path) -> None:
    path = tmp_path / "typo.sqlite"
    ended = saga("store", "promote", "--from", f"sqlite:{path}", "--to", "postgres://127.0.0.1:1/d")
    assert ended.code == Exit.CONFIG
    assert f"there is no journal {path}" in ended.err
    assert not path.exists()


def test_a_database_that_does_not_answer_leaves_the_file_as_it_was_and_its_password_unsaid(
    saga: Saga, file: Path
) -> None:
    ended = saga("store", "promote", "--from", f"sqlite:{file}", "--to", "postgres://u:hush@127.0.0.1:1/d")
    assert ended.code == Exit.UNAVAILABLE
    assert "127.0.0.1:1/d or the file did not answer: run the command again, it goes on where it ended" in ended.err
    assert "hush" not in ended.err + ended.out


def test_a_promotion_says_how_much_went_where_and_what_to_do_next(saga: Saga, file: Path) -> None:
    with postgres.database() as dsn:
        looked = saga("store", "promote", "--from", f"sqlite:{file}", "--to", dsn, "--validate-only")
        assert (looked.code, looked.out.split("; ")[0]) == (Exit.OK, "1 sagas, 1 of them not over, 2 records")
        assert "has no store yet; nothing was changed" in looked.out
        moved = saga("store", "promote", "--from", f"sqlite:{file}", "--to", dsn, "--shards", "8")
        assert moved.code == Exit.OK
        assert moved.out.startswith("1 sagas, 2 records on postgresql://")
        assert "the same as they were, byte for byte (SHA-256 " in moved.out
        assert "moved 1 of 1 sagas\n" in moved.err
        assert f"sqlite:{file} is retired; set `store: postgresql://" in moved.err
        again = saga("store", "promote", "--from", f"sqlite:{file}", "--to", dsn, "-o", "json", "-q")
        assert json.loads(again.out) == {"sagas": 1, "records": 2, "sagas_taken": 0, "sha256": ""}


def test_both_sides_of_a_promotion_are_verified_with_the_same_command(saga: Saga, file: Path) -> None:
    with postgres.database() as dsn:
        absent = saga("verify", "--journal", dsn)
        assert absent.code == Exit.CONFIG
        assert "there is no journal in postgres://" in absent.err
        assert saga("store", "promote", "--from", f"sqlite:{file}", "--to", dsn).code == Exit.OK
        counts = [json.loads(saga("verify", "--journal", name, "-o", "json").out) for name in (str(file), dsn)]
        assert counts[0] == counts[1]
        assert counts[0]["sagas"] == 1
        assert {each["id"]: each["checked"] for each in counts[0]["invariants"]}["I6"] > 2


def test_ledgers_are_not_held_against_a_store_that_processes_run_on(saga: Saga, file: Path, tmp_path: Path) -> None:
    with postgres.database() as dsn:
        saga("store", "promote", "--from", f"sqlite:{file}", "--to", dsn)
        (tmp_path / "one.ledger.jsonl").touch()
        postgres.run(dsn, "INSERT INTO members VALUES ('m', 'one', '127.0.0.1:1', false, 0, 1e12)")
        refused = saga("verify", "--journal", dsn, "--ledger", str(tmp_path))
        assert refused.code == Exit.FAILED
        assert "processes run on the store" in refused.err
        checked = json.loads(saga("verify", "--journal", dsn, "-o", "json").out)
        whys = {each["id"]: each["not_checked"] for each in checked["invariants"]}
        assert "processes may run" in whys["I28"]
