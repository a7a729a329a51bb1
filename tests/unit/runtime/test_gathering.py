"""For whom a group commit waits: for those that come a turn of the loop after the last one, and for nobody else."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from orchestrator.errors import JournalUnavailable, OrchestratorError
from orchestrator.journal import MemoryJournal
from orchestrator.limits import COMMIT_STREAMS_MAX, COMMIT_TURNS_MAX
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.ports.observer import Silence
from orchestrator.runtime.committer import Committer
from tests.kit.runtime import ManualClock, run

MANY = range(64)
TURNS_MAX = 1_000


class NotingJournal(MemoryJournal):
    """Says how large each group was and in which turn it came, and takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.groups: list[tuple[int, int]] = []
        """Turn and size."""

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        self.groups.append((self.turn, len(batch)))
        return [None] * len(batch)


class Load:
    """Appends that come in given turns of the loop."""

    def __init__(self, journal: NotingJournal | None = None) -> None:
        self.journal = NotingJournal() if journal is None else journal
        self.failures: list[str] = []
        self.committer = Committer(self.journal, ManualClock(), Silence(), self.failures.append)
        self.answers: list[OrchestratorError | None] = []

    def come(self) -> None:
        self.committer.submit(cast(Append, SimpleNamespace(records=())), self.answers.append)

    async def rise(self, *counts: int, awake: Sequence[object] = MANY, fails_in: int = TURNS_MAX) -> None:
        """Let so many come in each turn, then let turns pass until all are answered."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.committer.run(awake))
            await asyncio.sleep(0)  # a turn, in which the committer begins to wait
            for turn in range(TURNS_MAX):
                self.journal.turn = turn
                if turn == fails_in:
                    self.committer.fail(JournalUnavailable("the disk is gone"))
                for _ in range(counts[turn] if turn < len(counts) else 0):
                    self.come()
                if turn >= len(counts) and len(self.answers) == sum(counts):
                    break
                await asyncio.sleep(0)  # a turn
            self.committer.close()


def test_those_that_come_turn_by_turn_share_a_commit() -> None:
    load = Load()
    run(load.rise(1, 2, 1, 1))
    assert [size for _, size in load.journal.groups] == [5]


def test_nobody_waits_once_a_turn_brought_none() -> None:
    load = Load()
    run(load.rise(3, 0, 0, 0, 2))
    (first, size), (_, rest) = load.journal.groups
    assert (size, rest) == (3, 2)
    assert first <= 2, "the turn in which the committer wakes, and one that brought none"


def test_who_is_alone_waits_for_nobody() -> None:
    alone, beside = Load(), Load()
    run(alone.rise(1, awake=range(1)))
    run(beside.rise(1, awake=range(2)))
    assert alone.journal.groups[0][0] == beside.journal.groups[0][0] - 1


def test_however_many_come_the_first_waits_so_many_turns_and_no_more() -> None:
    load = Load()
    run(load.rise(*[1] * 10 * COMMIT_TURNS_MAX, awake=range(TURNS_MAX)))
    assert [size for _, size in load.journal.groups][:3] == [COMMIT_TURNS_MAX + 1] * 3
    assert load.answers == [None] * 10 * COMMIT_TURNS_MAX


def test_a_group_has_its_bound_all_the_same() -> None:
    load = Load()
    run(load.rise(COMMIT_STREAMS_MAX, 5, awake=range(2 * COMMIT_STREAMS_MAX)))
    assert [size for _, size in load.journal.groups] == [COMMIT_STREAMS_MAX, 5]


@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_a_store_that_fails_while_a_group_comes_about_is_asked_for_nothing(fails_in: int) -> None:
    load = Load()
    run(load.rise(*[1] * 6, fails_in=fails_in))
    assert not load.journal.groups
    assert len(load.failures) == 1
    assert [type(answer) for answer in load.answers] == [JournalUnavailable] * 6


def test_who_waits_and_who_comes_is_answered_where_the_committer_is_cancelled() -> None:
    load = Load()

    async def story() -> None:
        committing = asyncio.ensure_future(load.committer.run(MANY))  # noqa: TID251  (awaited below)
        await asyncio.sleep(0)  # a turn, in which the committer begins to wait
        load.come()
        committing.cancel()
        await asyncio.wait([committing])
        load.come()
        await asyncio.sleep(0)  # a turn, in which the second is answered

    run(story())
    assert not load.journal.groups
    assert [type(answer) for answer in load.answers] == [JournalUnavailable] * 2


def test_who_is_on_the_way_to_the_store_when_the_committer_is_cancelled_is_told_that_nobody_knows() -> None:
    begun = asyncio.Event()

    class Stalled(NotingJournal):
        async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
            begun.set()
            return await asyncio.Future[Sequence[AppendResult]]()

    load = Load(Stalled())

    async def story() -> None:
        committing = asyncio.ensure_future(load.committer.run(()))  # noqa: TID251  (awaited below)
        load.come()
        await begun.wait()
        committing.cancel()
        await asyncio.wait([committing])

    run(story())
    assert "it is recorded or not" in str(load.answers[0])
