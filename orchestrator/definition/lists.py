"""The lists that `for_each` goes through, up to 100,000 elements long: read where they are recorded, not copied.

A plain path to a repeated field, to a list of JSON values, or to the replies of another `for_each` gives the very
container the payload was parsed into, of which an element is taken when its turn comes. Everything else is computed by
CEL, whose own macros go through 10,000 elements at most.
"""

from collections.abc import Sequence
from typing import cast

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from orchestrator.definition import holes
from orchestrator.definition.descriptors import is_map, way
from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.expressions import DYN, EvaluationFailed, Expression, ValueType
from orchestrator.definition.fits import STRUCT_TYPE
from orchestrator.definition.misfit import kind
from orchestrator.definition.names import Names, Reading
from orchestrator.definition.paths import Evaluate
from orchestrator.saga.plan import ExpressionFailure, Facts, RenderItems

Elements = Sequence[object]


def compile_items(text: str, at: At, known: Names) -> tuple[RenderItems, ValueType] | None:
    """Compile the list of a `for_each`, and say of which type its elements are."""
    hole = holes.whole(text, at)
    expression = known.compile(hole.source, at, hole.offset) if hole is not None else None
    if expression is None or hole is None:
        return None
    if expression.type.name not in {"LIST", "DYN"}:
        fix = "write ….map(key, key) to go through its keys" if expression.type.name == "MAP" else "name a list"
        at.inside(Code.RESULT_TYPE, hole.offset, f"a list is needed, this is {expression.type}", fix)
        return None

    def evaluate(reading: Reading) -> object:
        return reading.evaluate(expression)

    read: Evaluate = _recorded(expression, known) or evaluate
    where = f"{at.dotted} ({expression.source})"

    def items(facts: Facts) -> Elements | ExpressionFailure:
        try:
            found = read(Reading(known, expression.names, facts))
        except EvaluationFailed as failed:
            return ExpressionFailure(f"{where}: {failed.why}")
        if isinstance(found, Sequence) and not isinstance(found, (str, bytes, bytearray)):
            return cast("Elements", found)
        return ExpressionFailure(f"{where}: a list is needed, not {kind(found)}")

    return items, expression.type.of[0] if expression.type.of else DYN


def _recorded(expression: Expression, known: Names) -> Evaluate | None:
    """Return a reader of a list that is recorded as it is needed; None where it must be computed."""
    if not expression.path:
        return None
    name, *parts = expression.path
    start = known.names[name]
    if not parts and start.type.name == "LIST":
        return lambda reading: reading.value(name)
    if start.message is None:
        return None
    for length in range(len(parts) + 1):
        fields = way(start.message, parts[:length])
        if fields is None:
            return None
        last = fields[-1] if fields else None
        if last is not None and last.is_repeated:
            is_list = length == len(parts) and not is_map(last)
            return (lambda reading: _at(reading, name, parts)) if is_list else None
        type_ = last.message_type if last is not None else start.message
        if type_ is not None and type_.full_name == STRUCT_TYPE:
            here, below = parts[:length], parts[length:]
            return lambda reading: _json_list(cast("Struct", _at(reading, name, here)), below)
    return None


def _at(reading: Reading, name: str, parts: Sequence[str]) -> object:
    found: object = reading.message(name)
    for part in parts:
        found = cast("Message", getattr(found, part))
    return found


def _json_list(struct: Struct, keys: Sequence[str]) -> object:
    """Return the list at a path of keys; its elements are JSON values as they were recorded."""
    found: Value | None = None
    inside = struct
    for key in keys:
        if found is not None and not found.HasField("struct_value"):
            raise EvaluationFailed(f"what holds `{key}` is no object")
        if key not in inside.fields:  # asking for it would add it
            raise EvaluationFailed(f"no such key: {key}")
        found = inside.fields[key]
        inside = found.struct_value
    if found is None or not found.HasField("list_value"):
        what = str(found.WhichOneof("kind") or "null") if found is not None else "object"
        raise EvaluationFailed(
            f"a list is needed, not a JSON {what.removesuffix('_value').replace('struct', 'object')}"
        )
    return found.list_value.values
