"""Promotion out of a real file, into memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import apsw
import pytest

from orchestrator.errors import ConfigError, JournalCorrupted
from orchestrator.ids import SagaId, StepId
from orchestrator.journal import promoting
from orchestrator.journal.promoting import Promoted, promote, survey
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.catalogue import Revision
from orchestrator.ports.journal import Rest, SearchQuery
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.promotion import Entry
from orchestrator.saga.events import Parent, SagaStarted
from orchestrator.saga.state import SagaStatus
from orchestrator.values import Payload, TraceContext
from tests.conformance.journal_values import append, cancelled, opened
from tests.unit.journal.arriving import Arriving, Killed

FAMILY = {"top": "", "top.1": "top", "top.1.1": "top.1", "zz-other": "", "aa-child-of-top": "top"}


def started(saga: str, parent: str = "") -> SagaStarted:
    of = Parent(saga_id=SagaId(parent), uid=UUID(int=2), step=StepId("s"), trace_id=1, span_id=1) if parent else None
    return SagaStarted(
        at=1.0,
        saga_id=SagaId(saga),
        uid=UUID(int=1),
        definition="epro",
        revision="3f2a",
        input=Payload("google.protobuf.Empty", b""),
        attributes={},
        request_id="",
        forward_deadline_at=9.0,
        compensation_s=9.0,
        trace=TraceContext(trace_id=1, span_id=0, sampled=False),
        parent=of,
    )


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promoting, "PROMOTION_SAGAS", 3)
    monkeypatch.setattr(promoting, "PROMOTION_RECORDS", 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def origin(file: Path) -> AsyncIterator[SqliteJournal]:
    """A store in which everything happens at once: eleven sagas whose records lie between each other's."""
    origin = SqliteJournal.open(file)
    for revision in ("r1", "r2"):
        await origin.put(
            Revision(definition="epro", revision=revision, source=revision, descriptors=b"\x00", created_at=1.0)
        )
    await origin.activate("epro", "r2")
    await origin.save("spans", 7)
    for saga, parent in FAMILY.items():
        await origin.append([append(saga, started(saga, parent), parent=parent, rest=Rest.CHILDREN)])
    for n in range(6):
        await origin.append([append(f"s{n}", opened(1), attributes={"n": n, "of": "x"}, request_id=f"r{n}")])
    for n in range(6):
        events = [cancelled(k) for k in range(n)] or [cancelled(9)]
        await origin.append([append(f"s{n}", *events, after=1, epoch=n % 2 + 1, status=list(SagaStatus)[n], wake_at=5)])
    yield origin
    await origin.close()


def edit(file: Path, statement: str) -> None:
    connection = apsw.Connection(str(file))
    connection.execute(statement)
    connection.close()


async def moved(origin: SqliteJournal, destination: Arriving, successor: str = "there") -> Promoted:
    return await promote(origin, destination, successor=successor, on_progress=lambda *_: None)


async def assert_same(origin: SqliteJournal, destination: Arriving) -> None:
    everything = SearchQuery(order_by="saga_id", descending=False, limit=99)
    rows = await origin.search(everything)
    assert len(rows) == 11
    assert [(row.saga_id, row.version, row.status) for row in await destination.search(everything)] == [
        (row.saga_id, row.version, row.status) for row in rows
    ]
    entries = await origin.entries(("", 0), "~", 999)
    assert len(entries) == 27
    assert await destination.entries(("", 0), "~", 999) == entries
    assert [await destination.load(f"spans/{shard}") for shard in range(17)] == [7] * 16 + [0]
    assert await destination.definitions() == await origin.definitions()
    assert await destination.revisions("epro") == await origin.revisions("epro")


async def test_everything_arrives_byte_for_byte(origin: SqliteJournal) -> None:
    destination = Arriving()
    surveyed = await survey(origin, lambda *_: None)
    said = await moved(origin, destination)
    assert (said.sagas, said.records, said.taken) == (surveyed.sagas, surveyed.records, 11) == (11, 27, 11)
    await assert_same(origin, destination)
    assert destination.epoch_floor == origin.epoch
    assert destination.position_floor == await origin.last_position()
    assert destination.is_finished


async def test_a_child_lies_where_the_first_of_its_family_lies(origin: SqliteJournal) -> None:
    destination = Arriving()
    await moved(origin, destination)
    shards = {row.saga_id: row.shard for row in await destination.search(SearchQuery())}
    for saga in ("top", "top.1", "top.1.1", "aa-child-of-top"):
        assert shards[SagaId(saga)] == shard_of(SagaId("top"), 16)
    for saga in ("zz-other", *(f"s{n}" for n in range(6))):
        assert shards[SagaId(saga)] == shard_of(SagaId(saga), 16)
    assert len(set(shards.values())) > 3


async def test_rows_of_early_releases_get_their_parent_and_their_shard_from_the_first_record(
    origin: SqliteJournal, file: Path
) -> None:
    edit(file, "UPDATE sagas SET parent = NULL")
    destination = Arriving()
    await moved(origin, destination)
    rows = {row.saga_id: row for row in await destination.search(SearchQuery())}
    assert {saga: rows[SagaId(saga)].parent for saga in FAMILY} == FAMILY
    assert rows[SagaId("top.1.1")].shard == shard_of(SagaId("top"), 16)


async def test_the_children_of_a_forgotten_saga_still_lie_together(origin: SqliteJournal) -> None:
    await origin.append([append("top", after=1, status=SagaStatus.COMPLETED, ended_at=1.0)])
    assert await origin.forget("epro", 9.0, 9) == 1
    destination = Arriving()
    await moved(origin, destination)
    shards = {row.saga_id: row.shard for row in await destination.search(SearchQuery())}
    assert {shards[SagaId(saga)] for saga in ("top.1", "top.1.1", "aa-child-of-top")} == {shard_of(SagaId("top"), 16)}


@pytest.mark.parametrize("is_told", [False, True])
async def test_killed_anywhere_a_second_run_ends_the_same(origin: SqliteJournal, is_told: bool) -> None:
    whole = Arriving()
    digest = (await moved(origin, whole)).digest
    assert whole.steps > 12
    for die_at in range(1, whole.steps + 1):
        destination = Arriving()
        destination.die_at, destination.is_told = die_at, is_told
        with pytest.raises(Killed):
            await moved(origin, destination)
        assert not destination.is_finished
        before = destination.after
        again = await moved(origin, destination)
        assert again.digest == digest
        assert again.taken == sum(row.saga_id > before for row in await origin.search(SearchQuery()))
        await assert_same(origin, destination)
        assert destination.is_finished


async def test_the_origin_is_retired_after_the_comparison_and_before_anybody_may_run_there(
    origin: SqliteJournal,
) -> None:
    whole = Arriving()
    await moved(origin, whole)
    destination = Arriving()
    destination.die_at = whole.steps
    with pytest.raises(Killed):
        await moved(origin, destination)
    assert await origin.successor() == "there"
    assert not destination.is_finished


async def test_a_retired_file_is_refused_to_whoever_runs_sagas(origin: SqliteJournal, file: Path) -> None:
    await moved(origin, Arriving(), "postgres://db/sagas")
    await origin.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"were moved to postgres://db/sagas and run there: nothing was opened"):
            SqliteJournal.open(file)
    reader = SqliteJournal.open_to_read(file)
    assert len(await reader.read(SagaId("s5"))) == 6
    await reader.close()


async def test_a_run_after_the_last_one_changes_nothing_and_says_so(origin: SqliteJournal) -> None:
    destination = Arriving()
    await moved(origin, destination)
    await destination.append([append("new", shard=1)])
    again = await moved(origin, destination)
    assert (again.taken, again.digest) == (0, "")
    with pytest.raises(ConfigError, match="was moved to there before"):
        await moved(origin, Arriving(), "elsewhere")


async def test_an_origin_that_changed_meanwhile_is_another_one(origin: SqliteJournal) -> None:
    destination = Arriving()
    destination.die_at = 5
    with pytest.raises(Killed):
        await moved(origin, destination)
    await origin.append([append("s1", after=2, epoch=2)])
    with pytest.raises(ConfigError, match="another origin"):
        await moved(origin, destination)


async def test_what_arrived_as_another_is_found_and_the_origin_goes_on(origin: SqliteJournal, file: Path) -> None:
    class Careless(Arriving):
        async def mark(self, saga_id: SagaId) -> None:
            await super().mark(saga_id)
            if ("s4", 3) in self.held:
                self.damage(("s4", 3))

    destination = Careless()
    with pytest.raises(JournalCorrupted, match="record 3 of saga 's4' arrived as another; the origin was left as it"):
        await moved(origin, destination)
    assert not destination.is_finished
    assert await origin.successor() == ""


class Lossy(Arriving):
    async def entries(self, after: tuple[str, int], until: str, limit: int) -> Sequence[Entry]:
        found = await super().entries(after, until, limit)
        return [entry for entry in found if (entry.saga_id, entry.version) != ("s5", 6)]


async def test_a_lost_record_is_found(origin: SqliteJournal) -> None:
    with pytest.raises(JournalCorrupted, match="record 6 of saga 's5' arrived as another"):
        await moved(origin, Lossy())


async def test_a_record_that_nobody_sent_is_found(origin: SqliteJournal) -> None:
    destination = Arriving()
    (last,) = await origin.entries(("zz-other", 0), "zz-other", 1)
    destination.held["zz-other", 9] = replace(last, version=9)
    with pytest.raises(JournalCorrupted, match="saga 'zz-other' has a record 9 that nobody sent"):
        await moved(origin, destination)


async def test_a_row_that_cannot_be_read_stops_it_before_anything_is_moved(origin: SqliteJournal, file: Path) -> None:
    edit(file, "UPDATE sagas SET status = 'DANCING' WHERE saga_id = 's1'")
    destination = Arriving()
    with pytest.raises(JournalCorrupted, match="1 of 11 search rows cannot be read"):
        await moved(origin, destination)
    assert destination.steps == 0


async def test_a_damaged_record_arrives_as_it_is(origin: SqliteJournal, file: Path) -> None:
    edit(file, "UPDATE records SET body = x'ff' WHERE version = 1")
    destination = Arriving()
    await moved(origin, destination)
    await assert_same(origin, destination)
    assert destination.held["s0", 1].body == b"\xff"
