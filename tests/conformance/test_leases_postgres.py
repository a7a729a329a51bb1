from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from orchestrator.journal.postgres import PostgresJournal
from tests.conformance.leases_suite import Cluster, LeasesSuite, Process
from tests.kit.pgbouncer import pgbouncer
from tests.kit.postgres import schema


class OneDatabase:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.opened: list[PostgresJournal] = []

    async def open(self) -> Process:
        store = await PostgresJournal.open(self._dsn, shard_count=4)
        self.opened.append(store)
        return Process(leases=store, posts=store, journal=store)

    async def pass_s(self, seconds: float) -> None:
        store = self.opened[-1]
        until_at = (await store.view()).at + seconds
        while (await store.view()).at < until_at:
            pass  # its clock is asked until it says so


async def closing(cluster: OneDatabase) -> AsyncIterator[Cluster]:
    yield cluster
    for store in cluster.opened:
        await store.close()


@pytest.fixture(scope="module")
def pooled() -> Iterator[Callable[[str], str]]:
    with schema() as dsn, pgbouncer(dsn) as behind:
        yield behind


class TestPostgresLeases(LeasesSuite):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        with schema() as dsn:
            async for cluster in closing(OneDatabase(dsn)):
                yield cluster


class TestPostgresLeasesBehindPgBouncer(LeasesSuite):
    @pytest.fixture
    async def cluster(self, pooled: Callable[[str], str]) -> AsyncIterator[Cluster]:
        with schema() as dsn:
            async for cluster in closing(OneDatabase(pooled(dsn))):
                yield cluster
