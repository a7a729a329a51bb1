"""A store of each kind, new and empty, for whoever needs nothing special of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from orchestrator.journal.sqlite import SqliteJournal
from tests.kit.postgres import schema


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(file: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(file)
    yield journal
    await journal.close()


@pytest.fixture
def dsn() -> Iterator[str]:
    with schema() as dsn:
        yield dsn


@pytest.fixture
async def admin(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()
