import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.errors import ConfigError
from orchestrator.journal.migrations import Migration
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.journal.sqlite.schema import migrate, shipped
from orchestrator.journal.sqlite.search import page
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.ports.journal import SearchQuery


def content(file: Path) -> bytes:
    return file.read_bytes()


def edit(file: Path, *statements: str) -> None:
    connection = apsw.Connection(str(file))
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_a_newer_file_is_refused_and_not_touched(file: Path) -> None:
    await SqliteJournal.open(file).close()
    edit(file, "INSERT INTO schema_version VALUES (99, 'from_the_future', 'x')")
    before = content(file)
    with pytest.raises(ConfigError, match=r"has schema 99, this release knows \d+: .* newer release"):
        SqliteJournal.open(file)
    assert content(file) == before


async def test_a_migration_that_changed_after_it_was_applied_is_refused(file: Path) -> None:
    await SqliteJournal.open(file).close()
    edit(file, "UPDATE schema_version SET checksum = 'other' WHERE version = 1")
    with pytest.raises(ConfigError, match="another text of migration 1"):
        SqliteJournal.open(file)


async def test_another_programs_database_is_refused_and_not_touched(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    connection.close()
    before = content(file)
    with pytest.raises(ConfigError, match="database of another program"):
        SqliteJournal.open(file)
    assert content(file) == before


def _not_a_database(folder: Path) -> Path:
    file = folder / "journal.db"
    file.write_text("Dear diary, this is long enough not to be mistaken for an empty file. " * 20)
    return file


def _folder(folder: Path) -> Path:
    return folder


def _device(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _missing_folder(folder: Path) -> Path:
    return folder / "nowhere" / "journal.db"


def _under_a_file(folder: Path) -> Path:
    (folder / "plain").touch()
    return folder / "plain" / "journal.db"


def _read_only_place(_: Path) -> Path:
    return Path("/proc/journal.db")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (_not_a_database, "not a SQLite database; name another file"),
        (_folder, "is a folder or a device, no file"),
        (_device, "is a folder or a device, no file"),
        (_missing_folder, "No such file or directory.*folder that exists"),
        (_under_a_file, "Not a directory"),
        (_read_only_place, "cannot be opened for writing"),
    ],
)
async def test_a_path_that_cannot_be_a_journal_is_explained(
    tmp_path: Path, place: Callable[[Path], Path], why: str
) -> None:
    file = place(tmp_path)
    for _ in range(2):  # the second time tells that the first gave everything back
        with pytest.raises(ConfigError, match=why) as raised:
            SqliteJournal.open(file)
        assert str(file) in raised.value.message
        assert not file.with_name(f"{file.name}.lock").exists() or file.is_file(), "nothing is left beside it"


async def test_a_file_that_another_program_writes_to_is_explained(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.journal.sqlite.opening.JOURNAL_BUSY_S", 0.0)
    await SqliteJournal.open(file).close()
    other = apsw.Connection(str(file))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match="another program writes to it"):
        SqliteJournal.open(file)
    other.close()
    await SqliteJournal.open(file).close()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in shipped()] == list(range(1, len(shipped()) + 1))


def test_only_what_is_new_is_applied() -> None:
    connection = apsw.Connection(":memory:")
    first = Migration(version=1, name="first", sql="CREATE TABLE t (n); INSERT INTO t VALUES (1);")
    second = Migration(version=2, name="second", sql="ALTER TABLE t ADD COLUMN m; UPDATE t SET n = n + 1;")
    migrate(connection, [first], "f")
    migrate(connection, [first, second], "f")
    migrate(connection, [first, second], "f")
    assert connection.execute("SELECT n, m FROM t").fetchall() == [(2, None)]
    assert connection.execute("SELECT version, name FROM schema_version").fetchall() == [(1, "first"), (2, "second")]


def test_a_migration_that_fails_leaves_nothing() -> None:
    connection = apsw.Connection(":memory:")
    good = Migration(version=1, name="good", sql="CREATE TABLE t (n);")
    bad = Migration(version=2, name="bad", sql="CREATE TABLE u (n); CREATE TABLE t (n);")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [good, bad], "f")
    assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 0


async def test_a_file_of_the_first_release_is_brought_up_and_its_sagas_are_awake(file: Path) -> None:
    old = apsw.Connection(str(file))
    old.pragma("journal_mode", "wal")
    migrate(old, shipped()[:1], str(file))
    for number, status in enumerate(("RUNNING", "COMPENSATING", "COMPLETED")):
        old.execute(
            "INSERT INTO sagas (saga_id, uid, request_id, definition, revision, status, version, epoch, attributes,"
            " started_at, updated_at, ended_at, wake_at, attention, failure)"
            " VALUES (?, 'u', '', 'd', 'r', ?, 1, 1, '{}', 1, 1, NULL, 5.0, '', '')",
            (f"s{number}", status),
        )
    old.close()
    journal = SqliteJournal.open(file)
    assert [(row.saga_id, row.rest) for row in await journal.awake("", 9)] == [("s0", "awake"), ("s1", "awake")]
    by_update = SearchQuery(order_by="updated_at", descending=False)
    assert [(row.saga_id, row.rest) for row in await journal.search(by_update)] == [
        ("s0", "awake"), ("s1", "awake"), ("s2", "asleep")
    ]  # fmt: skip
    assert [row.saga_id for row in await journal.due(9.0, 9)] == ["s0", "s1"]
    await journal.close()


def test_the_sagas_updated_last_are_looked_up_those_that_rest_and_those_that_move() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, shipped(), "f")
    sql, values = page(SearchQuery(order_by="updated_at", after=(5.0, "a")))
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    scans = [said for said in (str(row[3]) for row in plan) if "sagas" in said and "SUBQUERY" not in said]
    assert len(scans) == 2
    assert "USING INDEX sagas_by_update" in scans[0]
    assert "USING INDEX sagas_awake" in scans[1]


def test_an_append_that_changes_nothing_a_saga_is_found_by_writes_no_index() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, shipped(), "f")
    indexes: dict[Any, Any] = dict(connection.execute("SELECT rootpage, name FROM sqlite_schema WHERE type = 'index'"))

    def written(query: str) -> set[str]:
        program: Any = connection.execute(f"EXPLAIN {SQL[query]}", [None] * SQL[query].count("?")).fetchall()
        cursors = {row[2]: indexes[row[3]] for row in program if row[1] == "OpenWrite" and row[3] in indexes}
        return {cursors[row[2]] for row in program if row[1] in {"IdxInsert", "IdxDelete"}}

    assert written("stay_saga") == {"sagas_by_update"}  # partial: of those that rest, which are not those that stay
    assert written("advance_saga") == {
        "sagas_by_update", "sagas_by_status", "sagas_due", "sagas_awake", "sagas_ended"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "values", "index"),
    [
        ("awake", ("", 9), "sagas_awake"),
        ("due", (9.0, 1.0, "", 9), "sagas_due"),
        ("row_by_request", ("r",), "sagas_by_request"),
    ],
)
def test_what_a_start_and_the_sweep_ask_is_looked_up(query: str, values: tuple[object, ...], index: str) -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, shipped(), "f")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[query]}", values).fetchall()
    said = "; ".join(str(row[3]) for row in plan)
    assert f"USING INDEX {index}" in said
    assert "TEMP B-TREE" not in said, "the rows come in the index's own order"
