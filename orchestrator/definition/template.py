"""Trees with expressions in them, checked against the message they fill.

The result is a `Node`: a constant, tried out here so that no saga meets a literal that does not fit, or a function of
what is recorded, whose type is checked here as far as it is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from pydantic import JsonValue

from orchestrator.definition import fields, holes
from orchestrator.definition.descriptors import is_map, map_fields, message_class, message_of
from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.expressions import STRING, Expression, ValueType
from orchestrator.definition.fits import ANY_TYPE, TREE_TYPES, element_name, field_name, fits, fits_message, fits_single
from orchestrator.definition.holes import Hole, Parts
from orchestrator.definition.misfit import Misfit, literal
from orchestrator.definition.names import Names, Reading
from orchestrator.definition.paths import Evaluate, copied

_TEXT_TYPES: Final = frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "TIMESTAMP", "DYN"})


@dataclass(frozen=True, slots=True)
class Node:
    """A checked value: constant, or evaluated from what is recorded."""

    constant: object = None
    evaluate: Evaluate | None = None
    names: frozenset[str] = frozenset()
    """What CEL has to be given for it."""
    is_copy: bool = False
    """It gives what was recorded in a field of the very type of the field that it is for; None where it was absent."""

    def value(self, reading: Reading) -> object:
        """Return the value; raise `EvaluationFailed`."""
        return self.constant if self.evaluate is None else self.evaluate(reading)


def names_of(nodes: Iterable[Node]) -> frozenset[str]:
    """Return everything that CEL has to be given for nodes."""
    return frozenset[str]().union(*(node.names for node in nodes))


def check_fields(
    tree: Mapping[str, JsonValue], descriptor: Descriptor, at: At, known: Names
) -> Sequence[tuple[FieldDescriptor, Node]] | None:
    """Check a mapping against a message's fields."""
    try:
        fields.check_names(descriptor, tree)
    except Misfit as misfit:
        (at / misfit.path).key(Code.ONEOF_CONFLICT, misfit.why, misfit.fix)
    nodes: list[tuple[FieldDescriptor, Node]] = []
    given: set[str] = set()
    for name, value in tree.items():
        try:
            field = fields.find_field(descriptor, name)
        except Misfit as misfit:
            (at / name).key(Code.UNKNOWN_FIELD, misfit.why, misfit.fix)
            continue
        given.add(field.name)
        node = _field(value, field, at / name, known)
        if node is not None:
            nodes.append((field, node))
    for field in descriptor.fields:
        if field.is_required and field.name not in given:
            at.value(Code.REQUIRED_FIELD, f"{descriptor.full_name} requires `{field.name}`", f"add `{field.name}:`")
    return nodes if len(nodes) == len(tree) else None


def check_whole(text: str, descriptor: Descriptor, at: At, known: Names) -> Node | None:
    """Check one expression that gives a whole message."""
    hole = holes.whole(text, at)
    expression = known.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    if not fits_message(descriptor, expression.type):
        at.inside(Code.FIELD_TYPE, hole.offset, f"{descriptor.full_name} is needed, this is {expression.type}")
        return None
    name = expression.path[0] if len(expression.path) == 1 else ""
    if name and known.names[name].message == descriptor:
        return Node(evaluate=lambda reading: reading.message(name))
    return Node(evaluate=lambda reading: reading.evaluate(expression), names=expression.needs)


def check_free(tree: JsonValue, at: At, known: Names) -> Node | None:
    """Check a JSON value whose expressions may give anything."""
    if isinstance(tree, dict):
        return _mapping({name: check_free(item, at / name, known) for name, item in tree.items()})
    if isinstance(tree, list):
        return _sequence([check_free(item, at / index, known) for index, item in enumerate(tree)])
    return check_text(tree, at, known) if isinstance(tree, str) else Node(tree)


def check_text(text: str, at: At, known: Names, allowed: frozenset[str] | None = None) -> Node | None:
    """Check a text; one that is a single expression may give one of the allowed types (None: any)."""
    parts = holes.split(text, at)
    if parts is None:
        return None
    hole = holes.only(parts)
    if hole is None:
        return _interpolated(parts, at, known)
    expression = known.compile(hole.source, at, hole.offset)
    if expression is None:
        return None
    name = expression.type.name
    if name in {"optional_type", "TYPE"} or (allowed is not None and name not in allowed):
        message = f"{expression.type} cannot stand here{_only(allowed)}"
        fix = "write .orValue(…)" if name == "optional_type" else "write string(…)"
        at.inside(Code.RESULT_TYPE, hole.offset, message, fix)
        return None
    return Node(evaluate=lambda reading: reading.evaluate(expression), names=expression.needs)


# --- one field -----------------------------------------------------------------------------------------------------


def _field(tree: JsonValue, field: FieldDescriptor, at: At, known: Names) -> Node | None:
    """Check the value of a whole field: single, repeated or map."""
    if isinstance(tree, str) or not field.is_repeated:
        return _single(tree, field, at, known, is_element=False)
    if is_map(field) and isinstance(tree, dict):
        _, value_field = map_fields(field)
        for name in tree:
            _literal_key(name, field, at / name)
        return _mapping(
            {name: _single(item, value_field, at / name, known, is_element=True) for name, item in tree.items()}
        )
    if not is_map(field) and isinstance(tree, list):
        return _sequence([_single(item, field, at / index, known, is_element=True) for index, item in enumerate(tree)])
    need = "write a mapping" if is_map(field) else "write a list"
    at.value(Code.FIELD_TYPE, f"{field_name(field)} is needed, not {literal(tree)}", need)
    return None


def _single(tree: JsonValue, field: FieldDescriptor, at: At, known: Names, *, is_element: bool) -> Node | None:
    """Check one value: a whole field, an element, or a map's value."""
    message = message_of(field) if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE else None
    if message is not None and message.full_name == ANY_TYPE:
        at.value(Code.ANY_FIELD, "a field of type google.protobuf.Any cannot be filled", "leave it out")
        return None
    if isinstance(tree, str) and "${" in tree:
        return _expression(tree, field, at, known, is_element=is_element)
    if message is not None and message.full_name in TREE_TYPES:
        return _literal(check_free(tree, at, known), field, at, is_element=is_element)
    if message is not None and isinstance(tree, dict) and not is_map(field):
        nodes = check_fields(tree, message, at, known)
        return None if nodes is None else _mapping({found.name: node for found, node in nodes})
    return _literal(Node(tree), field, at, is_element=is_element)


def _literal(node: Node | None, field: FieldDescriptor, at: At, *, is_element: bool) -> Node | None:
    """Try a constant out, so that it is refused here and not in the middle of a saga."""
    if node is None or node.evaluate is not None:
        return node
    assert field.containing_type is not None  # it is a message's field, not an extension
    scratch = message_class(field.containing_type)()
    value = node.constant
    try:
        fields.put(scratch, field, [value] if is_element and field.is_repeated else value)
    except Misfit as misfit:
        at.value(Code.FIELD_TYPE, misfit.told, misfit.fix)
        return None
    return node


def _literal_key(name: str, field: FieldDescriptor, at: At) -> None:
    try:
        fields.map_key(field, name)
    except Misfit as misfit:
        at.key(Code.FIELD_TYPE, f"as a key, {misfit.told}", misfit.fix)


def _expression(text: str, field: FieldDescriptor, at: At, known: Names, *, is_element: bool) -> Node | None:
    parts = holes.split(text, at)
    if parts is None:
        return None
    hole = holes.only(parts)
    accepts = fits_single if is_element else fits
    if hole is None:
        node = _interpolated(parts, at, known)
        if node is not None and not accepts(field, STRING):
            at.value(Code.FIELD_TYPE, f"{field_name(field)} is needed, this is a text", "write one ${ … } alone")
            return None
        # a text without a hole, `$${`, is a literal like any other
        return _literal(node, field, at, is_element=is_element)
    expression = known.compile(hole.source, at, hole.offset)
    if expression is None:
        return None
    if not accepts(field, expression.type):
        need = element_name(field) if is_element else field_name(field)
        _wrong_type(at, hole.offset, need, expression.type)
        return None
    copy = copied(expression, field, known, is_element=is_element)
    if copy is not None:
        return Node(evaluate=copy.read, is_copy=copy.is_recorded and not is_element)
    return Node(evaluate=lambda reading: reading.evaluate(expression), names=expression.needs)


def _wrong_type(at: At, offset: int, need: str, given: ValueType) -> None:
    fix = {"string": "write string(…)", "bool": "compare it"}.get(need, "")
    if given.name in {"DOUBLE", "STRING"} and need in {"int32", "int64", "uint32", "uint64"}:
        fix = "write int(…)"
    if given.name == "optional_type":
        fix = "write .orValue(…)"
    at.inside(Code.FIELD_TYPE, offset, f"{need} is needed, this is {given}", fix)


# --- parts ---------------------------------------------------------------------------------------------------------


def _interpolated(parts: Parts, at: At, known: Names) -> Node | None:
    pieces = [part if isinstance(part, str) else _piece(part, at, known) for part in parts]
    kept = [piece for piece in pieces if piece is not None]
    if len(kept) < len(pieces):
        return None
    expressions = [piece for piece in kept if isinstance(piece, Expression)]
    if not expressions:
        return Node("".join(piece for piece in kept if isinstance(piece, str)))

    def evaluate(reading: Reading) -> object:
        return "".join([piece if isinstance(piece, str) else str(reading.evaluate(piece)) for piece in kept])

    return Node(evaluate=evaluate, names=frozenset[str]().union(*(one.needs for one in expressions)))


def _piece(hole: Hole, at: At, known: Names) -> Expression | None:
    expression = known.compile(hole.source, at, hole.offset)
    if expression is None:
        return None
    if expression.type.name not in _TEXT_TYPES:
        message = f"{expression.type} cannot stand inside a text{_only(_TEXT_TYPES)}"
        at.inside(Code.RESULT_TYPE, hole.offset, message, "write string(…)")
        return None
    text = known.language.as_text(expression)
    if isinstance(text, Expression):
        return text
    at.inside(Code.EXPRESSION_SYNTAX, hole.offset, text[0].message, "make it shorter")
    return None


def _only(types: Iterable[str] | None) -> str:
    names = sorted(name.lower() for name in types or () if name != "DYN")
    return f", only {', '.join(names)}" if names else ""


def _mapping(nodes: Mapping[str, Node | None]) -> Node | None:
    found = {name: node for name, node in nodes.items() if node is not None}
    if len(found) < len(nodes):
        return None
    if all(node.evaluate is None for node in found.values()):
        return Node({name: node.constant for name, node in found.items()})
    return Node(
        evaluate=lambda reading: {name: node.value(reading) for name, node in found.items()},
        names=names_of(found.values()),
    )


def _sequence(nodes: Sequence[Node | None]) -> Node | None:
    found = [node for node in nodes if node is not None]
    if len(found) < len(nodes):
        return None
    if all(node.evaluate is None for node in found):
        return Node([node.constant for node in found])
    return Node(evaluate=lambda reading: [node.value(reading) for node in found], names=names_of(found))
