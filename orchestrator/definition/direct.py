"""Expressions evaluated directly: paths, literals, comparisons, `has`, `&&`, `||`, `!`, `? :`, texts put together.

Why: an evaluation by CEL costs six microseconds, because it copies the messages it is given, and most conditions are
as simple as `steps.score.reply.total > 8`, which costs one.

Why it gives the same: the checker has said which overload a call is, so every operand's type is known, and of the
overloads only those are taken that have a value for every operand, and Python's own operator gives it. What CEL and
Python's protobuf do not read alike is left to CEL from the start: open enums of a proto2 file, whether -0.0 is there.

The fallback: whatever else may happen (a name without a value, a recorded message that cannot be read, a text that is
not UTF-8) is not judged here. It raises `EvaluationFailed`, and CEL is asked, which alone knows whether it matters and
what to say. So a wrong turn here costs time and never a saga. `tests/properties/test_direct_expressions.py` compares
the two ways.

What was not done instead. Arithmetic and indexing, here too: they overflow and miss, and the words for that are CEL's.
Giving CEL less than the message: it is done for large ones (`names.py`), and the copy of a part costs as much as all of
a small one. All of CEL over again: every function would be a second set of rules to keep like the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, attrgetter, contains, eq, ge, gt, le, lt, ne, not_
from typing import Final, Protocol, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from orchestrator.definition.checked import Call, Constant, Path, Tree
from orchestrator.definition.descriptors import has, is_map, map_fields, message_class, way
from orchestrator.definition.expressions import Direct, EvaluationFailed, ValueType
from orchestrator.saga.plan import Facts

F = FieldDescriptor
_KINDS: Final = {
    F.CPPTYPE_BOOL: "BOOL",
    F.CPPTYPE_INT32: "INT",
    F.CPPTYPE_INT64: "INT",
    F.CPPTYPE_ENUM: "INT",
    F.CPPTYPE_UINT32: "UINT",
    F.CPPTYPE_UINT64: "UINT",
    F.CPPTYPE_FLOAT: "DOUBLE",
    F.CPPTYPE_DOUBLE: "DOUBLE",
}
_NAMED: Final[Mapping[str, type]] = {"BOOL": bool, "INT": int, "STRING": str}
"""Types of names that are no messages, and what their values are here."""


class Readable(Protocol):
    """A name: its type, and how it is read."""

    @property
    def type(self) -> ValueType: ...
    @property
    def read(self) -> Callable[[Facts], object]: ...
    @property
    def message(self) -> Descriptor | None: ...


@dataclass(frozen=True, slots=True)
class _Value:
    """A part of an expression: its CEL type, `LIST` or `MAP` for what is only counted, and what gives it."""

    kind: str
    give: Direct
    constant: object = None


def direct(tree: Tree, names: Mapping[str, Readable]) -> Direct | None:
    """Return what gives an expression's value without CEL; None where CEL is needed."""
    found = _value(tree, names)
    if found is None or found.kind in {"LIST", "MAP"}:
        return None
    return _reading_all(found.give, tree, names) if _is_lazy(tree) else found.give


def _reading_all(give: Direct, tree: Tree, names: Mapping[str, Readable]) -> Direct:
    """Read first what CEL would be given: a recorded message that cannot be read fails, reached or not."""
    reads = [names[name].read for name in sorted(_names(tree)) if names[name].message is not None]

    def first(facts: Facts) -> object:
        for read in reads:
            read(facts)
        return give(facts)

    return first


def _value(tree: Tree, names: Mapping[str, Readable]) -> _Value | None:
    match tree:
        case Constant(kind=kind, value=value):
            return _Value(kind, lambda _: value, value)
        case Path():
            return _read(tree, names[tree.name])
        case Call():
            given = [_value(each, names) for each in tree.arguments]
            found = [each for each in given if each is not None]
            return _call(tree.overload, found) if len(found) == len(given) else None


# --- what is recorded ------------------------------------------------------------------------------------------------


def _read(path: Path, name: Readable) -> _Value | None:
    if name.message is None:
        return None if path.fields else _scalar_name(name)
    fields = way(name.message, path.fields)
    if not fields:
        return None
    *over, last = (field.name for field in fields)
    if path.is_asked:
        return _asked(_owner(name, over), fields[-1])
    kind = _kind(fields[-1])
    if kind is None:
        return None
    give = _getting(name, attrgetter(".".join((*over, last))))
    return _Value(kind, _text(give) if kind == "STRING" else give)


def _scalar_name(name: Readable) -> _Value | None:
    read, kind = name.read, name.type.name
    if kind not in _NAMED:
        return None
    wanted = _NAMED[kind]

    def give(facts: Facts) -> object:
        found = read(facts)
        if type(found) is not wanted:
            raise EvaluationFailed("it has no value")
        return found

    return _Value(kind, give)


def _owner(name: Readable, over: Sequence[str]) -> Callable[[Facts], Message]:
    """Return what gives the message at a path."""
    get: Callable[[Message], object] = attrgetter(".".join(over)) if over else _itself
    return cast("Callable[[Facts], Message]", _getting(name, get))


def _itself(found: Message) -> Message:
    return found


def _getting(name: Readable, get: Callable[[Message], object]) -> Direct:
    assert name.message is not None  # asked of messages only
    read, wanted = name.read, message_class(name.message)

    def give(facts: Facts) -> object:
        found = read(facts)
        if type(found) is not wanted:
            raise EvaluationFailed("it has no value")
        return get(found)

    return give


def _text(give: Direct) -> Direct:
    """Give texts alone: proto2 lets one be what is not UTF-8, which comes as bytes."""

    def text(facts: Facts) -> object:
        found = give(facts)
        if type(found) is not str:
            raise EvaluationFailed("it is not UTF-8")
        return found

    return text


def _kind(field: FieldDescriptor) -> str | None:
    if not _reads_alike(field):
        return None
    if field.is_repeated:
        return "MAP" if is_map(field) else "LIST"
    if field.cpp_type == F.CPPTYPE_STRING:
        return "BYTES" if field.type == F.TYPE_BYTES else "STRING"
    return _KINDS.get(field.cpp_type)


def _asked(owner: Callable[[Facts], Message], field: FieldDescriptor) -> _Value | None:
    name = field.name
    # whether -0.0 is there is CEL's to say
    if not _reads_alike(field) or (not field.has_presence and _kind(field) == "DOUBLE"):
        return None
    if field.has_presence:
        return _Value("BOOL", lambda facts: has(owner(facts), name))
    return _Value("BOOL", lambda facts: bool(getattr(owner(facts), name)))


def _reads_alike(field: FieldDescriptor) -> bool:
    """Say whether CEL keeps what is kept here: of an open enum it drops unknown numbers, in a proto2 file."""
    value = map_fields(field)[1] if is_map(field) else field
    if value.enum_type is None or value.enum_type.is_closed:
        return True
    assert value.containing_type is not None  # it is a message's field, not an extension
    # a descriptor does not say its syntax itself
    return FileDescriptorProto.FromString(value.containing_type.file.serialized_pb).syntax == "proto3"


# --- what is made of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Function:
    """One overload: the types of its operands, of its result, and what computes it, for every operand there is."""

    takes: tuple[str, ...]
    gives: str
    apply: Callable[..., object]


_ORDERS: Final = {"less": lt, "less_equals": le, "greater": gt, "greater_equals": ge}
_SCALARS: Final = {
    "bool": "BOOL",
    "int64": "INT",
    "uint64": "UINT",
    "double": "DOUBLE",
    "string": "STRING",
    "bytes": "BYTES",
}
_SIZED: Final = {"string": "STRING", "bytes": "BYTES", "list": "LIST", "map": "MAP"}
_FUNCTIONS: Final[Mapping[str, _Function]] = {
    **{
        f"{word}_{name}": _Function((kind, kind), "BOOL", order)
        for word, order in _ORDERS.items()
        for name, kind in _SCALARS.items()
    },
    **{f"size_{name}": _Function((kind,), "INT", len) for name, kind in _SIZED.items()},
    **{f"{name}_size": _Function((kind,), "INT", len) for name, kind in _SIZED.items()},
    "logical_not": _Function(("BOOL",), "BOOL", not_),
    "add_string": _Function(("STRING", "STRING"), "STRING", add),
    "starts_with_string": _Function(("STRING", "STRING"), "BOOL", str.startswith),
    "ends_with_string": _Function(("STRING", "STRING"), "BOOL", str.endswith),
    "contains_string": _Function(("STRING", "STRING"), "BOOL", contains),
    "int64_to_string": _Function(("INT",), "STRING", str),
    "uint64_to_string": _Function(("UINT",), "STRING", str),
    "bool_to_string": _Function(("BOOL",), "STRING", {False: "false", True: "true"}.__getitem__),
    "string_to_string": _Function(("STRING",), "STRING", str),
}
_LAZY: Final = frozenset({"logical_and", "logical_or", "conditional"})
_EQUALITIES: Final = {"equals": eq, "not_equals": ne}


def _call(overload: str, given: Sequence[_Value]) -> _Value | None:
    kinds = tuple(each.kind for each in given)
    found = _FUNCTIONS.get(overload)
    if found is not None and found.takes == kinds:
        return _Value(found.gives, _applied(found.apply, given))
    if overload in _EQUALITIES and kinds[0] == kinds[1] and kinds[0] in _SCALARS.values():
        return _Value("BOOL", _applied(_EQUALITIES[overload], given))
    return _lazy(overload, kinds, [each.give for each in given])


def _applied(apply: Callable[..., object], given: Sequence[_Value]) -> Direct:
    first = given[0].give
    if len(given) == 1:
        return lambda facts: apply(first(facts))
    second, constant = given[1].give, given[1].constant
    if constant is not None:
        return lambda facts: apply(first(facts), constant)
    return lambda facts: apply(first(facts), second(facts))


def _lazy(overload: str, kinds: tuple[str, ...], given: Sequence[Direct]) -> _Value | None:
    """Return what does not evaluate all its operands; where one of them fails, CEL looks at the others."""
    match overload, kinds:
        case "logical_and", ("BOOL", "BOOL"):
            left, right = given
            return _Value("BOOL", lambda facts: left(facts) and right(facts))
        case "logical_or", ("BOOL", "BOOL"):
            left, right = given
            return _Value("BOOL", lambda facts: left(facts) or right(facts))
        case "conditional", ("BOOL", kind, other) if kind == other:
            asked, then, otherwise = given
            return _Value(kind, lambda facts: then(facts) if asked(facts) else otherwise(facts))
        case _:
            return None


def _is_lazy(tree: Tree) -> bool:
    return isinstance(tree, Call) and (tree.overload in _LAZY or any(map(_is_lazy, tree.arguments)))


def _names(tree: Tree) -> frozenset[str]:
    if isinstance(tree, Path):
        return frozenset((tree.name,))
    return frozenset[str]().union(*map(_names, tree.arguments)) if isinstance(tree, Call) else frozenset()
