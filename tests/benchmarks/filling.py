"""A store as it is after years: `fill` puts any number of finished and of sleeping sagas into an SQLite file.

A few sagas are really run, as templates: one finished of each definition that is asked for, one asleep on a timer, one
on a signal. The others are these again under other names: every record says what the template's says, with its own
saga id, uid, trace, idempotency keys and instants, so that `saga verify` finds nothing in the file. Times lie one after
the other, a saga each `APART_S`; those that sleep wake in half a year.

`python -m tests.benchmarks.filling FILE --finished 1000000 --sleeping 100000` makes one for a look by hand.
"""

import argparse
import asyncio
import random  # noqa: TID251  # seeded with the template
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import apsw
import uvloop
from google.protobuf.message import Message

from orchestrator.ids import StepId, idempotency_key
from orchestrator.journal.codec import checksum
from orchestrator.runtime import Orchestrator, StartRequest, Until
from orchestrator.v1 import journal_pb2
from orchestrator.values import Payload
from tests.benchmarks import flows
from tests.benchmarks.programs import program
from tests.benchmarks.sagas import configured, node

NAPPING, ASKED = "bench_napping", "bench_asked"
_SLEEPER = """
saga: {name}
input: epro.v1.Report
deadline: {{forward: 300d, compensation: 60s}}
targets: [epro]
steps:
  rest:
    {rest}
"""
SLEEPERS: Final = {
    NAPPING: _SLEEPER.format(name=NAPPING, rest="sleep: 180d"),
    ASKED: _SLEEPER.format(name=ASKED, rest="wait: {signal: go, type: epro.v1.Report, timeout: 180d}"),
}
APART_S: Final = 1.0
AT_ONCE: Final = 100
"""Sagas of one template that have the same instants."""
GROUP: Final = 5_000
"""Sagas of one transaction."""
SETTLED_S_MAX: Final = 30.0
_INSTANT: Final = struct.Struct("<d")


async def fill(
    file: Path, *, finished: int, sleeping: int, definitions: Sequence[str] = (flows.EPRO,), visit_bytes: int = 64
) -> None:
    """Put so many sagas into a new store, and the definitions they are of; nobody may have it open.

    `definitions`: those of the finished, in turn. `visit_bytes`: what is added to each input.
    """
    for template, count in zip(
        await templates(file, definitions, visit_bytes),
        [*shares(finished, len(definitions)), *shares(sleeping, len(SLEEPERS))],
        strict=True,
    ):
        await asyncio.to_thread(_multiply, file, template, count - 1)


def shares(total: int, parts: int) -> list[int]:
    """Return the whole in parts that differ by one at most; each template is one of its part."""
    return [(total + number) // parts for number in range(parts)]


# --- the sagas that are run ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A saga as the store has it."""

    uid: str
    row: dict[str, Any]
    records: list[dict[str, Any]]


async def templates(file: Path, definitions: Sequence[str], visit_bytes: int) -> list[Template]:
    """Run a saga of each definition to its end, and one of each sleeper to its sleep; return them in this order."""
    given = flows.report()
    given.visit = "v" * visit_bytes
    payload = Payload("epro.v1.Report", given.SerializeToString())
    with tempfile.TemporaryDirectory() as name, program("tests.benchmarks.stubs") as services:
        folder = Path(name)
        for sleeper, text in SLEEPERS.items():
            (folder / f"{sleeper}.yaml").write_text(text)
        files = [str(folder / f"{each}.yaml") for each in (*flows.DEFINITIONS, *SLEEPERS)]
        config = configured(services.address, folder, f"sqlite:{file}", definitions=files)
        async with node(config, collector="") as running:
            sagas = [
                await _run(running.orchestrator, each, payload, Until.TERMINAL if each in definitions else None)
                for each in (*definitions, *SLEEPERS)
            ]
    return [_read(file, saga) for saga in sagas]


async def _run(orchestrator: Orchestrator, definition: str, payload: Payload, until: Until | None) -> str:
    started = await orchestrator.start(StartRequest(definition=definition, input=payload))
    if until is not None:
        ended = await orchestrator.wait(started.saga_id, until, 0, SETTLED_S_MAX)
        assert ended.is_terminal, f"{definition} is still {ended.status} after {SETTLED_S_MAX} s"
    return started.saga_id


def _read(file: Path, saga: str) -> Template:
    connection = apsw.Connection(str(file))
    try:
        row = _one(connection.execute("SELECT * FROM sagas WHERE saga_id = ?", (saga,)))
        found = connection.execute("SELECT * FROM records WHERE saga = ? ORDER BY version", (row["id"],))
        return Template(uid=row["uid"], row=row, records=[_named(found, values) for values in found])
    finally:
        connection.close()


def _one(found: apsw.Cursor) -> dict[str, Any]:
    (row,) = [_named(found, values) for values in found]
    return row


def _named(found: apsw.Cursor, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip([column[0] for column in found.getdescription()], values, strict=True))


# --- and those that are not ------------------------------------------------------------------------------------------


Patch = Callable[[bytearray, UUID, str], None]
"""Write what is another saga's over what is the template's."""


def _multiply(file: Path, template: Template, count: int) -> None:
    """Write so many sagas like the template."""
    luck = random.Random(template.uid)
    connection = apsw.Connection(str(file))
    try:
        connection.pragma("journal_mode", "off")  # where this fails, the store is made anew
        connection.pragma("synchronous", "off")
        connection.pragma("cache_size", -1_000_000)
        connection.pragma("locking_mode", "exclusive")
        (last,) = connection.execute("SELECT max(id) FROM sagas").fetchone() or (0,)
        sagas = _sagas(template, last, count, luck)
        while group := list(islice(sagas, GROUP)):
            connection.execute("BEGIN")
            connection.executemany(_insert("sagas", template.row), [row for row, _ in group])
            records = (list(chain.from_iterable(of_saga)) for _, of_saga in group)
            connection.executemany(_insert("records", template.records[0], len(template.records)), records)
            connection.execute("COMMIT")
        connection.pragma("locking_mode", "normal")
        connection.pragma("journal_mode", "wal")
    finally:
        connection.close()


def _insert(table: str, columns: dict[str, Any], rows: int = 1) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"


Values = tuple[Any, ...]


def _sagas(template: Template, last: int, count: int, luck: random.Random) -> Iterator[tuple[Values, list[Values]]]:
    """Yield a row and its records for each saga, the earliest first; `last` is the store's highest row id."""
    for begun in range(0, count, AT_ONCE):
        earlier_s = (count - begun) * APART_S
        row = _earlier_row(template.row, earlier_s)
        recast = [_Recast(each, template, earlier_s) for each in template.records]
        for number in range(begun, min(begun + AT_ONCE, count)):
            uid = UUID(int=luck.getrandbits(128), version=4)
            saga, text = last + 1 + number, str(uid)
            row |= {"id": saga, "saga_id": text, "uid": text}
            yield tuple(row.values()), [each.of(saga, uid, text) for each in recast]


def _earlier_row(row: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {name: value - seconds if _is_instant(name) and value is not None else value for name, value in row.items()}


def _is_instant(name: str) -> bool:
    return name == "at" or name.endswith("_at")


class _Recast:
    """A template's record so much earlier, and what of it each saga has for itself."""

    def __init__(self, record: dict[str, Any], template: Template, seconds: float) -> None:
        message: Message = getattr(journal_pb2, record["type"]).FromString(record["body"])
        _move(message, seconds)
        self._body = message.SerializeToString()
        self._type: str = record["type"]
        self._checksum = checksum(self._type, self._body)
        self._patches = list(_patches(message, self._body, template.uid))
        self._values = record["version"], record["epoch"], record["at"] - seconds, self._type
        assert list(record) == ["position", "saga", "version", "epoch", "at", "type", "checksum", "body"]

    def of(self, saga: int, uid: UUID, text: str) -> Values:
        """Return the columns of a saga's record; the store gives it its position."""
        if not self._patches:
            return None, saga, *self._values, self._checksum, self._body
        body = bytearray(self._body)
        for patch in self._patches:
            patch(body, uid, text)
        return None, saga, *self._values, checksum(self._type, bytes(body)), bytes(body)


def _move(message: Message, seconds: float) -> None:
    """Make every instant of a record and of what is in it so much earlier."""
    for field, value in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            _move(value, seconds)
        elif _is_instant(field.name):
            setattr(message, field.name, value - seconds)


def _patches(message: Message, body: bytes, uid: str) -> Generator[Patch]:
    """Yield how to write a saga's own over a template's, in place: all of it has one length."""
    yield from (_written(body, at, len(uid), lambda _, text: text.encode()) for at in _places(body, uid.encode()))
    yield from (_written(body, at, 16, lambda of, _: of.bytes) for at in _places(body, UUID(uid).bytes))
    if isinstance(message, journal_pb2.AttemptOpened):
        yield _key(message, body)


def _key(opened: journal_pb2.AttemptOpened, body: bytes) -> Patch:
    (at,) = _places(body, opened.key.encode())
    about = StepId(opened.step), opened.operation, opened.manual_epoch
    assert at > 0
    return _written(body, at, len(opened.key), lambda uid, _: idempotency_key(uid, *about).encode())


def _written(body: bytes, at: int, length: int, made: Callable[[UUID, str], bytes]) -> Patch:
    end = at + length
    assert end <= len(body)

    def patch(of: bytearray, uid: UUID, text: str) -> None:
        of[at:end] = made(uid, text)

    return patch


def _places(body: bytes, part: bytes) -> Generator[int]:
    at = body.find(part)
    while at >= 0:
        yield at
        at = body.find(part, at + 1)


def main() -> None:
    """Make a store by hand, and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.filling", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--sleeping", type=int, default=100_000)
    parser.add_argument("--visit-bytes", type=int, default=64)
    given = parser.parse_args()
    began = time.perf_counter()
    wanted = {"finished": given.finished, "sleeping": given.sleeping, "visit_bytes": given.visit_bytes}
    uvloop.run(fill(given.file, **wanted))
    took_s, total = time.perf_counter() - began, given.finished + given.sleeping
    each = given.file.stat().st_size / total
    print(f"{total:,} sagas in {took_s:.1f} s, {total / took_s:,.0f}/s, {each:,.0f} bytes each", file=sys.stderr)


if __name__ == "__main__":
    main()
