r"""Values of the record format straight to bytes: those that protobuf would write, at a quarter of its price.

A saga of five steps writes seventeen records, and a message that is made only to be serialised costs more than its
bytes do. So each value type has one function, written out at import from its hints and its descriptor, a line a field.
That of `AttemptOpened` is ::

    def write(value):
        return join((
            real(b'\t', value.at),
            kept_step[value.step],
            kept_operation[value.operation],
            kept_attempt[value.attempt],
            kept_epoch[value.epoch],
            b'2' + sizes[len(data := value.key.encode())] + data if value.key else b'',
            b'' if value.request is None else b':' + sizes[len(data := write_request(value.request))] + data,
            real(b'A', value.deadline_at),
            kept_manual_epoch[value.manual_epoch],
        ))

What comes again in every saga, a step's name or an attempt's number, is kept as it was written: a line is a look into
a dictionary then. What proto3 leaves out because it is nothing, an empty text or a zero, is left out; only an instant
is always written. Reading is protobuf's own, since anybody may have written what is read, and
`tests/properties/test_journal_codec.py` asks it whether it would have written the same.
"""

import struct
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor

from orchestrator.ids import StepId
from orchestrator.limits import RECORD_WORDS_KEPT_MAX
from orchestrator.v1 import journal_pb2
from orchestrator.values import AttributeValue

Write = Callable[[Any], bytes]

REFUSED: Final[tuple[type[Exception], ...]] = (
    TypeError, ValueError, OverflowError, AttributeError, struct.error,
)  # fmt: skip
"""What the writing of a value ends with that does not fit its field."""

WIDTHS: Final = {"trace_id": 16, "span_id": 8}
"""Numbers that travel as so many bytes, the highest first."""

# How a field goes on after its number.
_VARINT: Final = 0
_EIGHT_BYTES: Final = 1
_SIZED: Final = 2
_BELOW: Final = {FieldDescriptor.TYPE_UINT32: 2**32, FieldDescriptor.TYPE_UINT64: 2**64}
# Texts of which there are few in a store, as there are steps and words of a vocabulary.
_REPEATED: Final = frozenset({"code", "definition", "revision", "type_name"})

_ONE_BYTE: Final = 0x80
_SIZES_KEPT: Final = 4_096

_real: Final = struct.Struct("<cd").pack
_join: Final = b"".join


def writer_of(value_type: type[Any]) -> Write:
    """Return value -> bytes, which ends with one of `REFUSED` where the value does not fit."""
    hints = typing.get_type_hints(value_type)
    scope: dict[str, Any] = {
        "join": _join, "real": _real, "sizes": _SIZES, "texts": _texts, "attributes": _attributes,
    }  # fmt: skip
    source = "def write(value):\n    return join((\n"
    for field in sorted(_fields(value_type), key=lambda each: each.number):
        hint = hints[field.name]
        if _is_kept(field, hint):
            scope[f"kept_{field.name}"] = Kept(field)
        elif field.type == field.TYPE_MESSAGE and isinstance(bare(hint), type):
            scope[f"write_{field.name}"] = writer_of(bare(hint))
        line = _line(field, hint)
        if type(None) in typing.get_args(hint):
            line = f"b'' if value.{field.name} is None else {line}"
        source += f"        {line},\n"
    exec(source + "    ))\n", scope)  # noqa: S102  # names of our own fields, as namedtuple and dataclasses do it
    write: Write = scope["write"]
    return write


def bare(hint: Any) -> Any:  # noqa: ANN401  (annotations have no common type)
    """Return an annotation without `| None`, and without NewType."""
    if isinstance(hint, typing.NewType):
        return bare(hint.__supertype__)
    parts = typing.get_args(hint)
    if type(None) in parts:
        (part,) = (part for part in parts if part is not type(None))
        return bare(part)
    return hint


def _fields(value_type: type[Any]) -> Sequence[FieldDescriptor]:
    found: Sequence[FieldDescriptor] = getattr(journal_pb2, value_type.__name__).DESCRIPTOR.fields
    return found


def _is_kept(field: FieldDescriptor, hint: Any) -> bool:  # noqa: ANN401  (an annotation)
    """Return whether there are few values of a field in a store, as there are steps, and words of a vocabulary."""
    if field.type != field.TYPE_STRING or field.is_repeated:
        return field.type in _BELOW
    kind = bare(hint)
    is_word = isinstance(kind, type) and issubclass(kind, StrEnum)
    return is_word or hint is StepId or StepId in typing.get_args(hint) or field.name in _REPEATED


def _line(field: FieldDescriptor, hint: Any) -> str:  # noqa: ANN401  (an annotation)
    """Return the expression that writes a field."""
    of = f"value.{field.name}"
    if _is_kept(field, hint):
        return f"kept_{field.name}[{of}]"
    if field.type == field.TYPE_DOUBLE:
        tag = _tag(field, _EIGHT_BYTES)
        assert len(tag) == 1, f"{field.full_name} has a number over 15: give `real` the form of a longer tag"
        return f"real({tag!r}, {of})"
    if field.type == field.TYPE_BOOL:
        yes, no = _tag(field, _VARINT) + b"\x01", _tag(field, _VARINT) + b"\x00"
        return f"({yes!r} if {of} else {no if field.has_presence else b''!r})"
    tag = _tag(field, _SIZED)
    if field.is_repeated:
        return f"{'attributes' if field.type == field.TYPE_MESSAGE else 'texts'}({tag!r}, {of})"
    written = f"{tag!r} + sizes[len(data := {_data(field, hint)})] + data"
    return written if field.has_presence or field.name in WIDTHS else f"({written} if {of} else b'')"


def _data(field: FieldDescriptor, hint: Any) -> str:  # noqa: ANN401  (an annotation)
    """Return the expression of the bytes whose length goes before them."""
    of = f"value.{field.name}"
    if field.type == field.TYPE_MESSAGE:
        return f"write_{field.name}({of})"
    if field.name in WIDTHS:
        return f"{of}.to_bytes({WIDTHS[field.name]}, 'big')"
    if bare(hint) is UUID:
        return f"str({of}).encode()"
    return of if field.type == field.TYPE_BYTES else f"{of}.encode()"


def _tag(field: FieldDescriptor, wire: int) -> bytes:
    return _varint(field.number << 3 | wire)


class Kept(dict[Any, bytes]):
    """What the values of one field were written as, made when one is asked for; bounded, for a list has many steps."""

    def __init__(self, field: FieldDescriptor) -> None:
        super().__init__()
        self._below = _BELOW.get(field.type)
        self._tag = _tag(field, _SIZED if self._below is None else _VARINT)
        self._is_nothing_left_out = not field.has_presence

    def __missing__(self, value: Any) -> bytes:  # noqa: ANN401  (a text or a number)
        if len(self) >= RECORD_WORDS_KEPT_MAX:
            self.clear()
        if not value and self._is_nothing_left_out:
            written = b""
        elif self._below is None:
            written = _text(self._tag, value)
        else:
            written = _number(self._tag, value, self._below)
        self[value] = written
        return written


def _varint(number: int) -> bytes:
    """Write a whole number: seven bits a byte, the lowest first."""
    written = bytearray()
    while number >= _ONE_BYTE:
        written.append(number % _ONE_BYTE + _ONE_BYTE)
        number //= _ONE_BYTE
    written.append(number)
    return bytes(written)


class Sizes(dict[int, bytes]):
    """How lengths are written: the usual ones are kept."""

    def __missing__(self, size: int) -> bytes:
        return _varint(size)


_SIZES: Final = Sizes((size, _varint(size)) for size in range(_SIZES_KEPT))


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + _SIZES[len(data)] + data


def _text(tag: bytes, value: str) -> bytes:
    return _sized(tag, value.encode())


def _number(tag: bytes, number: int, below: int) -> bytes:
    if not 0 <= number < below:
        raise ValueError(f"{number} is not from 0 to {below - 1}")
    return tag + _varint(number)


def _texts(tag: bytes, values: tuple[str, ...]) -> bytes:
    return _join([_text(tag, value) for value in values])


def _attributes(tag: bytes, values: Mapping[str, AttributeValue]) -> bytes:
    """Write a map: each entry is a message of a key and a value."""
    entries = [_text(b"\x0a", name) + _sized(b"\x12", _attribute(value)) for name, value in values.items()]
    return _join([_sized(tag, entry) for entry in entries])


def _attribute(value: AttributeValue) -> bytes:
    if isinstance(value, bool):  # before int: a bool is one
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, str):
        return _text(b"\x0a", value)
    if isinstance(value, int):
        return _number(b"\x10", value << 1 ^ value >> 63, 2**64)  # 0, -1, 1, -2 are 0, 1, 2, 3
    return _real(b"\x19", value)
