"""The SQLite store does what the memory store does, for any sequence of appends and questions."""

import asyncio
import tempfile
from dataclasses import replace
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

sagas = st.sampled_from(["a", "b", "A", "a.1", "z:9"])
instants = st.sampled_from([0.0, 1.0, 1.5, 1e9])
# NaN equals nothing, so no question finds it; it must still be kept
attribute_values = st.sampled_from(["", "x", "1", 1, 1.0, 0, True, False, 0.1 + 0.2, 2**53 + 1, float("nan"), "ž"])
attributes = st.dictionaries(st.sampled_from(["k", "l.m", "ž"]), attribute_values, max_size=2)
statuses = st.sampled_from(list(SagaStatus))


@st.composite
def appends(draw: st.DrawFn) -> Append:
    row: dict[str, Any] = {
        "request_id": draw(st.sampled_from(["", "r1", "r2"])),
        "definition": draw(st.sampled_from(["epro", "visit"])),
        "status": draw(statuses),
        "started_at": draw(instants),
        "updated_at": draw(instants),
        "wake_at": draw(st.none() | instants),
        "attributes": draw(attributes),
    }
    given_events = draw(st.lists(events, min_size=1, max_size=2))
    return append(draw(sagas), *given_events, after=draw(st.integers(0, 3)), epoch=draw(st.integers(1, 2)), **row)


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
    kept: dict[str, Append] = {}
    for batch in batches:
        # what never changes after a saga's start is given by its first append
        results = await store.append([_same_start(kept.get(entry.saga_id), entry) for entry in batch])
        for entry, result in zip(batch, results, strict=True):
            told.append(f"{type(result).__name__} {result}")
            if result is None:
                kept.setdefault(entry.saga_id, entry)
    for saga in ("a", "b", "A", "a.1", "z:9"):
        told += [pformat(await store.row(SagaId(saga))), *map(pformat, await store.read(SagaId(saga), 1))]
    told += [str((entry.saga_id, entry.record.version)) for entry in await store.since(0, 100)]
    told += [pformat(row) for row in [*await store.unfinished("A", 3), *await store.due(1.0, 3)]]
    for query in asked:
        told += [pformat(row) for row in await store.search(query)]
        told += [str(sorted((await store.count(query, group)).items())) for group in ("", "status", "definition")]
    await store.close()
    return told


def _same_start(first: Append | None, later: Append) -> Append:
    if first is None:
        return later
    start = first.row
    row = replace(later.row, request_id=start.request_id, definition=start.definition, started_at=start.started_at)
    return replace(later, row=row)


@settings(max_examples=60)
@given(st.lists(st.lists(appends(), max_size=4), max_size=6), st.lists(queries, max_size=4))
def test_both_stores_answer_alike(batches: list[list[Append]], asked: list[SearchQuery]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory = asyncio.run(answers(MemoryJournal(), batches, asked))
        sqlite = asyncio.run(answers(SqliteJournal.open(Path(folder, "journal.db")), batches, asked))
    assert sqlite == memory
