"""Messages that callers give: JSON values, or the bytes of a type, checked against what a plan takes."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from orchestrator.definition import fields
from orchestrator.definition.descriptors import Types, message_class
from orchestrator.definition.misfit import Misfit, joined
from orchestrator.errors import InputInvalid
from orchestrator.limits import JSON_DEPTH_MAX, JSON_NODES_MAX, PAYLOAD_BYTES_MAX
from orchestrator.values import Payload


def from_json(values: Mapping[str, object], descriptor: Descriptor, types: Types, path: str) -> Payload:
    """Return JSON values as a message; raise `InputInvalid` with the field's path below `path`."""
    _bound_json(values, path)
    message = message_class(descriptor)()
    try:
        json_format.ParseDict(cast("dict[str, Any]", values), message, descriptor_pool=types.pool)
        data = message.SerializeToString(deterministic=True)
    except (json_format.ParseError, TypeError, ValueError, SystemError) as error:
        # the last of them is how the library fails over half of a surrogate pair in a name that it looks for
        raise _explained(values, descriptor, error, path) from error
    if len(data) > PAYLOAD_BYTES_MAX:
        raise oversized(len(data), path)
    return Payload(descriptor.full_name, data)


def _explained(values: Mapping[str, object], descriptor: Descriptor, error: Exception, path: str) -> InputInvalid:
    """Say where the input is wrong: the parser's own text names no list index and no way down."""
    scratch: Message = message_class(descriptor)()
    try:
        fields.fill(scratch, values)
    except Misfit as misfit:
        hint = f" ({misfit.fix})" if misfit.fix else ""
        return InputInvalid(joined(path, misfit.path), f"{misfit.why}{hint}")
    what, _, _ = str(error).splitlines()[0].partition(": ")  # what follows may be the value
    return InputInvalid(path, what)


def _bound_json(values: Mapping[str, object], path: str) -> None:
    """Refuse what would exhaust the parser's stack or this process's memory, before anything is parsed (D-11)."""
    todo: list[tuple[object, int]] = [(values, 1)]
    nodes = 0
    while todo:
        value, depth = todo.pop()
        nodes += 1
        if depth > JSON_DEPTH_MAX:
            raise InputInvalid(path, f"is nested more than {JSON_DEPTH_MAX} deep")
        if nodes > JSON_NODES_MAX:
            raise InputInvalid(path, f"has more than {JSON_NODES_MAX} values")
        if isinstance(value, Mapping):
            todo.extend((item, depth + 1) for item in cast("Mapping[str, object]", value).values())
        elif isinstance(value, (list, tuple)):
            todo.extend((item, depth + 1) for item in cast("Sequence[object]", value))


def oversized(size_bytes: int, path: str) -> InputInvalid:
    """Return what a message is refused with that is larger than any peer need accept."""
    return InputInvalid(path, f"has {size_bytes} bytes, more than the {PAYLOAD_BYTES_MAX} allowed")
