"""The SQLite store does what the memory store does, for any sequence of appends and questions."""

import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path
from pprint import pformat
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ids import SagaId
from orchestrator.journal import MemoryJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import Append, SearchQuery
from orchestrator.saga.state import SagaStatus
from tests.conformance.journal_suite import Store
from tests.conformance.journal_values import append
from tests.properties.journal_strategies import events

SAGAS = ("a", "b", "A", "a.1", "z:9")
instants = st.sampled_from([0.0, 1.0, 1.5, 1e9])
# NaN equals nothing, so no question finds it; it must still be kept
attribute_values = st.sampled_from(["", "x", "1", 1, 1.0, 0, True, False, 0.1 + 0.2, 2**53 + 1, float("nan"), "ž"])
attributes = st.dictionaries(st.sampled_from(["k", "l.m", "ž"]), attribute_values, max_size=2)
statuses = st.sampled_from(list(SagaStatus))


starts = st.fixed_dictionaries(
    {
        "request_id": st.sampled_from(["", "r1", "r2"]),
        "definition": st.sampled_from(["epro", "visit"]),
        "started_at": instants,
    }
)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Append]]:
    """Return groups of appends; what never changes after a saga's start is the same in all of its appends."""
    start_of = {saga: draw(starts) for saga in SAGAS}

    def an_append() -> Append:
        saga = draw(st.sampled_from(SAGAS))
        row: dict[str, Any] = {
            "status": draw(statuses),
            "updated_at": draw(instants),
            "wake_at": draw(st.none() | instants),
            "attributes": draw(attributes),
        }
        told = draw(st.lists(events, min_size=1, max_size=2))
        return append(
            saga, *told, after=draw(st.integers(0, 3)), epoch=draw(st.integers(1, 2)), **row, **start_of[saga]
        )

    return [[an_append() for _ in range(draw(st.integers(0, 4)))] for _ in range(draw(st.integers(0, 6)))]


queries = st.builds(
    SearchQuery,
    statuses=st.frozensets(statuses, max_size=2),
    definition=st.sampled_from(["", "epro"]),
    attributes=attributes,
    started_from_at=st.none() | instants,
    started_before_at=st.none() | instants,
    order_by=st.sampled_from(["started_at", "updated_at", "saga_id"]),
    descending=st.booleans(),
    limit=st.integers(1, 5),
)


async def answers(store: Store, batches: list[list[Append]], asked: list[SearchQuery]) -> list[str]:
    told: list[str] = []
    for batch in batches:
        results = await store.append(batch)
        told += [f"{type(result).__name__} {result}" for result in results]
    for saga in SAGAS:
        told += [described(await store.row(SagaId(saga))), *map(described, await store.read(SagaId(saga), 1))]
    told += [str((entry.saga_id, entry.record.version)) for entry in await store.since(0, 100)]
    told += [described(row) for row in [*await store.awake("A", 3), *await store.due(1.0, 3)]]
    for query in asked:
        told += [described(row) for row in await store.search(query)]
        told += [str(sorted((await store.count(query, group)).items())) for group in ("", "status", "definition")]
    await store.close()
    return told


def described(value: Any) -> str:
    """Say what each part of a value is, whatever the order of attributes."""
    return pformat(None if value is None else asdict(value))


@settings(max_examples=60)
@given(histories(), st.lists(queries, max_size=4))
def test_both_stores_answer_alike(batches: list[list[Append]], asked: list[SearchQuery]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory = asyncio.run(answers(MemoryJournal(), batches, asked))
        sqlite = asyncio.run(answers(SqliteJournal.open(Path(folder, "journal.db")), batches, asked))
    assert sqlite == memory
