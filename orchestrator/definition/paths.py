"""Plain paths: `${input.report}`, `${steps.score.reply.total}` copied as recorded, without CEL.

Why not evaluate them: a copy keeps what an evaluation loses. An absent field stays absent (an evaluation gives its
default), a timestamp keeps its nanoseconds, and a message is not taken apart. It is also several times quicker, and
most requests are made of nothing else. A path is copied only into a field of the very same type; everything else is
evaluated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from orchestrator.definition.descriptors import enum_of, has, is_map, message_of, way
from orchestrator.definition.expressions import Expression
from orchestrator.definition.names import Names, Reading

Evaluate = Callable[[Reading], object]


@dataclass(frozen=True, slots=True)
class Copy:
    """Reads what a plain path names, None where it is absent."""

    read: Evaluate
    is_recorded: bool
    """It is read from a message that was recorded as one, so that nothing of another type can come of it."""


def copied(expression: Expression, into: FieldDescriptor, known: Names, *, is_element: bool) -> Copy | None:
    """Return a reader of the field a plain path names; None where it must be evaluated.

    `is_element` says that the value is one element of a repeated field or of a map, not a whole field.
    """
    is_list = into.is_repeated and not is_element
    if not expression.path:
        return None
    name, *rest = expression.path
    start = known.names[name].message
    if start is None:
        return None
    is_recorded = known.names[name].recorded is not None
    if not rest:
        same = not is_list and into.message_type is not None and into.message_type.full_name == start.full_name
        return Copy(lambda reading: reading.message(name), is_recorded) if same else None
    fields = way(start, rest)
    if fields is None or not _same_type(fields[-1], into, is_list=is_list):
        return None
    keeps_presence = fields[-1].has_presence and into.has_presence and not is_element
    return Copy(_reader(name, fields, keeps_presence=keeps_presence), is_recorded)


def _reader(name: str, fields: Sequence[FieldDescriptor], *, keeps_presence: bool) -> Evaluate:
    get = attrgetter(".".join(field.name for field in fields))
    if not keeps_presence:
        return lambda reading: get(reading.message(name))
    *over, last = (field.name for field in fields)

    def read(reading: Reading) -> object:
        found = reading.message(name)
        for part in over:
            found = cast("Message", getattr(found, part))
        return cast("object", getattr(found, last)) if has(found, last) else None

    return read


def _same_type(one: FieldDescriptor, other: FieldDescriptor, *, is_list: bool) -> bool:
    if one.type != other.type or one.is_repeated != is_list or is_map(one):
        return False
    if one.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return message_of(one).full_name == message_of(other).full_name
    return one.cpp_type != FieldDescriptor.CPPTYPE_ENUM or enum_of(one).full_name == enum_of(other).full_name
