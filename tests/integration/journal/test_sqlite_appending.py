"""What an append takes for granted about rows, and what it finds where that is not so."""

from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.errors import VersionConflict
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.journal.sqlite.appending import Appender, encoded
from orchestrator.ports.journal import Append, Rest
from orchestrator.saga.state import SagaStatus
from tests.conformance.journal_values import append, opened

ENDED: dict[str, Any] = {"status": SagaStatus.COMPLETED, "ended_at": 5.0, "rest": Rest.ASLEEP}


async def taken(journal: SqliteJournal, *appends: Append) -> None:
    assert list(await journal.append(appends)) == [None] * len(appends)


async def test_the_rows_that_are_remembered_are_those_under_way_and_no_more_than_the_bound(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.sqlite.appending.JOURNAL_NUMBERS_KEPT_MAX", 3)
    for name in "abcd":
        await taken(journal, append(name))
    assert list(journal._appender._numbers) == ["b", "c", "d"]
    await taken(journal, append("b", after=1), append("c", after=1, **ENDED))
    assert list(journal._appender._numbers) == ["d", "b"]
    await taken(journal, append("a", after=1), append("c", after=2))  # neither is remembered
    await taken(journal, append("d", after=1, rest=Rest.ASLEEP))
    assert list(journal._appender._numbers) == ["b", "a", "c"]
    for name, version in (("a", 2), ("b", 2), ("c", 3), ("d", 2)):
        row = await journal.row(SagaId(name))
        assert row is not None
        assert row.version == version == len(await journal.read(SagaId(name)))


async def test_a_number_that_another_saga_has_by_now_is_looked_up_again(journal: SqliteJournal) -> None:
    await taken(journal, append("a"), append("b", status=SagaStatus.RUNNING))
    numbers = journal._appender._numbers
    numbers[SagaId("a")], numbers[SagaId("b")] = numbers[SagaId("b")], 99
    await taken(journal, append("a", after=1), append("b", after=1))
    (refused,) = await journal.append([append("a", after=1)])
    assert isinstance(refused, VersionConflict)
    assert [len(await journal.read(SagaId(name))) for name in "ab"] == [2, 2]


async def test_what_a_saga_is_found_by_is_rewritten_where_it_changes(journal: SqliteJournal) -> None:
    await taken(journal, append("a", wake_at=5.0))
    changes: list[dict[str, Any]] = [
        {"wake_at": 5.0},
        {"wake_at": 7.0},
        {"wake_at": None},
        {"rest": Rest.CHILDREN},
        {"rest": Rest.ASLEEP, "wake_at": 9.0},
        {"status": SagaStatus.COMPENSATING, "attention": "RETRYING"},
        {"status": SagaStatus.COMPENSATING, "failure": "no"},
        ENDED,
        {"status": SagaStatus.COMPENSATING},
    ]
    for version, change in enumerate(changes, start=1):
        wanted = append("a", after=version, **change)
        await taken(journal, wanted)
        assert await journal.row(SagaId("a")) == wanted.row
        awake = [row.saga_id for row in await journal.awake("", 9)]
        assert awake == ([] if change.get("rest") == Rest.ASLEEP else ["a"])
        wakes_at = change.get("wake_at")
        due = [row.saga_id for row in await journal.due(9.0, 9)]
        assert due == ([] if wakes_at is None else ["a"])


@pytest.mark.parametrize("count", [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 150])
async def test_records_are_written_in_order_however_many_there_are(journal: SqliteJournal, count: int) -> None:
    half = count // 2
    group = [append("a", *(opened(n) for n in range(1, half + 1)))] if half else []
    group.append(append("b", *(opened(n) for n in range(1, count - half + 1))))
    await taken(journal, *group)
    found = [(each.position, each.saga_id, each.record.version) for each in await journal.since(0, 1000)]
    wanted = [("a", n) for n in range(1, half + 1)] + [("b", n) for n in range(1, count - half + 1)]
    assert found == [(place, *each) for place, each in enumerate(wanted, start=1)]


async def test_the_position_of_the_last_record_is_told(file: Path, journal: SqliteJournal) -> None:
    await taken(journal, append("a", *(opened(n) for n in range(1, 71))))
    connection = apsw.Connection(str(file))
    cursor = connection.cursor()
    results, last = Appender().write(cursor, encoded([append("b"), append("a"), append("c")]))
    assert [result is None for result in results] == [True, False, True]
    assert last == connection.execute("SELECT max(position) FROM records").get == 72
    connection.close()


GROWN = """
WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 60000)
INSERT INTO sagas (saga_id, uid, request_id, definition, revision, status, version, epoch, attributes, started_at,
                   updated_at, ended_at, wake_at, attention, failure, rest, parent)
SELECT hex(randomblob(16)), 'u', '', 'epro', 'r', iif(n % 10, 'COMPLETED', 'RUNNING'), 1, 1, '{}', n, n,
       iif(n % 10, n, NULL), iif(n % 10, NULL, 1e12 + n), '', '', 'asleep', ''
FROM n
"""
DEEPER = 2.0
"""What was one page of a table or an index is two, its root and a leaf; whoever walks through one looks at hundreds."""


async def pages_of_a_saga(journal: SqliteJournal, name: str) -> int:
    """Run one saga; return how many pages were looked at, in the cache or not."""

    def looked_at() -> int:
        writer = journal._opened.writer
        return sum(writer.status(of)[0] for of in (apsw.SQLITE_DBSTATUS_CACHE_HIT, apsw.SQLITE_DBSTATUS_CACHE_MISS))

    before = looked_at()
    await taken(journal, append(name, opened(1), wake_at=9e9, started_at=1e9, updated_at=1e9))
    for version in (1, 2):
        await taken(journal, append(name, opened(version + 1), after=version, wake_at=9e9, updated_at=1e9))
    await taken(journal, append(name, opened(4), after=3, **{**ENDED, "ended_at": 1e9, "updated_at": 1e9}))
    return looked_at() - before


async def test_a_saga_looks_at_as_many_pages_in_a_store_that_has_grown(file: Path, journal: SqliteJournal) -> None:
    await pages_of_a_saga(journal, "warm")
    small = await pages_of_a_saga(journal, "small")
    other = apsw.Connection(str(file))
    other.execute(GROWN)
    other.close()
    await pages_of_a_saga(journal, "warm again")
    assert await pages_of_a_saga(journal, "grown") < small * DEEPER
