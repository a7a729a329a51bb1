"""Event <-> (type name, bytes): the published record format, `protos/orchestrator/v1/journal.proto`.

Nothing here knows a single event. For every value type there are two functions, made once, at import, from the
value's fields and the message of the same name, field by field of the same name: one that writes (`wire.py`), one
that reads. A field that is added to an event therefore needs a line in `events.py`, a line in the `.proto`, and no line
here.

Reading is lenient where an older release wrote less (an absent `optional` field takes the field's default) and
strict everywhere else: a type, a word or bytes that this release does not understand raise `Undecodable`, which the
store turns into `JournalCorrupted` with the saga and the version. To guess at a record is to guess at a saga.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zlib import crc32

from google.protobuf.message import DecodeError

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.wire import REFUSED, WIDTHS, bare, writer_of
from orchestrator.ports.journal import Append, Record
from orchestrator.saga import events
from orchestrator.saga.events import Event
from orchestrator.v1 import journal_pb2
from orchestrator.values import AttributeValue

# What a `google.protobuf.Timestamp` holds: the years 1 to 9999.
_FIRST_AT: Final = -62_135_596_800.0
_LAST_AT: Final = 253_402_300_799.0
# What plain integers hold, on the API's wire as well; attempts, items and epochs stay far below.
_COUNT_MAX: Final = 2**31 - 1

_From = Callable[[Any], Any]

Encoded = tuple[int, int, float, str, int, bytes]
"""A record as stores with columns have it: version, epoch, instant, type name, checksum, body."""


class Undecodable(Exception):
    """Bytes that are not a record of this release's format; the message says which part is not."""


def encode(event: Event) -> tuple[str, bytes]:
    """Return the event's type name and its bytes; `InvariantViolated` where a value does not fit its field."""
    name, _, write = _WRITERS[type(event)]
    try:
        return name, write(event)
    except REFUSED as exc:
        raise _unfit(name, exc) from exc


def decode(type_name: str, data: bytes) -> Event:
    """Return the event; `Undecodable` where the type is unknown or the bytes are not one."""
    known = _READERS.get(type_name)
    if known is None:
        raise Undecodable(f"this release knows no record type {type_name!r}")
    message, read = known
    try:
        return typing.cast("Event", read(message.FromString(data)))
    except (DecodeError, KeyError, TypeError, ValueError) as exc:
        raise Undecodable(f"its {len(data)} bytes are not a {type_name} of this release ({exc})") from exc


def checksum(type_name: str, body: bytes) -> int:
    """Return the CRC-32 of type and body: many a flipped bit still makes a readable, different record."""
    return crc32(body, SEEDS.get(type_name, 0))


def encode_append(append: Append) -> list[Encoded]:
    """Return the records, encoded; `InvariantViolated` where the append contradicts itself."""
    version, epoch = append.expected_version, append.epoch
    encoded: list[Encoded] = []
    for version, record in enumerate(append.records, append.expected_version + 1):
        if record.version != version or record.epoch != epoch:
            raise InvariantViolated(
                "I1",
                f"record {record.version} of epoch {record.epoch} was appended to saga {append.saga_id!r} as number "
                f"{version} of epoch {epoch}; nothing was written",
            )
        event = record.event
        name, seed, write = _WRITERS[type(event)]
        try:
            body = write(event)
        except REFUSED as exc:
            raise _unfit(name, exc) from exc
        encoded.append((version, epoch, event.at, name, crc32(body, seed), body))
    row = append.row
    if not encoded or (row.saga_id, row.version, row.epoch) != (append.saga_id, version, epoch):
        raise InvariantViolated(
            "I1",
            f"an append of {len(encoded)} records to saga {append.saga_id!r} ends at version {version} of epoch "
            f"{epoch}, its search row says {row.saga_id!r}, {row.version}, {row.epoch}; nothing was written",
        )
    return encoded


def decode_record(saga_id: SagaId, version: int, epoch: int, type_name: str, data: bytes) -> Record:
    """Return the record; `JournalCorrupted` naming saga and version where it does not decode."""
    try:
        return Record(version=version, epoch=epoch, event=decode(type_name, data))
    except Undecodable as exc:
        raise corrupted(saga_id, version, str(exc)) from exc


def corrupted(saga_id: SagaId, version: int, why: str) -> JournalCorrupted:
    """Return the error for one record that cannot be trusted."""
    return JournalCorrupted(
        f"record {version} of saga {saga_id!r} cannot be read: {why}. The saga is left as it is and other sagas are "
        f"not affected; run the release that wrote it, or restore the journal from a backup",
        saga_id=saga_id,
        version=str(version),
    )


def _unfit(name: str, exc: Exception) -> InvariantViolated:
    return InvariantViolated("I6", f"{name} cannot be recorded: {exc}; nothing was written")


# --- how one field is read ------------------------------------------------------------------------------------------


def _attributes_from(messages: Mapping[str, journal_pb2.AttributeValue]) -> dict[str, AttributeValue]:
    return {name: _attribute_from(name, value) for name, value in messages.items()}


def _attribute_from(name: str, message: journal_pb2.AttributeValue) -> AttributeValue:
    kind = message.WhichOneof("value")
    if kind is None:
        raise ValueError(f"attribute {name!r} has no value")
    value: AttributeValue = getattr(message, kind)
    return value


def _fixed_from(width: int) -> _From:
    def read(data: bytes) -> int:
        if len(data) != width:
            raise ValueError(f"an id of {len(data)} bytes where {width} are due")
        return int.from_bytes(data, "big")

    return read


def instant_from(seconds: float) -> float:
    """Return an instant as it is; `ValueError` for what no calendar has, which nobody could show."""
    if not _FIRST_AT <= seconds <= _LAST_AT:  # false for NaN
        raise ValueError(f"{seconds} is no instant that a calendar has")
    return seconds


def _length_from(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise ValueError(f"{seconds} is no length of time")
    return seconds


def _count_from(number: int) -> int:
    if not 0 <= number <= _COUNT_MAX:
        raise ValueError(f"{number} is no count")
    return number


# --- one function per value type, made at import ------------------------------------------------------------------


def _reader_of(value_type: type[Any]) -> _From:
    """Return message -> value, an expression a field, written out as `wire.py` does it."""
    scope: dict[str, Any] = {"value_type": value_type, "missing": _missing}
    hints = typing.get_type_hints(value_type)
    descriptor = getattr(journal_pb2, value_type.__name__).DESCRIPTOR.fields_by_name
    source = "def read(message):\n    return value_type(\n"
    for field in dataclasses.fields(value_type):
        name = field.name
        scope[f"read_{name}"] = read = _read(value_type, name, bare(hints[name]))
        line = f"message.{name}" if read is None else f"read_{name}(message.{name})"
        if descriptor[name].has_presence:
            if field.default is not dataclasses.MISSING:
                scope[f"default_{name}"] = field.default
                absent = f"default_{name}"
            else:
                absent = "None" if type(None) in typing.get_args(hints[name]) else f"missing('{name}')"
            line = f"{line} if message.HasField('{name}') else {absent}"
        source += f"        {name}={line},\n"
    exec(source + "    )\n", scope)  # noqa: S102  # names of our own fields, as namedtuple and dataclasses do it
    made: _From = scope["read"]
    return made


def _missing(name: str) -> object:
    raise ValueError(f"{name} is missing")


def _read(owner: type[Any], name: str, kind: Any) -> _From | None:  # noqa: ANN401  (an annotation)
    """Return what makes a field's value of what the message has; None where that is the value."""
    if kind is UUID:
        return UUID
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {word.value: word for word in kind}.__getitem__
    if kind is int and name in WIDTHS:
        return _fixed_from(WIDTHS[name])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _reader_of(kind)
    if typing.get_origin(kind) is Mapping:
        return _attributes_from
    if typing.get_origin(kind) is tuple and bare(typing.get_args(kind)[0]) is str:
        return tuple
    if kind is float:
        return _length_from if name.endswith("_s") else instant_from
    if kind is int:
        return _count_from
    if kind in {str, bytes, bool}:
        return None
    raise TypeError(f"{owner.__name__}.{name}: the record format has no place for {kind!r}")


EVENT_TYPES: Final[tuple[type[Any], ...]] = typing.get_args(events.Event)
SEEDS: Final = {event_type.__name__: crc32(event_type.__name__.encode()) for event_type in EVENT_TYPES}
_WRITERS: Final = {each: (each.__name__, SEEDS[each.__name__], writer_of(each)) for each in EVENT_TYPES}
_READERS: Final = {each.__name__: (getattr(journal_pb2, each.__name__), _reader_of(each)) for each in EVENT_TYPES}
