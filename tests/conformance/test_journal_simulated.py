import contextvars
from pathlib import Path
from typing import Any

import pytest

from orchestrator.testing.disk import Disk, SimulatedJournal
from orchestrator.testing.fates import Fates, Faults
from orchestrator.testing.loop import Life
from tests.conformance.journal_forgetting_suite import ForgettingSuite
from tests.conformance.journal_search_suite import SearchSuite
from tests.conformance.journal_suite import JournalSuite, Open


class Whole(SimulatedJournal):
    """With the catalogue and the cursors of the store behind it: the simulation needs neither."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        await super().close()
        await self._store.close()


class TestSimulatedJournal(JournalSuite, SearchSuite, ForgettingSuite):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        disk, faults = Disk(), Faults(Fates(1))
        return lambda: Whole(disk, Life("life-1"), faults, contextvars.copy_context())
