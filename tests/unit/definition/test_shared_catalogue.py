"""Several processes over one catalogue: what one activates, the others start sagas with."""

import asyncio
from collections.abc import Mapping

import pytest

from orchestrator.definition.revisions import Revisions
from orchestrator.errors import JournalUnavailable
from orchestrator.limits import CATALOGUE_FRESH_S
from orchestrator.ports.catalogue import Revision
from tests.unit.definition.probe import source
from tests.unit.definition.world import DictCatalogue, FixedClock, FixedMethods, every_target


class Watch(FixedClock):
    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s


class Shared(DictCatalogue):
    """Counts looks; an answer comes when `gate` is open, and is of when it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = False

    async def active(self) -> Mapping[str, str]:
        self.looks += 1
        found = await super().active()
        await self.gate.wait()
        if self.is_away:
            raise JournalUnavailable("the database is away")
        return found

    async def get(self, definition: str, revision: str = "") -> Revision | None:
        self.reads += 1
        found = await super().get(definition, revision)
        if not revision:
            await self.gate.wait()
        return found


class Town:
    """Processes over one catalogue, and their common time."""

    def __init__(self) -> None:
        self.catalogue, self.watch = Shared(), Watch()
        self.methods = FixedMethods(every_target())

    def process(self, *, is_shared: bool = True) -> Revisions:
        return Revisions(self.catalogue, self.methods, self.watch, is_shared=is_shared)


@pytest.fixture
async def town() -> Town:
    return Town()


async def kept(process: Revisions, text: str) -> str:
    revision, found = await process.create_revision(text, "probe.yaml")
    assert revision is not None, [str(one) for one in found]
    return revision.revision


async def test_a_process_starts_without_a_service_that_is_away_where_the_same_text_is_kept(town: Town) -> None:
    first = await kept(town.process(), source())
    town.methods.sets["shop"] = None
    later = town.process()
    ((found, _),) = await later.create_together([("probe.yaml", source())], may_be_known=True)
    assert found is not None
    assert found.revision == first
    assert (await later.plan("probe")).revision == first
    ((other, findings),) = await later.create_together([("probe.yaml", source(description="new"))], may_be_known=True)
    assert other is None
    assert "E205" in str(findings[0])
    ((strictly, _),) = await later.create_together([("probe.yaml", source())])
    assert strictly is None


async def test_what_one_process_activates_the_others_start_with_in_time(town: Town) -> None:
    one, other = town.process(), town.process()
    first, second = await kept(one, source()), await kept(one, source(description="another"))
    assert (await other.plan("probe")).revision == first
    await one.activate("probe", second)
    assert (await one.plan("probe")).revision == second
    town.watch.passed_s += CATALOGUE_FRESH_S
    assert (await other.plan("probe")).revision == second


async def test_starts_do_not_ask_the_store_each(town: Town) -> None:
    process = town.process()
    await kept(process, source())
    await process.plan("probe")
    town.catalogue.looks = town.catalogue.reads = 0
    for _ in range(10):
        town.watch.passed_s += CATALOGUE_FRESH_S / 4
        await asyncio.gather(*(process.plan("probe") for _ in range(100)))
    assert (town.catalogue.looks, town.catalogue.reads) == (2, 0)


async def test_a_process_alone_with_its_store_never_looks(town: Town) -> None:
    process = town.process(is_shared=False)
    await kept(process, source())
    await process.plan("probe")
    town.catalogue.reads = 0
    for _ in range(10):
        town.watch.passed_s += 1_000.0
        await process.plan("probe")
    assert (town.catalogue.looks, town.catalogue.reads) == (0, 0)


async def test_a_definition_that_another_process_created_is_found_at_once(town: Town) -> None:
    one, other = town.process(), town.process()
    await kept(one, source())
    assert (await other.plan("probe")).definition == "probe"
    second = await kept(one, source(description="another"))
    assert (await other.plan("probe", second)).revision == second


async def test_an_answer_from_before_an_activation_does_not_undo_it(town: Town) -> None:
    process = town.process()
    await kept(process, source())
    second = await kept(process, source(description="another"))
    town.catalogue.gate.clear()
    looking = asyncio.ensure_future(process.plan("probe"))  # noqa: TID251  (awaited below)
    while not town.catalogue.looks:  # noqa: ASYNC110  (a fact of the fake store)
        await asyncio.sleep(0)  # one turn: for the start to ask
    activating = asyncio.ensure_future(process.activate("probe", second))  # noqa: TID251  (awaited below)
    town.catalogue.gate.set()
    await asyncio.gather(looking, activating)
    assert (await process.plan("probe")).revision == second


async def test_an_activation_during_a_first_start_counts() -> None:
    """The plan that is compiled for the first start must not be taken for the active one ever after."""
    town = Town()
    creator = town.process(is_shared=False)
    first, second = await kept(creator, source()), await kept(creator, source(description="another"))
    process = town.process(is_shared=False)
    town.catalogue.reads = 0
    town.catalogue.gate.clear()
    starting = asyncio.ensure_future(process.plan("probe"))  # noqa: TID251  (awaited below)
    while not town.catalogue.reads:  # noqa: ASYNC110  (a fact of the fake store)
        await asyncio.sleep(0)  # one turn: for the start to ask
    await process.activate("probe", second)
    town.catalogue.gate.set()
    assert (await starting).revision == first
    assert (await process.plan("probe")).revision == second


async def test_a_store_that_is_away_is_told_and_asked_again(town: Town) -> None:
    process = town.process()
    first = await kept(process, source())
    await process.plan("probe")
    town.watch.passed_s += CATALOGUE_FRESH_S
    town.catalogue.is_away = True
    with pytest.raises(JournalUnavailable):
        await process.plan("probe")
    assert (await process.plan("probe", first)).revision == first
    town.catalogue.is_away = False
    assert (await process.plan("probe")).revision == first


async def test_processes_that_load_the_same_definitions_at_once_agree(town: Town) -> None:
    texts = [("probe.yaml", source())]

    async def load(process: Revisions) -> str:
        ((revision, _),) = await process.create_together(texts)
        assert revision is not None
        await process.activate(revision.definition, revision.revision)
        return revision.revision

    processes = [town.process() for _ in range(3)]
    assert len(set(await asyncio.gather(*map(load, processes)))) == 1
    assert len(town.catalogue.kept) == 1
    assert len({(await process.plan("probe")).revision for process in processes}) == 1


async def test_of_processes_that_load_different_revisions_the_last_activation_wins(town: Town) -> None:
    old, new = town.process(), town.process()
    first, second = await kept(old, source()), await kept(new, source(description="another"))
    for process, revision in ((new, second), (old, first), (new, second)):
        await process.activate("probe", revision)
    town.watch.passed_s += CATALOGUE_FRESH_S
    assert {(await process.plan("probe")).revision for process in (old, new)} == {second}
