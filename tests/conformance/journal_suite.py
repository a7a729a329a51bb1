"""What every store must do; an adapter's own file says how it is opened, nothing more."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from orchestrator.errors import Fenced, InvariantViolated, JournalUnavailable, VersionConflict
from orchestrator.ids import SagaId
from orchestrator.limits import JOURNAL_LOOP_ROWS_MAX
from orchestrator.ports.catalogue import Catalogue, Revision
from orchestrator.ports.journal import (
    Append,
    Cursors,
    Journal,
    PositionedRecord,
    Pruning,
    Rest,
    SearchQuery,
    SearchRow,
)
from orchestrator.saga.state import TERMINAL, SagaStatus
from tests.conformance.journal_values import acted, append, cancelled, opened


class Store(Journal, Catalogue, Cursors, Pruning, Protocol):
    """The four ports that one store serves."""

    @property
    def epoch(self) -> int:
        """Return the epoch under which this opening writes: greater than that of every earlier one."""
        ...


Open = Callable[[], Store | Awaitable[Store]]
"""Opens the store: the first call makes it, each further call finds what the one before left."""

A, B, C = SagaId("a"), SagaId("b"), SagaId("c")


def names(rows: Sequence[SearchRow]) -> list[str]:
    return [row.saga_id for row in rows]


async def found(opener: Open) -> Store:
    opening = opener()
    return await opening if inspect.isawaitable(opening) else opening


async def taken(store: Store, *batch: Append) -> None:
    assert list(await store.append(batch)) == [None] * len(batch)


class JournalSuite:
    """Subclass it and give `opener`."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        raise NotImplementedError

    @pytest.fixture
    async def store(self, opener: Open) -> AsyncIterator[Store]:
        store = await found(opener)
        yield store
        await store.close()

    # --- streams -----------------------------------------------------------------------------------------------------

    async def test_what_was_appended_is_read_back(self, store: Store) -> None:
        first, second = append("a", cancelled(1), opened(2)), append("a", opened(3), after=2)
        await taken(store, first)
        await taken(store, second)
        assert tuple(await store.read(A)) == first.records + second.records
        assert await store.row(A) == second.row

    async def test_an_unknown_saga_has_no_records_and_no_row(self, store: Store) -> None:
        assert list(await store.read(A)) == []
        assert await store.row(A) is None

    async def test_a_stream_is_read_from_any_version_in_pages(self, store: Store) -> None:
        await taken(store, append("a", *(cancelled(number) for number in range(1, 8))))
        assert [record.version for record in await store.read(A, after_version=2, limit=3)] == [3, 4, 5]
        assert [record.version for record in await store.read(A, after_version=5)] == [6, 7]
        assert list(await store.read(A, after_version=7)) == []
        assert list(await store.read(A, after_version=9)) == []

    async def test_a_stream_longer_than_one_reading_is_whole(self, store: Store) -> None:
        count = 2 * JOURNAL_LOOP_ROWS_MAX + 7
        await taken(store, append("a", *(cancelled(number) for number in range(1, count + 1))))
        assert [record.version for record in await store.read(A)] == list(range(1, count + 1))
        assert len(await store.read(A, limit=JOURNAL_LOOP_ROWS_MAX)) == JOURNAL_LOOP_ROWS_MAX
        assert len(await store.read(A, limit=JOURNAL_LOOP_ROWS_MAX + 3)) == JOURNAL_LOOP_ROWS_MAX + 3

    async def test_a_stale_version_changes_nothing(self, store: Store) -> None:
        kept = append("a", cancelled(1), cancelled(2))
        await taken(store, kept)
        for stale in (append("a", after=1), append("a", after=3), append("a", after=0), append("b", after=1)):
            (result,) = await store.append([stale])
            assert isinstance(result, VersionConflict)
        assert tuple(await store.read(A)) == kept.records
        assert await store.row(A) == kept.row
        assert await store.row(B) is None

    async def test_an_earlier_epoch_is_fenced_whatever_its_version(self, store: Store) -> None:
        kept = append("a", epoch=5)
        await taken(store, kept)
        for after in (1, 0, 7):
            (result,) = await store.append([append("a", after=after, epoch=4)])
            assert isinstance(result, Fenced)
        assert tuple(await store.read(A)) == kept.records
        assert await store.row(A) == kept.row

    async def test_a_later_epoch_takes_the_stream(self, store: Store) -> None:
        await taken(store, append("a", epoch=2))
        await taken(store, append("a", after=1, epoch=7))
        (result,) = await store.append([append("a", after=2, epoch=6)])
        assert isinstance(result, Fenced)
        assert [record.epoch for record in await store.read(A)] == [2, 7]

    # --- groups ------------------------------------------------------------------------------------------------------

    async def test_one_streams_conflict_does_not_hinder_another(self, store: Store) -> None:
        await taken(store, append("a", epoch=3))
        results = await store.append(
            [
                append("b", epoch=3),
                append("a", after=5, epoch=3),
                append("c", epoch=3),
                append("a", after=1, epoch=2),
            ]
        )
        assert [type(result) for result in results] == [type(None), VersionConflict, type(None), Fenced]
        assert len(await store.read(A)) == 1
        assert len(await store.read(B)) == len(await store.read(C)) == 1

    async def test_a_group_may_hold_a_stream_twice(self, store: Store) -> None:
        await taken(store, append("a"), append("a", after=1), append("b"))
        assert [record.version for record in await store.read(A)] == [1, 2]

    async def test_an_empty_group_is_harmless(self, store: Store) -> None:
        assert list(await store.append([])) == []

    async def test_an_append_that_contradicts_itself_is_refused_alone(self, store: Store) -> None:
        good = append("a", cancelled(1), cancelled(2))
        wrong = [
            replace(good, records=good.records[1:]),
            replace(good, records=()),
            replace(good, epoch=2),
            replace(good, row=replace(good.row, version=3)),
            replace(good, row=replace(good.row, saga_id=B)),
            append("a", cancelled(1, at="noon")),  # type: ignore[arg-type]
        ]
        results = await store.append([*wrong, append("c")])
        assert [type(result) for result in results] == [InvariantViolated] * len(wrong) + [type(None)]
        assert await store.row(A) is None
        assert len(await store.read(C)) == 1

    async def test_concurrent_writers_lose_nothing_and_leave_no_gap(self, store: Store) -> None:
        sagas = [f"saga-{number}" for number in range(8)]

        async def write(writer: int) -> None:
            for saga in sagas[writer % 2 :]:
                while True:
                    row = await store.row(SagaId(saga))
                    (result,) = await store.append([append(saga, cancelled(writer), after=row.version if row else 0)])
                    if result is None:
                        break
                    assert isinstance(result, VersionConflict)

        async with asyncio.TaskGroup() as writers:
            for writer in range(20):
                writers.create_task(write(writer))
        for number, saga in enumerate(sagas):
            records = await store.read(SagaId(saga))
            assert [record.version for record in records] == list(range(1, len(records) + 1))
            assert len({repr(record.event) for record in records}) == len(records) == (20 if number else 10)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def test_a_request_id_starts_one_saga(self, store: Store) -> None:
        first = append("a", request_id="req-1")
        results = await store.append([first, append("b", request_id="req-1"), append("c", request_id="req-2")])
        assert [type(result) for result in results] == [type(None), VersionConflict, type(None)]
        assert isinstance(results[1], VersionConflict)
        assert results[1].metadata["saga_id"] == "a"
        assert await store.row_by_request("req-1") == first.row
        assert await store.row(B) is None

    async def test_sagas_without_request_id_do_not_clash(self, store: Store) -> None:
        await taken(store, append("a"), append("b"))
        assert await store.row_by_request("") is None
        assert await store.row_by_request("req-9") is None

    # --- walks -------------------------------------------------------------------------------------------------------

    async def test_recovery_walks_every_saga_that_needs_an_actor_once(self, store: Store) -> None:
        for number in range(30):
            status = list(SagaStatus)[number % len(SagaStatus)]
            await taken(store, append(f"saga-{number:02}", status=status))
        walked: list[SearchRow] = []
        while page := await store.awake(walked[-1].saga_id if walked else "", 4):
            walked += page
        count = len(SagaStatus)
        assert names(walked) == [f"saga-{n:02}" for n in range(30) if list(SagaStatus)[n % count] not in TERMINAL]
        await taken(store, append("saga-00", after=1, status=SagaStatus.COMPLETED))
        assert names(await store.awake("", 1)) == ["saga-01"]

    async def test_a_saga_that_sleeps_is_left_alone_until_it_does_not(self, store: Store) -> None:
        await taken(
            store,
            append("a", rest=Rest.ASLEEP, wake_at=5.0),
            append("b", rest=Rest.CHILDREN),
            append("c", rest=Rest.AWAKE, wake_at=6.0),
        )
        assert [(row.saga_id, row.rest) for row in await store.awake("", 9)] == [("b", "children"), ("c", "awake")]
        await taken(store, append("a", after=1, rest=Rest.AWAKE), append("c", after=1, rest=Rest.ASLEEP, wake_at=None))
        assert names(await store.awake("", 9)) == ["a", "b"]
        assert names(await store.due(9.0, 9)) == []

    async def test_due_sagas_come_earliest_first(self, store: Store) -> None:
        await taken(
            store,
            append("a", wake_at=30.0),
            append("b", wake_at=10.0),
            append("c", wake_at=None),
            append("d", wake_at=20.0),
            append("e", wake_at=10.0),
            append("f", wake_at=5.0, status=SagaStatus.COMPLETED),
        )
        assert names(await store.due(20.0, 10)) == ["b", "e", "d"]
        assert names(await store.due(100.0, 2)) == ["b", "e"]
        assert names(await store.due(9.0, 10)) == []
        assert names(await store.due(100.0, 2, (10.0, "b"))) == ["e", "d"]
        assert names(await store.due(100.0, 9, (20.0, "d"))) == ["a"]
        assert names(await store.due(10.0, 9, (10.0, "e"))) == []
        await taken(store, append("b", after=1, wake_at=None), append("a", after=1, wake_at=1.0))
        assert names(await store.due(20.0, 10)) == ["a", "e", "d"]

    async def test_positions_order_all_records_by_commit(self, store: Store) -> None:
        await taken(store, append("a", cancelled(1), cancelled(2)), append("b"))
        await store.append([append("b", after=9), append("a", after=2)])
        await taken(store, append("b", after=1))
        seen: list[PositionedRecord] = []
        while page := await store.since(seen[-1].position if seen else 0, 2):
            seen += page
        assert [(entry.saga_id, entry.record.version) for entry in seen] == [
            ("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)
        ]  # fmt: skip
        positions = [entry.position for entry in seen]
        assert positions == sorted(set(positions))
        assert positions[0] > 0
        assert seen[3].record == (await store.read(A))[2]

    async def test_the_news_of_a_shard_are_what_comes_behind_its_own_position(self, store: Store) -> None:
        await taken(store, append("a", cancelled(1), cancelled(2)), append("b"))
        every = await store.since(0, 9)
        assert await store.news({0: 0}, 9) == every
        assert await store.news({0: 0}, 2) == every[:2]
        assert await store.news({0: every[1].position}, 9) == every[2:]
        assert await store.news({0: every[2].position}, 9) == []
        assert await store.news({}, 9) == []
        assert {entry.shard for entry in every} == {0}

    async def test_who_follows_closely_is_given_the_same_as_who_comes_later(self, opener: Open, store: Store) -> None:
        assert await store.news({0: 0}, 9) == []
        followed: list[PositionedRecord] = []
        for number in range(6):
            refused = append("a", after=40, epoch=store.epoch)
            group = [append(f"s{number}", opened(1), cancelled(2)), refused, append("a", after=number)]
            assert [result is None for result in await store.append(group)] == [True, False, True]
            if number % 2:
                while page := await store.news({0: followed[-1].position if followed else 0}, 2):
                    followed += page
        assert len(followed) == 18
        await store.close()
        later = await found(opener)
        assert await later.news({0: 0}, 99) == followed
        await later.close()

    async def test_what_people_did_is_found_over_all_sagas_newest_first(self, store: Store) -> None:
        await taken(store, append("a", acted("ann", 1), cancelled(2)), append("b", acted("ben", 3)))
        await taken(store, append("b", cancelled(4), acted("cat", 5), after=1))
        found = await store.acts(None, 9)
        assert [(entry.saga_id, entry.record.version) for entry in found] == [("b", 3), ("b", 1), ("a", 1)]
        assert found[0].record == (await store.read(SagaId("b")))[2]
        assert await store.acts(None, 2) == found[:2]
        assert await store.acts(found[1].position, 9) == found[2:]
        assert await store.acts(found[2].position, 9) == []

    # --- cursors and catalogue ---------------------------------------------------------------------------------------

    async def test_a_cursor_is_where_it_was_left(self, store: Store) -> None:
        assert await store.load("spans") == 0
        await store.save("spans", 17)
        await store.save("spans", 23)
        await store.save("other", 5)
        assert (await store.load("spans"), await store.load("other")) == (23, 5)

    async def test_cursors_are_found_and_moved_together_and_never_back(self, store: Store) -> None:
        assert await store.places(["spans/1", "spans/2"]) == {}
        await store.advance({"spans/1": 17, "spans/2": 23})
        await store.advance({"spans/2": 22, "spans/1": 18, "spans/3": 1})
        assert await store.places(["spans/1", "spans/2", "spans/4"]) == {"spans/1": 18, "spans/2": 23}
        assert await store.load("spans/3") == 1
        await store.advance({})

    async def test_the_first_revision_becomes_active_and_none_changes(self, store: Store) -> None:
        first = Revision(definition="epro", revision="r1", source="a: 1", descriptors=b"\x00\xff", created_at=1.0)
        second = replace(first, revision="r2", source="a: 2", created_at=2.0, active=True)
        assert await store.put(first) is True
        assert await store.put(second) is True
        assert await store.put(replace(first, source="changed")) is False
        assert await store.get("epro") == replace(first, active=True)
        assert await store.get("epro", "r1") == replace(first, active=True)
        assert await store.get("epro", "r2") == replace(second, active=False)
        assert await store.get("epro", "r3") is None
        assert await store.get("visit") is None

    async def test_activating_moves_new_sagas_and_lists_tell(self, store: Store) -> None:
        for number, (definition, revision) in enumerate([("visit", "v1"), ("epro", "r1"), ("epro", "r2")]):
            await store.put(
                Revision(definition=definition, revision=revision, source="", descriptors=b"", created_at=float(number))
            )
        assert await store.activate("epro", "r2") is True
        assert await store.activate("epro", "r9") is False
        assert await store.activate("none", "r1") is False
        assert await store.active() == {"epro": "r2", "visit": "v1"}
        listed = [(found.definition, found.revision, found.active) for found in await store.definitions()]
        assert listed == [("epro", "r2", True), ("visit", "v1", True)]
        listed = [(found.definition, found.revision, found.active) for found in await store.revisions("epro")]
        assert listed == [("epro", "r2", True), ("epro", "r1", False)]
        assert list(await store.revisions("none")) == []

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def test_a_restart_finds_everything_under_a_higher_epoch(self, opener: Open) -> None:
        before = await found(opener)
        kept = append("a", cancelled(1), opened(2), epoch=before.epoch, request_id="r", attributes={"n": 1})
        await taken(before, kept)
        await before.save("spans", 2)
        await before.put(Revision(definition="epro", revision="r1", source="s", descriptors=b"d", created_at=1.0))
        positions = [entry.position for entry in await before.since(0, 9)]
        await before.close()

        after = await found(opener)
        assert after.epoch > before.epoch
        assert tuple(await after.read(A)) == kept.records
        assert await after.row_by_request("r") == kept.row
        assert [entry.position for entry in await after.since(0, 9)] == positions
        assert await after.load("spans") == 2
        assert (await after.definitions())[0].revision == "r1"
        await taken(after, append("a", after=2, epoch=after.epoch))
        (result,) = await after.append([append("a", after=3, epoch=before.epoch)])
        assert isinstance(result, Fenced)
        assert (await after.since(positions[-1], 9))[0].position > positions[-1]
        await after.close()

    async def test_closing_twice_is_harmless_and_closed_is_closed(self, opener: Open) -> None:
        store = await found(opener)
        await store.close()
        await store.close()
        for use in (
            lambda: store.append([append("a")]),
            lambda: store.read(A),
            lambda: store.row(A),
            lambda: store.search(SearchQuery()),
            lambda: store.count(SearchQuery()),
            lambda: store.since(0, 1),
            lambda: store.acts(None, 1),
            lambda: store.save("spans", 1),
            lambda: store.get("epro"),
            lambda: store.activate("epro", "r1"),
        ):
            with pytest.raises(JournalUnavailable, match="closed"):
                await use()
