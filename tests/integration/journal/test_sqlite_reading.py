"""Opening a file to read it: whatever lies in the folder is the same afterwards."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from tests.conformance.journal_values import append
from tests.integration.journal.test_sqlite_ownership import ROOT

SEEN = SagaId("seen")


async def written(file: Path) -> None:
    journal = SqliteJournal.open(file)
    assert await journal.append([append(SEEN)]) == [None]
    await journal.close()


def content(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def killed(file: Path, sagas: int) -> None:
    """Leave a file as a killed owner does, with what it had acknowledged in the write-ahead log."""
    command = [sys.executable, "-m", "tests.integration.journal.appending", str(file), "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(sagas):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)


async def test_a_backup_is_read_and_nothing_is_made_beside_it(file: Path, tmp_path: Path) -> None:
    await written(file)
    backup = tmp_path / "backup" / "a?b#c %41.sqlite"
    backup.parent.mkdir()
    shutil.copy(file, backup)
    before = content(backup.parent)
    journal = SqliteJournal.open_to_read(backup)
    assert len(await journal.read(SEEN)) == 1
    assert (journal.epoch, content(backup.parent)) == (1, before)
    await journal.close()
    assert content(backup.parent) == before


async def test_a_backup_on_a_disk_that_takes_no_writes_is_read(file: Path, tmp_path: Path) -> None:
    await written(file)
    backup = tmp_path / "backup" / "saga.sqlite"
    backup.parent.mkdir()
    shutil.copy(file, backup)
    backup.chmod(0o400)
    backup.parent.chmod(0o500)
    try:
        journal = SqliteJournal.open_to_read(backup)
        assert len(await journal.read(SEEN)) == 1
        await journal.close()
    finally:
        backup.parent.chmod(0o700)


async def test_what_a_killed_owner_acknowledged_is_read_from_its_log_which_stays(file: Path) -> None:
    await asyncio.to_thread(killed, file, 20)
    before, log = content(file.parent), f"{file.name}-wal"
    assert before[log]
    journal = SqliteJournal.open_to_read(file)
    assert len(await journal.read(SagaId("saga-19"))) == 1
    await journal.close()
    after = content(file.parent)
    assert [after[name] for name in (file.name, log)] == [before[name] for name in (file.name, log)]
    assert after.keys() == before.keys()


async def test_whoever_reads_keeps_owners_away_and_other_readers_not(file: Path) -> None:
    await written(file)
    first, second = SqliteJournal.open_to_read(file), SqliteJournal.open_to_read(file)
    await first.close()
    with pytest.raises(ConfigError, match=r"is being read by another process .* wait until"):
        SqliteJournal.open(file)
    await second.close()
    await written_again(file)


async def written_again(file: Path) -> None:
    journal = SqliteJournal.open(file)
    assert await journal.append([append("new")]) == [None]
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        SqliteJournal.open_to_read(file)
    await journal.close()


async def test_nothing_can_be_written_to_what_is_open_to_be_read(file: Path) -> None:
    await written(file)
    journal = SqliteJournal.open_to_read(file)
    with pytest.raises(JournalUnavailable, match="readonly"):
        await journal.append([append("new")])
    await journal.close()


@pytest.mark.parametrize(
    ("pragma", "why"), [("application_id", "is a database of another program"), ("", "is empty, no journal")]
)
async def test_what_is_no_journal_is_refused_and_not_touched(file: Path, pragma: str, why: str) -> None:
    if pragma:
        await written(file)
        connection = apsw.Connection(str(file))
        connection.pragma(pragma, 7)
        connection.close()
    else:
        apsw.Connection(str(file)).execute("BEGIN IMMEDIATE; COMMIT")  # SQLite makes the file
    before = content(file.parent)
    with pytest.raises(ConfigError, match=why):
        SqliteJournal.open_to_read(file)
    assert content(file.parent) == before


async def test_a_backup_that_was_cut_off_in_the_middle_is_refused(file: Path) -> None:
    """SQLite would first undo what is half there, and so write."""
    await written(file)
    left = apsw.Connection(str(file))
    left.pragma("journal_mode", "delete")
    left.pragma("cache_size", 1)
    left.execute("BEGIN IMMEDIATE; CREATE TABLE half (x)")
    for _ in range(50):
        left.execute("INSERT INTO half VALUES (randomblob(9000))")
    cut = file.with_name("cut.sqlite")
    shutil.copy(file, cut)
    shutil.copy(f"{file}-journal", f"{cut}-journal")
    left.close()
    with pytest.raises(ConfigError, match=r"left in the middle of a write .* make the backup again"):
        SqliteJournal.open_to_read(cut)


async def test_a_name_that_is_no_utf8_is_read_and_is_told_where_it_cannot_be_owned(file: Path, tmp_path: Path) -> None:
    await written(file)
    named = tmp_path / os.fsdecode(b"\xff.sqlite")
    shutil.copy(file, named)
    journal = SqliteJournal.open_to_read(named)
    assert len(await journal.read(SEEN)) == 1
    await journal.close()
    with pytest.raises(ConfigError, match="its name is no UTF-8"):
        SqliteJournal.open(named)
