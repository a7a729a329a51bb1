from collections.abc import Iterator

import pytest

from tests.conformance.journal_forgetting_suite import ForgettingSuite
from tests.conformance.journal_search_suite import SearchSuite
from tests.conformance.journal_suite import JournalSuite, Open
from tests.kit.owning import opening
from tests.kit.pgbouncer import pgbouncer
from tests.kit.postgres import database


class TestPostgresJournal(JournalSuite, SearchSuite, ForgettingSuite):
    @pytest.fixture
    def opener(self) -> Iterator[Open]:
        with database() as dsn:
            yield opening(dsn)


class TestPostgresJournalBehindPgBouncer(JournalSuite, SearchSuite, ForgettingSuite):
    @pytest.fixture
    def opener(self) -> Iterator[Open]:
        with database() as dsn, pgbouncer(dsn) as pooled:
            yield opening(pooled, dsn)
