"""Trees with `${ … }` in them: checked against the message they fill, turned into functions of recorded facts.

A text that is one `${ … }` keeps the expression's type; inside other text the value is interpolated; `$${` stands for
a literal `${`. A plain path (`${input.report}`, `${steps.score.reply.total}`) whose field has the same type as the one
it fills is copied as it is recorded, presence included: nothing is converted, an absent field stays absent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError, Message

from orchestrator.definition import fields
from orchestrator.definition.descriptors import is_map, message_class
from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.expressions import STRING, EvaluationFailed, Expression, ValueType
from orchestrator.definition.fields import Misfit
from orchestrator.definition.scope import Reading, Scope
from orchestrator.limits import ATTRIBUTE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.plan import (
    ExpressionFailure,
    Facts,
    Guard,
    Render,
    RenderAttributes,
    RenderText,
)
from orchestrator.values import JSON_TYPE, Attributes, AttributeValue, Payload

Evaluate = Callable[[Reading], object]
_TEXT_TYPES: Final = frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "TIMESTAMP", "DYN"})
_ATTRIBUTE_TYPES: Final = frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN"})
_QUOTES: Final = ('"""', "'''", '"', "'")
_TREES: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


@dataclass(frozen=True, slots=True)
class Hole:
    """One `${ … }`: its source, and where that starts in the text."""

    source: str
    offset: int


@dataclass(frozen=True, slots=True)
class Node:
    """A checked value: constant, or evaluated from facts."""

    value: object = None
    evaluate: Evaluate | None = None
    names: frozenset[str] = frozenset()


class Unterminated(Exception):
    """A `${` without its `}`; `offset` is where it starts."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def scan(text: str) -> Sequence[str | Hole]:
    """Split a text into literals and holes; raise `Unterminated`."""
    found: list[str | Hole] = []
    literal = ""
    at = 0
    while at < len(text):
        if text.startswith("$${", at):
            literal += "${"
            at += 3
        elif text.startswith("${", at):
            if literal:
                found.append(literal)
                literal = ""
            end = _close(text, at + 2)
            if end < 0:
                raise Unterminated(at)
            found.append(Hole(text[at + 2 : end], at + 2))
            at = end + 1
        else:
            literal += text[at]
            at += 1
    if literal:
        found.append(literal)
    return found


def _close(text: str, at: int) -> int:
    """Return where the closing brace is; braces inside CEL's own texts and literals do not count."""
    depth = 0
    while at < len(text):
        quote = next((one for one in _QUOTES if text.startswith(one, at)), None)
        if quote is not None:
            is_raw = at > 0 and text[at - 1] in "rR"
            at = _skip_text(text, at + len(quote), quote, is_raw=is_raw)
            continue
        if text[at] == "}" and depth == 0:
            return at
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
    return -1


def _skip_text(text: str, at: int, quote: str, *, is_raw: bool) -> int:
    while at < len(text) and not text.startswith(quote, at):
        at += 2 if text[at] == "\\" and not is_raw else 1
    return at + len(quote)


# --- single expressions ------------------------------------------------------------------------------------------


def compile_guard(text: str, at: At, scope: Scope) -> tuple[Guard, Expression] | None:
    """Compile a condition, written bare or as one `${ … }`."""
    hole = _bare(text, at)
    expression = hole and scope.compile(hole.source, at, hole.offset)
    if not expression or hole is None:
        return None
    if expression.type.name not in {"BOOL", "DYN"}:
        at.inside(Code.RESULT_TYPE, hole.offset, f"a condition is a bool, this is {expression.type}", "compare it")
        return None

    def guard(facts: Facts) -> bool | ExpressionFailure:
        try:
            value = Reading(scope, expression.names, facts).evaluate(expression)
        except EvaluationFailed as failed:
            return _failure(at.dotted, expression.source, failed.why)
        if isinstance(value, bool):
            return value
        return _failure(at.dotted, expression.source, f"a condition is a bool, this gave {fields.kind(value)}")

    return guard, expression


def compile_text(text: str, at: At, scope: Scope) -> RenderText | None:
    """Compile a sentence; a whole expression must give a text."""
    node = _text(text, at, scope, {"STRING", "DYN"})
    if node is None:
        return None

    def render(facts: Facts) -> str | ExpressionFailure:
        try:
            value = _run(node, scope, facts)
        except EvaluationFailed as failed:
            return _failure(at.dotted, text, failed.why)
        return (
            value
            if isinstance(value, str)
            else _failure(at.dotted, text, f"a text is needed, not {fields.kind(value)}")
        )

    return render


def compile_attributes(given: Mapping[str, object], at: At, scope: Scope) -> RenderAttributes | None:
    """Compile searchable attributes: flat, small, of four types."""
    nodes: dict[str, Node] = {}
    for name, value in given.items():
        node = _text(value, at / name, scope, _ATTRIBUTE_TYPES) if isinstance(value, str) else Node(value)
        if node is not None:
            nodes[name] = node
    names = frozenset[str]().union(*(node.names for node in nodes.values()))

    def render(facts: Facts) -> Attributes | ExpressionFailure:
        reading = Reading(scope, names, facts)
        found: dict[str, AttributeValue] = {}
        for name, node in nodes.items():
            try:
                value = node.evaluate(reading) if node.evaluate is not None else node.value
            except EvaluationFailed as failed:
                return _failure((at / name).dotted, given[name], failed.why)
            if not isinstance(value, (str, int, float, bool)):
                return _failure(
                    (at / name).dotted, given[name], f"an attribute is flat, this gave {fields.kind(value)}"
                )
            if isinstance(value, str) and len(value) > ATTRIBUTE_CHARS_MAX:
                why = f"an attribute has at most {ATTRIBUTE_CHARS_MAX} characters, this gave {len(value)}"
                return _failure((at / name).dotted, given[name], why)
            found[name] = value
        return found

    return render if len(nodes) == len(given) else None


# --- messages ------------------------------------------------------------------------------------------------------


def compile_message(tree: object, descriptor: Descriptor, at: At, scope: Scope) -> Render | None:
    """Compile a request: a tree of fields, or one expression that gives the whole message."""
    if isinstance(tree, str):
        node = _message_hole(tree, descriptor, at, scope)
        return None if node is None else _render_whole(node, descriptor, at, scope)
    nodes = _field_nodes(tree, descriptor, at, scope)
    if nodes is None:
        return None
    prototype = message_class(descriptor)()
    dynamic: list[tuple[FieldDescriptor, Node]] = []
    for field, node in nodes:
        if node.evaluate is None:
            fields.put(prototype, field, node.value)
        else:
            dynamic.append((field, node))
    names = frozenset[str]().union(*(node.names for _, node in dynamic))
    if not dynamic:
        constant = _payload(prototype, at)
        return lambda _: constant

    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = message_class(descriptor)()
        message.CopyFrom(prototype)
        reading = Reading(scope, names, facts)
        for field, node in dynamic:
            try:
                fields.put(message, field, _value(node, reading))
            except EvaluationFailed as failed:
                return _failure((at / field.name).dotted, None, failed.why)
            except Misfit as misfit:
                return _misfit((at / field.name).dotted, misfit)
        return _payload(message, at)

    return render


def compile_output(tree: object, at: At, scope: Scope) -> Render | None:
    """Compile a saga's output: one message as it is, or a JSON object."""
    struct = scope.types.message(JSON_TYPE)
    assert struct is not None  # every pool holds the well-known types
    if isinstance(tree, str):
        hole = _whole(tree, at)
        expression = hole and scope.compile(hole.source, at, hole.offset)
        descriptor = scope.types.message(expression.type.name) if expression else None
        if descriptor is None or not expression:
            if expression:
                at.value(Code.RESULT_TYPE, f"an output is a message or a mapping, this is {expression.type}")
            return None
        return compile_message(tree, descriptor, at, scope)
    node = _free(tree, at, scope)
    return None if node is None else _render_whole(node, struct, at, scope)


def _render_whole(node: Node, descriptor: Descriptor, at: At, scope: Scope) -> Render:
    def render(facts: Facts) -> Payload | ExpressionFailure:
        message = message_class(descriptor)()
        try:
            fields.fill(message, _run(node, scope, facts))
        except EvaluationFailed as failed:
            return _failure(at.dotted, None, failed.why)
        except Misfit as misfit:
            return _misfit(at.dotted, misfit)
        return _payload(message, at)

    return render


def _payload(message: Message, at: At) -> Payload | ExpressionFailure:
    try:
        data = message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        return _failure(at.dotted, None, f"{message.DESCRIPTOR.full_name} cannot be written: {error}")
    if len(data) > PAYLOAD_BYTES_MAX:
        why = f"{message.DESCRIPTOR.full_name} has {len(data)} bytes, more than the {PAYLOAD_BYTES_MAX} allowed"
        return _failure(at.dotted, None, why)
    return Payload(message.DESCRIPTOR.full_name, data)


# --- trees against descriptors -------------------------------------------------------------------------------------


def _field_nodes(
    tree: object, descriptor: Descriptor, at: At, scope: Scope
) -> Sequence[tuple[FieldDescriptor, Node]] | None:
    if not isinstance(tree, Mapping):
        at.value(Code.FIELD_TYPE, f"{descriptor.full_name} is needed, not {fields.kind(tree)}", "write its fields")
        return None
    try:
        fields.check_oneofs(descriptor, list(tree))
    except Misfit as misfit:
        at.value(Code.ONEOF_CONFLICT, misfit.why, misfit.fix)
    nodes: list[tuple[FieldDescriptor, Node]] = []
    for name, value in tree.items():
        try:
            field = fields.find_field(descriptor, name)
        except Misfit as misfit:
            (at / name).key(Code.UNKNOWN_FIELD, misfit.why, misfit.fix)
            continue
        node = _field(value, field, at / name, scope)
        if node is not None:
            nodes.append((field, node))
    given = {field.name for field, _ in nodes}
    for field in descriptor.fields:
        if field.is_required and field.name not in given and field.name not in tree:
            at.value(Code.REQUIRED_FIELD, f"{descriptor.full_name} requires `{field.name}`", f"add `{field.name}:`")
    return nodes if len(nodes) == len(tree) else None


def _field(tree: object, field: FieldDescriptor, at: At, scope: Scope) -> Node | None:
    """Check the value of a whole field: single, repeated or map."""
    if isinstance(tree, str) or not field.is_repeated:
        return _single(tree, field, at, scope, is_element=False)
    if is_map(field) and isinstance(tree, Mapping):
        value_field = field.message_type.fields_by_name["value"]
        for name in tree:
            _literal_key(name, field, at / name)
        entries = {name: _single(item, value_field, at / name, scope) for name, item in tree.items()}
        return _mapping(entries)
    if not is_map(field) and isinstance(tree, list):
        return _sequence([_single(item, field, at / index, scope) for index, item in enumerate(tree)])
    need = "write a mapping" if is_map(field) else "write a list"
    at.value(Code.FIELD_TYPE, f"{fields.field_name(field)} is needed, not {fields.kind(tree)}", need)
    return None


def _single(tree: object, field: FieldDescriptor, at: At, scope: Scope, *, is_element: bool = True) -> Node | None:
    """Check one value: a field that is not repeated, an element, or a map's value."""
    message = field.message_type if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE else None
    if message is not None and message.full_name == fields.ANY:
        at.value(Code.ANY_FIELD, "a field of type google.protobuf.Any cannot be filled", "leave it out")
        return None
    if isinstance(tree, str) and "${" in tree:
        return _hole(tree, field, at, scope, is_element=is_element)
    if message is not None and message.full_name in _TREES:
        return _literal(_free(tree, at, scope), field, at, is_element=is_element)
    if message is not None and isinstance(tree, Mapping):
        nodes = _field_nodes(tree, message, at, scope)
        return None if nodes is None else _mapping({found.name: node for found, node in nodes})
    return _literal(Node(tree), field, at, is_element=is_element)


def _literal(node: Node | None, field: FieldDescriptor, at: At, *, is_element: bool) -> Node | None:
    """Try a constant out, so that it is refused here and not in the middle of a saga."""
    if node is None or node.evaluate is not None:
        return node
    scratch = message_class(field.containing_type)()
    try:
        if is_element and field.is_repeated:
            fields.append(getattr(scratch, field.name), field, node.value)
        else:
            fields.put(scratch, field, node.value)
    except Misfit as misfit:
        at.value(Code.FIELD_TYPE, misfit.why, misfit.fix)
        return None
    return node


def _literal_key(name: object, field: FieldDescriptor, at: At) -> None:
    try:
        fields.map_key(field, name)
    except Misfit as misfit:
        at.key(Code.FIELD_TYPE, f"as a key, {misfit.why}", misfit.fix)


def _hole(text: str, field: FieldDescriptor, at: At, scope: Scope, *, is_element: bool) -> Node | None:
    parts = _scan(text, at)
    if parts is None:
        return None
    hole = _only_hole(parts)
    if hole is None:
        node = _interpolated(parts, at, scope)
        if node is not None and not fields.fits_single(field, STRING):
            _wrong_type(at, 0, field, STRING)
            return None
        return node
    expression = scope.compile(hole.source, at, hole.offset)
    if expression is None:
        return None
    fits = fields.fits_single if is_element else fields.fits
    if not fits(field, expression.type):
        _wrong_type(at, hole.offset, field, expression.type)
        return None
    copied = _copied(expression, field, scope, is_element=is_element)
    return Node(evaluate=copied or (lambda reading: reading.evaluate(expression)), names=expression.names)


def _wrong_type(at: At, offset: int, field: FieldDescriptor, given: ValueType) -> None:
    need = fields.field_name(field)
    fix = {"string": "write string(…)", "bool": "compare it", "double": "write double(…)"}.get(need, "")
    if given.name in {"DOUBLE", "STRING"} and "int" in need:
        fix = "write int(…)"
    if given.name == "optional_type":
        fix = "write .orValue(…)"
    at.inside(Code.FIELD_TYPE, offset, f"{need} is needed, this is {given}", fix)


def _message_hole(text: str, descriptor: Descriptor, at: At, scope: Scope) -> Node | None:
    hole = _whole(text, at)
    expression = hole and scope.compile(hole.source, at, hole.offset)
    if not expression or hole is None:
        return None
    if not fields.fits_message(descriptor, expression.type):
        at.inside(Code.FIELD_TYPE, hole.offset, f"{descriptor.full_name} is needed, this is {expression.type}")
        return None
    path = expression.path
    if len(path) == 1 and scope.names[path[0]].message == descriptor:
        return Node(evaluate=lambda reading: reading.message(path[0]), names=expression.names)
    return Node(evaluate=lambda reading: reading.evaluate(expression), names=expression.names)


# --- plain paths ---------------------------------------------------------------------------------------------------


def _copied(expression: Expression, into: FieldDescriptor, scope: Scope, *, is_element: bool) -> Evaluate | None:
    """Return a reader that copies the field a plain path names; None where the types are not the very same."""
    if not expression.path or (is_element and into.is_repeated and len(expression.path) > 1):
        return None
    name, *rest = expression.path
    message = scope.names[name].message
    if message is None:
        return None
    if not rest:
        same = not into.is_repeated or is_element
        same = same and into.message_type is not None and into.message_type.full_name == message.full_name
        return (lambda reading: reading.message(name)) if same else None
    way: list[str] = []
    for part in rest[:-1]:
        step = message.fields_by_name.get(part) if message is not None else None
        if step is None or step.is_repeated or step.message_type is None or _is_well_known(step.message_type):
            return None
        way.append(part)
        message = step.message_type
    last = message.fields_by_name.get(rest[-1]) if not _is_well_known(message) else None
    if last is None or not _same_type(last, into):
        return None
    keeps_presence = last.has_presence and into.has_presence and not is_element

    def read(reading: Reading) -> object:
        found: Message = reading.message(name)
        for part in way:
            found = getattr(found, part)
        if keeps_presence and not found.HasField(last.name):
            return None
        return getattr(found, last.name)

    return read


def _is_well_known(descriptor: Descriptor) -> bool:
    """CEL reads these as its own types, so a path into one is not a path of fields."""
    return bool(descriptor.full_name.startswith("google.protobuf."))


def _same_type(one: FieldDescriptor, other: FieldDescriptor) -> bool:
    if (one.type, one.is_repeated) != (other.type, other.is_repeated):
        return False
    if one.message_type is not None:
        return bool(one.message_type.full_name == other.message_type.full_name) and not is_map(one)
    return one.enum_type is None or bool(one.enum_type.full_name == other.enum_type.full_name)


# --- free values and texts -----------------------------------------------------------------------------------------


def _free(tree: object, at: At, scope: Scope) -> Node | None:
    """Check a JSON value whose expressions may give anything."""
    if isinstance(tree, Mapping):
        return _mapping({str(name): _free(item, at / str(name), scope) for name, item in tree.items()})
    if isinstance(tree, list):
        return _sequence([_free(item, at / index, scope) for index, item in enumerate(tree)])
    if not isinstance(tree, str):
        return Node(tree)
    return _text(tree, at, scope, None)


def _text(text: str, at: At, scope: Scope, allowed: Iterable[str] | None) -> Node | None:
    """Check a text; a whole hole may give one of the allowed types (None: any)."""
    parts = _scan(text, at)
    if parts is None:
        return None
    hole = _only_hole(parts)
    if hole is None:
        return _interpolated(parts, at, scope)
    expression = scope.compile(hole.source, at, hole.offset)
    if expression is None:
        return None
    if (allowed is not None and expression.type.name not in allowed) or expression.type.name == "optional_type":
        types = listed(allowed or ())
        at.inside(Code.RESULT_TYPE, hole.offset, f"{expression.type} cannot stand here{types}", "write string(…)")
        return None
    return Node(evaluate=lambda reading: reading.evaluate(expression), names=expression.names)


def listed(types: Iterable[str]) -> str:
    """Return the types that may stand somewhere, for a sentence."""
    names = sorted(name.lower() for name in types if name != "DYN")
    return f", only {', '.join(names)}" if names else ""


def _interpolated(parts: Sequence[str | Hole], at: At, scope: Scope) -> Node | None:
    pieces: list[str | Expression] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        expression = scope.compile(part.source, at, part.offset)
        if expression is None:
            continue
        if expression.type.name not in _TEXT_TYPES:
            message = f"{expression.type} cannot stand inside a text{listed(_TEXT_TYPES)}"
            at.inside(Code.RESULT_TYPE, part.offset, message, "write string(…)")
            continue
        pieces.append(scope.language.compile_text(expression))
    if len(pieces) < len(parts):
        return None
    if all(isinstance(piece, str) for piece in pieces):
        return Node("".join(map(str, pieces)))
    names = frozenset[str]().union(*(piece.names for piece in pieces if isinstance(piece, Expression)))

    def evaluate(reading: Reading) -> object:
        return "".join(piece if isinstance(piece, str) else str(reading.evaluate(piece)) for piece in pieces)

    return Node(evaluate=evaluate, names=names)


def _mapping(nodes: Mapping[str, Node | None]) -> Node | None:
    found = {name: node for name, node in nodes.items() if node is not None}
    if len(found) < len(nodes):
        return None
    if all(node.evaluate is None for node in found.values()):
        return Node({name: node.value for name, node in found.items()})
    names = frozenset[str]().union(*(node.names for node in found.values()))
    return Node(
        evaluate=lambda reading: {name: _value(node, reading) for name, node in found.items()},
        names=names,
    )


def _sequence(nodes: Sequence[Node | None]) -> Node | None:
    found = [node for node in nodes if node is not None]
    if len(found) < len(nodes):
        return None
    if all(node.evaluate is None for node in found):
        return Node([node.value for node in found])
    names = frozenset[str]().union(*(node.names for node in found))
    return Node(evaluate=lambda reading: [_value(node, reading) for node in found], names=names)


def _value(node: Node, reading: Reading) -> object:
    return node.value if node.evaluate is None else node.evaluate(reading)


def _run(node: Node, scope: Scope, facts: Facts) -> object:
    return _value(node, Reading(scope, node.names, facts))


def _scan(text: str, at: At) -> Sequence[str | Hole] | None:
    try:
        return scan(text)
    except Unterminated as unterminated:
        message = "this `${` has no closing `}`"
        at.inside(Code.EXPRESSION_SYNTAX, unterminated.offset, message, "close it, or write $${ for the text `${`")
        return None


def _only_hole(parts: Sequence[str | Hole]) -> Hole | None:
    """Return the hole of a text that is nothing else; a block text's last line break does not count."""
    kept = [part for part in parts if isinstance(part, Hole) or part.strip()]
    return kept[0] if len(kept) == 1 and isinstance(kept[0], Hole) else None


def _whole(text: str, at: At) -> Hole | None:
    parts = _scan(text, at)
    hole = _only_hole(parts) if parts is not None else None
    if parts is not None and hole is None:
        at.value(Code.RESULT_TYPE, "one expression is needed here, not a text", "write ${ … } or a mapping")
    return hole


def _bare(text: str, at: At) -> Hole | None:
    """Return the expression of a condition: all of the text, or what is inside its one `${ … }`."""
    if not text.lstrip().startswith("${"):
        return Hole(text, 0)
    parts = _scan(text, at)
    if parts is None:
        return None
    hole = _only_hole(parts)
    if hole is None:
        at.value(Code.EXPRESSION_SYNTAX, "a condition is one expression", "put all of it inside one ${ … }")
    return hole


# --- failures ------------------------------------------------------------------------------------------------------


def _failure(where: str, source: object, why: str) -> ExpressionFailure:
    shown = f" ({source})" if isinstance(source, str) else ""
    return ExpressionFailure(f"{where}{shown}: {why}")


def _misfit(where: str, misfit: Misfit) -> ExpressionFailure:
    joint = "" if not misfit.path or misfit.path.startswith("[") else "."
    return ExpressionFailure(f"{where}{joint}{misfit.path}: {misfit.why}")
