"""What a store with several shards must do besides; `JournalSuite` has the rest."""

from collections.abc import Iterable

from orchestrator.ports.journal import PositionedRecord, Rest
from tests.conformance.journal_suite import A, B, C, Store, names, taken
from tests.conformance.journal_values import append, cancelled


def told(entries: Iterable[PositionedRecord]) -> list[tuple[int, str, int]]:
    return [(entry.shard, entry.saga_id, entry.record.version) for entry in entries]


class ShardsSuite:
    """Use it beside `JournalSuite`, for a store with shards 0 to 2."""

    async def test_each_shard_is_followed_from_a_place_of_its_own(self, store: Store) -> None:
        await taken(store, append("a", cancelled(1), cancelled(2), shard=0), append("b", shard=1))
        await taken(store, append("c", shard=2), append("a", after=2, shard=0))
        await taken(store, append("b", after=1, shard=1))
        every = list(await store.news({0: 0, 1: 0, 2: 0}, 9))
        assert sorted(told(every)) == [(0, "a", 1), (0, "a", 2), (0, "a", 3), (1, "b", 1), (1, "b", 2), (2, "c", 1)]
        assert [entry.position for entry in every] == sorted({entry.position for entry in every})
        for shard in range(3):
            of_one = [entry for entry in every if entry.shard == shard]
            assert list(await store.since(0, 9, shard)) == of_one
            assert list(await store.news({shard: of_one[0].position}, 9)) == of_one[1:]
        newest = {shard: max(entry.position for entry in every if entry.shard == shard) for shard in range(3)}
        assert list(await store.news(newest, 9)) == []
        assert list(await store.news({**newest, 1: 0}, 9)) == [entry for entry in every if entry.shard == 1]
        assert list(await store.news({2: 0}, 9)) == [entry for entry in every if entry.shard == 2]

    async def test_page_after_page_of_several_shards_misses_nothing_and_repeats_nothing(self, store: Store) -> None:
        for number in range(5):
            await taken(store, *(append(f"{number}-{shard}", cancelled(1), shard=shard) for shard in range(3)))
        places = dict.fromkeys(range(3), 0)
        seen: list[PositionedRecord] = []
        while page := await store.news(places, 4):
            assert len(page) <= 4
            seen += page
            places.update({entry.shard: entry.position for entry in page})
        assert seen == list(await store.news(dict.fromkeys(range(3), 0), 99))
        assert len(seen) == 15

    async def test_a_saga_lies_in_the_shard_of_its_first_append(self, store: Store) -> None:
        await taken(store, append("a", shard=2), append("b", shard=1))
        await taken(store, append("a", after=1, shard=2))
        assert [(row.saga_id, row.shard) for row in await store.awake("", 9)] == [("a", 2), ("b", 1)]
        assert dict(await store.versions([A, B, C])) == {"a": 2, "b": 1}
        assert dict(await store.versions([])) == {}

    async def test_recovery_and_sweep_see_the_shards_they_ask_for(self, store: Store) -> None:
        for number in range(9):
            rest = Rest.AWAKE if number % 2 else Rest.ASLEEP
            await taken(store, append(f"s{number}", shard=number % 3, rest=rest, wake_at=float(10 - number)))
        assert names(await store.awake("", 9, [1, 2])) == ["s1", "s5", "s7"]
        assert names(await store.awake("", 9, [])) == []
        assert names(await store.due(9.0, 9, None, [1, 2])) == ["s8", "s7", "s5", "s4", "s2", "s1"]
        assert names(await store.due(9.0, 2, (3.0, "s7"), [1])) == ["s4", "s1"]
        assert len(await store.due(99.0, 99)) == 9
