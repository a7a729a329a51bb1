"""Values into protobuf fields.

One set of rules for literals of a definition (tried out when it is checked) and for what expressions give at run time.
They follow proto3 JSON where JSON has one spelling and are stricter where it is lax: a number is not a text, and
`null` only leaves out what may be absent.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestrator.definition.descriptors import enum_of, is_map, map_fields
from orchestrator.definition.diagnostics import did_you_mean, listing
from orchestrator.definition.fits import SCALAR_NAMES, VALUE_TYPE, WRAPPER_TYPES, field_name
from orchestrator.definition.misfit import Misfit, clipped, needed
from orchestrator.definition.wellknown import EXACT_INT_MAX, WELL_KNOWN

F = FieldDescriptor
_INT_RANGES: Final = {
    F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    F.CPPTYPE_UINT32: (0, 2**32 - 1),
    F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
# The largest double that rounds to a finite float; past it a float field would turn into infinity without a word.
_FLOAT_MAX: Final = 3.4028235677973366e38
# Characters of the longest 64-bit number.
_INT_CHARS_MAX: Final = 20
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _Repeated(Protocol):
    """What protobuf's containers of a repeated field have in common; they have no public type."""

    def add(self) -> Message: ...
    def append(self, value: object, /) -> None: ...


class _Map(Protocol):
    """What protobuf's containers of a map field have in common."""

    def __getitem__(self, key: object, /) -> Message: ...
    def __setitem__(self, key: object, value: object, /) -> None: ...


Put = Callable[[Message, object], None]
"""Fills one field of a message; raises `Misfit`."""


def putting(field: FieldDescriptor) -> Put:
    """Return `put` for one field, which is looked at once."""
    if field.is_repeated or field.cpp_type == F.CPPTYPE_MESSAGE:
        return lambda message, value: put(message, field, value)
    name, convert = field.name, _converter(field)

    def into(message: Message, value: object) -> None:
        if value is None:
            _put_null(message, field)
        else:
            setattr(message, name, convert(field, value))

    return into


def copying(field: FieldDescriptor) -> Put:
    """Return the same for what was read from a field of the very same type: what was there fits, None was absent."""
    name, message_type = field.name, field.message_type
    if field.cpp_type == F.CPPTYPE_ENUM or (message_type is not None and message_type.full_name == VALUE_TYPE):
        return putting(field)  # a number without a name fits not, an absent JSON value is a null

    def several(message: Message, value: object) -> None:
        try:
            getattr(message, name).MergeFrom(value)
        except UnicodeDecodeError:  # a text that is not UTF-8, as proto2 lets one be: `put` says which
            put(message, field, value)

    def one(message: Message, value: object) -> None:
        if value is not None:
            getattr(message, name).CopyFrom(value)

    def scalar(message: Message, value: object) -> None:
        if value is not None:
            try:
                setattr(message, name, value)
            except UnicodeDecodeError:  # as above
                put(message, field, value)

    return several if field.is_repeated else one if message_type is not None else scalar


def put(message: Message, field: FieldDescriptor, value: object) -> None:
    """Fill a field; raise `Misfit` with the path below it where the value does not fit."""
    if value is None:
        _put_null(message, field)
    elif is_map(field):
        into = cast("_Map", getattr(message, field.name))
        for name, item in _entries(value, field_name(field)):
            put_entry(into, field, name, item)
    elif field.is_repeated:
        _put_list(cast("_Repeated", getattr(message, field.name)), field, value)
    elif field.cpp_type == F.CPPTYPE_MESSAGE:
        child = cast("Message", getattr(message, field.name))
        child.SetInParent()
        fill(child, value)
    else:
        setattr(message, field.name, scalar(field, value))


def _put_null(message: Message, field: FieldDescriptor) -> None:
    if not field.has_presence or field.is_repeated:
        raise Misfit(f"null where {field_name(field)} is needed", fix="give a value, or leave the field out")
    if field.message_type is not None and field.message_type.full_name == VALUE_TYPE:
        fill(cast("Message", getattr(message, field.name)), None)


def _put_list(into: _Repeated, field: FieldDescriptor, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise needed(f"{field_name(field)} is", value, "write a list")
    for index, item in enumerate(cast("Sequence[object]", value)):
        try:
            append(into, field, item)
        except Misfit as misfit:
            raise misfit.below(f"[{index}]") from misfit


def append(into: _Repeated, field: FieldDescriptor, value: object) -> None:
    """Append one element to a repeated field's container."""
    if field.cpp_type == F.CPPTYPE_MESSAGE:
        fill(into.add(), value)
    else:
        into.append(scalar(field, value))


def put_entry(into: _Map, field: FieldDescriptor, name: object, value: object) -> None:
    """Put one entry into a map field's container."""
    _, value_field = map_fields(field)
    try:
        key = map_key(field, name)
        if value_field.cpp_type == F.CPPTYPE_MESSAGE:
            fill(into[key], value)
        else:
            into[key] = scalar(value_field, value)
    except Misfit as misfit:
        raise misfit.below(f"[{name!r}]") from misfit


def map_key(field: FieldDescriptor, name: object) -> object:
    """Return a map field's key; YAML and JSON could only write it as text. Raise `Misfit`."""
    key, _ = map_fields(field)
    if isinstance(name, str) and key.cpp_type == F.CPPTYPE_BOOL:
        return scalar(key, {"true": True, "false": False}.get(name, name))
    if isinstance(name, str) and key.cpp_type != F.CPPTYPE_STRING:
        return scalar(key, _digits(name))
    return scalar(key, name)


def _digits(text: str) -> object:
    is_number = len(text) <= _INT_CHARS_MAX and text.removeprefix("-").isdecimal()
    return int(text) if is_number else text


def fill(message: Message, value: object) -> None:
    """Fill a message from a message of its type, a tree, or the texts and numbers of its well-known type."""
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    name = descriptor.full_name
    if isinstance(value, Message) and descriptor == value.DESCRIPTOR:
        message.CopyFrom(value)
    elif name in WELL_KNOWN:
        WELL_KNOWN[name](message, value)
    elif name in WRAPPER_TYPES:
        inner = descriptor.fields_by_name["value"]
        setattr(message, inner.name, scalar(inner, value))
    else:
        _fill_fields(message, descriptor, value)


def _fill_fields(message: Message, descriptor: Descriptor, value: object) -> None:
    entries = [(str(name), item) for name, item in _entries(value, descriptor.full_name)]
    check_names(descriptor, [name for name, item in entries if item is not None])
    for name, item in entries:
        field = find_field(descriptor, name)
        try:
            put(message, field, item)
        except Misfit as misfit:
            raise misfit.below(name) from misfit


def _entries(value: object, need: str) -> Iterable[tuple[object, object]]:
    if not isinstance(value, Mapping):
        raise needed(f"{need} is", value, "write a mapping")
    return cast("Mapping[object, object]", value).items()


def find_field(descriptor: Descriptor, name: str) -> FieldDescriptor:
    """Return a field by its proto or JSON name; raise `Misfit` where there is none."""
    field = _field(descriptor, name)
    if field is None:
        names = [one.name for one in descriptor.fields]
        fix = did_you_mean(name, names) or f"its fields: {listing(names, 20)}"
        raise Misfit(f"{descriptor.full_name} has no field `{name}`", name, fix)
    return field


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    if _is_broken(name):  # the library fails over what it cannot even look for
        return None
    return descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)


def check_names(descriptor: Descriptor, names: Iterable[str]) -> None:
    """Raise `Misfit` where a field is given twice, under its two names, or two fields of one oneof are given."""
    taken: dict[str, str] = {}
    for name in names:
        field = _field(descriptor, name)
        if field is None:
            continue  # said by `find_field`
        if field.name in taken:
            raise Misfit(f"`{taken[field.name]}` and `{name}` are one field", name, "keep one of them")
        taken[field.name] = name
        group = field.containing_oneof
        if group is None:
            continue
        if f"oneof {group.name}" in taken:
            why = f"`{taken[f'oneof {group.name}']}` and `{name}` exclude each other (oneof {group.name})"
            raise Misfit(why, name, "keep one of them")
        taken[f"oneof {group.name}"] = name


# --- scalars ---------------------------------------------------------------------------------------------------------


def scalar(field: FieldDescriptor, value: object) -> object:
    """Return a value in the form its scalar field takes; raise `Misfit` where it does not fit."""
    return _converter(field)(field, value)


def _converter(field: FieldDescriptor) -> Callable[[FieldDescriptor, object], object]:
    match field.cpp_type:
        case F.CPPTYPE_STRING if field.type == F.TYPE_BYTES:
            return _bytes
        case F.CPPTYPE_STRING:
            return _string
        case F.CPPTYPE_BOOL:
            return _bool
        case F.CPPTYPE_DOUBLE | F.CPPTYPE_FLOAT:
            return _float
        case F.CPPTYPE_ENUM:
            return _enum
        case _:
            return _int


def _bool(_into: FieldDescriptor, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise needed("bool is", value)


def _is_broken(text: str) -> bool:
    """Say whether there is half of a surrogate pair in a text."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _string(_into: FieldDescriptor, value: object) -> str:
    if not isinstance(value, str):
        raise needed("string is", value, "quote it, or write string(…) in an expression")
    if _is_broken(value):
        raise Misfit("half of a surrogate pair is not a character", fix="remove it")
    return value


def _float(field: FieldDescriptor, value: object) -> float:
    name = SCALAR_NAMES[field.cpp_type]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise needed(f"{name} is", value)
    try:
        found = float(value)
    except OverflowError as error:
        raise Misfit(f"the number is too large for a {name}") from error
    if field.cpp_type == F.CPPTYPE_FLOAT and math.isfinite(found) and abs(found) >= _FLOAT_MAX:
        raise Misfit(f"the number is too large for a {name}")
    return found


def _int(field: FieldDescriptor, value: object) -> int:
    name = SCALAR_NAMES[field.cpp_type]
    found = value
    if isinstance(value, str) and field.cpp_type in {F.CPPTYPE_INT64, F.CPPTYPE_UINT64}:
        found = _digits(value)  # how proto3 JSON writes 64-bit numbers
    elif isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_INT_MAX:
        found = int(value)  # how JSON gives integers
    if isinstance(found, bool) or not isinstance(found, int):
        raise needed(f"{name} is", value)
    low, high = _INT_RANGES[field.cpp_type]
    if not low <= found <= high:
        why = f"is out of range for {name} ({low} to {high})"
        raise Misfit(f"the number {why}", told=f"{found} {why}")
    return found


def _enum(field: FieldDescriptor, value: object) -> int:
    enum = enum_of(field)
    why = f"{enum.full_name} has no such value"
    if isinstance(value, str):
        found = None if _is_broken(value) else enum.values_by_name.get(value)  # the library fails over half a pair
        if found is None:
            names = list(enum.values_by_name)
            fix = did_you_mean(value, names) or f"one of {listing(names)}"
            raise Misfit(why, fix=fix, told=f"{enum.full_name} has no value `{clipped(value)}`")
        return found.number
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise needed(f"{enum.full_name} is", value, f"one of {listing(enum.values_by_name)}")
    if number not in enum.values_by_number:
        fix = f"one of {listing(enum.values_by_name)}"
        raise Misfit(why, fix=fix, told=f"{enum.full_name} has no value {number}")
    return number


def _bytes(_into: FieldDescriptor, value: object) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        raise needed("bytes are", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misfit("bytes are written in base64", fix="encode it, or write b'…' in an expression") from error
