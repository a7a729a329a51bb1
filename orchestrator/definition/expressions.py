"""The one home of CEL: declare names, compile a source against protobuf types, evaluate over recorded facts.

There are two ways to an expression's value. CEL's is the one that counts: it says what an expression means, and it
alone says why one has no value. `direct.py` takes the short way for the simple expressions that most are, and whenever
that way meets anything but a value, CEL is asked (`names.Reading.evaluate`): what the author sees is CEL's either way.

What the library does that its callers must never see (each was tried out, tests/unit/definition/test_expressions.py):

* a failed evaluation is a *value* of type ERROR whose payload is the message text; it becomes an `EvaluationFailed`
  here, in `Expression.evaluate`, and nowhere else is a result's value read;
* an exhausted budget (10,000 iterations) raises instead; it becomes the same failure;
* a name that is not bound fails only where evaluation reaches it, so `steps.x.applied ? steps.x.reply.id : ''` works
  for a step without a reply;
* qualified names (`steps.score.reply`) are variables of their own with their own type: this is what makes replies
  typed at compile time;
* optional values cannot leave an expression; the checker refuses them by type;
* a map of which a part has no Python form, such as an optional, ends the process where it is given out whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

# pyright: reportMissingTypeStubs=false
# (the library ships .pyi files without the marker that says so)
from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from orchestrator.definition import checked
from orchestrator.definition.checked import Path, Tree
from orchestrator.definition.faults import Fault, faults, unbound, without_data
from orchestrator.limits import EXPRESSION_BYTES_MAX
from orchestrator.saga.plan import Facts

_ERROR: Final = cel.Type.ERROR


@dataclass(frozen=True, slots=True)
class ValueType:
    """A CEL type: `INT`, `LIST` of one, `MAP` of two, or a message's full name."""

    name: str
    of: tuple["ValueType", ...] = ()

    @property
    def may_hold_maps(self) -> bool:
        """Say whether a value of the type may be a map, or hold one."""
        return self.name in {"MAP", "DYN"} or any(each.may_hold_maps for each in self.of)

    def __str__(self) -> str:
        """Return the type as CEL writes it, `list(string)`."""
        name = self.name if "." in self.name else self.name.lower()
        return f"{name}({', '.join(map(str, self.of))})" if self.of else name


BOOL: Final = ValueType("BOOL")
DYN: Final = ValueType("DYN")
INT: Final = ValueType("INT")
STRING: Final = ValueType("STRING")
TIMESTAMP: Final = ValueType("TIMESTAMP")

Value = None | bool | int | float | str | bytes | bytearray | Message | list["Value"] | dict["Value", "Value"] | object
"""What an evaluation gives: plain Python values, `datetime` and `timedelta` for Timestamp and Duration, messages."""


Direct = Callable[[Facts], object]
"""Gives an expression's value where nothing is wrong; raises `EvaluationFailed` where CEL has to say what is."""


class EvaluationFailed(Exception):
    """An expression has no value; private to this package, where it becomes an `ExpressionFailure`."""

    def __init__(self, why: str, unbound: str = "") -> None:
        """Keep the reason, and the name that has no value where that is the reason."""
        super().__init__(why)
        self.why = why
        self.unbound = unbound


class Bindings:
    """Values of names, bound once and read by every expression of one request."""

    __slots__ = ("_activation",)

    def __init__(self, activation: cel.Activation) -> None:
        """Keep the library's form."""
        self._activation = activation

    @property
    def activation(self) -> cel.Activation:
        """The library's form; read by `Expression` alone."""
        return self._activation


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression: pure, total over its bindings, and safe to evaluate any number of times."""

    source: str
    type: ValueType
    names: frozenset[str]
    """The declared names it reads."""
    path: tuple[str, ...]
    """For a plain path such as `steps.score.reply.total`: the name, then the fields. Empty for everything else."""
    fields: Mapping[str, frozenset[str]]
    """Name -> the fields that are read of it, where it is read by its fields alone."""
    direct: Direct | None
    """Gives its value without CEL; None where only CEL can."""
    _program: cel.Expression

    @property
    def needs(self) -> frozenset[str]:
        """Return the names that CEL has to be given for it."""
        return self.names if self.direct is None else frozenset()

    def evaluate(self, bindings: Bindings) -> Value:
        """Return its value; raise `EvaluationFailed` where it has none."""
        try:
            result = self._program.eval(bindings.activation)
            if result.type() == _ERROR:
                raise _failure(str(result.value()), self.source)
            return _python(result) if self.type.may_hold_maps else cast(Value, result.plain_value())
        except (SystemError, TypeError) as error:  # how the library fails over what it cannot give out
            why = "its value, or a part of it, cannot leave an expression: an optional, or a text that is not UTF-8"
            raise EvaluationFailed(why) from error
        except (RuntimeError, ValueError, OverflowError) as error:
            # an exhausted budget, or a value that has no Python form
            raise EvaluationFailed(without_data(str(error).splitlines()[0], self.source)) from error


class Language:
    """The names and types one place of a definition may use."""

    def __init__(
        self,
        pool: DescriptorPool,
        names: Mapping[str, ValueType],
        direct: Callable[[Tree], Direct | None] = lambda _: None,
    ) -> None:
        """Declare the names; message types are looked up in the pool. `direct` says what needs no CEL."""
        self._env = cel.NewEnv(
            descriptor_pool=pool,
            variables={name: _declared(type_) for name, type_ in names.items()},
            # not ext_bindings: nested bindings double memory without bound
            extensions=[
                ext_strings.ExtStrings(),
                ext_math.ExtMath(),
                ext_optional.ExtOptional(),
                ext_encoders.ExtEncoders(),
            ],
        )
        self._names: Final = frozenset(names)
        self._direct: Final = direct

    def compile(self, source: str) -> Expression | Sequence[Fault]:
        """Compile and type-check; every error comes back at once, with its place in the source."""
        try:
            if len(source.encode()) > EXPRESSION_BYTES_MAX:
                return [Fault(0, f"an expression has at most {EXPRESSION_BYTES_MAX} bytes", is_syntax=True)]
            program = self._env.compile(source)
        except UnicodeError:
            return [Fault(0, "half of a surrogate pair is not a character", is_syntax=True)]
        except RuntimeError as error:
            return faults(source, str(error))
        found = checked.read(program.serialize(), self._names)
        return Expression(
            source=source,
            type=_type(program.return_type().name()),
            names=found.names,
            path=_path(found.tree),
            fields=found.fields,
            direct=None if found.tree is None else self._direct(found.tree),
            _program=program,
        )

    def as_text(self, expression: Expression) -> Expression | Sequence[Fault]:
        """Return the expression converted to a text by CEL's own `string()`; too long or too deep ones do not fit."""
        if expression.type == STRING:
            return expression
        # the line break ends a comment that the source may end with
        return self.compile(f"string({expression.source}\n)")

    def bind(self, values: Mapping[str, object]) -> Bindings:
        """Bind names to values: messages, plain values; a name left out fails where it is read."""
        return Bindings(self._env.Activation(values))


def message_type(descriptor: Descriptor) -> ValueType:
    """Return the type of a message."""
    return ValueType(descriptor.full_name)


def list_of(element: ValueType) -> ValueType:
    """Return the type of a list."""
    return ValueType("LIST", (element,))


_SIMPLE: Final = {
    "BOOL": cel.Type.BOOL,
    "BYTES": cel.Type.BYTES,
    "DOUBLE": cel.Type.DOUBLE,
    "DURATION": cel.Type.DURATION,
    "INT": cel.Type.INT,
    "STRING": cel.Type.STRING,
    "TIMESTAMP": cel.Type.TIMESTAMP,
    "UINT": cel.Type.UINT,
}


def _declared(type_: ValueType) -> cel.Type:
    if type_.name == "LIST":
        return cel.Type.List(_declared(type_.of[0]))
    if type_.name == "MAP":
        return cel.Type.Map(_declared(type_.of[0]), _declared(type_.of[1]))
    if "." in type_.name:
        return cel.Type(type_.name)
    # null, a type, an optional: what they are is seen when they are there
    return _SIMPLE.get(type_.name, cel.Type.DYN)


def _type(name: str) -> ValueType:
    """Read `MAP<STRING, LIST<INT>>`."""
    head, bracket, rest = name.partition("<")
    if not bracket:
        return ValueType(name)
    parts: list[str] = [""]
    depth = 0
    for char in rest[:-1]:
        depth += (char == "<") - (char == ">")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return ValueType(head, tuple(_type(part.strip()) for part in parts))


def _python(found: cel.Value) -> Value:
    """Take maps and lists apart here: where a part of a map cannot be given out, the library ends the process."""
    kind = found.type().name().partition("<")[0]
    if kind == "MAP":
        return {key: _python(value) for key, value in found.value().items()}
    if kind == "LIST":
        return [_python(value) for value in found.value()]
    return cast(Value, found.plain_value())


def _path(tree: Tree | None) -> tuple[str, ...]:
    return (tree.name, *tree.fields) if isinstance(tree, Path) and not tree.is_asked else ()


def _failure(text: str, source: str) -> EvaluationFailed:
    name = unbound(text)
    if name:
        return EvaluationFailed(f"{name} has no value", name)
    _, _, why = text.partition(": ")
    return EvaluationFailed(without_data(why or text, source))
