from collections.abc import Callable, Iterator

import pytest

from tests.conformance.journal_forgetting_suite import ForgettingSuite
from tests.conformance.journal_search_suite import SearchSuite
from tests.conformance.journal_shards_suite import ShardsSuite
from tests.conformance.journal_suite import JournalSuite, Open
from tests.kit.owning import opening
from tests.kit.pgbouncer import pgbouncer
from tests.kit.postgres import schema


@pytest.fixture(scope="module")
def pooled() -> Iterator[Callable[[str], str]]:
    with schema() as dsn, pgbouncer(dsn) as behind:
        yield behind


class TestPostgresJournal(JournalSuite, SearchSuite, ForgettingSuite, ShardsSuite):
    @pytest.fixture
    def opener(self) -> Iterator[Open]:
        with schema() as dsn:
            yield opening(dsn)


class TestPostgresJournalBehindPgBouncer(JournalSuite, SearchSuite, ForgettingSuite, ShardsSuite):
    @pytest.fixture
    def opener(self, pooled: Callable[[str], str]) -> Iterator[Open]:
        with schema() as dsn:
            yield opening(pooled(dsn), dsn)
