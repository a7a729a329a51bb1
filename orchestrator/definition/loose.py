"""Texts that are no UTF-8, as proto2 lets a message hold: may a value hold one, and does it?

Whoever asks such a field for its text is told. CEL is not as careful: where one becomes the key of a map that leaves an
expression, it ends the process. It may be a map's key already, become one in the expression (`{reply.text: 1}`), or lie
in an `Any`, which CEL unpacks by itself. So before a map may leave, what the expression reads is looked through; nearly
always its types say at once that there is nothing to look for.
"""

from collections.abc import Iterable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator.limits import LOOSE_VALUES_MAX

_ANY = "google.protobuf.Any"
_SIZED = 2
"""How a text's field goes on after its number, on the wire."""


def why_loose(value: object) -> str:
    """Return why a value, a message or a list of them, may not become keys of a map; empty where it may."""
    values = cast(Iterable[object], value) if isinstance(value, list) else [value]
    todo = [each for each in values if isinstance(each, Message) and _may_be_loose(type(each))]
    left = LOOSE_VALUES_MAX
    while todo:
        message = todo.pop()
        if message.DESCRIPTOR.full_name == _ANY:
            todo += _unpacked(message)
            continue
        for field, held in message.ListFields():
            parts = _parts(field, held)
            if field.type != field.TYPE_BYTES and any(isinstance(part, bytes) for part in parts):
                return f"a text of {field.full_name} is not UTF-8"
            left -= len(parts)
            if left < 0:
                return f"more than {LOOSE_VALUES_MAX} values are too many to look for texts that are not UTF-8"
            todo += [part for part in parts if isinstance(part, Message)]
    return ""


_known: Final = WeakKeyDictionary[type[Message], bool]()
"""By class, and not by descriptor, which cannot be held weakly: it would keep the types of plans long put aside."""


def _may_be_loose(kind: type[Message]) -> bool:
    known = _known.get(kind)
    if known is None:
        known = _known[kind] = _lets_loose(cast(Descriptor, kind.DESCRIPTOR))
    return known


def _lets_loose(descriptor: Descriptor) -> bool:
    """Say whether a message, or one in it, may hold a text that is none; of what may be in an `Any` nobody knows."""
    todo, seen = [descriptor], {descriptor.full_name}
    while todo:
        message = todo.pop()
        if message.full_name == _ANY or message.is_extendable or any(map(_takes_all, message.fields)):
            return True
        below = [field.message_type for field in message.fields if field.message_type is not None]
        todo += [each for each in below if each.full_name not in seen]
        seen |= {each.full_name for each in below}
    return False


def _takes_all(field: FieldDescriptor) -> bool:
    """Ask the parser itself: which files leave texts unchecked is a matter of their syntax, edition and options."""
    owner = field.containing_type
    if field.type != field.TYPE_STRING or owner is None:
        return False
    tag, written = field.number << 3 | _SIZED, bytearray()
    while tag:
        written.append(tag & 0x7F | (0x80 if tag > 0x7F else 0))  # noqa: PLR2004  # seven bits a byte
        tag >>= 7
    try:
        GetMessageClass(owner)().MergeFromString(bytes(written) + b"\x01\xff")
    except DecodeError:
        return False
    return True


def _parts(field: FieldDescriptor, value: Any) -> list[Any]:  # noqa: ANN401  # whatever a field holds
    if not field.is_repeated:
        return [value]
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return list(value)
    keys = list(value)
    if entry.fields_by_name["value"].type == FieldDescriptor.TYPE_BYTES or any(isinstance(key, bytes) for key in keys):
        return keys  # the second have no values for whoever asks by them
    return [*keys, *value.values()]


def _unpacked(packed: Any) -> list[Message]:  # noqa: ANN401  # an `Any`, of whichever pool
    """Return what is in it; nothing where that is not known, which CEL cannot read either."""
    pool = packed.DESCRIPTOR.file.pool
    try:
        found = GetMessageClass(pool.FindMessageTypeByName(packed.type_url.rpartition("/")[2]))
        return [found.FromString(packed.value)]
    except (KeyError, DecodeError):
        return []
