"""Search rows as a store's columns hold them: a JSON list, each value of its column's type."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

from orchestrator.api import views
from orchestrator.errors import JournalCorrupted
from orchestrator.journal.columns import row_of
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import NUMBERS, TEXTS, flipped, reworded, scalar

ROW: Final[list[Any]] = [
    "order-1", "0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10", "", "order", "r0123456789ab", "RUNNING", 17, 3,
    '{"late":true,"patient":"\\u017dofie","ratio":0.25,"score":17,"site":"DE-1"}', 1_763_689_123.5, 1_763_689_124.5,
    None, 1_763_689_130.0, "awake", "UNDO_REFUSED,WEARING", "sold out", None,
]  # fmt: skip
REALS: Final = (9, 10, 11, 12)
MAY_BE_NULL: Final = (11, 12, 16)
WHOLE: Final = (6, 7)
ATTRIBUTES: Final = 8
WORDS: Final = (
    "COMPLETED", "COMPENSATED", "TERMINATED", "QUEUED", "PAUSED", "awake", "asleep", "children", "{}", "[]", "null",
    '{"a":null}', '{"a":[1]}', '{"a":{"b":1}}', '{"a":1e999}', '{"a":NaN}', '{"":""}', '{"a":123456789012345678901}',
    '"text"', "7", '{"a":"\\ud800"}',
)  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give what reads rows."""
    ended = [*ROW]
    ended[5], ended[11], ended[12], ended[13] = "COMPLETED", 1_763_689_140.0, None, "asleep"
    yield Target(run=run, mutate=mutated, seeds=[json.dumps(row).encode() for row in (ROW, ended)])


def run(data: bytes) -> str:
    """Read a row and show it in a list, as one bad row among good ones would be."""
    try:
        columns = json.loads(data)
    except ValueError:
        return "no row"
    if not fits(columns):
        return "no row"
    try:
        row = row_of(tuple(columns))
    except JournalCorrupted as refused:
        clear(refused.message, "search row of saga")
        return "refused"
    views.listed(row).SerializeToString()
    return "taken"


def fits(columns: Any) -> bool:
    """Return whether SQLite would keep these values: its tables are strict, and NaN is NULL to it."""
    if not isinstance(columns, list) or len(columns) != len(ROW):
        return False
    for at, value in enumerate(columns):
        if at in MAY_BE_NULL and value is None:
            continue
        if at in REALS:
            good = isinstance(value, float) and value == value  # noqa: PLR0124  (not a number)
        elif at in WHOLE:
            good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
        else:
            good = isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
        if not good:
            return False
    return True


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change columns within their types."""
    data = luck.choice(seeds)
    try:
        columns = json.loads(data)
    except ValueError:
        return flipped(luck, data)
    for _ in range(luck.randrange(1, 4)):
        at = luck.randrange(len(columns))
        if at in REALS:
            number = float(
                luck.choice([each for each in NUMBERS if abs(each) < 1e300 or each in {float("inf"), 1e308}])
            )
            columns[at] = None if at in MAY_BE_NULL and luck.random() < 0.2 else number * luck.choice((1.0, -1.0, 1e10))
        elif at in WHOLE:
            columns[at] = luck.choice([each for each in NUMBERS if isinstance(each, int) and abs(each) < 2**63])
        elif at == ATTRIBUTES:
            values = {luck.choice(TEXTS): scalar(luck) for _ in range(luck.randrange(4))}
            columns[at] = json.dumps(values) if luck.random() < 0.5 else luck.choice(WORDS)
        elif luck.random() < 0.5:
            columns[at] = luck.choice((*WORDS, *TEXTS))
        else:
            columns[at] = reworded(luck, str(columns[at]), WORDS)
    return json.dumps(columns).encode()
