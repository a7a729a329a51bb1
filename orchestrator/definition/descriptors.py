"""What the called services' protobuf types look like: one private pool per revision.

Descriptors come from every target of a definition, are merged, cut down to what the definition needs, and pinned with
its revision. A pool is never shared between revisions and never the process's default one: two services may ship
different files under one name, and two revisions may pin different versions of one file.

The well-known types (`google/protobuf/*.proto`) are this process's own: their wire format is fixed for ever, while
their descriptor bytes differ between languages. So is `orchestrator/v1/annotations.proto`: two services may have copied
it at different times, which is no conflict.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator.definition import operations
from orchestrator.limits import PARSED_PAYLOADS_BYTES_MAX, SHARED_BYTES_MIN
from orchestrator.v1 import annotations_pb2

File = descriptor_pb2.FileDescriptorProto
_OWN: Final[Sequence[FileDescriptor]] = (
    any_pb2.DESCRIPTOR,
    source_context_pb2.DESCRIPTOR,
    type_pb2.DESCRIPTOR,
    api_pb2.DESCRIPTOR,
    descriptor_pb2.DESCRIPTOR,
    duration_pb2.DESCRIPTOR,
    empty_pb2.DESCRIPTOR,
    field_mask_pb2.DESCRIPTOR,
    struct_pb2.DESCRIPTOR,
    timestamp_pb2.DESCRIPTOR,
    wrappers_pb2.DESCRIPTOR,
    annotations_pb2.DESCRIPTOR,
)
_OWN_NAMES: Final = frozenset(file.name for file in _OWN)


_PIN: Final = "@saga/"
"""What the name of a file begins with that pins a child's revision: `@saga/settle_leg/r0123456789ab`."""


class DescriptorsBroken(Exception):
    """A descriptor set cannot be used; private to this package, where it becomes a finding."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One file name, two contents."""

    file: str
    targets: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The files of several targets as one set, and what did not fit."""

    files: Mapping[str, File]
    conflicts: Sequence[Conflict]
    broken: Mapping[str, str]
    """Target -> why its descriptor set was not readable."""
    services: Mapping[str, frozenset[str]]
    """Target -> full names of the services it declares."""


def merge(sets: Mapping[str, bytes]) -> Merged:
    """Merge the descriptor sets of targets; the first one to bring a file wins, a differing second is a conflict."""
    files: dict[str, File] = {}
    owners: dict[str, str] = {}
    conflicts: list[Conflict] = []
    broken: dict[str, str] = {}
    services: dict[str, frozenset[str]] = {}
    for target, data in sets.items():
        try:
            found = descriptor_pb2.FileDescriptorSet.FromString(data)
        except DecodeError as error:
            broken[target] = str(error)
            continue
        services[target] = frozenset(_full(file, service.name) for file in found.file for service in file.service)
        for raw in found.file:
            if raw.name in _OWN_NAMES:
                continue
            file = _plain(raw)
            if file.name not in files:
                files[file.name], owners[file.name] = file, target
            elif files[file.name] != file:
                conflicts.append(Conflict(file.name, (owners[file.name], target)))
    return Merged(files=files, conflicts=conflicts, broken=broken, services=services)


def closure(files: Mapping[str, File], roots: Iterable[str]) -> bytes:
    """Return a serialised set of the root files and all they import: same files, same bytes, in import order."""
    ordered: dict[str, File] = {}
    for root in sorted(roots):
        _collect(files, root, ordered)
    found = descriptor_pb2.FileDescriptorSet(file=ordered.values())
    return found.SerializeToString(deterministic=True)


def pin(descriptors: bytes, children: Mapping[str, str]) -> bytes:
    """Add which revisions of other definitions are run as children: each is an empty file, so that a set holds all."""
    found = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    for name, revision in sorted(children.items()):
        found.file.add(name=f"{_PIN}{name}/{revision}")
    return found.SerializeToString(deterministic=True) if children else descriptors


def pinned(descriptors: bytes) -> Mapping[str, str]:
    """Return what `pin` has added: definition -> revision; nothing where the set cannot be read."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
    except DecodeError:
        return {}
    parts = (file.name.split("/") for file in files if file.name.startswith(_PIN))
    return {each[1]: each[2] for each in parts if len(each) == 3}  # noqa: PLR2004  (prefix, definition, revision)


class Types:
    """The message types and methods of one revision. Not thread-safe beyond reading; built once, never changed."""

    def __init__(self, descriptors: bytes) -> None:
        """Build the pool; raise `DescriptorsBroken` where the files contradict each other or miss an import."""
        self.pool: Final = DescriptorPool()
        for own in _OWN:
            self.pool.AddSerializedFile(own.serialized_pb)
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
            for file in files:
                if file.name not in _OWN_NAMES:
                    self.pool.AddSerializedFile(file.SerializeToString())
        except (TypeError, DecodeError) as error:
            raise DescriptorsBroken(str(error)) from error
        self._services: Final = tuple(_full(file, service.name) for file in files for service in file.service)
        self._messages: Final = tuple(_full(file, message.name) for file in files for message in file.message_type)
        self._parsed: Final = _Parsed()

    def services(self) -> Sequence[str]:
        """Return the full names of all services."""
        return self._services

    def messages(self) -> Sequence[str]:
        """Return the full names of all top-level messages."""
        return self._messages

    def methods(self, service: str) -> Mapping[str, MethodDescriptor]:
        """Return the methods of a service by name; empty where it does not exist."""
        try:
            return self.pool.FindServiceByName(service).methods_by_name
        except KeyError:
            return {}

    def message(self, name: str) -> Descriptor | None:
        """Return a message type; None where it does not exist."""
        try:
            return self.pool.FindMessageTypeByName(name)
        except KeyError:
            return operations.MESSAGES.get(name)

    def parser(self, descriptor: Descriptor) -> Callable[[bytes], Message]:
        """Return what parses a type's messages; they are shared with other readers: never change one.

        It raises `DecodeError`.
        """
        return self._parsed.parser(descriptor)

    def part(self, descriptor: Descriptor, fields: frozenset[str], data: bytes) -> Message:
        """Return a message that has only some of its fields; shared, and raises, as `parser` says."""
        return self._parsed.part(data, descriptor, fields)


def has_no_maps(descriptor: Descriptor) -> bool:
    """Say whether one message has one serialised form anyway: nowhere in it is a map, whose entries have no order."""
    todo, seen = [descriptor], {descriptor.full_name}
    while todo:
        message = todo.pop()
        if message.is_extendable or any(is_map(field) for field in message.fields):
            return False
        below = [field.message_type for field in message.fields if field.message_type is not None]
        todo += [each for each in below if each.full_name not in seen]
        seen |= {each.full_name for each in below}
    return True


def message_class(descriptor: Descriptor) -> type[Message]:
    """Return the class of a message type."""
    found: type[Message] = GetMessageClass(descriptor)
    return found


@dataclass(slots=True)
class _Parsed:
    """The most recently read payloads, so that the leaves of a request share one parse (bytes keep their hash)."""

    by_key: OrderedDict[tuple[Descriptor, bytes, frozenset[str]], tuple[Message, int]] = field(
        default_factory=OrderedDict[tuple[Descriptor, bytes, frozenset[str]], tuple[Message, int]]
    )
    """With its size; no field stands for all of them."""
    size_bytes: int = 0
    parsers: dict[Descriptor, Callable[[bytes], Message]] = field(
        default_factory=dict[Descriptor, Callable[[bytes], Message]]
    )
    """At most one for each type of the pool."""

    def parser(self, descriptor: Descriptor) -> Callable[[bytes], Message]:
        if descriptor not in self.parsers:
            self.parsers[descriptor] = self._new_parser(descriptor)
        return self.parsers[descriptor]

    def _new_parser(self, descriptor: Descriptor) -> Callable[[bytes], Message]:
        parse = message_class(descriptor).FromString

        def parsed(data: bytes) -> Message:
            if len(data) < SHARED_BYTES_MIN:
                return parse(data)
            key = (descriptor, data, _ALL)
            found = self.by_key.get(key)
            if found is None:
                return self._keep(key, parse(data), len(data))
            self.by_key.move_to_end(key)
            return found[0]

        return parsed

    def part(self, data: bytes, descriptor: Descriptor, fields: frozenset[str]) -> Message:
        key = (descriptor, data, fields)
        found = self.by_key.get(key)
        if found is not None:
            self.by_key.move_to_end(key)
            return found[0]
        whole = self.parser(descriptor)(data)
        try:
            part = _part_of(whole, fields)
        except UnicodeDecodeError:  # a text that is not UTF-8, as proto2 lets it be: it is copied with all the rest
            part = whole
        return self._keep(key, part, part.ByteSize())

    def _keep(self, key: tuple[Descriptor, bytes, frozenset[str]], found: Message, size: int) -> Message:
        self.by_key[key] = found, size
        self.size_bytes += size
        while self.size_bytes > PARSED_PAYLOADS_BYTES_MAX and len(self.by_key) > 1:
            _, (_, old) = self.by_key.popitem(last=False)
            self.size_bytes -= old
        return found


_ALL: Final = frozenset[str]()


def _part_of(message: Message, fields: frozenset[str]) -> Message:
    """Return a copy with only some fields; of a JSON object, with only some keys."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        struct = cast("struct_pb2.Struct", message)
        found = cast("struct_pb2.Struct", type(message)())
        for key in fields:
            if key in struct.fields:  # asking for it would add it
                found.fields[key].CopyFrom(struct.fields[key])
        return found
    made = type(message)()
    for field_, _ in message.ListFields():
        if field_.name in fields:
            _copy(made, message, field_)
    return made


def _copy(into: Message, message: Message, field_: FieldDescriptor) -> None:
    value = getattr(message, field_.name)
    if field_.is_repeated:
        getattr(into, field_.name).MergeFrom(value)
    elif field_.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        getattr(into, field_.name).CopyFrom(value)
    else:
        setattr(into, field_.name, value)


def way(start: Descriptor, parts: Sequence[str]) -> Sequence[FieldDescriptor] | None:
    """Return the fields along a path; None where it leaves plain messages, as in a map's key."""
    found: list[FieldDescriptor] = []
    message: Descriptor | None = start
    for part in parts:
        # CEL reads well-known types as types of its own: below them there are no fields
        if message is None or message.full_name.startswith("google.protobuf."):
            return None
        field = message.fields_by_name[part]
        found.append(field)
        message = None if field.is_repeated else field.message_type
    return found


def has(message: Message, name: str) -> bool:
    """Say whether a field with presence is there; a field called `HasField` hides the message's own."""
    return type(message).HasField(message, name)


def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map."""
    message = field.message_type
    return message is not None and field.is_repeated and message.GetOptions().map_entry


def map_fields(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Return the key and the value field of a map field."""
    entry = message_of(field)
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def message_of(field: FieldDescriptor) -> Descriptor:
    """Return the message type of a message field."""
    assert field.message_type is not None  # asked of message fields only
    return field.message_type


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """Return the enum type of an enum field."""
    assert field.enum_type is not None  # asked of enum fields only
    return field.enum_type


def _full(file: File, name: str) -> str:
    return f"{file.package}.{name}" if file.package else name


def _plain(raw: File) -> File:
    """Drop what differs between the ways to get one file: comments, and JSON names that are the default anyway."""
    file = File()
    file.CopyFrom(raw)
    file.ClearField("source_code_info")
    todo = list(file.message_type)
    fields = list(file.extension)
    while todo:
        message = todo.pop()
        todo.extend(message.nested_type)
        fields.extend(message.field)
        fields.extend(message.extension)
    for found in fields:
        if found.json_name == _json_name(found.name):
            found.ClearField("json_name")
    return file


def _json_name(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _collect(files: Mapping[str, File], name: str, into: dict[str, File]) -> None:
    """Add a file after its imports, without recursion: import chains come from outside and may be long."""
    todo = [(name, False)]
    seen: set[str] = set()
    while todo:
        current, is_ready = todo.pop()
        file = files.get(current)
        if file is None or current in into:
            continue
        if is_ready:
            into[current] = file
        elif current not in seen:
            seen.add(current)
            todo.append((current, True))
            todo.extend((dependency, False) for dependency in reversed(file.dependency))
