"""How every store forgets; the third part of the contract, for the same adapters' files."""

from typing import Any

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import FORGET_RECORDS_MAX
from orchestrator.ports.journal import SearchQuery
from orchestrator.saga.state import TERMINAL, SagaStatus
from tests.conformance.journal_suite import A, B, C, Open, Store, found, names, taken
from tests.conformance.journal_values import acted, append, cancelled

ENDED = SagaStatus.COMPLETED


async def left(store: Store) -> list[str]:
    return names(await store.search(SearchQuery(order_by="saga_id", descending=False)))


class ForgettingSuite:
    """Subclass it beside `JournalSuite`, which opens the store."""

    async def test_what_ended_before_the_instant_goes_and_nothing_else(self, store: Store) -> None:
        await taken(
            store,
            append("a", status=ENDED, ended_at=10.0),
            append("b", status=ENDED, ended_at=20.0),
            append("c", status=ENDED, ended_at=10.0, definition="visit"),
            append("d", status=SagaStatus.RUNNING),
        )
        assert await store.forget("epro", 20.0, 9) == 1
        assert await left(store) == ["b", "c", "d"]
        assert await store.forget("epro", 20.0, 9) == 0
        assert await store.forget("none", 99.0, 9) == 0

    async def test_only_what_is_over_for_good_is_forgotten(self, store: Store) -> None:
        await taken(store, *(append(status.value, status=status, ended_at=10.0) for status in SagaStatus))
        assert await store.forget("epro", 99.0, 99) == len(TERMINAL)
        assert await left(store) == sorted(status.value for status in SagaStatus if status not in TERMINAL)

    async def test_a_forgotten_saga_leaves_nothing_behind(self, store: Store) -> None:
        gone: dict[str, Any] = {
            "request_id": "req-1",
            "attributes": {"site": "DE-1"},
            "status": ENDED,
            "ended_at": 10.0,
        }
        await taken(store, append("b"), append("a", cancelled(1), acted("ann", 2), **gone), append("c"))
        before = await store.since(0, 9)
        assert await store.forget("epro", 99.0, 9) == 1
        assert await store.row(A) is None
        assert list(await store.read(A)) == []
        assert await store.row_by_request("req-1") is None
        assert names(await store.search(SearchQuery(attributes={"site": "DE-1"}))) == []
        assert await store.count(SearchQuery()) == {"": 2}
        assert await store.versions([A, B]) == {"b": 1}
        assert await store.acts(None, 9) == []
        assert list(await store.since(0, 9)) == [entry for entry in before if entry.saga_id != A]
        assert list(await store.since(0, 9, 0)) == list(await store.news({0: 0}, 9)) == list(await store.since(0, 9))

    async def test_the_id_and_the_request_of_a_forgotten_saga_may_be_used_again(self, store: Store) -> None:
        first = append("a", cancelled(1), cancelled(2), request_id="r", attributes={"n": 1}, status=ENDED, ended_at=1.0)
        await taken(store, first)
        newest = (await store.since(0, 9))[-1].position
        await store.forget("epro", 99.0, 9)
        again = append("a", cancelled(3), request_id="r", attributes={"n": 2})
        await taken(store, again)
        assert tuple(await store.read(A)) == again.records
        assert await store.row_by_request("r") == again.row
        assert names(await store.search(SearchQuery(attributes={"n": 1}))) == []
        (entry,) = await store.since(0, 9)
        assert entry.position > newest, "a reader of the whole store must not miss it"

    async def test_the_earliest_go_first(self, store: Store) -> None:
        ends = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 10.0}
        await taken(store, *(append(saga, status=ENDED, ended_at=at) for saga, at in ends.items()))
        assert await store.forget("epro", 99.0, 2) == 2
        assert await left(store) == ["a", "c"]
        assert await store.forget("epro", 99.0, 1) == 1
        assert await left(store) == ["a"]

    async def test_sagas_of_many_records_go_in_several_pieces(self, store: Store) -> None:
        half = FORGET_RECORDS_MAX // 2
        for saga, count in (("a", half), ("b", half), ("c", 1), ("d", 2 * FORGET_RECORDS_MAX), ("e", 1)):
            events = [cancelled(number) for number in range(count)]
            await taken(store, append(saga, *events, status=ENDED, ended_at=float(ord(saga))))
        assert await store.forget("epro", 999.0, 99) == 2
        assert await left(store) == ["c", "d", "e"]
        assert await store.forget("epro", 999.0, 99) == 1
        assert await store.forget("epro", 999.0, 99) == 1, "a saga that is longer than a piece goes in one"
        assert await left(store) == ["e"]

    async def test_a_child_goes_only_after_its_parent(self, store: Store) -> None:
        """A completed child of a completed child is undone when the saga above both fails."""
        await taken(
            store,
            append("a", definition="top"),
            append("b", parent="a", status=ENDED, ended_at=10.0),
            append("c", parent="b", status=ENDED, ended_at=5.0),
        )
        assert await store.forget("epro", 99.0, 9) == 0
        await taken(store, append("a", after=1, definition="top", status=ENDED, ended_at=20.0))
        assert await store.forget("epro", 99.0, 9) == 0
        assert await store.forget("top", 99.0, 9) == 1
        assert await left(store) == ["b", "c"]
        while await store.forget("epro", 99.0, 9):
            pass
        assert await left(store) == []

    async def test_a_parent_is_the_first_appends_for_ever(self, store: Store) -> None:
        await taken(store, append("a"), append("b", parent="a"))
        await taken(store, append("b", after=1, status=ENDED, ended_at=10.0))
        row = await store.row(B)
        assert row is not None
        assert row.parent == "a"
        assert await store.forget("epro", 99.0, 9) == 0

    async def test_forgetting_survives_a_restart(self, opener: Open) -> None:
        before = await found(opener)
        await taken(before, append("a", status=ENDED, ended_at=1.0), append("c"))
        await before.forget("epro", 99.0, 9)
        await before.close()
        after = await found(opener)
        assert await left(after) == ["c"]
        assert len(await after.read(C)) == 1
        assert await after.read(A) == []
        await after.close()

    async def test_a_closed_store_forgets_nothing(self, opener: Open) -> None:
        store = await found(opener)
        await store.close()
        with pytest.raises(JournalUnavailable, match="closed"):
            await store.forget("epro", 99.0, 9)
