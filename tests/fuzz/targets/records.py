"""Records as a store keeps them: a type name, a line break, bytes."""

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

from google.protobuf.message import DecodeError, Message

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.codec import EVENT_TYPES, decode_record, encode
from orchestrator.ports.journal import Record
from orchestrator.v1 import journal_pb2
from tests.fuzz import messages
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, flipped, spliced

GOLDEN: Final = Path(__file__).parents[2] / "golden"
TYPES: Final = tuple(each.__name__ for each in EVENT_TYPES)
WORDS: Final = (
    "score", "reserve", "reserve[17]", "forward", "compensate", "probe", "await", "stop", "applied", "not_applied",
    "unknown", "OK", "UNAVAILABLE", "replied", "lost", "not_sent", "sent", "step_failed", "cancelled",
    "0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10", "epro.v1.Report",
)  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give the codec."""
    lines = [line for path in sorted(GOLDEN.glob("*/*.jsonl")) for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    seeds = [each["type"].encode() + b"\n" + b64decode(each["body"]) for each in records]
    yield Target(run=run, mutate=mutated, seeds=list(dict.fromkeys(seeds)))


def run(data: bytes) -> str:
    """Read a record; what is read must be written again, and mean the same."""
    name, _, body = data.partition(b"\n")
    type_name = name.decode("utf-8", "replace")
    try:
        record = decode_record(SagaId("s"), 7, 3, type_name, body)
    except JournalCorrupted as refused:
        clear(refused.message, "record 7 of saga 's'")
        return "refused"
    try:
        again = decode_record(SagaId("s"), 7, 3, *encode(record.event))
    except InvariantViolated as refused:
        raise AssertionError(f"read, and cannot be written: {refused}") from refused
    assert _told(again) == _told(record), "read, written and read again it is another record"
    return "taken"


def _told(record: Record) -> str:
    """Return a record as a text in which NaN is itself, and the order of attributes does not count."""
    attributes = getattr(record.event, "attributes", {})
    return f"{record!r}".replace(repr(attributes), repr(sorted(attributes.items())))


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change a record's bytes or fields, or its type."""
    name, _, body = luck.choice(seeds).partition(b"\n")
    kind = luck.random()
    if kind < 0.4:
        body = flipped(luck, body)
    elif kind < 0.45:
        body = spliced(luck, body, luck.choice(seeds).partition(b"\n")[2])
    else:
        body = other_fields(luck, name.decode("utf-8", "replace"), body)
    if luck.random() < 0.05:
        name = luck.choice((*TYPES, *TEXTS)).encode()
    return name + b"\n" + body


def other_fields(luck: Random, type_name: str, body: bytes) -> bytes:
    """Change the fields of a record, where it is one."""
    if type_name not in TYPES:
        return flipped(luck, body)
    message: Message = getattr(journal_pb2, type_name)()
    try:
        message.ParseFromString(body)
    except DecodeError:
        return flipped(luck, body)
    messages.changed(luck, message, WORDS)
    return message.SerializeToString()
