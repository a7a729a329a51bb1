from pathlib import Path

import pytest

from orchestrator.journal import MemoryJournal
from tests.conformance.journal_forgetting_suite import ForgettingSuite
from tests.conformance.journal_search_suite import SearchSuite
from tests.conformance.journal_shards_suite import ShardsSuite
from tests.conformance.journal_suite import JournalSuite, Open, Store


class TestMemoryJournal(JournalSuite, ShardsSuite, SearchSuite, ForgettingSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        last: list[MemoryJournal] = []

        def opened() -> Store:
            last[:] = [last[0].reopen() if last else MemoryJournal()]
            return last[0]

        return opened
