"""Values that nobody changes, at the price of plain ones.

`@frozen` is a keyword-only, slotted, hashable dataclass that every type checker holds to be frozen, and that is not
frozen at run time. A frozen dataclass sets each field through `object.__setattr__`, which makes building one three
times as dear, and a changed copy (`dataclasses.replace`) dearer still; the machine makes some hundred values and sixty
copies for one saga of five steps, and it is where its time went: 280 against 200 microseconds a saga, measured.

Immutability is what the machine's purity rests on, so it is not a convention: `mypy --strict` and pyright refuse an
assignment to a field of such a class, and `tests/unit/test_frozen.py` asks them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")
_Copier = Callable[[Any, dict[str, object]], Any]

_copiers: dict[type, _Copier] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class of values whose fields are given by keyword."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_tuple(cls: type[T]) -> type[T]:
    """Make a class of small values whose fields are given by position."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


def changed(old: T, **changes: object) -> T:
    """Return a copy with some fields changed; an unknown name is an `AttributeError` that no type checker foresees."""
    copy: Callable[[T, dict[str, object]], T] = _copiers.get(type(old)) or _copier(type(old))
    return copy(old, changes)


def _copier(cls: type[Any]) -> _Copier:
    """Make the function that copies one class's slots, written out: a loop over them costs as much as `replace`."""
    body = "".join(f"    new.{each.name} = old.{each.name}\n" for each in fields(cls))
    source = f"def copy(old, changes):\n    new = make(cls)\n{body}"
    source += "    for name in changes:\n        set_field(new, name, changes[name])\n    return new\n"
    scope: dict[str, Any] = {"make": object.__new__, "cls": cls, "set_field": setattr}
    exec(source, scope)  # noqa: S102  # the class's own field names, as namedtuple and dataclasses do it
    made: _Copier = scope["copy"]
    _copiers[cls] = made
    return made
