"""Values into the well-known types, and any value as JSON.

Every pool's class of a well-known type carries the library's own methods of it, whatever file it came from.
"""

import base64
import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.definition.durations import seconds
from orchestrator.definition.fits import (
    ANY_TYPE,
    DURATION_TYPE,
    FIELD_MASK_TYPE,
    LIST_TYPE,
    STRUCT_TYPE,
    TIMESTAMP_TYPE,
    TREE_TYPES,
    VALUE_TYPE,
)
from orchestrator.definition.misfit import Misfit, clipped, kind, needed

# Past this a double no longer holds every integer, and JSON numbers are doubles.
EXACT_INT_MAX: Final = 2**53

Object = Mapping[str, object]
"""A JSON object as Python has it."""


def _timestamp(message: Message, value: object) -> None:
    stamp = cast("Timestamp", message)
    fix = "write 2026-01-31T12:00:00Z"
    match value:
        case datetime.datetime():
            stamp.FromDatetime(value)
        case str():
            try:
                stamp.FromJsonString(value)
            except ValueError as error:
                told = f"`{clipped(value)}` is not a timestamp"
                raise Misfit("the text is not a timestamp", fix=fix, told=told) from error
        case _:
            raise needed("a timestamp is", value, fix)


def _duration(message: Message, value: object) -> None:
    lasting = cast("Duration", message)
    fix = "write 1.5s, 250ms, 2m, 1h or 1d"
    match value:
        case datetime.timedelta():
            lasting.FromTimedelta(value)
        case str():
            try:
                lasting.FromNanoseconds(round(seconds(value) * 1e9))
            except ValueError as error:
                told = f"`{clipped(value)}` is not a duration"
                raise Misfit("the text is not a duration", fix=fix, told=told) from error
        case _:
            raise needed("a duration is", value, fix)


def _mask(message: Message, value: object) -> None:
    try:
        json_format.ParseDict(cast("dict[str, Any]", to_json(value)), message)
    except (json_format.ParseError, AttributeError, ValueError) as error:
        raise needed(f"{message.DESCRIPTOR.full_name} is", value) from error


def _tree(message: Message, value: object) -> None:
    """Fill a message that stands for a JSON value, as the library's parser does, which takes several times as long."""
    found = to_json(value)
    try:
        match message.DESCRIPTOR.full_name, found:
            case name, dict() if name == STRUCT_TYPE:
                _put_object(cast("Struct", message), cast("Object", found))
            case name, list() if name == LIST_TYPE:
                _put_list(cast("ListValue", message), cast("list[object]", found))
            case name, _ if name == VALUE_TYPE:
                _put_value(cast("Value", message), found)
            case name, _:
                raise needed(f"{name} is", value)
    except ValueError as error:  # half of a surrogate pair
        raise needed(f"{message.DESCRIPTOR.full_name} is", value) from error


def _put_object(into: Struct, found: Object) -> None:
    for name, value in found.items():
        _put_value(into.fields[name], value)


def _put_list(into: ListValue, found: list[object]) -> None:
    for value in found:
        _put_value(into.values.add(), value)


def _put_value(into: Value, found: object) -> None:
    match found:
        case None:
            into.null_value = NULL_VALUE
        case bool():
            into.bool_value = found
        case str():
            into.string_value = found
        case int() | float():
            into.number_value = found
        case list():
            into.list_value.SetInParent()
            _put_list(into.list_value, cast("list[object]", found))
        case _:
            into.struct_value.SetInParent()
            _put_object(into.struct_value, cast("Object", found))


def _any(message: Message, value: object) -> None:
    raise Misfit("a field of type google.protobuf.Any cannot be filled", fix="leave it out")


WELL_KNOWN: Final[Mapping[str, Callable[[Message, object], None]]] = {
    TIMESTAMP_TYPE: _timestamp,
    DURATION_TYPE: _duration,
    ANY_TYPE: _any,
    FIELD_MASK_TYPE: _mask,
    **dict.fromkeys(TREE_TYPES, _tree),
}


def to_json(value: object) -> object:
    """Return an expression's value as JSON values; raise `Misfit` for what JSON cannot hold exactly."""
    if type(value) is str:
        return value  # as most are
    match value:
        case None | bool() | str():
            return value
        case dict():
            return _object_to_json(cast("Mapping[object, object]", value))
        case int():
            if abs(value) > EXACT_INT_MAX:
                told = f"{value} is too large for a JSON number"
                raise Misfit("the number is too large for a JSON number", fix="write string(…)", told=told)
            return value
        case float():
            if not math.isfinite(value):
                raise Misfit("infinity, or what is no number at all, is not a JSON number")
            return value
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case datetime.datetime():
            stamp = Timestamp()
            stamp.FromDatetime(value)
            return stamp.ToJsonString()
        case datetime.timedelta():
            lasting = Duration()
            lasting.FromTimedelta(value)
            return lasting.ToJsonString()
        case Message():
            return _message_to_json(value)
        case list():
            return [to_json(item) for item in cast("list[object]", value)]
        case Mapping():
            return _object_to_json(cast("Mapping[object, object]", value))
        case _:
            raise Misfit(f"{kind(value)} has no JSON form")


def _object_to_json(value: Mapping[object, object]) -> object:
    return {str(name).lower() if isinstance(name, bool) else str(name): to_json(item) for name, item in value.items()}


def _message_to_json(value: Message) -> object:
    try:
        return json_format.MessageToDict(value, preserving_proto_field_name=True)
    except (TypeError, ValueError, json_format.Error) as error:  # an Any of an unknown type, a NaN in a Struct
        raise Misfit(f"this {value.DESCRIPTOR.full_name} has no JSON form") from error
