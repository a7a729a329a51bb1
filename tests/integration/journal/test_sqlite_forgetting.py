from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from orchestrator.ids import SagaId, StepId
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.journal.sqlite.schema import migrate, shipped
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.saga.events import Parent, SagaStarted
from orchestrator.saga.state import SagaStatus
from orchestrator.values import Payload, TraceContext
from tests.conformance.journal_values import append, cancelled, opened

STARTED = SagaStarted(
    at=1.0,
    saga_id=SagaId("a"),
    uid=UUID(int=1),
    definition="epro",
    revision="3f2a",
    input=Payload("google.protobuf.Empty", b""),
    attributes={},
    request_id="",
    forward_deadline_at=9.0,
    compensation_s=9.0,
    trace=TraceContext(trace_id=1, span_id=0, sampled=False),
)
ENDED: dict[str, Any] = {"status": SagaStatus.COMPLETED, "ended_at": 5.0}


def edit(file: Path, *statements: str) -> None:
    connection = apsw.Connection(str(file))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def child(saga: str, of: str) -> SagaStarted:
    parent = Parent(saga_id=SagaId(of), uid=UUID(int=2), step=StepId("s"), trace_id=1, span_id=1)
    return replace(STARTED, saga_id=SagaId(saga), parent=parent)


async def test_a_child_of_an_earlier_release_is_known_by_its_first_record(file: Path) -> None:
    journal = SqliteJournal.open(file)
    await journal.append(
        [
            append("top", definition="other"),
            append("a", child("a", "top"), parent="top", **ENDED),
            append("b", child("b", "gone"), parent="gone", **ENDED),
            append("c", replace(STARTED, saga_id=SagaId("c")), **ENDED),
        ]
    )
    edit(file, "UPDATE sagas SET parent = NULL")
    assert await journal.forget("epro", 9.0, 1) == 1
    assert await journal.forget("epro", 9.0, 9) == 1
    assert await journal.forget("epro", 9.0, 9) == 0
    row = await journal.row(SagaId("a"))
    assert row is not None
    assert row.parent == "top"
    await journal.close()


async def test_a_saga_whose_first_record_is_damaged_owes_nothing_to_a_parent(file: Path) -> None:
    journal = SqliteJournal.open(file)
    await journal.append([append("a", child("a", "top"), parent="top", **ENDED), append("top", definition="other")])
    edit(file, "UPDATE sagas SET parent = NULL", "UPDATE records SET body = x'ff' WHERE version = 1")
    assert await journal.forget("epro", 9.0, 9) == 1
    await journal.close()


async def test_the_file_does_not_grow_where_as_much_is_forgotten_as_is_begun(file: Path) -> None:
    journal = SqliteJournal.open(file)
    sizes: list[int] = []
    for turn in range(6):
        batch = [append(f"{turn}-{n}", opened(1, 4_000), opened(2, 4_000), **ENDED) for n in range(100)]
        assert list(await journal.append(batch)) == [None] * 100
        assert await journal.forget("epro", 9.0, 100) == 100
        pages = apsw.Connection(str(file)).pragma("page_count")
        sizes.append(int(str(pages)))
    assert sizes[0] > 100
    assert sizes[-1] <= sizes[1] * 1.05, sizes
    await journal.close()


async def test_nothing_of_a_forgotten_saga_is_left_in_any_table(file: Path) -> None:
    journal = SqliteJournal.open(file)
    await journal.append([append("a", cancelled(1), attributes={"site": "DE-1"}, request_id="r", **ENDED)])
    assert await journal.forget("epro", 9.0, 9) == 1
    connection = apsw.Connection(str(file))
    for table in ("sagas", "records", "attributes"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
    connection.close()
    await journal.close()


def test_what_may_go_is_looked_up() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, shipped(), "f")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL['forgettable']}", ("epro", 9.0, 9)).fetchall()
    said = "; ".join(str(row[3]) for row in plan)
    assert "USING INDEX sagas_ended" in said
    assert "TEMP B-TREE" not in said


def test_what_may_go_is_told_at_once_whatever_its_number() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, shipped(), "f")
    rows = connection.execute(SQL["forgettable"], ("epro", 9.0, 9)).fetchall()
    assert rows == [("[]",)], "after each row the reader would wait for its turn of the interpreter"
