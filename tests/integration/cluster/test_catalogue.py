"""Several processes over one catalogue in PostgreSQL: they load at once, and see what each of them activates."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.definition import Revisions
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.limits import CATALOGUE_FRESH_S
from tests.kit.postgres import schema
from tests.unit.definition.probe import source
from tests.unit.definition.world import FixedClock, FixedMethods, every_target

PROCESSES = 4


class Watch(FixedClock):
    passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s


class Process:
    def __init__(self, store: PostgresJournal) -> None:
        self.watch = Watch()
        self.store = store
        self.revisions = Revisions(store, FixedMethods(every_target()), self.watch, is_shared=True)

    async def load(self, *texts: str) -> str:
        """Do what a process does at its start with the definitions of its configuration."""
        active = ""
        for revision, found in await self.revisions.create_together([("probe.yaml", text) for text in texts]):
            assert revision is not None, found
            await self.revisions.activate(revision.definition, revision.revision)
            active = revision.revision
        return active


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    with schema() as dsn:
        stores = [await PostgresJournal.open(dsn, shard_count=4) for _ in range(PROCESSES)]
        yield [Process(store) for store in stores]
        for store in stores:
            await store.close()


async def test_processes_that_load_the_same_definitions_at_once_agree(processes: list[Process]) -> None:
    loaded = await asyncio.gather(*(process.load(source()) for process in processes))
    assert len(set(loaded)) == 1
    assert len(await processes[0].revisions.revisions("probe")) == 1
    assert {(await process.revisions.plan("probe")).revision for process in processes} == set(loaded)


async def test_of_processes_that_load_different_texts_at_once_one_wins_at_all_of_them(
    processes: list[Process],
) -> None:
    texts = [source(description=f"of process {number}") for number in range(PROCESSES)]
    loaded = await asyncio.gather(*(process.load(text) for process, text in zip(processes, texts, strict=True)))
    assert len(set(loaded)) == PROCESSES
    for process in processes:
        process.watch.passed_s += CATALOGUE_FRESH_S
    active = {(await process.revisions.plan("probe")).revision for process in processes}
    assert len(active) == 1
    assert active <= set(loaded)


async def test_what_one_process_activates_the_others_start_with(processes: list[Process]) -> None:
    one, *others = processes
    await one.load(source())
    for process in others:
        await process.revisions.plan("probe")
    second = await one.load(source(description="another"))
    for process in others:
        process.watch.passed_s += CATALOGUE_FRESH_S
        assert (await process.revisions.plan("probe")).revision == second
