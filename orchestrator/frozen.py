"""Values that nobody changes, at less than the price of plain ones.

`@frozen` makes a class of values with fields by keyword, `@frozen_tuple` one with fields by position. Both are msgspec
Structs: made, copied, compared and hashed in C, and frozen at run time. The machine makes some two hundred values and
sixty copies for one saga of five steps, and this is where a fifth of its time went. Measured, with 21 fields:

==================  ================  ==================  ==============
nanoseconds         frozen dataclass  unfrozen dataclass  msgspec Struct
==================  ================  ==================  ==============
make one            1,190             400                 70
a changed copy      2,600             370                 90
hash / compare      210 / 270         210 / 270           95 / 50
==================  ================  ==================  ==============

Whoever asks in every turn of which class a value is asks by `type(value) is`, or looks the class up: nothing is derived
from these classes, and to ask a value of another one by `isinstance`, or by a `case` that names it, takes 100 ns, where
comparing the two takes 10. A member of an enumeration takes 60 to look up, a generic that is called, such as
`dict[str, int]()`, 250.

The collector of cycles looks at those that refer to a container, and at no others. Keeping it from all of them
(`gc=False`) brought nothing that could be measured, and leaked: an error holds a traceback, that a frame, and that a
value with the error.

The one exception is a class with a field that its constructor does not take (`field(init=False)`, derived once in
`__post_init__`): it is a frozen dataclass, since a Struct has no such fields. A plan and its steps are made once for a
definition, so that the price does not matter; and nobody makes a copy of one: `changed` is for Structs only.
"""

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Protocol, TypeVar, cast, dataclass_transform

import msgspec
from msgspec.structs import replace

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class of values whose fields are given by keyword."""
    return _made(cls, kw_only=True)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen_tuple(cls: type[T]) -> type[T]:
    """Make a class of small values whose fields are given by position."""
    return _made(cls, kw_only=False)


class _Change(Protocol):
    def __call__(self, old: T, /, **changes: object) -> T: ...


changed = cast("_Change", replace)
"""Return a copy of a Struct with some fields changed; an unknown name is a `TypeError` that no type checker foresees.

Called as it is: handing the keywords on would cost twice as much as the copy.
"""


def _made(cls: type[T], *, kw_only: bool) -> type[T]:
    if any(isinstance(each, Field) and not each.init for each in vars(cls).values()):
        return dataclass(frozen=True, slots=True, kw_only=kw_only)(cls)
    # What the standard library knows of its own classes, this one says too: `replace`, `fields` and `asdict` work.
    as_known: Any = dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
    known = fields(as_known)
    dropped = {"__dict__", "__weakref__", "__match_args__", "__replace__", *(each.name for each in known)}
    namespace = {name: value for name, value in vars(cls).items() if name not in dropped}
    namespace["__annotations__"] = {each.name: each.type for each in known}
    for each in known:
        if each.default_factory is not MISSING:
            namespace[each.name] = msgspec.field(default_factory=each.default_factory)
        elif each.default is not MISSING:
            namespace[each.name] = each.default
    make: Any = type(msgspec.Struct)
    made: type[T] = make(cls.__name__, (msgspec.Struct,), namespace, frozen=True, kw_only=kw_only)
    return made
