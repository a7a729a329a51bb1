"""Protobuf messages, random and changed, by their descriptors: any type, whoever generated it."""

from collections.abc import Sequence
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

from tests.fuzz.mutating import NUMBERS, TEXTS

_DEPTH_MAX: Final = 6
_BOUNDS: Final = {
    Field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    Field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    Field.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def changed(luck: Random, message: Message, words: Sequence[str]) -> None:
    """Change a few fields of a message, at any depth; `words` are texts that mean something to whoever reads it."""
    for _ in range(1 + int(luck.expovariate(0.7))):
        _change_one(luck, message, words, 0)


def _change_one(luck: Random, message: Message, words: Sequence[str], depth: int) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    present: list[Any] = [field for field, _ in message.ListFields()]  # the stubs say object
    field: Any = luck.choice(present if present and luck.random() < 0.6 else [*fields])
    nested = _messages_in(message, field)
    if nested and luck.random() < 0.7:
        _change_one(luck, luck.choice(nested), words, depth + 1)
    elif luck.random() < 0.2:
        message.ClearField(field.name)
    else:
        fill(luck, message, field, words, depth)


def _messages_in(message: Message, field: Field) -> list[Message]:
    if field.message_type is None:
        return []
    held: Any = getattr(message, field.name)
    if _is_map(field):
        return [each for each in held.values() if isinstance(each, Message)]
    if field.is_repeated:
        return list(held)
    return [held] if message.HasField(field.name) else []


def fill(luck: Random, message: Message, field: Field, words: Sequence[str], depth: int) -> None:
    """Give a field a value; a list or a map gets a few more entries."""
    held: Any = getattr(message, field.name)
    if _is_map(field):
        key_field, value_field = (_entry(field).fields_by_name[name] for name in ("key", "value"))
        for _ in range(luck.randrange(1, 4)):
            key = value_of(luck, key_field, words)
            if value_field.message_type is None:
                held[key] = value_of(luck, value_field, words)
            elif depth < _DEPTH_MAX:
                scattered(luck, held[key], words, depth + 1)
    elif field.message_type is not None:
        if depth < _DEPTH_MAX:
            for _ in range(luck.randrange(1, 4) if field.is_repeated else 1):
                one = held.add() if field.is_repeated else held
                one.SetInParent()
                scattered(luck, one, words, depth + 1)
    elif field.is_repeated:
        held.extend(value_of(luck, field, words) for _ in range(luck.randrange(1, 4)))
    else:
        setattr(message, field.name, value_of(luck, field, words))


def scattered(luck: Random, message: Message, words: Sequence[str], depth: int = 0) -> None:
    """Fill some fields of an empty message."""
    for field in message.DESCRIPTOR.fields:
        if luck.random() < 0.4:
            fill(luck, message, field, words, depth)  # type: ignore[arg-type]  # the same class, by its C name


def value_of(luck: Random, field: Field, words: Sequence[str]) -> Any:
    """Return a value that the field can hold; of an enum also words that nobody has defined."""
    kind = field.cpp_type
    if kind in _BOUNDS:
        low, high = _BOUNDS[kind]
        fitting = [number for number in NUMBERS if isinstance(number, int) and low <= number <= high]
        return luck.choice(fitting)
    if kind == Field.CPPTYPE_ENUM:
        assert field.enum_type is not None
        return luck.choice([*(value.number for value in field.enum_type.values), 99, -1])
    if kind == Field.CPPTYPE_BOOL:
        return luck.random() < 0.5
    if kind in {Field.CPPTYPE_DOUBLE, Field.CPPTYPE_FLOAT}:
        return float(luck.choice([number for number in NUMBERS if abs(number) < 2**70 or number != number]))  # noqa: PLR0124  (not a number)
    if field.type == Field.TYPE_BYTES:
        return luck.choice((b"", b"\0", b"\xff\xff", luck.randbytes(luck.randrange(40))))
    return luck.choice(words) if luck.random() < 0.6 else luck.choice(TEXTS)


def _entry(field: Field) -> Descriptor:
    assert field.message_type is not None
    return field.message_type


def _is_map(field: Field) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
