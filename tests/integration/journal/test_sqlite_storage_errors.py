"""A disk that fails at any moment: nothing is acknowledged after it, and a restart finds everything acknowledged."""

import asyncio
import ctypes
import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import apsw
import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import SearchQuery
from tests.conformance.journal_values import append, cancelled, opened

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent

_WRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_longlong, use_errno=True
)


class FailingDisk:
    """SQLite's own `pwrite`, which fails with `error` from the n-th call after `arm(n)` on."""

    def __init__(self) -> None:
        self.left = -1
        self.error = errno.EIO
        self._vfs = apsw.VFS("counted", "unix")
        address = self._vfs.xGetSystemCall("pwrite64")
        assert address is not None, "SQLite was built without pwrite64: count another call"
        self._address = address
        self._real = _WRITE(address)
        self._ours = _WRITE(self._write)  # kept: SQLite holds its bare address
        pointer = ctypes.cast(self._ours, ctypes.c_void_p).value
        assert pointer is not None
        self._vfs.xSetSystemCall("pwrite64", pointer)

    def arm(self, n: int, error: int) -> None:
        self.left, self.error = n, error

    def mend(self) -> None:
        self.left = -1

    def remove(self) -> None:
        self._vfs.xSetSystemCall("pwrite64", self._address)
        self._vfs.unregister()

    def _write(self, fd: int, data: int, size: int, offset: int) -> int:
        self.left = max(self.left - 1, 0) if self.left >= 0 else self.left
        if self.left == 0:
            ctypes.set_errno(self.error)
            return -1
        return int(self._real(fd, data, size, offset))


@pytest.fixture
def disk() -> Iterator[FailingDisk]:
    disk = FailingDisk()
    yield disk
    disk.remove()


async def append_until_it_fails(journal: SqliteJournal, *, limit: int) -> list[str]:
    """Return what was acknowledged; the journal failed if it is less than `limit` sagas of two records each."""
    acknowledged: list[str] = []
    for number in range(limit):
        group = [append(f"saga-{number}-{i}", cancelled(1), opened(2), epoch=journal.epoch) for i in range(3)]
        try:
            results = await journal.append(group)
        except JournalUnavailable:
            break
        assert list(results) == [None] * 3
        acknowledged += [entry.saga_id for entry in group]
    return acknowledged


async def assert_nothing_is_acknowledged_any_more(journal: SqliteJournal) -> None:
    assert journal.failed
    uses: list[Callable[[], object]] = [
        lambda: journal.append([append("late")]),
        lambda: journal.read(SagaId("saga-0-0")),
        lambda: journal.row(SagaId("saga-0-0")),
        lambda: journal.search(SearchQuery()),
        lambda: journal.save("spans", 1),
    ]
    for use in uses:
        with pytest.raises(JournalUnavailable, match=r"stopped recording .* start again"):
            await use()  # type: ignore[misc]


async def assert_whole(file: Path, acknowledged: list[str]) -> None:
    journal = SqliteJournal.open(file)
    rows = await journal.search(SearchQuery(limit=10_000))
    found = {row.saga_id: row.version for row in rows}
    assert set(acknowledged) <= found.keys()
    assert "late" not in found
    for saga, version in found.items():  # an unacknowledged append is there as a whole or not at all
        assert [record.version for record in await journal.read(saga)] == list(range(1, version + 1)) == [1, 2]
    await journal.close()
    connection = apsw.Connection(str(file))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
async def test_the_nth_write_fails(tmp_path: Path, disk: FailingDisk, error: int) -> None:
    for n in range(1, 81):
        file = tmp_path / f"journal-{n}.db"
        journal = SqliteJournal.open(file)
        disk.arm(n, error)
        acknowledged = await append_until_it_fails(journal, limit=60)
        assert len(acknowledged) < 60 * 3
        await assert_nothing_is_acknowledged_any_more(journal)
        disk.mend()
        await assert_nothing_is_acknowledged_any_more(journal)  # a disk that came back is not believed
        await journal.close()
        await assert_whole(file, acknowledged)


async def test_the_nth_write_fails_while_the_log_is_copied_home(tmp_path: Path, disk: FailingDisk) -> None:
    for n in range(1, 61):
        file = tmp_path / f"journal-{n}.db"
        journal = SqliteJournal.open(file)
        journal._opened.writer.wal_autocheckpoint(2)  # every commit copies
        disk.arm(n, errno.EIO)
        acknowledged = await append_until_it_fails(journal, limit=10)
        disk.mend()
        await journal.close()
        await assert_whole(file, acknowledged)


async def test_a_failure_in_the_writers_thread_counts_as_well(file: Path, disk: FailingDisk) -> None:
    journal = SqliteJournal.open(file)
    journal._writer.pace.observe(60.0, perf_counter())
    assert not journal._writer.pace.on_loop
    disk.arm(80, errno.EIO)
    acknowledged = await append_until_it_fails(journal, limit=60)
    assert 0 < len(acknowledged) < 60 * 3
    await assert_nothing_is_acknowledged_any_more(journal)
    disk.mend()
    await journal.close()
    await assert_whole(file, acknowledged)


async def test_every_append_that_waits_for_its_turn_fails_with_the_first(file: Path, disk: FailingDisk) -> None:
    journal = SqliteJournal.open(file)
    journal._writer.pace.observe(60.0, perf_counter())
    disk.arm(1, errno.EIO)
    results = await asyncio.gather(
        *(journal.append([append(f"saga-{number}")]) for number in range(10)), return_exceptions=True
    )
    assert [type(result) for result in results] == [JournalUnavailable] * 10
    disk.mend()
    await journal.close()
    await assert_whole(file, [])


async def test_a_file_that_may_not_grow_says_so(file: Path) -> None:
    journal = SqliteJournal.open(file)
    journal._opened.writer.pragma("max_page_count", 60)
    acknowledged = await append_until_it_fails(journal, limit=200)
    assert 0 < len(acknowledged) < 600
    assert journal.failed is not None
    assert "full" in journal.failed
    await assert_nothing_is_acknowledged_any_more(journal)
    await journal.close()
    await assert_whole(file, acknowledged)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


async def test_a_full_disk_loses_nothing_acknowledged(tmp_path: Path, small_disk: Path) -> None:
    journal = SqliteJournal.open(small_disk / "journal.db")
    acknowledged = await append_until_it_fails(journal, limit=2_000)
    assert 0 < len(acknowledged) < 6_000
    await assert_nothing_is_acknowledged_any_more(journal)
    await journal.close()
    moved = shutil.copytree(small_disk, tmp_path / "larger")
    await assert_whole(moved / "journal.db", acknowledged)


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a failing sync is made with a C compiler and LD_PRELOAD, and here is none")
    library = tmp_path_factory.mktemp("failing") / "failing_sync.so"
    source = HERE / "failing_sync.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.mark.parametrize("n", range(1, 13))
async def test_the_nth_sync_fails(file: Path, failing_sync: Path, n: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.journal.appending", str(file), str(n)),
        cwd=ROOT, env={"LD_PRELOAD": str(failing_sync)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await process.communicate()
    *acknowledged, last = told.decode().split()
    assert (last, process.returncode) == ("failed", 7)
    assert len(acknowledged) < n
    journal = SqliteJournal.open(file)
    for saga in acknowledged:
        assert len(await journal.read(SagaId(saga))) == 1
    assert (await journal.count(SearchQuery()))[""] <= len(acknowledged) + 1
    await journal.close()
