"""Bits that rot: one record is reported with its saga and version, everything else goes on."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import SearchQuery
from tests.conformance.journal_values import append, cancelled, opened

A, B = SagaId("a"), SagaId("b")


@pytest.fixture
async def journal(file: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(file)
    results = await journal.append([append("a", cancelled(1), opened(2, size_bytes=5), cancelled(3)), append("b")])
    assert list(results) == [None, None]
    yield journal
    await journal.close()


def edit(file: Path, statement: str, *values: object) -> None:
    connection = apsw.Connection(str(file))
    connection.execute(statement, values)
    connection.close()


async def test_any_flipped_bit_of_a_record_is_found(journal: SqliteJournal, file: Path) -> None:
    connection = apsw.Connection(str(file))
    body: bytes = connection.execute("SELECT body FROM records WHERE saga = 1 AND version = 2").get
    for bit in range(len(body) * 8):
        bad = bytearray(body)
        bad[bit // 8] ^= 1 << bit % 8
        connection.execute("UPDATE records SET body = ? WHERE saga = 1 AND version = 2", (bytes(bad),))
        with pytest.raises(JournalCorrupted, match="record 2 of saga 'a' cannot be read: its checksum") as raised:
            await journal.read(A)
        assert raised.value.metadata == {"saga_id": "a", "version": "2"}
    connection.close()
    assert len(await journal.read(B)) == 1
    assert list(await journal.append([append("b", after=1)])) == [None]
    assert journal.failed is None


@pytest.mark.parametrize(
    ("statement", "version", "why"),
    [
        ("UPDATE records SET type = 'SagaTeleported' WHERE saga = 1 AND version = 3", 3, "no record type"),
        ("UPDATE records SET type = 'StepUndone' WHERE saga = 1 AND version = 3", 3, "checksum"),
        ("DELETE FROM records WHERE saga = 1 AND version = 1", 1, "missing, record 2 follows"),
        ("DELETE FROM records WHERE saga = 1 AND version = 2", 2, "missing, record 3 follows"),
        ("DELETE FROM records WHERE saga = 1 AND version = 3", 3, "missing, the saga is at version 3"),
        ("DELETE FROM records WHERE saga = 1", 1, "missing, the saga is at version 3"),
    ],
)
async def test_a_damaged_stream_is_reported_where_it_breaks(
    journal: SqliteJournal, file: Path, statement: str, version: int, why: str
) -> None:
    edit(file, statement)
    with pytest.raises(JournalCorrupted, match=rf"record {version} of saga 'a' .*{why}"):
        await journal.read(A)
    assert len(await journal.read(B)) == 1


async def test_a_damaged_record_does_not_stop_readers_of_the_whole_store(
    journal: SqliteJournal, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(file, "UPDATE records SET body = x'00' WHERE saga = 1 AND version < 3")
    with caplog.at_level(logging.WARNING):
        assert [(entry.saga_id, entry.record.version) for entry in await journal.since(0, 2)] == [("a", 3), ("b", 1)]
    assert "2 records beside position 0 are left out, the first: record 1 of saga 'a'" in caplog.text
    edit(file, "UPDATE records SET body = x'00'")
    assert list(await journal.since(0, 2)) == []


async def test_a_damaged_search_row_is_reported_and_left_out_of_lists(
    journal: SqliteJournal, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(file, "UPDATE sagas SET status = 'BORED' WHERE saga_id = 'a'")
    with pytest.raises(JournalCorrupted, match="search row of saga 'a' cannot be read"):
        await journal.row(A)
    assert [row.saga_id for row in await journal.search(SearchQuery())] == ["b"]
    assert [row.saga_id for row in await journal.awake("", 9)] == ["b"]
    assert "search row of saga 'a'" in caplog.text


@pytest.mark.parametrize("column", ["failure", "uid", "definition"])
async def test_a_text_that_is_no_utf8_hides_no_row(journal: SqliteJournal, file: Path, column: str) -> None:
    edit(file, f"UPDATE sagas SET {column} = CAST(x'6fff' AS TEXT) WHERE saga_id = 'a'")
    found = {row.saga_id: getattr(row, column) for row in await journal.search(SearchQuery())}
    assert list(found) == ["b", "a"] or list(found) == ["a", "b"]
    assert found[A] == "o\ufffd"
    assert [row.saga_id for row in await journal.awake("", 9)] == ["a", "b"]
    with pytest.raises(JournalCorrupted, match="no UTF-8"):
        await journal.row(A)


async def test_a_type_that_is_no_utf8_is_a_damaged_record(journal: SqliteJournal, file: Path) -> None:
    edit(file, "UPDATE records SET type = CAST(x'ff' AS TEXT) WHERE saga = 1 AND version = 2")
    with pytest.raises(JournalCorrupted, match="record 2 of saga 'a' cannot be read"):
        await journal.read(A)
    assert [(entry.saga_id, entry.record.version) for entry in await journal.since(0, 9)] == [
        ("a", 1),
        ("a", 3),
        ("b", 1),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "attributes = '[]'",
        "attributes = '{\"a\": null}'",
        'attributes = \'{"a": "\\ud800"}\'',
        "attributes = '{\"a\": 9223372036854775808}'",
        "started_at = 9e999",
        "updated_at = 1e18",
        "wake_at = -1e300",
    ],
)
async def test_a_row_that_no_list_could_show_is_left_out(journal: SqliteJournal, file: Path, change: str) -> None:
    edit(file, f"UPDATE sagas SET {change} WHERE saga_id = 'a'")
    assert [row.saga_id for row in await journal.search(SearchQuery())] == ["b"]
    with pytest.raises(JournalCorrupted, match="search row of saga 'a' cannot be read"):
        await journal.row(A)


async def test_a_damaged_revision_is_told(journal: SqliteJournal, file: Path) -> None:
    revision = Revision(definition="d", revision="r", source="saga: d", descriptors=b"", created_at=1.0, active=True)
    await journal.put(revision)
    edit(file, "UPDATE revisions SET source = CAST(x'ff' AS TEXT)")
    with pytest.raises(JournalCorrupted, match="no UTF-8"):
        await journal.get("d")
