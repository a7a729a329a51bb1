"""What an expression may read at one place of a definition, and how each name is read from recorded facts.

==========================  ==========  ===================================================================
name                        type        known in
==========================  ==========  ===================================================================
`input`                     input type  everywhere
`saga.id` `saga.uid`        string      everywhere
`saga.started_at`           timestamp   everywhere
`steps.<id>.reply`          its reply   everywhere but `attributes`; no value where the step has no reply
`steps.<id>.applied`        bool        everywhere but `attributes`
`steps.<id>.skipped`        bool        everywhere but `attributes`
`steps.<id>.status`         string      everywhere but `attributes`
`reply`                     own reply   `refuse`, `reason`, `compensate`
==========================  ==========  ===================================================================

A name without a value is left unbound: an expression that reaches it fails, one that guards it does not. It never
reads as an empty message.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.definition.descriptors import Types
from orchestrator.definition.diagnostics import At, Code, did_you_mean, listing
from orchestrator.definition.expressions import (
    BOOL,
    DYN,
    STRING,
    TIMESTAMP,
    Bindings,
    EvaluationFailed,
    Expression,
    Fault,
    Language,
    ValueType,
    message_type,
)
from orchestrator.ids import StepId
from orchestrator.saga.plan import Facts
from orchestrator.values import Payload

Reader = Callable[[Facts], object]
"""Gives a name's value, None where it has none."""

OWN_REPLY: Final = "reply"
_OF_STEPS: Final = ("reply", "applied", "skipped", "status")
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Name:
    """One name: its type, its message type where it is a message, its reader."""

    type: ValueType
    read: Reader
    message: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """An expression of the definition and the names it reads: what data edges are inferred from."""

    at: At
    offset: int
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The names of one place and the language that knows them."""

    types: Types
    names: Mapping[str, Name]
    steps: tuple[str, ...]
    """Ids of all steps, for explanations; empty where no step may be read."""
    language: Language
    uses: list[Use]
    """Every expression compiled here, or in a scope derived from this one."""
    _with_reply: dict[str, "Scope"] = field(default_factory=dict[str, "Scope"])

    def with_reply(self, reply: Descriptor | None) -> "Scope":
        """Return the same names and `reply`; one per reply type, because declaring names costs time."""
        key = reply.full_name if reply is not None else ""
        if key not in self._with_reply:
            names = {**self.names, OWN_REPLY: _message_name(self.types, reply, lambda facts: facts.own_reply)}
            self._with_reply[key] = _scope(self.types, names, self.steps, self.uses)
        return self._with_reply[key]

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
            message = "`reply` is known in `refuse`, `reason` and `compensate` only"
            at.inside(Code.NOT_KNOWN_HERE, where, message, fix)
        elif head == "steps" and not self.steps:
            message = "attributes are read when the saga starts, and no step has run then"
            at.inside(Code.NOT_KNOWN_HERE, where, message, "read `input`")
        elif head == "steps" and rest and rest[0] not in self.steps:
            fix = did_you_mean(rest[0], self.steps) or f"steps are {listing(self.steps)}"
            at.inside(Code.UNKNOWN_STEP, where, f"there is no step `{rest[0]}`", fix)
        elif head == "steps":
            fix = did_you_mean(rest[1], _OF_STEPS) if len(rest) > 1 else ""
            message = f"of a step one reads {listing(_OF_STEPS)}"
            at.inside(Code.EXPRESSION_INVALID, where, message, fix or "write steps.<id>.reply")
        else:
            fix = did_you_mean(name, self.names) or f"known are {listing(self._roots())} and CEL's functions"
            at.inside(Code.EXPRESSION_INVALID, where, f"`{name}` is not known", fix)

    def _roots(self) -> Iterable[str]:
        return sorted({f"{name.split('.')[0]}.<id>" if name[:6] == "steps." else name for name in self.names})


def base_scope(types: Types, input_: Descriptor | None) -> Scope:
    """Return the scope of attributes: what is known before the first step."""
    return _scope(types, _always(types, input_), (), [])


def step_scope(types: Types, input_: Descriptor | None, replies: Mapping[str, Descriptor | None]) -> Scope:
    """Return the scope of everything evaluated while steps run; a reply type of None reads as dynamic."""
    names = _always(types, input_)
    for step, reply in replies.items():
        names |= _of_step(types, StepId(step), reply)
    return _scope(types, names, tuple(replies), [])


class Reading:
    """One evaluation's view of the facts: names are read once, when the first expression wants them."""

    __slots__ = ("_bindings", "_facts", "_names", "_scope")

    def __init__(self, scope: Scope, names: Iterable[str], facts: Facts) -> None:
        """Remember where to read; nothing is read yet."""
        self._scope = scope
        self._names = names
        self._facts = facts
        self._bindings: Bindings | None = None

    def evaluate(self, expression: Expression) -> object:
        """Return an expression's value; raise `EvaluationFailed`."""
        if self._bindings is None:
            names = self._scope.names
            found = ((name, names[name].read(self._facts)) for name in self._names)
            self._bindings = self._scope.language.bind({name: value for name, value in found if value is not None})
        try:
            return expression.evaluate(self._bindings)
        except EvaluationFailed as failed:
            if not failed.unbound:
                raise
            raise self._absent(failed.unbound) from failed

    def message(self, name: str) -> Message:
        """Return a name's message as it is recorded; raise `EvaluationFailed` where there is none."""
        found = self._scope.names[name].read(self._facts)
        if not isinstance(found, Message):
            raise self._absent(name)
        return found

    def _absent(self, name: str) -> EvaluationFailed:
        if name == OWN_REPLY:
            return EvaluationFailed("the step's own reply is not known", name)
        step = StepId(name.split(".")[1])
        return EvaluationFailed(f"step `{step}` has no reply, it is {self._facts.status_of(step)}", name)


def _scope(types: Types, names: Mapping[str, Name], steps: tuple[str, ...], uses: list[Use]) -> Scope:
    language = Language(types.pool, {name: found.type for name, found in names.items()})
    return Scope(types=types, names=names, steps=steps, language=language, uses=uses)


def _always(types: Types, input_: Descriptor | None) -> dict[str, Name]:
    return {
        "input": _message_name(types, input_, lambda facts: facts.input),
        "saga.id": Name(STRING, lambda facts: str(facts.saga_id)),
        "saga.uid": Name(STRING, lambda facts: str(facts.uid)),
        "saga.started_at": Name(TIMESTAMP, _started_at),
    }


def _of_step(types: Types, step: StepId, reply: Descriptor | None) -> dict[str, Name]:
    return {
        f"steps.{step}.reply": _message_name(types, reply, lambda facts: facts.reply_of(step)),
        f"steps.{step}.applied": Name(BOOL, lambda facts: facts.status_of(step) == "APPLIED"),
        f"steps.{step}.skipped": Name(BOOL, lambda facts: facts.status_of(step) == "SKIPPED"),
        f"steps.{step}.status": Name(STRING, lambda facts: facts.status_of(step)),
    }


def _message_name(types: Types, descriptor: Descriptor | None, recorded: Callable[[Facts], Payload | None]) -> Name:
    if descriptor is None:  # its type is not known, which is a finding elsewhere; nothing is evaluated then
        return Name(DYN, lambda _: None)

    def read(facts: Facts) -> object:
        payload = recorded(facts)
        if payload is None:
            return None
        if payload.type_name != descriptor.full_name:
            raise EvaluationFailed(f"a {payload.type_name} is recorded where a {descriptor.full_name} is expected")
        try:
            return types.parse(payload, descriptor)
        except DecodeError as error:
            raise EvaluationFailed(f"the recorded {descriptor.full_name} cannot be read") from error

    return Name(message_type(descriptor), read, descriptor)


def _started_at(facts: Facts) -> Timestamp:
    # a float of today's seconds is exact to a quarter of a microsecond: digits below are noise
    seconds, fraction = divmod(facts.started_at, 1.0)
    micros = round(fraction * _MICROS)
    return Timestamp(seconds=int(seconds) + micros // _MICROS, nanos=micros % _MICROS * 1_000)
