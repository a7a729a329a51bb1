"""Streams of a group append as arrays of rows, and what a search may find an attribute by."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from orchestrator.frozen import frozen
from orchestrator.journal.codec import encode_append
from orchestrator.journal.columns import attributes_text
from orchestrator.ports.journal import Append, SearchRow
from orchestrator.values import AttributeValue

# A term is one entry of an index, which bears no long ones: a longer one is known by its hash.
_TERM_CHARS_MAX: Final = 128

Arrays = list[Sequence[Any]]


@frozen
class Stream:
    """One append of a group, ready to be written."""

    place: int
    """In the batch that was given."""
    append: Append
    records: Sequence[tuple[Any, ...]]
    """(uid, version, at, type, checksum, body)"""

    @property
    def last_checksum(self) -> int:
        return int(self.records[-1][4])


def stream_of(place: int, append: Append) -> Stream:
    """Encode one append; `InvariantViolated` where it contradicts itself."""
    uid = append.row.uid
    return Stream(
        place=place,
        append=append,
        records=[
            (uid, version, at, type_name, checksum, body)
            for version, _, at, type_name, checksum, body in encode_append(append)
        ],
    )


def values_of(streams: Sequence[Stream]) -> Arrays:
    """Return the values of `append` but the member: the sagas, the records, and a list for each column of terms."""
    terms = [
        (stream.append.row.uid, term_of(name, value))
        for stream in streams
        if stream.append.expected_version == 0
        for name, value in stream.append.row.attributes.items()
    ]
    return [
        [columns_of(stream.append.row, stream.append.expected_version) for stream in streams],
        [record for stream in streams for record in stream.records],
        *(zip(*terms, strict=True) if terms else ((), ())),
    ]


def columns_of(row: SearchRow, built_on: int) -> tuple[Any, ...]:
    """Return a row's values, in the order in which `sagas` is written; `built_on`: the version an append named."""
    return (
        row.saga_id,
        row.uid,
        row.request_id,
        row.parent,
        row.shard,
        row.definition,
        row.revision,
        row.status,
        row.version,
        built_on,
        row.epoch,
        attributes_text(row.attributes) if built_on == 0 else "{}",  # never written again
        row.started_at,
        row.updated_at,
        row.ended_at,
        row.wake_at,
        row.rest,
        row.attention,
        row.failure.replace("\0", "\ufffd"),  # a called service's words; the database knows no such character
    )


def standing_of(streams: Sequence[Stream]) -> Arrays:
    """Return the values of `standing` but the member."""
    appends = [stream.append for stream in streams]
    return [
        [append.saga_id for append in appends],
        [append.row.uid for append in appends],
        [append.row.request_id for append in appends],
        [append.row.shard for append in appends],
        [append.row.version for append in appends],
        [append.epoch for append in appends],
    ]


def term_of(name: str, value: AttributeValue) -> str:
    """Return what an attribute is found by: the same for equal numbers, and true is 1, as everywhere."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    term = json.dumps([name, value], separators=(",", ":"))
    return term if len(term) <= _TERM_CHARS_MAX else hashlib.sha256(term.encode()).hexdigest()
