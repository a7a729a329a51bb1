"""What an expression may read at one place of a definition, and how each name is read from recorded facts.

=============================  ===========  =================================================================
name                           type         known in
=============================  ===========  =================================================================
`input`                        input type   everywhere
`saga.id` `saga.uid`           string       everywhere
`saga.started_at`              timestamp    everywhere
`steps.<id>.reply`             its reply    everywhere but `attributes`; no value where the step has no reply
`steps.<id>.replies`           list of it   the same, of a `for_each` step; of the items that were applied
`steps.<id>.applied_count`     int          everywhere but `attributes`, of a `for_each` step
`steps.<id>.failed_count`      int          the same
`steps.<id>.applied`           bool         everywhere but `attributes`
`steps.<id>.skipped`           bool         everywhere but `attributes`
`steps.<id>.status`            string       everywhere but `attributes`
`reply`                        own reply    `refuse`, `reason`, `compensate`, `until`; the probe's in a `probe`
what `as` says, or `item`      the element  all of a `for_each` step that is read for one item
`index`                        int          the same
=============================  ===========  =================================================================

A name without a value is left unbound: an expression that reaches it fails, one that guards it does not. It never
reads as an empty message.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.definition.descriptors import Types, message_class
from orchestrator.definition.diagnostics import At, Code, did_you_mean, listing
from orchestrator.definition.direct import direct
from orchestrator.definition.expressions import (
    BOOL,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Bindings,
    EvaluationFailed,
    Expression,
    Language,
    ValueType,
    list_of,
    message_type,
)
from orchestrator.definition.faults import Fault
from orchestrator.definition.loose import why_loose
from orchestrator.ids import StepId
from orchestrator.limits import WHOLE_BYTES_MAX
from orchestrator.saga.plan import Facts
from orchestrator.values import Payload

Reader = Callable[[Facts], object]
"""Gives a name's value, None where it has none."""

OWN_REPLY: Final = "reply"
INDEX: Final = "index"
ROOTS: Final = frozenset({"input", "saga", "steps", OWN_REPLY, INDEX})
"""First words that are taken: no item can be called so."""
_FACTS: Final = ("applied", "skipped", "status")
_OF_MANY: Final = ("replies", "applied_count", "failed_count")
_MICROS: Final = 1_000_000


class Replies(Enum):
    """How many replies a step has."""

    NONE = auto()
    ONE = auto()
    MANY = auto()
    """One for each item."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a step gives to others to read; the type is None where it could not be found out."""

    replies: Replies
    type: Descriptor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the last words of the names."""
        of_reply = {Replies.NONE: (), Replies.ONE: ("reply",), Replies.MANY: _OF_MANY}[self.replies]
        return (*of_reply, *_FACTS)


@dataclass(frozen=True, slots=True)
class Name:
    """One name: its type, its message type where it is a message, its reader."""

    type: ValueType
    read: Reader
    message: Descriptor | None = None
    recorded: Callable[[Facts], Payload | None] | None = None
    """The payload that a message is read from, where it is recorded as one."""


@dataclass(frozen=True, slots=True)
class Use:
    """An expression of the definition and the names it reads: what data edges are inferred from."""

    at: At
    offset: int
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one place and the language that knows them."""

    types: Types
    names: Mapping[str, Name]
    offers: Mapping[str, Offer]
    """What may be read of each step; empty where no step may be read."""
    language: Language
    uses: list[Use]
    """Every expression compiled here, or where more names are known."""
    _with: dict[str, "Names"] = field(default_factory=dict[str, "Names"])

    def with_reply(self, reply: Descriptor | None) -> "Names":
        """Return the same names and `reply`."""
        own = {OWN_REPLY: _message_name(self.types, reply, lambda facts: facts.own_reply)}
        return self._also(f"{OWN_REPLY} {reply.full_name if reply is not None else ''}", own)

    def with_item(self, name: str, element: ValueType) -> "Names":
        """Return the same names, and those of one item of a list."""
        item = Name(
            element, lambda facts: facts.item, self.types.message(element.name) if "." in element.name else None
        )
        return self._also(f"{name} {element}", {name: item, INDEX: Name(INT, lambda facts: facts.index)})

    def _also(self, key: str, more: Mapping[str, Name]) -> "Names":
        """Keep one of each kind, because declaring names costs time."""
        if key not in self._with:
            self._with[key] = _names(self.types, {**self.names, **more}, self.offers, self.uses)
        return self._with[key]

    def compile(self, source: str, at: At, offset: int) -> Expression | None:
        """Compile; every fault becomes a finding at its character."""
        found = self.language.compile(source)
        if isinstance(found, Expression):
            self.uses.append(Use(at, offset, found))
            return found
        for fault in found:
            self._explain(fault, at, offset)
        return None

    def _explain(self, fault: Fault, at: At, offset: int) -> None:
        where = offset + fault.offset
        if fault.is_syntax:
            at.inside(Code.EXPRESSION_SYNTAX, where, fault.message)
        elif fault.undeclared:
            self._explain_name(fault.undeclared, at, where)
        elif fault.missing_field is not None:
            type_name, field_ = fault.missing_field
            descriptor = self.types.message(type_name)
            known = [one.name for one in descriptor.fields] if descriptor is not None else []
            fix = did_you_mean(field_, known) or f"its fields: {listing(known, 20)}"
            at.inside(Code.EXPRESSION_INVALID, where, fault.message, fix)
        else:
            at.inside(Code.EXPRESSION_INVALID, where, fault.message)

    def _explain_name(self, name: str, at: At, where: int) -> None:
        head, *rest = name.split(".")
        if head == OWN_REPLY:
            fix = "write steps.<id>.reply for the reply of another step"
            message = "`reply` is known in `refuse`, `reason`, `until`, `compensate` and `probe` only"
            at.inside(Code.NOT_KNOWN_HERE, where, message, fix)
        elif head in {INDEX, "item"}:
            message = f"`{head}` is known in what a step with `for_each` reads for one item, and its `when` is not"
            at.inside(Code.NOT_KNOWN_HERE, where, message, "add `for_each:`, or read the list")
        elif head == "steps" and not self.offers:
            message = "attributes are read when the saga starts, and no step has run then"
            at.inside(Code.NOT_KNOWN_HERE, where, message, "read `input`")
        elif head == "steps" and rest and rest[0] not in self.offers:
            fix = did_you_mean(rest[0], self.offers) or f"steps are {listing(self.offers)}"
            at.inside(Code.UNKNOWN_STEP, where, f"there is no step `{rest[0]}`", fix)
        elif head == "steps":
            self._explain_offer(rest, at, where)
        else:
            fix = did_you_mean(name, self.names) or f"known are {listing(self._roots())} and CEL's functions"
            at.inside(Code.EXPRESSION_INVALID, where, f"`{name}` is not known", fix)

    def _explain_offer(self, rest: list[str], at: At, where: int) -> None:
        offer = self.offers[rest[0]] if rest else Offer(Replies.ONE)
        message = f"of a step one reads {listing(offer.names)}"
        fix = did_you_mean(rest[1], offer.names) if len(rest) > 1 else ""
        if rest[1:2] == ["reply"] and offer.replies is Replies.MANY:
            message, fix = f"step `{rest[0]}` has a reply for each of its items", f"write steps.{rest[0]}.replies"
        elif rest[1:2] == ["reply"]:
            message, fix = f"step `{rest[0]}` has no reply", f"read steps.{rest[0]}.applied"
        at.inside(Code.EXPRESSION_INVALID, where, message, fix or f"write steps.<id>.{offer.names[0]}")

    def _roots(self) -> Iterable[str]:
        return sorted({f"{name.split('.')[0]}.<id>" if name[:6] == "steps." else name for name in self.names})


def before_steps(types: Types, input_: Descriptor | None) -> Names:
    """Return the names of attributes: what is known before the first step."""
    return _names(types, _always(types, input_), {}, [])


def during_steps(types: Types, input_: Descriptor | None, offers: Mapping[str, Offer]) -> Names:
    """Return the names of everything evaluated while steps run; a reply type of None reads as dynamic."""
    names = _always(types, input_)
    for step, offer in offers.items():
        names |= _of_step(types, StepId(step), offer)
    return _names(types, names, offers, [])


class Reading:
    """One evaluation's view of the facts: what CEL is given is read once, when the first expression needs it."""

    __slots__ = ("_bindings", "_facts", "_known", "_names")

    def __init__(self, known: Names, names: Iterable[str], facts: Facts) -> None:
        """Remember where to read, and what CEL is to be given; nothing is read yet."""
        self._known = known
        self._names = names
        self._facts = facts
        self._bindings: Bindings | None = None

    def evaluate(self, expression: Expression) -> object:
        """Return an expression's value; raise `EvaluationFailed`."""
        if expression.direct is not None:
            try:
                return expression.direct(self._facts)
            except (EvaluationFailed, TypeError, ValueError):
                # CEL knows whether that matters, and what to say; the last two are what nobody has thought of
                pass
        return self._computed(expression)

    def _computed(self, expression: Expression) -> object:
        parts = self._parts(expression)
        if expression.type.may_hold_maps:
            self._refuse_loose(expression.names, parts)
        if parts or expression.direct is not None:
            bindings = self._bound(expression.names, parts)
        else:
            self._bindings = bindings = self._bindings or self._bound(self._names, {})
        try:
            return expression.evaluate(bindings)
        except EvaluationFailed as failed:
            if not failed.unbound:
                raise
            raise self._absent(failed.unbound) from failed

    def _refuse_loose(self, names: Iterable[str], parts: Mapping[str, Message]) -> None:
        """Raise where what is read holds a text that CEL must not make a map's key of."""
        for name in names:
            if why := why_loose(parts[name] if name in parts else self._known.names[name].read(self._facts)):
                raise EvaluationFailed(f"`{name}` cannot be read for a map: {why}")

    def _bound(self, names: Iterable[str], parts: Mapping[str, Message]) -> Bindings:
        known = self._known.names
        found: dict[str, object] = {}
        for name in names:
            value = parts[name] if name in parts else known[name].read(self._facts)
            if value is not None:
                found[name] = value
        return self._known.language.bind(found)

    def _parts(self, expression: Expression) -> Mapping[str, Message]:
        """Return what is read of large messages: CEL copies each it is given, whatever it reads of it."""
        found: dict[str, Message] = {}
        for name, fields in expression.fields.items():
            one = self._known.names[name]
            payload = one.recorded(self._facts) if one.recorded is not None else None
            if payload is None or one.message is None or payload.size_bytes < WHOLE_BYTES_MAX:
                continue
            if payload.type_name == one.message.full_name:  # what is not is told where it is read
                found[name] = _parsed(
                    payload, one.message.full_name, partial(self._known.types.part, one.message, fields)
                )
        return found

    def message(self, name: str) -> Message:
        """Return a name's message as it is recorded; raise `EvaluationFailed` where there is none."""
        found = self._known.names[name].read(self._facts)
        if not isinstance(found, Message):
            raise self._absent(name)
        return found

    def value(self, name: str) -> object:
        """Return a name's value as it is read, without CEL."""
        return self._known.names[name].read(self._facts)

    def _absent(self, name: str) -> EvaluationFailed:
        if name == OWN_REPLY:
            return EvaluationFailed("the step's own reply is not known", name)
        if not name.startswith("steps."):
            return EvaluationFailed(f"`{name}` has no value", name)
        step = StepId(name.split(".")[1])
        return EvaluationFailed(f"step `{step}` has no reply, it is {self._facts.status_of(step)}", name)


def _names(types: Types, names: Mapping[str, Name], offers: Mapping[str, Offer], uses: list[Use]) -> Names:
    language = Language(
        types.pool, {name: found.type for name, found in names.items()}, lambda tree: direct(tree, names)
    )
    return Names(types=types, names=names, offers=offers, language=language, uses=uses)


def _always(types: Types, input_: Descriptor | None) -> dict[str, Name]:
    return {
        "input": _message_name(types, input_, lambda facts: facts.input),
        "saga.id": Name(STRING, lambda facts: str(facts.saga_id)),
        "saga.uid": Name(STRING, lambda facts: str(facts.uid)),
        "saga.started_at": Name(TIMESTAMP, _started_at),
    }


def _of_step(types: Types, step: StepId, offer: Offer) -> dict[str, Name]:
    found = {
        "applied": Name(BOOL, lambda facts: facts.status_of(step) == "APPLIED"),
        "skipped": Name(BOOL, lambda facts: facts.status_of(step) == "SKIPPED"),
        "status": Name(STRING, lambda facts: facts.status_of(step)),
    }
    if offer.replies is Replies.ONE:
        found["reply"] = _message_name(types, offer.type, lambda facts: facts.reply_of(step))
    elif offer.replies is Replies.MANY:
        found["replies"] = _list_name(offer.type, lambda facts: facts.replies_of(step))
        found["applied_count"] = Name(INT, lambda facts: facts.applied_count(step))
        found["failed_count"] = Name(INT, lambda facts: facts.failed_count(step))
    return {f"steps.{step}.{name}": one for name, one in found.items()}


def _message_name(types: Types, descriptor: Descriptor | None, recorded: Callable[[Facts], Payload | None]) -> Name:
    if descriptor is None:  # its type is not known, which is a finding elsewhere; nothing is evaluated then
        return Name(DYN, lambda _: None)

    name, parse = descriptor.full_name, types.parser(descriptor)

    def read(facts: Facts) -> object:
        payload = recorded(facts)
        return None if payload is None else _parsed(payload, name, parse)

    return Name(message_type(descriptor), read, descriptor, recorded)


def _list_name(descriptor: Descriptor | None, recorded: Callable[[Facts], Iterable[Payload]]) -> Name:
    if descriptor is None:
        return Name(DYN, lambda _: None)
    # not kept parsed: so many would put aside what others read again and again
    name, parse = descriptor.full_name, message_class(descriptor).FromString
    return Name(
        list_of(message_type(descriptor)),
        lambda facts: [_parsed(payload, name, parse) for payload in recorded(facts)],
    )


def _parsed(payload: Payload, name: str, parse: Callable[[bytes], Message]) -> Message:
    if payload.type_name != name:
        raise EvaluationFailed(f"a {payload.type_name} is recorded where a {name} is expected")
    try:
        return parse(payload.data)
    except DecodeError as error:
        raise EvaluationFailed(f"the recorded {name} cannot be read") from error


def _started_at(facts: Facts) -> Timestamp:
    # a float of today's seconds is exact to a quarter of a microsecond: digits below are noise
    seconds, fraction = divmod(facts.started_at, 1.0)
    micros = round(fraction * _MICROS)
    return Timestamp(seconds=int(seconds) + micros // _MICROS, nanos=micros % _MICROS * 1_000)
