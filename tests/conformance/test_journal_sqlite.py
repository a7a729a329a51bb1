from pathlib import Path

import pytest

from orchestrator.journal.sqlite import SqliteJournal
from tests.conformance.journal_forgetting_suite import ForgettingSuite
from tests.conformance.journal_search_suite import SearchSuite
from tests.conformance.journal_suite import JournalSuite, Open


class TestSqliteJournal(JournalSuite, SearchSuite, ForgettingSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        return lambda: SqliteJournal.open(tmp_path / "journal.db")
