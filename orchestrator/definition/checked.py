"""What CEL's checker says of an expression: which names it reads, what of them, and, of a simple one, its whole tree.

The library gives it as a serialised `cel.expr.CheckedExpr`, of which the part is described here that is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_Node = Any
"""A message whose class is made at run time: no type checker knows its attributes."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, or a value of an enum; `kind` is its CEL type, `INT`."""

    kind: str
    value: bool | int | float | str | bytes


@dataclass(frozen=True, slots=True)
class Path:
    """A declared name and fields below it; none reads the name as a whole."""

    name: str
    fields: tuple[str, ...]
    is_asked: bool = False
    """`has(…)`: is it there."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator: the one overload that the checker found for the types of its arguments."""

    overload: str
    arguments: tuple["Tree", ...]


Tree = Constant | Path | Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An expression as the checker left it."""

    names: frozenset[str]
    """The declared names it reads."""
    fields: Mapping[str, frozenset[str]]
    """Name -> the fields that are read of it, where it is read by its fields alone."""
    tree: Tree | None
    """None where it is made of more than literals, paths and calls. As deep as the library lets it be: 32 levels."""


def read(serialised: bytes, declared: frozenset[str]) -> Checked:
    """Read what the library serialised; `declared` are the names that there are."""
    checked: _Node = getattr(_Checked.FromString(serialised), "value")  # noqa: B009  (the class is made at run time)
    references = {entry.key: entry.value for entry in checked.references}
    names = frozenset(reference.name for reference in references.values()) & declared
    return Checked(
        names=names,
        fields=_fields_read(checked.expr, names),
        tree=_Trees(references, declared).tree(checked.expr),
    )


# --- trees -----------------------------------------------------------------------------------------------------------

_CONSTANTS: Final = {
    "bool_value": "BOOL",
    "int64_value": "INT",
    "uint64_value": "UINT",
    "double_value": "DOUBLE",
    "string_value": "STRING",
    "bytes_value": "BYTES",
}


@dataclass(frozen=True, slots=True)
class _Trees:
    references: Mapping[int, _Node]
    """Expression -> what the checker found it to mean."""
    declared: frozenset[str]

    def tree(self, expr: _Node) -> Tree | None:
        match expr.WhichOneof("kind"):
            case "constant":
                return _constant(expr.constant)
            case "ident":
                return self._named(expr)
            case "select":
                inner = self.tree(expr.select.operand)
                if not isinstance(inner, Path) or inner.is_asked:
                    return None
                return Path(inner.name, (*inner.fields, expr.select.field), expr.select.test_only)
            case "call":
                return self._call(expr)
            case _:
                return None

    def _named(self, expr: _Node) -> Tree | None:
        if expr.ident.name in self.declared:
            return Path(expr.ident.name, ())
        reference = self.references.get(expr.id)
        return _constant(reference.value) if reference is not None and reference.HasField("value") else None

    def _call(self, expr: _Node) -> Tree | None:
        reference = self.references.get(expr.id)
        if reference is None or len(reference.overloads) != 1:  # which one it is, is seen when the arguments are there
            return None
        given = ([expr.call.target] if expr.call.HasField("target") else []) + list(expr.call.args)
        arguments = [self.tree(each) for each in given]
        found = tuple(each for each in arguments if each is not None)
        return Call(str(reference.overloads[0]), found) if len(found) == len(arguments) else None


def _constant(constant: _Node) -> Constant | None:
    kind = constant.WhichOneof("kind")
    return Constant(_CONSTANTS[kind], getattr(constant, kind)) if kind in _CONSTANTS else None


# --- names -----------------------------------------------------------------------------------------------------------


def _fields_read(root: Message, names: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """Return which fields are read of each name; a name that is also read as a whole is left out."""
    read: dict[str, set[str]] = {}
    whole: set[str] = set()
    todo: list[tuple[Message, str]] = [(root, "")]
    while todo:
        node, selected = todo.pop()
        kind = node.DESCRIPTOR.name
        if kind == "Ident":
            name = str(getattr(node, "name"))  # noqa: B009  (the class is made at run time)
            if selected:
                read.setdefault(name, set()).add(selected)
            else:
                whole.add(name)
            continue
        below = str(getattr(node, "field")) if kind == "Select" else selected if kind == "Expr" else ""  # noqa: B009  (as above)
        for field, value in node.ListFields():
            if field.message_type is not None:
                todo.extend((each, below) for each in (value if field.is_repeated else (value,)))
    return {name: frozenset(fields) for name, fields in read.items() if name in names and name not in whole}


# --- the library's form ----------------------------------------------------------------------------------------------

_Fields = Sequence[tuple[str, int, str]]
_SCALARS: Final = {"double": 1, "int64": 3, "uint64": 4, "bool": 8, "string": 9, "bytes": 12}
_REPEATED: Final = frozenset({"references", "overloads", "args", "elements", "entries"})
_MESSAGES: Final[Mapping[str, _Fields]] = {
    "Any": (("value", 2, "Checked"),),
    "Checked": (("references", 2, "Entry"), ("expr", 4, "Expr")),
    "Entry": (("key", 1, "int64"), ("value", 2, "Reference")),
    "Reference": (("name", 1, "string"), ("overloads", 3, "string"), ("value", 4, "Constant")),
    "Constant": tuple(
        (f"{name}_value", number, name)
        for number, name in enumerate(("bool", "int64", "uint64", "double", "string", "bytes"), start=2)
    ),
    "Expr": (
        ("id", 2, "int64"),
        ("constant", 3, "Constant"),
        ("ident", 4, "Ident"),
        ("select", 5, "Select"),
        ("call", 6, "Call"),
        ("list", 7, "List"),
        ("struct", 8, "Struct"),
        ("comprehension", 9, "Comprehension"),
    ),
    "Ident": (("name", 1, "string"),),
    "Select": (("operand", 1, "Expr"), ("field", 2, "string"), ("test_only", 3, "bool")),
    "Call": (("target", 1, "Expr"), ("args", 3, "Expr")),
    "List": (("elements", 1, "Expr"),),
    "Struct": (("entries", 2, "Part"),),
    "Part": (("map_key", 3, "Expr"), ("value", 4, "Expr")),
    "Comprehension": tuple(
        (name, number, "Expr")
        for name, number in (
            ("iter_range", 2),
            ("accu_init", 4),
            ("loop_condition", 5),
            ("loop_step", 6),
            ("result", 7),
        )
    ),
}
_ONE_OF: Final = frozenset({"Expr", "Constant"})
"""Messages whose fields exclude each other, but for an id."""


def _described() -> type[Message]:
    file = FileDescriptorProto(name="checked.proto", package="checked", syntax="proto3")
    for name, fields in _MESSAGES.items():
        made: DescriptorProto = file.message_type.add(name=name)
        if name in _ONE_OF:
            made.oneof_decl.add(name="kind")
        for field, number, kind in fields:
            label = FieldDescriptorProto.LABEL_REPEATED if field in _REPEATED else FieldDescriptorProto.LABEL_OPTIONAL
            added: FieldDescriptorProto = made.field.add(name=field, number=number, label=label)
            added.type = _SCALARS.get(kind, FieldDescriptorProto.TYPE_MESSAGE)  # type: ignore[assignment]  # by number
            if added.type == FieldDescriptorProto.TYPE_MESSAGE:
                added.type_name = f".checked.{kind}"
            if name in _ONE_OF and field != "id":
                added.oneof_index = 0
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found: type[Message] = GetMessageClass(pool.FindMessageTypeByName("checked.Any"))
    return found


_Checked: Final = _described()
