"""Where commits run, and what happens around them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import apsw
import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.limits import JOURNAL_CHECKPOINT_PAGES
from tests.conformance.journal_values import append, opened

A, B = SagaId("a"), SagaId("b")


@pytest.fixture
def other(file: Path, journal: SqliteJournal) -> Iterator[apsw.Connection]:
    """Another program that holds the file's write lock: a disk that answers when the test wants it to."""
    connection = apsw.Connection(str(file))
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


async def test_a_slow_commit_leaves_the_loop_free(journal: SqliteJournal, other: apsw.Connection) -> None:
    journal._writer.pace.observe(60.0, perf_counter())
    slow = asyncio.gather(journal.append([append("a")]), journal.append([append("b")]))
    assert await journal.row(A) is None  # the loop runs and reads while both wait
    assert not slow.done()
    other.execute("ROLLBACK")
    assert [list(results) for results in await slow] == [[None], [None]]
    assert await journal.row(A) is not None


async def test_an_append_nobody_waits_for_any_more_is_whole_or_absent(
    journal: SqliteJournal, other: apsw.Connection
) -> None:
    journal._writer.pace.observe(60.0, perf_counter())
    running = asyncio.ensure_future(journal.append([append("a")]))  # noqa: TID251  (it is awaited below)
    queued = asyncio.ensure_future(journal.append([append("b")]))  # noqa: TID251
    while not journal._writer._busy.locked():
        await asyncio.to_thread(lambda: None)  # the writer's thread takes its turn and waits for the lock
    for task in (running, queued):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    other.execute("ROLLBACK")
    assert list(await journal.append([append("c")])) == [None]
    for saga in (A, B):
        row = await journal.row(saga)
        assert len(await journal.read(saga)) == (0 if row is None else 1)
    assert journal.failed is None


async def test_a_write_lock_that_is_never_let_go_ends_acknowledging(
    journal: SqliteJournal, other: apsw.Connection
) -> None:
    journal._opened.writer.set_busy_timeout(0)
    with pytest.raises(JournalUnavailable, match="BusyError"):
        await journal.append([append("a")])
    other.execute("ROLLBACK")
    with pytest.raises(JournalUnavailable, match="stopped recording"):
        await journal.append([append("a")])


async def test_the_write_ahead_log_stays_short_and_goes_with_close(journal: SqliteJournal, file: Path) -> None:
    log = Path(f"{file}-wal")
    longest = 0
    for number in range(300):
        group = [append(f"saga-{number}-{i}", *(opened(n, size_bytes=4_000) for n in range(8))) for i in range(2)]
        assert list(await journal.append(group)) == [None, None]
        await journal.read(A)
        longest = max(longest, await asyncio.to_thread(lambda: log.stat().st_size))
    written = 300 * 2 * 8 * 4_000
    assert longest < 2 * JOURNAL_CHECKPOINT_PAGES * 4_096 < written
    await journal.close()
    assert not await asyncio.to_thread(log.exists)


async def test_full_durability_is_not_a_setting(journal: SqliteJournal) -> None:
    writer = journal._opened.writer
    assert (writer.pragma("journal_mode"), writer.pragma("synchronous"), writer.pragma("foreign_keys")) == ("wal", 2, 1)
    assert (journal._opened.near.pragma("query_only"), journal._opened.far.pragma("query_only")) == (1, 1)
