"""What the machine calls: expressions and trees as pure, total functions of recorded facts.

Each returns its value or an `ExpressionFailure` that names the place in the definition and the reason; none raises.
"""

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError, Message
from pydantic import JsonValue

from orchestrator.definition import fields, holes, template
from orchestrator.definition.descriptors import has_no_maps, message_class
from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.durations import seconds
from orchestrator.definition.expressions import EvaluationFailed, Expression
from orchestrator.definition.misfit import Misfit, joined, kind
from orchestrator.definition.model import Probe
from orchestrator.definition.names import OWN_REPLY, Names, Reading
from orchestrator.definition.paths import Evaluate
from orchestrator.definition.template import Node
from orchestrator.limits import ATTRIBUTE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.plan import (
    Answer,
    ExpressionFailure,
    Facts,
    Guard,
    Outcome,
    ReadAnswer,
    Render,
    RenderAttributes,
    RenderSeconds,
    RenderText,
)
from orchestrator.values import JSON_TYPE, Attributes, AttributeValue, Payload

Tree = JsonValue
_TEXTS: Final = frozenset({"STRING", "DYN"})
_TIMES: Final = frozenset({"DURATION", "INT", "UINT", "DOUBLE", "DYN"})
_ATTRIBUTES: Final = frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN"})


def compile_guard(text: str, at: At, known: Names) -> tuple[Guard, Expression] | None:
    """Compile a condition, written bare or as one `${ … }`."""
    hole = holes.bare(text, at)
    expression = known.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    if expression.type.name not in {"BOOL", "DYN"}:
        at.inside(Code.RESULT_TYPE, hole.offset, f"a condition is a bool, this is {expression.type}", "compare it")
        return None
    where = at.dotted

    def guard(facts: Facts) -> bool | ExpressionFailure:
        try:
            value = Reading(known, expression.names, facts).evaluate(expression)
        except EvaluationFailed as failed:
            return _failure(where, failed.why, expression.source)
        if isinstance(value, bool):
            return value
        return _failure(where, f"a condition is a bool, this gave {kind(value)}", expression.source)

    return guard, expression


def compile_sentence(text: str, at: At, known: Names) -> RenderText | None:
    """Compile a sentence for people; a single expression must give a text."""
    node = template.check_text(text, at, known, _TEXTS)
    if node is None:
        return None
    where = at.dotted

    def render(facts: Facts) -> str | ExpressionFailure:
        try:
            value = node.value(Reading(known, node.names, facts))
        except EvaluationFailed as failed:
            return _failure(where, failed.why, text)
        return value if isinstance(value, str) else _failure(where, f"a text is needed, not {kind(value)}", text)

    return render


def compile_attributes(given: Mapping[str, JsonValue], at: At, known: Names) -> RenderAttributes | None:
    """Compile searchable attributes: flat, small, of four types."""
    checked = {
        name: template.check_text(value, at / name, known, _ATTRIBUTES) if isinstance(value, str) else Node(value)
        for name, value in given.items()
    }
    nodes = {name: node for name, node in checked.items() if node is not None}
    names = template.names_of(nodes.values())
    where = at.dotted

    def render(facts: Facts) -> Attributes | ExpressionFailure:
        reading = Reading(known, names, facts)
        found: dict[str, AttributeValue] = {}
        for name, node in nodes.items():
            try:
                value = node.value(reading)
            except EvaluationFailed as failed:
                return _failure(f"{where}.{name}", failed.why)
            if not isinstance(value, (str, int, float, bool)):
                return _failure(f"{where}.{name}", f"an attribute is flat, this gave {kind(value)}")
            if not _can_be_kept(value):
                return _failure(f"{where}.{name}", "an attribute is a number of at most 64 bits, this gave another")
            if isinstance(value, str) and len(value) > ATTRIBUTE_CHARS_MAX:
                why = f"an attribute has at most {ATTRIBUTE_CHARS_MAX} characters, this gave {len(value)}"
                return _failure(f"{where}.{name}", why)
            found[name] = value
        return found

    return render if len(nodes) == len(given) else None


def _can_be_kept(value: AttributeValue) -> bool:
    """Return whether JSON and the record format have the number: neither knows infinity, or a fixed64 above 2^63."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def compile_message(tree: JsonValue, descriptor: Descriptor, at: At, known: Names) -> Render | None:
    """Compile a request: a tree of fields, or one expression that gives the whole message."""
    if isinstance(tree, str):
        node = template.check_whole(tree, descriptor, at, known)
        return None if node is None else _filling(node, descriptor, at, known)
    assert isinstance(tree, dict)  # the model takes nothing else
    if descriptor.full_name == JSON_TYPE:
        free = template.check_free(tree, at, known)
        return None if free is None else _filling(free, descriptor, at, known)
    nodes = template.check_fields(tree, descriptor, at, known)
    if nodes is None:
        return None
    make, where = message_class(descriptor), at.dotted
    written = _writing(descriptor, where)
    prototype = make()
    for field, node in nodes:
        if node.evaluate is None:
            fields.put(prototype, field, node.constant)
    dynamic = [_filled(field, node) for field, node in nodes if node.evaluate is not None]
    if not dynamic:
        constant = written(prototype)
        return lambda _: constant
    names = template.names_of(node for _, node in nodes)
    has_constants = len(dynamic) < len(nodes)

    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = make()
        if has_constants:
            message.CopyFrom(prototype)
        reading = Reading(known, names, facts)
        for name, evaluate, put in dynamic:
            try:
                put(message, evaluate(reading))
            except EvaluationFailed as failed:
                return _failure(f"{where}.{name}", failed.why)
            except Misfit as misfit:
                return _failure(joined(f"{where}.{name}", misfit.path), misfit.why)
        return written(message)

    return render


def compile_output(tree: JsonValue, at: At, known: Names) -> tuple[Render, str] | None:
    """Compile a saga's output, and say of which type it is: one message as it is, or a JSON object."""
    if not isinstance(tree, str):
        struct = known.types.message(JSON_TYPE)
        assert struct is not None  # every pool holds the well-known types
        found = compile_message(tree, struct, at, known)
        return None if found is None else (found, JSON_TYPE)
    hole = holes.whole(tree, at)
    expression = known.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    # an untyped value can only be a JSON object
    name = JSON_TYPE if expression.type.name in {"DYN", "MAP"} else expression.type.name
    descriptor = known.types.message(name)
    if descriptor is None:
        message = f"an output is a message or a mapping, this is {expression.type}"
        at.inside(Code.RESULT_TYPE, hole.offset, message, "write a mapping")
        return None
    found = compile_message(tree, descriptor, at, known)
    return None if found is None else (found, name)


def compile_sleep(text: str, at: At, known: Names) -> RenderSeconds | None:
    """Compile how long a step lets pass: a duration as written, or an expression that gives one or seconds."""
    if "${" not in text:
        constant_s = seconds(text)
        return lambda _: constant_s
    hole = holes.whole(text, at)
    expression = known.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    if expression.type.name not in _TIMES:
        message = f"a duration or a number of seconds is needed, this is {expression.type}"
        at.inside(Code.RESULT_TYPE, hole.offset, message, "write duration(…) or double(…)")
        return None
    where = at.dotted

    def render(facts: Facts) -> float | ExpressionFailure:
        try:
            value = Reading(known, expression.names, facts).evaluate(expression)
        except EvaluationFailed as failed:
            return _failure(where, failed.why, expression.source)
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        why = f"a duration or a number of seconds is needed, not {kind(value)}"
        return _failure(where, why, expression.source)

    return render


def compile_probe(probe: Probe, reply: Descriptor | None, at: At, known: Names) -> ReadAnswer | None:
    """Compile what a probe's reply says; `known` has it as `reply`, and the argument is the type of the step's own."""
    compiled = compile_guard(probe.applied, at / "applied", known)
    own = known.names[OWN_REPLY].message
    made: Render | None = None
    if probe.reply is not None and reply is not None:
        made = compile_message(probe.reply, reply, at / "reply", known)
    if compiled is None or (probe.reply is not None and made is None):
        return None
    guard, _ = compiled
    is_same = own is not None and reply is not None and own.full_name == reply.full_name

    def read(facts: Facts) -> Answer | ExpressionFailure:
        is_applied = guard(facts)
        if isinstance(is_applied, ExpressionFailure):
            return is_applied
        if not is_applied:
            return Answer(outcome=Outcome.NOT_APPLIED)
        found = made(facts) if made is not None else facts.own_reply if is_same else None
        return found if isinstance(found, ExpressionFailure) else Answer(outcome=Outcome.APPLIED, reply=found)

    return read


def _filling(node: Node, descriptor: Descriptor, at: At, known: Names) -> Render:
    make, where = message_class(descriptor), at.dotted
    written = _writing(descriptor, where)

    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = make()
        try:
            fields.fill(message, node.value(Reading(known, node.names, facts)))
        except EvaluationFailed as failed:
            return _failure(where, failed.why)
        except Misfit as misfit:
            return _failure(joined(where, misfit.path), misfit.why)
        return written(message)

    return render


def _filled(field: FieldDescriptor, node: Node) -> tuple[str, Evaluate, fields.Put]:
    """Return what fills a field: its name, what gives its value, and what takes it."""
    assert node.evaluate is not None  # asked of these alone
    return field.name, node.evaluate, fields.copying(field) if node.is_copy else fields.putting(field)


def _writing(descriptor: Descriptor, where: str) -> Callable[[Message], Payload | ExpressionFailure]:
    """Return what serialises messages of a type, the same bytes for the same message."""
    name, is_ordered = descriptor.full_name, has_no_maps(descriptor)

    def payload(message: Message) -> Payload | ExpressionFailure:
        try:
            # to be asked for the order of maps costs as much as the rest, where there are none
            data = message.SerializeToString() if is_ordered else message.SerializeToString(deterministic=True)
        except (EncodeError, ValueError) as error:
            return _failure(where, f"this {name} cannot be written: {error}")
        if len(data) > PAYLOAD_BYTES_MAX:
            return _failure(where, f"this {name} has {len(data)} bytes, more than the {PAYLOAD_BYTES_MAX} allowed")
        return Payload(name, data)

    return payload


def _failure(where: str, why: str, source: str = "") -> ExpressionFailure:
    return ExpressionFailure(f"{where} ({source}): {why}" if source else f"{where}: {why}")
