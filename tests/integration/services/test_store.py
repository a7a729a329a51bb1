"""Group commit: neighbours in a group do not hurt each other, and a failing database is told as what it is."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.refusal import Refusal, bad_field
from services.store import Store

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (text TEXT PRIMARY KEY);"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path, "test", SCHEMA)
    yield opened
    opened.close()


def note(text: str, error: Exception | None = None) -> Callable[[sqlite3.Connection], str]:
    def work(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO notes VALUES (?)", (text,))
        if error:
            raise error
        return text

    return work


async def notes(store: Store) -> set[str]:
    rows = await store.transact(lambda db: db.execute("SELECT text FROM notes").fetchall())
    return {text for (text,) in rows}


async def test_calls_of_one_turn_share_one_transaction(store: Store) -> None:
    seen: list[bool] = []

    def looks_for_the_neighbour(db: sqlite3.Connection) -> None:
        seen.append(db.in_transaction and db.execute("SELECT count(*) FROM notes").fetchone() == (1,))

    await asyncio.gather(store.transact(note("a")), store.transact(looks_for_the_neighbour))
    assert seen == [True]


@pytest.mark.parametrize("error", [bad_field("x", "is bad"), ZeroDivisionError("a bug")])
async def test_one_call_that_fails_takes_back_its_own_writes_only(store: Store, error: Exception) -> None:
    calls = [store.transact(note("a")), store.transact(note("b", error)), store.transact(note("c"))]
    assert await asyncio.gather(*calls, return_exceptions=True) == ["a", error, "c"]
    assert await notes(store) == {"a", "c"}


async def test_a_failing_database_takes_back_the_group_and_says_unavailable(store: Store) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    calls = [store.transact(note("a")), store.transact(note("b", full))]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, Refusal) and each.reason for each in answers] == ["STORAGE_FAILED", "STORAGE_FAILED"]
    assert await notes(store) == set()


async def test_a_call_cancelled_before_its_turn_leaves_no_trace(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(store.transact(note("a")))
        group.create_task(cancel(waiting))
    assert await notes(store) == set()


async def cancel(task: "asyncio.Task[str]") -> None:
    task.cancel()
