"""What the machine calls: expressions and trees as pure, total functions of recorded facts.

Each returns its value or an `ExpressionFailure` that names the place in the definition and the reason; none raises.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError, Message
from pydantic import JsonValue

from orchestrator.definition import fields, holes, template
from orchestrator.definition.descriptors import message_class
from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.expressions import EvaluationFailed, Expression
from orchestrator.definition.misfit import Misfit, joined, kind
from orchestrator.definition.scope import Reading, Scope
from orchestrator.definition.template import Node
from orchestrator.limits import ATTRIBUTE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.plan import ExpressionFailure, Facts, Guard, Render, RenderAttributes, RenderText
from orchestrator.values import JSON_TYPE, Attributes, AttributeValue, Payload

_TEXTS: Final = frozenset({"STRING", "DYN"})
_ATTRIBUTES: Final = frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN"})


def compile_guard(text: str, at: At, scope: Scope) -> tuple[Guard, Expression] | None:
    """Compile a condition, written bare or as one `${ … }`."""
    hole = holes.bare(text, at)
    expression = scope.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    if expression.type.name not in {"BOOL", "DYN"}:
        at.inside(Code.RESULT_TYPE, hole.offset, f"a condition is a bool, this is {expression.type}", "compare it")
        return None
    where = at.dotted

    def guard(facts: Facts) -> bool | ExpressionFailure:
        try:
            value = Reading(scope, expression.names, facts).evaluate(expression)
        except EvaluationFailed as failed:
            return _failure(where, failed.why, expression.source)
        if isinstance(value, bool):
            return value
        return _failure(where, f"a condition is a bool, this gave {kind(value)}", expression.source)

    return guard, expression


def compile_sentence(text: str, at: At, scope: Scope) -> RenderText | None:
    """Compile a sentence for people; a single expression must give a text."""
    node = template.check_text(text, at, scope, _TEXTS)
    if node is None:
        return None
    where = at.dotted

    def render(facts: Facts) -> str | ExpressionFailure:
        try:
            value = node.value(Reading(scope, node.names, facts))
        except EvaluationFailed as failed:
            return _failure(where, failed.why, text)
        return value if isinstance(value, str) else _failure(where, f"a text is needed, not {kind(value)}", text)

    return render


def compile_attributes(given: Mapping[str, JsonValue], at: At, scope: Scope) -> RenderAttributes | None:
    """Compile searchable attributes: flat, small, of four types."""
    checked = {
        name: template.check_text(value, at / name, scope, _ATTRIBUTES) if isinstance(value, str) else Node(value)
        for name, value in given.items()
    }
    nodes = {name: node for name, node in checked.items() if node is not None}
    names = template.names_of(nodes.values())
    where = at.dotted

    def render(facts: Facts) -> Attributes | ExpressionFailure:
        reading = Reading(scope, names, facts)
        found: dict[str, AttributeValue] = {}
        for name, node in nodes.items():
            try:
                value = node.value(reading)
            except EvaluationFailed as failed:
                return _failure(f"{where}.{name}", failed.why)
            if not isinstance(value, (str, int, float, bool)):
                return _failure(f"{where}.{name}", f"an attribute is flat, this gave {kind(value)}")
            if isinstance(value, str) and len(value) > ATTRIBUTE_CHARS_MAX:
                why = f"an attribute has at most {ATTRIBUTE_CHARS_MAX} characters, this gave {len(value)}"
                return _failure(f"{where}.{name}", why)
            found[name] = value
        return found

    return render if len(nodes) == len(given) else None


def compile_message(tree: JsonValue, descriptor: Descriptor, at: At, scope: Scope) -> Render | None:
    """Compile a request: a tree of fields, or one expression that gives the whole message."""
    if isinstance(tree, str):
        node = template.check_whole(tree, descriptor, at, scope)
        return None if node is None else _filling(node, descriptor, at, scope)
    assert isinstance(tree, dict)  # the model takes nothing else
    nodes = template.check_fields(tree, descriptor, at, scope)
    if nodes is None:
        return None
    make, where = message_class(descriptor), at.dotted
    prototype = make()
    for field, node in nodes:
        if node.evaluate is None:
            fields.put(prototype, field, node.constant)
    dynamic = [(field, node) for field, node in nodes if node.evaluate is not None]
    if not dynamic:
        constant = _payload(prototype, where)
        return lambda _: constant
    names = template.names_of(node for _, node in dynamic)

    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = make()
        message.CopyFrom(prototype)
        failure = _put_all(message, dynamic, Reading(scope, names, facts), where)
        return failure or _payload(message, where)

    return render


def compile_output(tree: JsonValue, at: At, scope: Scope) -> Render | None:
    """Compile a saga's output: one message as it is, or a JSON object."""
    if not isinstance(tree, str):
        node = template.check_free(tree, at, scope)
        struct = scope.types.message(JSON_TYPE)
        assert struct is not None  # every pool holds the well-known types
        return None if node is None else _filling(node, struct, at, scope)
    hole = holes.whole(tree, at)
    expression = scope.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    # an untyped value can only be a JSON object
    name = JSON_TYPE if expression.type.name in {"DYN", "MAP"} else expression.type.name
    descriptor = scope.types.message(name)
    if descriptor is None:
        message = f"an output is a message or a mapping, this is {expression.type}"
        at.inside(Code.RESULT_TYPE, hole.offset, message, "write a mapping")
        return None
    return compile_message(tree, descriptor, at, scope)


def _filling(node: Node, descriptor: Descriptor, at: At, scope: Scope) -> Render:
    make, where = message_class(descriptor), at.dotted

    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = make()
        try:
            fields.fill(message, node.value(Reading(scope, node.names, facts)))
        except EvaluationFailed as failed:
            return _failure(where, failed.why)
        except Misfit as misfit:
            return _failure(joined(where, misfit.path), misfit.why)
        return _payload(message, where)

    return render


def _put_all(
    message: Message, nodes: list[tuple[FieldDescriptor, Node]], reading: Reading, where: str
) -> ExpressionFailure | None:
    for field, node in nodes:
        try:
            fields.put(message, field, node.value(reading))
        except EvaluationFailed as failed:
            return _failure(f"{where}.{field.name}", failed.why)
        except Misfit as misfit:
            return _failure(joined(f"{where}.{field.name}", misfit.path), misfit.why)
    return None


def _payload(message: Message, where: str) -> Payload | ExpressionFailure:
    name = message.DESCRIPTOR.full_name
    try:
        data = message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        return _failure(where, f"this {name} cannot be written: {error}")
    if len(data) > PAYLOAD_BYTES_MAX:
        return _failure(where, f"this {name} has {len(data)} bytes, more than the {PAYLOAD_BYTES_MAX} allowed")
    return Payload(name, data)


def _failure(where: str, why: str, source: str = "") -> ExpressionFailure:
    return ExpressionFailure(f"{where} ({source}): {why}" if source else f"{where}: {why}")
