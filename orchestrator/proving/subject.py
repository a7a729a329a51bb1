"""What is put to the proof: two methods of a service, the requests to send, and how an effect is counted.

Requests are JSON with holes. `{unique}` is another word in every trial, so that trials do not meet; `{reply.a.b}` is a
field of the forward call's reply and `{request.a.b}` one of its request, both under their proto names. A string that is
nothing but a hole takes the field's own value, or is left out where there was no reply.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message

from orchestrator.definition.descriptors import DescriptorsBroken, Types, message_class
from orchestrator.definition.expressions import EvaluationFailed, Expression, Language, message_type
from orchestrator.frozen import frozen

_HOLE = re.compile(r"\{(unique|(?:reply|request)(?:\.[A-Za-z_]\w*)+)\}")
_COUNTS = {"INT", "UINT", "BOOL"}
_NOTHING = object()
"""What a hole holds where there was no reply."""

Json = Mapping[str, object]


class Unfit(Exception):
    """What was asked for does not fit the service; the message is for whoever asked."""


@frozen
class Probe:
    """How effects are counted: a method that shows them, and a CEL expression over its `reply`."""

    method: str
    request: Json
    count: str


@frozen
class Asked:
    """What the user wants proved, in the user's words."""

    forward: str
    compensate: str
    request: Json
    undo_request: Json
    probe: Probe | None = None


@frozen
class Method:
    """One method, with the classes of its messages."""

    name: str
    """`package.Service/Method`"""
    request: type[Message]
    reply: type[Message]


class Subject:
    """`Asked`, checked against the service's own types."""

    def __init__(self, asked: Asked, descriptors: bytes) -> None:
        """Raise `Unfit` for a method, a field or an expression that the service does not have."""
        try:
            types = Types(descriptors)
        except DescriptorsBroken as exc:
            raise Unfit(f"the service's descriptors cannot be used: {exc}") from exc
        self.forward = _method(types, asked.forward)
        self.compensate = _method(types, asked.compensate)
        self._asked = asked
        self.probe: Method | None = None
        self._count: Expression | None = None
        self._language: Language | None = None
        if asked.probe is not None:
            self.probe = _method(types, asked.probe.method)
            self._language = Language(types.pool, {"reply": message_type(_descriptor(self.probe.reply))})
            self._count = _compiled(self._language, asked.probe.count)
        self._check_holes()
        # once with words of no meaning: what does not fit is said before the first call
        self.forward_request("x")
        self.undo_request("x", None)
        self.probe_request("x", None)

    @property
    def can_count(self) -> bool:
        """Return whether effects are seen by anything but replies."""
        return self.probe is not None

    def forward_request(self, unique: str) -> Message:
        """Return the forward call's request for one trial."""
        return _built(self.forward, _filled(self._asked.request, self._holes(unique, None)), "--request")

    def undo_request(self, unique: str, reply: Message | None) -> Message:
        """Return the undo's request; where there was no reply, what it would take from it is left out."""
        filled = _filled(self._asked.undo_request, self._holes(unique, reply))
        return _built(self.compensate, filled, "--undo-request")

    def probe_request(self, unique: str, reply: Message | None) -> Message | None:
        """Return the probe's request; None where there is no probe."""
        if self.probe is None or self._asked.probe is None:
            return None
        filled = _filled(self._asked.probe.request, self._holes(unique, reply))
        return _built(self.probe, filled, "--probe-request")

    def effects(self, reply: Message) -> int:
        """Return how many effects a probe's reply shows; raise `Unfit` where the expression has no value."""
        assert self._count is not None
        assert self._language is not None
        try:
            return int(self._count.evaluate(self._language.bind({"reply": reply})))  # type: ignore[call-overload,no-any-return]  # BOOL, INT or UINT by its type
        except EvaluationFailed as exc:
            raise Unfit(f"--effects {self._count.source!r} has no value for {plain(reply)}: {exc.why}") from exc

    def _holes(self, unique: str, reply: Message | None) -> Callable[[str], object]:
        request = self._asked.request

        def fill(hole: str) -> object:
            if hole == "unique":
                return unique
            root, *path = hole.split(".")
            if root == "request":
                return _filled(_field(request, path), fill)
            return _NOTHING if reply is None else _field(as_json(reply), path)

        return fill

    def _check_holes(self) -> None:
        """Raise `Unfit` for a hole that names no field."""
        given = [("--request", self._asked.request), ("--undo-request", self._asked.undo_request)]
        if self._asked.probe is not None:
            given.append(("--probe-request", self._asked.probe.request))
        for flag, template in given:
            for hole in _HOLE.findall(json.dumps(template)):
                root, *path = hole.split(".")
                if root != "unique" and flag == "--request":
                    raise Unfit(
                        f"--request has {{{hole}}}; the forward request comes first and can use {{unique}} alone"
                    )
                if root == "reply":
                    _check_path(_descriptor(self.forward.reply), path, f"{flag} has {{{hole}}}")


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as JSON values, under the fields' proto names, every field without presence included."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def plain(message: Message) -> str:
    """Return a message as one line of JSON."""
    return json.dumps(
        json_format.MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False, sort_keys=True
    )


def _method(types: Types, name: str) -> Method:
    service, _, method = name.strip("/").partition("/")
    found: MethodDescriptor | None = types.methods(service).get(method)
    if found is None:
        known = ", ".join(f"{each}/{one}" for each in types.services() for one in types.methods(each)) or "none"
        raise Unfit(f"the service has no method {name!r}; it has: {known}")
    if found.client_streaming or found.server_streaming:
        raise Unfit(f"{name} streams; a step is a unary call")
    return Method(
        name=f"{service}/{method}", request=message_class(found.input_type), reply=message_class(found.output_type)
    )


def _compiled(language: Language, source: str) -> Expression:
    compiled = language.compile(source)
    if not isinstance(compiled, Expression):
        raise Unfit(f"--effects {source!r} is not an expression over `reply`: {compiled[0].message}")
    if compiled.type.name not in _COUNTS:
        raise Unfit(f"--effects {source!r} is a {compiled.type}; it must be a number of effects, or true or false")
    return compiled


def _descriptor(message: type[Message]) -> Descriptor:
    return cast(Descriptor, message.DESCRIPTOR)  # its stubs name the implementation too


def _built(method: Method, filled: dict[str, Any], flag: str) -> Message:
    try:
        return json_format.ParseDict(filled, method.request())
    except (json_format.ParseError, DecodeError) as exc:
        raise Unfit(f"{flag} is not a {method.request.DESCRIPTOR.full_name}: {exc}") from exc


def _filled(template: object, fill: Callable[[str], object]) -> Any:  # noqa: ANN401  (JSON)
    """Return a template with its holes filled; what is nothing but an empty hole is left out."""
    if isinstance(template, Mapping):
        filled = {name: _filled(value, fill) for name, value in template.items()}
        return {name: value for name, value in filled.items() if value is not _NOTHING}
    if isinstance(template, list):
        return [value for value in (_filled(each, fill) for each in template) if value is not _NOTHING]
    if not isinstance(template, str):
        return template
    whole = _HOLE.fullmatch(template)
    if whole is not None:
        return fill(whole[1])

    def text(hole: re.Match[str]) -> str:
        value = fill(hole[1])
        return "" if value is _NOTHING else str(value)

    return _HOLE.sub(text, template)


def _field(values: object, path: list[str]) -> object:
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return _NOTHING
        values = values[name]
    return values


def _check_path(descriptor: Descriptor | None, path: list[str], where: str) -> None:
    for name in path:
        field = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if field is None:
            known = ", ".join(each.name for each in descriptor.fields) if descriptor is not None else "no fields"
            raise Unfit(f"{where}, and the reply has no field {name!r} there; it has: {known}")
        descriptor = field.message_type
