"""What every store must find; the second half of the contract, for the same adapters' files."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import InputInvalid
from orchestrator.ports.journal import Rest, SearchQuery, SearchRow
from orchestrator.saga.state import SagaStatus
from tests.conformance.journal_suite import A, Store, names, taken
from tests.conformance.journal_values import append


class SearchSuite:
    """Subclass it beside `JournalSuite`, which opens the store."""

    async def test_search_matches_every_filter_together(self, store: Store) -> None:
        await taken(
            store,
            append("a", status=SagaStatus.RUNNING, definition="epro", revision="1", started_at=10.0),
            append("b", status=SagaStatus.COMPLETED, definition="epro", revision="2", started_at=20.0),
            append("c", status=SagaStatus.COMPENSATED, definition="visit", revision="1", started_at=30.0),
        )

        async def found(query: SearchQuery) -> list[str]:
            return names(await store.search(replace(query, descending=False)))

        assert await found(SearchQuery()) == ["a", "b", "c"]
        assert await found(SearchQuery(statuses=frozenset({SagaStatus.RUNNING, SagaStatus.COMPENSATED}))) == ["a", "c"]
        assert await found(SearchQuery(definition="epro")) == ["a", "b"]
        assert await found(SearchQuery(revision="1")) == ["a", "c"]
        assert await found(SearchQuery(definition="epro", revision="2")) == ["b"]
        assert await found(SearchQuery(started_from_at=20.0)) == ["b", "c"]
        assert await found(SearchQuery(started_before_at=20.0)) == ["a"]
        assert await found(SearchQuery(started_from_at=10.0, started_before_at=30.0, definition="epro")) == ["a", "b"]
        assert await found(SearchQuery(definition="none")) == []

    async def test_attributes_are_those_of_the_first_append(self, store: Store) -> None:
        await taken(store, append("a", attributes={"site": "DE-1"}))
        await taken(store, append("a", after=1, attributes={"site": "FR-2"}))
        assert names(await store.search(SearchQuery(attributes={"site": "FR-2"}))) == []
        assert [row.attributes for row in await store.search(SearchQuery())] == [{"site": "DE-1"}]

    async def test_attributes_are_found_by_value_and_kind(self, store: Store) -> None:
        await taken(
            store,
            append("a", attributes={"site": "DE-1", "score": 7, "ratio": 0.1 + 0.2}),
            append("b", attributes={"site": "DE-1", "score": "7", "flag": True}),
            append("c", attributes={"site": 'ž "quoted" ; --', "score": 7.5, "flag": False}),
            append("d"),
        )

        async def found(**attributes: str | float) -> list[str]:
            return names(await store.search(SearchQuery(attributes=attributes, descending=False)))

        assert await found(site="DE-1") == ["a", "b"]
        assert await found(site="DE-1", score=7) == ["a"]
        assert await found(score="7") == ["b"]
        assert await found(score=7.5) == ["c"]
        assert await found(ratio=0.1 + 0.2) == ["a"]
        assert await found(ratio=0.3) == []
        assert await found(flag=True) == ["b"]
        assert await found(flag=False) == ["c"]
        assert await found(site='ž "quoted" ; --') == ["c"]
        assert await found(absent="x") == []

    async def test_a_row_comes_back_as_it_was_written(self, store: Store) -> None:
        strange = append(
            "a", attributes={"text": "ž\n", "int": -(2**63), "real": 1e-300, "yes": True}, request_id="r",
            started_at=1_763_689_123.123457, updated_at=2.5, ended_at=3.5, wake_at=4.5, rest=Rest.CHILDREN,
            attention="UNDO_REFUSED", failure="step 'score' failed: ž", status=SagaStatus.NEEDS_ATTENTION,
        )  # fmt: skip
        await taken(store, strange)
        assert await store.row(A) == strange.row
        assert type((await store.search(SearchQuery()))[0].attributes["yes"]) is bool

    @pytest.mark.parametrize("order_by", ["started_at", "updated_at", "saga_id"])
    @pytest.mark.parametrize("descending", [True, False])
    async def test_pages_neither_miss_nor_repeat(self, store: Store, order_by: str, descending: bool) -> None:
        for number in range(40):
            times: dict[str, Any] = {"started_at": float(number % 7), "updated_at": float(number * 11 % 13)}
            await taken(store, append(f"saga-{number:02}", **times))
        walked: list[SearchRow] = []
        query = SearchQuery(order_by=order_by, descending=descending, limit=6)
        while page := await store.search(query):
            assert len(page) <= 6
            assert len(walked) < 200
            walked += page
            last = page[-1]
            query = replace(query, after=(getattr(last, order_by), last.saga_id))
            # sagas that come and go while somebody turns pages may show or not; the others must, once
            await taken(store, append(f"new-{len(walked)}", started_at=3.0, updated_at=4.0))
        old = [row for row in walked if row.saga_id.startswith("saga-")]
        assert sorted(names(old)) == [f"saga-{number:02}" for number in range(40)]
        assert len(set(names(walked))) == len(walked)
        keys = [(getattr(row, order_by), row.saga_id) for row in walked]
        assert keys == sorted(keys, reverse=descending)

    async def test_counts_by_group(self, store: Store) -> None:
        assert await store.count(SearchQuery()) == {"": 0}
        assert await store.count(SearchQuery(), "status") == {}
        await taken(
            store,
            append("a", definition="epro", attributes={"site": "DE-1"}),
            append("b", definition="epro", status=SagaStatus.COMPLETED),
            append("c", definition="visit", revision="2", status=SagaStatus.COMPLETED),
        )
        assert await store.count(SearchQuery()) == {"": 3}
        assert await store.count(SearchQuery(), "status") == {"RUNNING": 1, "COMPLETED": 2}
        assert await store.count(SearchQuery(), "definition") == {"epro": 2, "visit": 1}
        assert await store.count(SearchQuery(limit=1), "revision") == {"3f2a": 2, "2": 1}
        assert await store.count(SearchQuery(definition="epro"), "status") == {"RUNNING": 1, "COMPLETED": 1}
        assert await store.count(SearchQuery(attributes={"site": "DE-1"})) == {"": 1}

    async def test_a_search_that_cannot_be_is_the_callers_error(self, store: Store) -> None:
        with pytest.raises(InputInvalid, match="order_by"):
            await store.search(SearchQuery(order_by="failure; DROP TABLE sagas"))
        with pytest.raises(InputInvalid, match="group_by"):
            await store.count(SearchQuery(), "uid")
        with pytest.raises(InputInvalid, match="limit"):
            await store.search(SearchQuery(limit=0))
