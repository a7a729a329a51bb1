"""The kit keeps every published vector, over every kind of connection it serves."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.participant import ASYNCPG, POSTGRES, SQLITE
from tests.conformance.barrier_vectors import every_vector, play
from tests.kit import houses, theatre
from tests.kit.postgres import postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("theatre") / "house.sqlite"
    with theatre.in_threads(houses.BlockingHouse(partial(houses.sqlite_connection, path), SQLITE)) as address:
        yield address


@pytest.fixture(scope="module")
def on_psycopg(dsn: str) -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    with theatre.in_threads(houses.BlockingHouse(partial(psycopg.connect, dsn), POSTGRES)) as address:
        yield address


@pytest.fixture(scope="module")
def on_serializable(dsn: str) -> Iterator[str]:
    """The isolation level at which PostgreSQL fails one of two duplicates instead of letting it wait."""
    psycopg = pytest.importorskip("psycopg")

    def connect() -> Any:
        db = psycopg.connect(dsn)
        db.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        return db

    with theatre.in_threads(houses.BlockingHouse(connect, POSTGRES)) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def on_asyncpg(dsn: str) -> AsyncIterator[str]:
    pytest.importorskip("asyncpg")
    house = houses.AwaitingHouse(partial(houses.asyncpg_transaction, dsn), ASYNCPG)
    await house.create()
    async with theatre.in_loop(house) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def on_awaited_psycopg(dsn: str) -> AsyncIterator[str]:
    pytest.importorskip("psycopg")
    house = houses.AwaitingHouse(partial(houses.psycopg_transaction, dsn), POSTGRES)
    await house.create()
    async with theatre.in_loop(house) as address:
        yield address


@every_vector
async def test_over_sqlite3_in_threads(vector: dict[str, Any], on_sqlite: str) -> None:
    await play(on_sqlite, vector)


@every_vector
async def test_over_psycopg_in_threads(vector: dict[str, Any], on_psycopg: str) -> None:
    await play(on_psycopg, vector)


@every_vector
async def test_over_psycopg_where_transactions_fail_each_other(vector: dict[str, Any], on_serializable: str) -> None:
    await play(on_serializable, vector)


@every_vector
async def test_over_asyncpg_in_a_loop(vector: dict[str, Any], on_asyncpg: str) -> None:
    await play(on_asyncpg, vector)


@every_vector
async def test_over_awaited_psycopg_in_a_loop(vector: dict[str, Any], on_awaited_psycopg: str) -> None:
    await play(on_awaited_psycopg, vector)
