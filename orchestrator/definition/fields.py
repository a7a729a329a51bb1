"""Values into protobuf fields: which types fit, and how a value is put.

One set of rules for literals of a definition (checked when it is created) and for what expressions give (checked at
compile time as far as types are known, and here at run time for the rest). They follow proto3 JSON where JSON has one
spelling and are stricter where it is lax: a number is not a text, and `null` only leaves out what may be absent.
"""

import base64
import binascii
import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from google.protobuf import duration_pb2, json_format, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestrator.definition.descriptors import is_map
from orchestrator.definition.diagnostics import did_you_mean, listing
from orchestrator.definition.expressions import ValueType
from orchestrator.definition.model import seconds

F = FieldDescriptor
_INT_RANGES: Final = {
    F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    F.CPPTYPE_UINT32: (0, 2**32 - 1),
    F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_NAMES: Final = {
    F.CPPTYPE_INT32: "int32",
    F.CPPTYPE_INT64: "int64",
    F.CPPTYPE_UINT32: "uint32",
    F.CPPTYPE_UINT64: "uint64",
    F.CPPTYPE_DOUBLE: "double",
    F.CPPTYPE_FLOAT: "float",
    F.CPPTYPE_BOOL: "bool",
}
# Past this a double no longer holds every integer, and JSON numbers are doubles.
_EXACT_INT_MAX: Final = 2**53
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_DURATION: Final = "google.protobuf.Duration"
_STRUCT: Final = "google.protobuf.Struct"
_VALUE: Final = "google.protobuf.Value"
_LIST: Final = "google.protobuf.ListValue"
ANY: Final = "google.protobuf.Any"
_FROM_TEXT: Final = (_TIMESTAMP, _DURATION, "google.protobuf.FieldMask")


class Misfit(Exception):
    """A value does not fit its field; private to this package. `path` is relative to where putting began."""

    def __init__(self, why: str, path: str = "", fix: str = "") -> None:
        """Keep the reason and the place."""
        super().__init__(why)
        self.why = why
        self.path = path
        self.fix = fix

    def below(self, part: str) -> "Misfit":
        """Return the same reason, seen from one level up."""
        joined = part if not self.path else f"{part}{'' if self.path.startswith('[') else '.'}{self.path}"
        return Misfit(self.why, joined, self.fix)


def field_name(field: FieldDescriptor) -> str:
    """Return a field's type for people: `repeated epro.v1.ItemAnswer`."""
    if is_map(field):
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        return f"map<{_single_name(key)}, {_single_name(value)}>"
    return f"{'repeated ' if field.is_repeated else ''}{_single_name(field)}"


def _single_name(field: FieldDescriptor) -> str:
    if field.cpp_type == F.CPPTYPE_MESSAGE:
        return str(field.message_type.full_name)
    if field.cpp_type == F.CPPTYPE_ENUM:
        return str(field.enum_type.full_name)
    if field.cpp_type == F.CPPTYPE_STRING:
        return "bytes" if field.type == F.TYPE_BYTES else "string"
    return _NAMES[field.cpp_type]


# --- which types fit ---------------------------------------------------------------------------------------------


def fits(field: FieldDescriptor, given: ValueType) -> bool:
    """Say whether an expression of this type may fill the field; DYN may, and is judged by its value."""
    if given.name == "DYN":
        return True
    if is_map(field):
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        return given.name == "MAP" and fits_single(key, given.of[0]) and fits_single(value, given.of[1])
    if field.is_repeated:
        return given.name == "LIST" and fits_single(field, given.of[0])
    return fits_single(field, given)


def fits_single(field: FieldDescriptor, given: ValueType) -> bool:
    """Say whether a type may fill one element of the field."""
    if given.name == "DYN":
        return True
    match field.cpp_type:
        case F.CPPTYPE_STRING:
            return given.name == ("BYTES" if field.type == F.TYPE_BYTES else "STRING")
        case F.CPPTYPE_BOOL:
            return given.name == "BOOL"
        case F.CPPTYPE_DOUBLE | F.CPPTYPE_FLOAT:
            return given.name in {"DOUBLE", "INT", "UINT"}
        case F.CPPTYPE_ENUM:
            return given.name in {"INT", "STRING"}
        case F.CPPTYPE_MESSAGE:
            return fits_message(field.message_type, given)
        case _:
            return given.name in {"INT", "UINT"}


def fits_message(descriptor: Descriptor, given: ValueType) -> bool:
    """Say whether a type may fill a message."""
    name = descriptor.full_name
    if name in _WRAPPERS:
        return given.name == "NULL" or fits_single(descriptor.fields_by_name["value"], given)
    if name == ANY:
        return False
    # the library reads and gives these as CEL's own types
    own = {_TIMESTAMP: {"TIMESTAMP", "STRING"}, _DURATION: {"DURATION", "STRING"}, _LIST: {"LIST"}}.get(name)
    if own is not None:
        return given.name in own
    if name in {_STRUCT, _VALUE}:
        return name == _VALUE or given.name == "MAP" or "." in given.name
    return given.name in {name, "DYN"} or (given.name == "STRING" and name in _FROM_TEXT)


# --- putting values -------------------------------------------------------------------------------------------------


def put(message: Message, field: FieldDescriptor, value: object) -> None:
    """Fill a field; raise `Misfit` with the path below it where the value does not fit."""
    if value is None:
        if field.has_presence and not field.is_repeated:
            if field.message_type is not None and field.message_type.full_name == _VALUE:
                getattr(message, field.name).null_value = 0
            return
        raise Misfit(f"null where {field_name(field)} is needed", fix="give a value, or leave the field out")
    if is_map(field):
        _put_map(getattr(message, field.name), field, value)
    elif field.is_repeated:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise Misfit(f"{field_name(field)} is needed, not {kind(value)}", fix="write a list")
        into = getattr(message, field.name)
        for index, item in enumerate(value):
            try:
                append(into, field, item)
            except Misfit as misfit:
                raise misfit.below(f"[{index}]") from misfit
    elif field.cpp_type == F.CPPTYPE_MESSAGE:
        child = getattr(message, field.name)
        child.SetInParent()
        fill(child, value)
    else:
        setattr(message, field.name, scalar(field, value))


def append(into: object, field: FieldDescriptor, value: object) -> None:
    """Append one element to a repeated field's container."""
    if field.cpp_type == F.CPPTYPE_MESSAGE:
        fill(_add(into), value)
    else:
        _append(into, scalar(field, value))


def _add(into: object) -> Message:
    found: Message = into.add()  # type: ignore[attr-defined]  # protobuf's containers have no public type
    return found


def _append(into: object, value: object) -> None:
    into.append(value)  # type: ignore[attr-defined]  # protobuf's containers have no public type


def _put_map(into: object, field: FieldDescriptor, value: object) -> None:
    if not isinstance(value, Mapping):
        raise Misfit(f"{field_name(field)} is needed, not {kind(value)}", fix="write a mapping")
    for name, item in value.items():
        put_entry(into, field, name, item)


def put_entry(into: object, field: FieldDescriptor, name: object, value: object) -> None:
    """Put one entry into a map field's container."""
    value_field = field.message_type.fields_by_name["value"]
    try:
        key = map_key(field, name)
        if value_field.cpp_type == F.CPPTYPE_MESSAGE:
            fill(into[key], value)  # type: ignore[index]  # protobuf's containers have no public type
        else:
            into[key] = scalar(value_field, value)  # type: ignore[index]  # the same
    except Misfit as misfit:
        raise misfit.below(f"[{name!r}]") from misfit


def map_key(field: FieldDescriptor, name: object) -> object:
    """Return a map field's key; YAML and JSON could only write it as text. Raise `Misfit`."""
    key = field.message_type.fields_by_name["key"]
    if isinstance(name, str) and key.cpp_type == F.CPPTYPE_BOOL:
        name = {"true": True, "false": False}.get(name, name)
    elif isinstance(name, str) and key.cpp_type != F.CPPTYPE_STRING:
        name = _digits(name)
    return scalar(key, name)


def _digits(text: str) -> object:
    return int(text) if len(text) <= 20 and text.removeprefix("-").isdecimal() else text


def fill(message: Message, value: object) -> None:
    """Fill a message from a message of its type, a tree, or the texts and numbers of its well-known type."""
    descriptor = message.DESCRIPTOR
    if isinstance(value, Message) and descriptor == value.DESCRIPTOR:
        message.CopyFrom(value)
        return
    special = _WELL_KNOWN.get(descriptor.full_name)
    if special is not None:
        special(message, value)
        return
    if descriptor.full_name in _WRAPPERS:
        message.value = scalar(descriptor.fields_by_name["value"], value)  # type: ignore[attr-defined]  # a wrapper
        return
    if not isinstance(value, Mapping):
        raise Misfit(f"{descriptor.full_name} is needed, not {kind(value)}")
    check_oneofs(descriptor, [str(name) for name in value])
    for name, item in value.items():
        field = find_field(descriptor, str(name))
        try:
            put(message, field, item)
        except Misfit as misfit:
            raise misfit.below(str(name)) from misfit


def find_field(descriptor: Descriptor, name: str) -> FieldDescriptor:
    """Return a field by its proto or JSON name; raise `Misfit` where there is none."""
    field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    if field is None:
        names = [one.name for one in descriptor.fields]
        fix = did_you_mean(name, names) or f"its fields: {listing(names, 20)}"
        raise Misfit(f"{descriptor.full_name} has no field `{name}`", fix=fix)
    return field


def check_oneofs(descriptor: Descriptor, names: list[str]) -> None:
    """Raise `Misfit` where two fields of one oneof are given."""
    taken: dict[str, str] = {}
    for name in names:
        field = descriptor.fields_by_name.get(name)
        group = field.containing_oneof if field is not None else None
        if group is None:
            continue
        if group.name in taken:
            why = f"`{taken[group.name]}` and `{name}` exclude each other (oneof {group.name})"
            raise Misfit(why, fix="keep one of them")
        taken[group.name] = name


def scalar(field: FieldDescriptor, value: object) -> object:
    """Return a value in the form its scalar field takes; raise `Misfit` where it does not fit."""
    match field.cpp_type:
        case F.CPPTYPE_STRING if field.type == F.TYPE_BYTES:
            return _bytes(value)
        case F.CPPTYPE_STRING:
            if isinstance(value, str):
                return value
            raise Misfit(f"string is needed, not {kind(value)}", fix="quote it, or write string(…) in an expression")
        case F.CPPTYPE_BOOL:
            if isinstance(value, bool):
                return value
            raise Misfit(f"bool is needed, not {kind(value)}")
        case F.CPPTYPE_DOUBLE | F.CPPTYPE_FLOAT:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return _float(field, value)
            raise Misfit(f"{_NAMES[field.cpp_type]} is needed, not {kind(value)}")
        case F.CPPTYPE_ENUM:
            return _enum(field, value)
        case _:
            return _int(field, value)


def _float(field: FieldDescriptor, value: float) -> float:
    try:
        found = float(value)
    except OverflowError as error:
        raise Misfit("the number is too large for a double") from error
    # a float field would turn it into infinity without a word
    if field.cpp_type == F.CPPTYPE_FLOAT and math.isfinite(found) and abs(found) > 3.4028235677973366e38:
        raise Misfit("the number is too large for a float")
    return found


def _int(field: FieldDescriptor, value: object) -> int:
    name = _NAMES[field.cpp_type]
    is_wide = field.cpp_type in {F.CPPTYPE_INT64, F.CPPTYPE_UINT64}
    found = value
    if isinstance(value, str) and is_wide:  # how proto3 JSON writes 64-bit numbers
        found = _digits(value)
    elif isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INT_MAX:  # how JSON gives integers
        found = int(value)
    if isinstance(found, bool) or not isinstance(found, int):
        raise Misfit(f"{name} is needed, not {kind(value)}")
    low, high = _INT_RANGES[field.cpp_type]
    if not low <= found <= high:
        raise Misfit(f"{found} is out of range for {name} ({low} to {high})")
    return found


def _enum(field: FieldDescriptor, value: object) -> int:
    enum = field.enum_type
    if isinstance(value, str):
        found = enum.values_by_name.get(value)
        if found is None:
            names = list(enum.values_by_name)
            raise Misfit(f"{enum.full_name} has no value `{value}`", fix=did_you_mean(value, names) or listing(names))
        return int(found.number)
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise Misfit(f"{enum.full_name} is needed, not {kind(value)}", fix=f"one of {listing(enum.values_by_name)}")
    if number not in enum.values_by_number:
        raise Misfit(f"{enum.full_name} has no value {number}", fix=f"one of {listing(enum.values_by_name)}")
    return number


def _bytes(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Misfit("bytes are written in base64", fix="encode it, or write b'…' in an expression") from error
    raise Misfit(f"bytes are needed, not {kind(value)}")


def _timestamp(message: Message, value: object) -> None:
    match value:
        case datetime.datetime():
            message.FromDatetime(value)  # type: ignore[attr-defined]  # a Timestamp
        case str():
            try:
                message.FromJsonString(value)  # type: ignore[attr-defined]  # a Timestamp
            except ValueError as error:
                raise Misfit(f"`{value[:40]}` is not a timestamp", fix="write 2026-01-31T12:00:00Z") from error
        case _:
            raise Misfit(f"a timestamp is needed, not {kind(value)}", fix="write 2026-01-31T12:00:00Z")


def _duration(message: Message, value: object) -> None:
    match value:
        case datetime.timedelta():
            message.FromTimedelta(value)  # type: ignore[attr-defined]  # a Duration
        case str():
            try:
                message.FromNanoseconds(round(seconds(value) * 1e9))  # type: ignore[attr-defined]  # a Duration
            except ValueError as error:
                raise Misfit(f"`{value[:40]}` is not a duration", fix="write 1.5s, 250ms, 2m, 1h or 1d") from error
        case _:
            raise Misfit(f"a duration is needed, not {kind(value)}", fix="write 1.5s, 250ms, 2m, 1h or 1d")


def _from_json(message: Message, value: object) -> None:
    try:
        json_format.ParseDict(to_json(value), message)
    except json_format.ParseError as error:
        raise Misfit(f"{message.DESCRIPTOR.full_name} is needed, not {kind(value)}") from error


def _any(message: Message, value: object) -> None:
    raise Misfit("a field of type google.protobuf.Any cannot be filled", fix="leave it out")


_WELL_KNOWN: Final[Mapping[str, Callable[[Message, object], None]]] = {
    _TIMESTAMP: _timestamp,
    _DURATION: _duration,
    _STRUCT: _from_json,
    _VALUE: _from_json,
    _LIST: _from_json,
    "google.protobuf.FieldMask": _from_json,
    ANY: _any,
}


def to_json(value: object) -> object:
    """Return an expression's value as JSON values; raise `Misfit` for what JSON cannot hold exactly."""
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > _EXACT_INT_MAX:
                raise Misfit(f"{value} is too large for a JSON number", fix="write string(…)")
            return value
        case float():
            if not math.isfinite(value):
                raise Misfit(f"{value} is not a JSON number")
            return value
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case datetime.datetime():
            stamp = timestamp_pb2.Timestamp()
            stamp.FromDatetime(value)
            return stamp.ToJsonString()
        case datetime.timedelta():
            lasting = duration_pb2.Duration()
            lasting.FromTimedelta(value)
            return lasting.ToJsonString()
        case Message():
            return json_format.MessageToDict(value, preserving_proto_field_name=True)
        case list() | tuple():
            return [to_json(item) for item in value]
        case Mapping():
            return {_key(name): to_json(item) for name, item in value.items()}
        case _:
            raise Misfit(f"{kind(value)} has no JSON form")


def _key(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def kind(value: object) -> str:
    """Return what a value is, for a sentence that ends with it."""
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int():
            return f"the whole number {value}"
        case float():
            return f"the number {value}"
        case str():
            return f"the text `{value[:40]}{'…' if len(value) > 40 else ''}`"
        case bytes() | bytearray():
            return "bytes"
        case Message():
            return f"a {value.DESCRIPTOR.full_name}"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case datetime.datetime():
            return "a timestamp"
        case datetime.timedelta():
            return "a duration"
        case _:
            return f"a value of another type ({type(value).__name__})"
