"""Parsing that refuses a map's key that is no text: CEL ends the process where such a map leaves an expression.

proto2 takes any bytes for a string, and a message with such a field can be read: whoever asks for the field is told.
A map's keys are read at once, by whoever asks for it or for what it is in: there a message is refused as a whole.
"""

from collections.abc import Callable
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_NO_TEXT: Final = b"\x0a\x01\xff"
"""A map's entry whose key is one byte, which is no UTF-8."""


def parsing(descriptor: Descriptor) -> Callable[[bytes], Message]:
    """Return what parses a type's messages; it raises `DecodeError`."""
    parse: Callable[[bytes], Message] = GetMessageClass(descriptor).FromString
    if not _may_hold_others(descriptor):
        return parse

    def checked(data: bytes) -> Message:
        message = parse(data)
        _check(message)
        return message

    return checked


def _may_hold_others(descriptor: Descriptor) -> bool:
    """Say whether a message, or one in it, parses with a key that is no text."""
    todo, seen = [descriptor], {descriptor.full_name}
    while todo:
        message = todo.pop()
        if message.is_extendable or any(map(_takes_others, message.fields)):
            return True
        below = [field.message_type for field in message.fields if field.message_type is not None]
        todo += [each for each in below if each.full_name not in seen]
        seen |= {each.full_name for each in below}
    return False


def _takes_others(field: FieldDescriptor) -> bool:
    """Ask the parser itself: which files leave texts unchecked is a matter of their syntax, edition and options."""
    if (entry := _entry_by_text(field)) is None:
        return False
    try:
        GetMessageClass(entry).FromString(_NO_TEXT)
    except DecodeError:
        return False
    return True


def _check(whole: Message) -> None:
    todo = [whole]
    while todo:
        for field, value in todo.pop().ListFields():
            if _entry_by_text(field) is not None and any(isinstance(key, bytes) for key in value):
                raise DecodeError(f"a key of its map {field.full_name} is not UTF-8")
            if field.message_type is None:
                continue
            if not field.is_repeated:
                todo.append(value)
            elif not field.message_type.GetOptions().map_entry:
                todo += value
            elif field.message_type.fields_by_name["value"].message_type is not None:
                todo += value.values()


def _entry_by_text(field: FieldDescriptor) -> Descriptor | None:
    """Return the type of a map's entries whose keys are texts; None of every other field."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry if entry.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING else None
