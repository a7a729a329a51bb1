"""Event <-> (type name, bytes): the published record format, `protos/orchestrator/v1/journal.proto`.

Nothing here knows a single event. For every value type a pair of plain functions is made once, at import, from the
dataclass's fields and the message of the same name, field by field of the same name. A field that is added to an
event therefore needs a line in `events.py`, a line in the `.proto`, and no line here.

Reading is lenient where an older release wrote less (an absent `optional` field takes the dataclass's default) and
strict everywhere else: a type, a word or bytes that this release does not understand raise `Undecodable`, which the
store turns into `JournalCorrupted` with the saga and the version. To guess at a record is to guess at a saga.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Append, Record
from orchestrator.saga import events
from orchestrator.saga.events import Event, Parent
from orchestrator.v1 import journal_pb2
from orchestrator.values import AttributeValue, Payload, TraceContext

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
# What a `google.protobuf.Timestamp` holds: the years 1 to 9999.
_FIRST_AT: Final = -62_135_596_800.0
_LAST_AT: Final = 253_402_300_799.0
# What plain integers hold, on the API's wire as well; attempts, items and epochs stay far below.
_COUNT_MAX: Final = 2**31 - 1

_To = Callable[[Any], Any]
_From = Callable[[Any], Any]


class Undecodable(Exception):
    """Bytes that are not a record of this release's format; the message says which part is not."""


def encode(event: Event) -> tuple[str, bytes]:
    """Return the event's type name and its bytes; `InvariantViolated` where a value does not fit its field."""
    name = type(event).__name__
    try:
        return name, _ENCODERS[name](event).SerializeToString()
    except (TypeError, ValueError, OverflowError) as exc:
        raise InvariantViolated("I6", f"{name} cannot be recorded: {exc}; nothing was written") from exc


def decode(type_name: str, data: bytes) -> Event:
    """Return the event; `Undecodable` where the type is unknown or the bytes are not one."""
    known = _DECODERS.get(type_name)
    if known is None:
        raise Undecodable(f"this release knows no record type {type_name!r}")
    message, build = known
    try:
        return typing.cast("Event", build(message.FromString(data)))
    except (DecodeError, KeyError, TypeError, ValueError) as exc:
        raise Undecodable(f"its {len(data)} bytes are not a {type_name} of this release ({exc})") from exc


def encode_append(append: Append) -> list[tuple[int, int, str, bytes]]:
    """Return (version, epoch, type name, bytes) per record; `InvariantViolated` where the append contradicts itself."""
    version = append.expected_version
    encoded: list[tuple[int, int, str, bytes]] = []
    for record in append.records:
        version += 1
        if record.version != version or record.epoch != append.epoch:
            raise InvariantViolated(
                "I1",
                f"record {record.version} of epoch {record.epoch} was appended to saga {append.saga_id!r} as number "
                f"{version} of epoch {append.epoch}; nothing was written",
            )
        encoded.append((version, record.epoch, *encode(record.event)))
    row = append.row
    if not encoded or (row.saga_id, row.version, row.epoch) != (append.saga_id, version, append.epoch):
        raise InvariantViolated(
            "I1",
            f"an append of {len(encoded)} records to saga {append.saga_id!r} ends at version {version} of epoch "
            f"{append.epoch}, its search row says {row.saga_id!r}, {row.version}, {row.epoch}; nothing was written",
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


# --- how one field travels -------------------------------------------------------------------------------------------


def _attributes_to(attributes: Mapping[str, AttributeValue]) -> dict[str, Message]:
    return {name: _attribute_to(value) for name, value in attributes.items()}


def _attribute_to(value: AttributeValue) -> journal_pb2.AttributeValue:
    if isinstance(value, bool):  # before int: a bool is one
        return journal_pb2.AttributeValue(flag=value)
    if isinstance(value, str):
        return journal_pb2.AttributeValue(text=value)
    if isinstance(value, int):
        return journal_pb2.AttributeValue(integer=value)
    return journal_pb2.AttributeValue(real=value)


def _attributes_from(messages: Mapping[str, journal_pb2.AttributeValue]) -> dict[str, AttributeValue]:
    return {name: _attribute_from(name, value) for name, value in messages.items()}


def _attribute_from(name: str, message: journal_pb2.AttributeValue) -> AttributeValue:
    kind = message.WhichOneof("value")
    if kind is None:
        raise ValueError(f"attribute {name!r} has no value")
    value: AttributeValue = getattr(message, kind)
    return value


def _fixed_to(width: int) -> _To:
    return lambda number: number.to_bytes(width, "big")


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


def _words(words: type[StrEnum]) -> _From:
    return {word.value: word for word in words}.__getitem__


def _payload_to(payload: Payload) -> journal_pb2.Payload:
    return journal_pb2.Payload(type_name=payload.type_name, data=payload.data)


def _payload_from(message: journal_pb2.Payload) -> Payload:
    return Payload(message.type_name, message.data)


# --- one pair of functions per value type, made at import ---------------------------------------------------------


def _encoder(value_type: type[Any], message: Callable[..., Message]) -> Callable[[Any], Message]:
    """Return value -> message. None is how a message constructor is told of an absent field."""
    names = [field.name for field in dataclasses.fields(value_type)]
    values_of = _values(names)
    converters = [(name, to) for name, to, _ in _conversions(value_type) if to is not None]

    def build(value: object) -> Message:
        values = dict(zip(names, values_of(value), strict=True))
        for name, to in converters:
            plain = values[name]
            if plain is not None:
                values[name] = to(plain)
        return message(**values)

    return build


def _decoder(value_type: type[Any], descriptor: Mapping[str, FieldDescriptor]) -> Callable[[Any], Any]:
    """Return message -> value."""
    names = [field.name for field in dataclasses.fields(value_type)]
    values_of = _values(names)
    may_be_absent = [name for name in names if descriptor[name].has_presence]
    without_default = {field.name for field in dataclasses.fields(value_type) if field.default is dataclasses.MISSING}
    required = {name for name in without_default if type(None) not in typing.get_args(_hints(value_type)[name])}
    converters = [(name, back) for name, _, back in _conversions(value_type) if back is not None]

    def build(message: Any) -> object:  # noqa: ANN401  (any generated message)
        values = dict(zip(names, values_of(message), strict=True))
        for name in may_be_absent:
            if not message.HasField(name):
                if name in required:
                    raise ValueError(f"{name} is missing")
                values[name] = None
                if name not in without_default:
                    del values[name]
        for name, back in converters:
            if (wire := values.get(name)) is not None:
                values[name] = back(wire)
        return value_type(**values)

    return build


def _values(names: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    """Return object -> the values of its fields; of a single one `attrgetter` would give the value itself."""
    if len(names) > 1:
        return attrgetter(*names)
    (name,) = names
    return lambda of: (getattr(of, name),)


def _conversions(value_type: type[Any]) -> list[tuple[str, _To | None, _From | None]]:
    """Return (field, to the wire, back again); None where the wire has the value as it is."""
    return [(field.name, *_conversion(value_type, field.name)) for field in dataclasses.fields(value_type)]


def _conversion(owner: type[Any], name: str) -> tuple[_To | None, _From | None]:
    kind = _bare(_hints(owner)[name])
    if kind is UUID:
        return str, UUID
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return None, _words(kind)  # a StrEnum is the string that the message wants
    if kind is Payload:
        return _payload_to, _payload_from
    if owner in {TraceContext, Parent} and name in {"trace_id", "span_id"}:
        width = TRACE_ID_BYTES if name == "trace_id" else SPAN_ID_BYTES
        return _fixed_to(width), _fixed_from(width)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _pair(kind)
    if typing.get_origin(kind) is Mapping:
        return _attributes_to, _attributes_from
    if typing.get_origin(kind) is tuple and _bare(typing.get_args(kind)[0]) is str:
        return None, tuple
    if kind is float:
        return None, _length_from if name.endswith("_s") else instant_from
    if kind is int:
        return None, _count_from
    if kind in {str, bytes, bool}:
        return None, None
    raise TypeError(f"{owner.__name__}.{name}: the record format has no place for {kind!r}")


def _bare(hint: Any) -> Any:  # noqa: ANN401  (annotations have no common type)
    """Return the annotation without `| None` and without NewType."""
    if isinstance(hint, typing.NewType):
        return _bare(hint.__supertype__)
    parts = typing.get_args(hint)
    if type(None) in parts:
        (part,) = (part for part in parts if part is not type(None))
        return _bare(part)
    return hint


def _hints(value_type: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(value_type)


def _pair(value_type: type[Any]) -> tuple[Callable[[Any], Message], Callable[[Any], Any]]:
    message = getattr(journal_pb2, value_type.__name__)
    return _encoder(value_type, message), _decoder(value_type, message.DESCRIPTOR.fields_by_name)


EVENT_TYPES: Final[tuple[type[Any], ...]] = typing.get_args(events.Event)
_PAIRS = {event_type.__name__: _pair(event_type) for event_type in EVENT_TYPES}
_ENCODERS: Final = {name: to for name, (to, _) in _PAIRS.items()}
_DECODERS: Final = {name: (getattr(journal_pb2, name), back) for name, (_, back) in _PAIRS.items()}
