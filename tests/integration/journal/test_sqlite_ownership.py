import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal, ownership
from tests.conformance.journal_values import append

ROOT = Path(__file__).parents[3]


@pytest.fixture
def owner(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the file and has recorded its first saga."""
    command = [sys.executable, "-m", "tests.integration.journal.appending", str(file), "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saga-0\n"
        yield process
        process.kill()


async def test_a_second_process_is_told_who_has_the_file(file: Path, owner: subprocess.Popen[str]) -> None:
    with pytest.raises(ConfigError, match=f"{file} is in use by process {owner.pid}: .* stop that one") as raised:
        SqliteJournal.open(file)
    assert raised.value.metadata == {"path": str(file), "pid": str(owner.pid)}


async def test_a_killed_owner_leaves_the_file_free_and_whole(file: Path, owner: subprocess.Popen[str]) -> None:
    assert owner.stdout is not None
    acknowledged = ["saga-0", *(owner.stdout.readline().strip() for _ in range(50))]
    owner.send_signal(signal.SIGKILL)
    acknowledged += owner.stdout.read().split()
    owner.wait()
    journal = SqliteJournal.open(file)
    for saga in acknowledged:
        assert len(await journal.read(SagaId(saga))) == 1
    assert journal.epoch == 2
    await journal.close()


async def test_a_second_opening_in_the_same_process_is_refused(file: Path) -> None:
    journal = SqliteJournal.open(file)
    link = file.with_name("link.db")
    link.symlink_to(file)
    for path in (file, link):
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            SqliteJournal.open(path)
    await journal.close()
    await SqliteJournal.open(link).close()


async def test_a_file_has_one_owner_whatever_its_names(
    file: Path, tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    link = tmp_path / "elsewhere" / "saga.sqlite"
    link.parent.mkdir()
    link.hardlink_to(file)
    for opening in (SqliteJournal.open, SqliteJournal.open_to_read):
        with pytest.raises(ConfigError, match=rf"{link} is in use, under another name \(it is a hard link\)"):
            opening(link)
    assert not link.with_name("saga.sqlite-wal").exists()
    owner.kill()
    owner.wait()
    await asyncio.to_thread(file.unlink)
    await SqliteJournal.open(link).close()


async def test_a_file_of_which_a_backup_is_a_hard_link_is_opened(file: Path, tmp_path: Path) -> None:
    await SqliteJournal.open(file).close()
    (tmp_path / "daily.0").hardlink_to(file)
    journal = SqliteJournal.open(file)
    assert await journal.append([append("seen")]) == [None]
    await journal.close()


async def test_a_refused_opening_takes_no_epoch(file: Path) -> None:
    first = SqliteJournal.open(file)
    with pytest.raises(ConfigError):
        SqliteJournal.open(file)
    await first.close()
    second = SqliteJournal.open(file)
    assert second.epoch == first.epoch + 1
    await second.close()


async def test_a_network_disk_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(ownership, "MOUNTS", mounts)
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        mounts.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n31 22 0:29 / {tmp_path} rw - {kind} nas:/x rw\n")
        with pytest.raises(ConfigError, match=rf"network file system \({kind}\).*local disk"):
            SqliteJournal.open(file)
        assert await asyncio.to_thread(file.exists) is False
    mounts.write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n")
    await SqliteJournal.open(file).close()


async def test_payloads_are_nobody_elses_business(file: Path) -> None:
    journal = SqliteJournal.open(file)
    written = list(file.parent.glob("journal.db*"))
    assert {entry.name for entry in written} >= {"journal.db", "journal.db-wal", "journal.db.lock"}
    assert {entry.stat().st_mode & 0o077 for entry in written} == {0}
    await journal.close()


@pytest.mark.parametrize("act", [Path.unlink, lambda file: file.rename(f"{file}.old")], ids=["removed", "moved"])
async def test_nothing_is_acknowledged_into_a_file_that_nobody_will_find(
    file: Path, act: Callable[[Path], object]
) -> None:
    journal = SqliteJournal.open(file)
    assert await journal.append([append("seen")]) == [None]
    act(file)
    with pytest.raises(JournalUnavailable, match="removed or replaced"):
        await journal.append([append("lost")])
    assert journal.failed is not None
    await journal.close()


async def test_a_file_put_in_the_place_of_the_open_one_is_noticed(file: Path, tmp_path: Path) -> None:
    journal = SqliteJournal.open(file)
    shutil.move(shutil.copy(file, tmp_path / "backup"), file)
    with pytest.raises(JournalUnavailable, match="removed or replaced"):
        await journal.append([append("lost")])
    await journal.close()


async def test_a_deleted_lock_file_lets_nobody_in_where_the_file_itself_can_be_locked(file: Path) -> None:
    before = SqliteJournal.open(file)
    file.with_name(f"{file.name}.lock").unlink()
    with pytest.raises(ConfigError, match="or by a process whose lock file was deleted"):
        SqliteJournal.open(file)
    assert await before.append([append("seen")]) == [None]
    await before.close()


async def test_whoever_is_not_the_last_to_have_opened_the_file_writes_nothing_any_more(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is the operating system's, on a file that anybody may delete; the epoch in the file is ours (R2, I3)."""
    monkeypatch.setattr(ownership, "_HAS_LOCKS_APART", False)
    before = SqliteJournal.open(file)
    assert await before.append([append("seen")]) == [None]
    file.with_name(f"{file.name}.lock").unlink()
    after = SqliteJournal.open(file)
    with pytest.raises(JournalUnavailable, match="opened by another process"):
        await before.append([append("new")])
    with pytest.raises(JournalUnavailable, match="opened by another process"):
        await before.append([append("again")])
    assert await after.append([append("new")]) == [None]
    assert await after.row(SagaId("again")) is None
    await before.close()
    await after.close()
