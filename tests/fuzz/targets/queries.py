"""Words that callers send beside their messages: a line that says what it is, then the text."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded)
from typing import Final

import apsw

from orchestrator import tracecontext
from orchestrator.api import filters, mapping, paging
from orchestrator.definition import durations
from orchestrator.errors import InputInvalid
from orchestrator.ids import StepId, item_of
from orchestrator.journal.sqlite import search
from orchestrator.journal.sqlite.schema import migrate, shipped
from orchestrator.ports.journal import SearchQuery
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, flipped, reworded

WORDS: Final = (
    "status", "definition", "revision", "start_time", "attributes.", "attributes.site", 'attributes."a b"', "=", "<",
    "<=", ">", ">=", "!=", "AND", "OR", "NOT", "(", ")", '"', "\\", "COMPLETED", "RUNNING", "order", "17", "1e308",
    "-1", "99999999999999999999", "true", '"2026-01-31T00:00:00Z"', '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"', "desc", "asc", "saga_id", "update_time", ",", "00-", "-01", "ms", "h", "[17]", "-",
    "d",
)  # fmt: skip
SEEDS: Final = (
    "filter\nstatus = RUNNING",
    'filter\n(status = COMPLETED OR status = COMPENSATED) AND definition = "order" AND attributes.site = "DE-1"',
    'filter\nstart_time >= "2026-01-31T00:00:00Z" AND start_time < "2026-02-28T12:00:00+01:00"',
    'filter\nattributes.score = 17 AND attributes."the name" = true AND attributes.ratio = 0.25',
    "order\nstart_time desc",
    "order\nsaga_id",
    "group\nstatus",
    "token\n" + paging.token((1_763_689_123.5, "order-1"), "ListSagas"),
    'tokened\n[1763689123.5, "order-1"]',
    "tokened\n[17]",
    "trace\n00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nvendor=1,other=abc",
    "duration\n250ms",
    "duration\n1.5h",
    "saga_id\norder-1",
    "request_id\n0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10",
    "etag\n17",
    "step\nreserve[17]",
    "signal\napproved",
    "reason\nthe shop called",
)


@contextmanager
def opened() -> Iterator[Target]:
    """Give every reader of a caller's words, and an empty store that has to understand what they made of them."""
    store = apsw.Connection(":memory:")
    migrate(store, shipped(), "memory")
    readers = _readers(store)
    yield Target(
        run=lambda data: _run(readers, data),
        mutate=mutated,
        seeds=[seed.encode() for seed in SEEDS],
        input_bytes_max=4 * 1024,
    )
    store.close()


def _run(readers: Mapping[str, Callable[[str], object]], data: bytes) -> str:
    kind, _, text = data.decode("utf-8", "replace").partition("\n")  # what gRPC hands on is always text
    reader = readers.get(kind)
    if reader is None:
        return "nothing"
    try:
        reader(text)
    except InputInvalid as refused:
        clear(refused.message)
        return "refused"
    return "taken"


def _readers(store: apsw.Connection) -> Mapping[str, Callable[[str], object]]:
    def listed(query: SearchQuery) -> None:
        sql, values = search.page(replace(query, limit=10))
        store.execute(sql, values).fetchall()
        sql, values = search.tally(query, "status")
        store.execute(sql, values).fetchall()

    def next_page(text: str) -> None:
        key = paging.after(text, (float, str), "ListSagas")
        listed(replace(SearchQuery(), after=None if key is None else (key[0], str(key[1]))))

    def forged_page(text: str) -> None:
        """Anybody can make a token that fits a query: the key in it is a stranger's word."""
        try:
            key = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(key, list):
            with suppress(InputInvalid):
                next_page(paging.token(tuple(key), "ListSagas"))
            number = paging.after(paging.token(tuple(key), "ListSagaEvents"), (int,), "ListSagaEvents")
            if number is not None:
                store.execute("SELECT 1 FROM records WHERE version > ?", (number[0],)).fetchall()

    def traced(text: str) -> None:
        parent, _, state = text.partition("\n")
        if (found := tracecontext.parse(parent, state)) is not None:
            assert tracecontext.parse(tracecontext.traceparent(found), found.state) == found

    def lasting(text: str) -> None:
        try:
            found = durations.seconds(text)
        except ValueError as wrong:
            raise InputInvalid("duration", str(wrong)) from wrong
        assert durations.seconds(durations.duration_text(found)) == found

    return {
        "filter": lambda text: listed(filters.parse(text)),
        "order": lambda text: listed(filters.ordered(SearchQuery(), text)),
        "group": filters.group_by,
        "token": next_page,
        "tokened": forged_page,
        "trace": traced,
        "duration": lasting,
        "saga_id": mapping.saga_id,
        "request_id": mapping.request_id,
        "etag": mapping.if_version,
        "step": lambda text: item_of(StepId(mapping.step_path(text))),
        "signal": mapping.signal_name,
        "reason": mapping.reason,
    }


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change the text, seldom its kind."""
    seed = luck.choice(seeds)
    if luck.random() < 0.2:
        return flipped(luck, seed)
    kind, _, text = seed.decode("utf-8", "replace").partition("\n")
    if luck.random() < 0.3:
        text += (
            luck.choice((" AND ", " OR ", " ", ",", "\n"))
            + luck.choice(seeds).decode("utf-8", "replace").partition("\n")[2]
        )
    return f"{kind}\n{reworded(luck, text, (*WORDS, *TEXTS))}".encode("utf-8", "replace")
