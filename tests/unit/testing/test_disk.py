import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.ports.journal import AppendResult
from orchestrator.testing.disk import Disk, SimulatedJournal
from orchestrator.testing.loop import Life
from tests.conformance.journal_values import append
from tests.unit.testing.worlds import faults_of, passes, told

BATCH = [append(name) for name in "abcdef"]


def opened(disk: Disk, *tape: str, seed: int = 1) -> tuple[SimulatedJournal, Life]:
    life = Life("life-1")
    return SimulatedJournal(disk, life, faults_of(*tape, seed=seed), contextvars.copy_context()), life


async def appended(disk: Disk, *tape: str, seed: int = 1) -> tuple[Sequence[AppendResult] | BaseException | None, Life]:
    """Hand a group to the disk, and return what its writer was told: None where it is never told anything."""
    journal, life = opened(disk, *tape, seed=seed)
    writing = asyncio.get_running_loop().create_task(journal.append(BATCH), context=life.context)
    await asyncio.wait([writing], timeout=60)
    if not writing.done():
        return None, life
    return writing.exception() or writing.result(), life


async def kept(disk: Disk) -> str:
    """Return which streams are there, each of which is whole."""
    found = {each.saga_id: await disk.store.read(SagaId(each.saga_id)) for each in BATCH}
    assert all(
        not records or tuple(records) == each.records for each, records in zip(BATCH, found.values(), strict=True)
    )
    return "".join(saga for saga, records in found.items() if records)


def fate(*tape: str, seed: int = 1) -> tuple[object, str, bool]:
    """Return what the writer is told, what is on the disk, and whether its process is dead."""

    async def story() -> tuple[object, str, bool]:
        disk = Disk()
        said, life = await appended(disk, *tape, seed=seed)
        return said, await kept(disk), life.is_over

    return told(story)


def test_where_nothing_goes_wrong_the_writer_is_told_when_all_of_it_is_there() -> None:
    assert fate() == ([None] * 6, "abcdef", False)


def test_a_commit_takes_time_and_is_there_only_then() -> None:
    async def story() -> None:
        disk = Disk()
        journal, _ = opened(disk, "append.slow life-1/1")
        writing = asyncio.get_running_loop().create_task(journal.append(BATCH))
        await passes(0.01)
        assert await kept(disk) == ""
        await writing
        assert 0.01 < asyncio.get_running_loop().time() < 6
        assert await kept(disk) == "abcdef"

    told(story)


def test_killed_before_the_disk_sees_a_group_nothing_of_it_is_there() -> None:
    assert fate("kill.append.before life-1 1") == (None, "", True)


def test_killed_once_it_is_durable_all_of_it_is_there_and_nobody_was_told() -> None:
    assert fate("kill.append.after life-1 1") == (None, "abcdef", True)


def test_killed_while_it_is_written_some_streams_are_there_or_all_or_none() -> None:
    ends = {fate("kill.append.torn life-1 1", seed=seed) for seed in range(40)}
    assert {(said, dead) for said, _, dead in ends} == {(None, True)}
    found = {streams for _, streams, _ in ends}
    assert {"", "abcdef"} < found
    assert len(found) > 4


def test_a_group_that_is_on_its_way_as_its_writer_dies_may_land_all_the_same() -> None:
    async def story(seed: int) -> str:
        disk = Disk()
        journal, life = opened(disk, "append.slow life-1/1", seed=seed)
        asyncio.get_running_loop().create_task(journal.append(BATCH), context=life.context)
        await passes(0)
        life.kill()
        await passes(10)
        return await kept(disk)

    found = {told(lambda seed=seed: story(seed)) for seed in range(20)}  # type: ignore[misc]  # the seed of this turn
    assert {"", "abcdef"} < found


def test_a_kill_counts_the_groups_of_its_life() -> None:
    async def story() -> tuple[str, bool]:
        disk = Disk()
        journal, life = opened(disk, "kill.append.after life-1 2")
        await journal.append([append("a")])
        assert not life.is_over
        asyncio.get_running_loop().create_task(journal.append([append("b")]), context=life.context)
        await passes(1)
        assert journal.groups == 2
        return await kept(disk), life.is_over

    assert told(story) == ("ab", True)


def test_a_disk_that_says_that_it_failed_may_have_written_and_takes_no_more() -> None:
    async def story(seed: int) -> str:
        disk = Disk()
        journal, life = opened(disk, "append.error life-1/1", seed=seed)
        with pytest.raises(JournalUnavailable, match="the disk failed"):
            await journal.append(BATCH)
        with pytest.raises(JournalUnavailable, match="the disk failed"):
            await journal.append([append("z")])
        with pytest.raises(JournalUnavailable, match="the disk failed"):
            await journal.read(SagaId("a"))
        assert not life.is_over
        return await kept(disk)

    found = {told(lambda seed=seed: story(seed)) for seed in range(20)}  # type: ignore[misc]  # the seed of this turn
    assert {"", "abcdef"} < found


def test_the_next_life_finds_what_is_there_and_the_one_before_is_fenced() -> None:
    async def story() -> None:
        disk = Disk()
        before, _ = opened(disk)
        await before.append([append("a")])
        after, _ = opened(disk)
        assert after.epoch == before.epoch + 1
        assert len(await after.read(SagaId("a"))) == 1
        await after.append([append("b", epoch=after.epoch)])
        for _ in range(2):
            with pytest.raises(JournalUnavailable, match="opened by another process"):
                await before.append([append("c", epoch=before.epoch)])

    told(story)


def test_what_landed_is_told_to_whoever_watches_and_its_definition_is_known() -> None:
    async def story() -> None:
        disk = Disk()
        heard: list[str] = []
        disk.on_landed = lambda each: heard.append(each.saga_id)
        journal, _ = opened(disk)
        conflict = append("a", after=7)
        results = await journal.append([conflict, append("b")])
        assert results[0] is not None
        assert heard == ["b"]
        assert disk.definitions == {"b": "epro"}

    told(story)
