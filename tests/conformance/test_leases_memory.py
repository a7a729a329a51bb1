import pytest

from orchestrator.journal.memory_leases import MemoryCluster
from tests.conformance.leases_suite import Cluster, LeasesSuite, Process


class OneMemory:
    def __init__(self) -> None:
        self._at = 1_800_000_000.0
        self._cluster = MemoryCluster(lambda: self._at, 4)

    async def open(self) -> Process:
        leases = self._cluster.open()
        return Process(leases=leases, posts=leases, journal=leases.journal)

    async def pass_s(self, seconds: float) -> None:
        self._at += seconds


class TestMemoryLeases(LeasesSuite):
    @pytest.fixture
    async def cluster(self) -> Cluster:
        return OneMemory()
