"""For how many appends a group commit waits."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.journal import MemoryJournal
from orchestrator.limits import COMMIT_GATHER_S
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.ports.observer import Silence
from orchestrator.runtime.committer import Committer
from orchestrator.runtime.company import Company
from tests.kit.runtime import ManualClock, run

MANY = range(64)
TURN_S = COMMIT_GATHER_S / 16


def after(groups: int, streams: int, gap_s: float) -> Company:
    """What is expected after so many groups, each so large and so long after the last."""
    company = Company()
    for number in range(groups):
        company.observe(streams, number * gap_s)
    return company


def test_at_the_start_nobody_waits() -> None:
    assert Company().expected(len(MANY)) <= 1


def test_as_many_are_expected_as_come_while_the_first_one_waits() -> None:
    assert after(200, 2, COMMIT_GATHER_S / 4).expected(len(MANY)) in {7, 8}


def test_no_more_are_expected_than_are_awake_and_who_is_alone_never_waits() -> None:
    busy = after(200, 10, COMMIT_GATHER_S / 10)
    assert busy.expected(5) == 5
    assert busy.expected(1) == 1
    assert busy.expected(0) <= 1


def test_where_appends_are_far_between_nobody_waits() -> None:
    assert after(200, 1, COMMIT_GATHER_S).expected(len(MANY)) <= 1


def test_after_a_pause_nobody_waits_until_there_is_load_again() -> None:
    company = after(200, 2, COMMIT_GATHER_S / 4)
    company.observe(1, 1e6)
    assert company.expected(len(MANY)) <= 1
    for number in range(1, 100):
        company.observe(2, 1e6 + number * COMMIT_GATHER_S / 4)
    assert company.expected(len(MANY)) in {7, 8}, "however long it was"


def test_where_no_time_passes_everybody_is_expected() -> None:
    assert after(20_000, 1, 0.0).expected(len(MANY)) == len(MANY)


class NotingJournal(MemoryJournal):
    """Says of which size each group was, and takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self.groups.append(len(batch))
        return [None] * len(batch)


class Load:
    """Appends that come one by one, as calls of many sagas end."""

    def __init__(self) -> None:
        self.journal = NotingJournal()
        self.committer = Committer(self.journal, ManualClock(), Silence(), pytest.fail)
        self.waited_s: list[float] = []

    def come(self) -> None:
        loop = asyncio.get_running_loop()
        came = loop.time()

        def durable(error: OrchestratorError | None) -> None:
            assert error is None
            self.waited_s.append(loop.time() - came)

        self.committer.submit(cast(Append, SimpleNamespace(records=())), durable)

    async def rise(self, count: int, awake: Sequence[object], then_s: float = 0.0) -> None:
        """Let so many come, a turn apart, and end a while later."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.committer.run(awake))
            for _ in range(count):
                self.come()
                await asyncio.sleep(TURN_S)  # poll: no fact, appends come apart, on virtual time
            await asyncio.sleep(then_s)  # poll: no fact, nothing comes any more, on virtual time
            self.committer.close()


def test_under_load_groups_are_large_and_no_append_waits_longer_than_it_may() -> None:
    load = Load()
    run(load.rise(1_000, MANY))
    assert load.journal.groups[0] == 1, "nothing was known yet"
    assert min(load.journal.groups[-20:-1]) >= 12, "sixteen come in that time"
    assert max(load.waited_s) <= COMMIT_GATHER_S + TURN_S


def test_a_few_sagas_wait_for_each_other_and_one_waits_for_nobody() -> None:
    few, one = Load(), Load()
    run(few.rise(1_000, range(3)))
    run(one.rise(1_000, range(1)))
    assert set(few.journal.groups[-100:-1]) == {3}
    assert set(one.journal.groups) == {1}
    assert max(one.waited_s) <= TURN_S


def test_who_waits_in_vain_waits_no_longer_than_it_may() -> None:
    load = Load()
    run(load.rise(1_001, MANY, then_s=60.0))
    assert load.journal.groups[-1] < load.journal.groups[-2], "the last ones had less company than was expected"
    assert COMMIT_GATHER_S / 2 < max(load.waited_s[-load.journal.groups[-1] :]) <= COMMIT_GATHER_S + TURN_S


def test_what_waits_for_company_is_committed_when_the_process_ends() -> None:
    load = Load()
    run(load.rise(1_001, MANY))
    assert sum(load.journal.groups) == len(load.waited_s) == 1_001
