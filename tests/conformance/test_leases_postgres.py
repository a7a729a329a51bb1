from collections.abc import AsyncIterator

import pytest

from orchestrator.journal.postgres import PostgresJournal
from tests.conformance.leases_suite import Cluster, LeasesSuite, Process
from tests.kit.pgbouncer import pgbouncer
from tests.kit.postgres import database


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


class TestPostgresLeases(LeasesSuite):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        with database() as dsn:
            async for cluster in closing(OneDatabase(dsn)):
                yield cluster


class TestPostgresLeasesBehindPgBouncer(LeasesSuite):
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[Cluster]:
        with database() as dsn, pgbouncer(dsn) as pooled:
            async for cluster in closing(OneDatabase(pooled)):
                yield cluster
