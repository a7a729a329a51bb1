from pathlib import Path

import pytest

from orchestrator.journal.sqlite import SqliteJournal
from tests.conformance.journal_suite import JournalSuite, Open


class TestSqliteJournal(JournalSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        return lambda: SqliteJournal.open(tmp_path / "journal.db")
