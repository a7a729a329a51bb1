"""Which types of expressions fill which protobuf fields; what cannot be known from types is judged by `fields.py`."""

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestrator.definition.descriptors import enum_of, is_map, map_fields, message_of
from orchestrator.definition.expressions import ValueType

F = FieldDescriptor
TIMESTAMP_TYPE: Final = "google.protobuf.Timestamp"
DURATION_TYPE: Final = "google.protobuf.Duration"
FIELD_MASK_TYPE: Final = "google.protobuf.FieldMask"
STRUCT_TYPE: Final = "google.protobuf.Struct"
VALUE_TYPE: Final = "google.protobuf.Value"
LIST_TYPE: Final = "google.protobuf.ListValue"
ANY_TYPE: Final = "google.protobuf.Any"
TREE_TYPES: Final = frozenset({STRUCT_TYPE, VALUE_TYPE, LIST_TYPE})
"""Messages that stand for JSON values."""
WRAPPER_TYPES: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
SCALAR_NAMES: Final = {
    F.CPPTYPE_INT32: "int32",
    F.CPPTYPE_INT64: "int64",
    F.CPPTYPE_UINT32: "uint32",
    F.CPPTYPE_UINT64: "uint64",
    F.CPPTYPE_DOUBLE: "double",
    F.CPPTYPE_FLOAT: "float",
    F.CPPTYPE_BOOL: "bool",
}
# the expression library reads and gives these as types of its own
_OWN_TYPES: Final = {
    TIMESTAMP_TYPE: frozenset({"TIMESTAMP", "STRING"}),
    DURATION_TYPE: frozenset({"DURATION", "STRING"}),
    LIST_TYPE: frozenset({"LIST"}),
}


def field_name(field: FieldDescriptor) -> str:
    """Return a field's type for people: `repeated epro.v1.ItemAnswer`."""
    if is_map(field):
        key, value = map_fields(field)
        return f"map<{element_name(key)}, {element_name(value)}>"
    return f"{'repeated ' if field.is_repeated else ''}{element_name(field)}"


def element_name(field: FieldDescriptor) -> str:
    """Return the type of one element for people: `epro.v1.ItemAnswer`."""
    match field.cpp_type:
        case F.CPPTYPE_MESSAGE:
            return message_of(field).full_name
        case F.CPPTYPE_ENUM:
            return enum_of(field).full_name
        case F.CPPTYPE_STRING:
            return "bytes" if field.type == F.TYPE_BYTES else "string"
        case _:
            return SCALAR_NAMES[field.cpp_type]


def fits(field: FieldDescriptor, given: ValueType) -> bool:
    """Say whether an expression of this type may fill the field; DYN may, and is judged by its value."""
    if given.name == "DYN":
        return True
    if is_map(field):
        key, value = map_fields(field)
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
            return fits_message(message_of(field), given)
        case _:
            return given.name in {"INT", "UINT"}


def fits_message(descriptor: Descriptor, given: ValueType) -> bool:
    """Say whether a type may fill a message."""
    name = descriptor.full_name
    if given.name == "DYN":
        return name != ANY_TYPE
    if name in WRAPPER_TYPES:
        return given.name == "NULL" or fits_single(descriptor.fields_by_name["value"], given)
    if name in _OWN_TYPES:
        return given.name in _OWN_TYPES[name]
    if name == VALUE_TYPE:
        return given.name not in {"optional_type", "TYPE"}
    if name == STRUCT_TYPE:
        return given.name == "MAP" or "." in given.name
    if given.name == "MAP" and given.of[1].name == "DYN":  # a JSON object: its members are judged by their values
        return True
    return given.name == name or (given.name == "STRING" and name == FIELD_MASK_TYPE)
