"""What a definition means, checked before the first call: one function per rule, all findings at once.

`check` resolves names (targets, methods, types), compiles every expression and applies the rules about the graph. What
it resolved is returned for `compile.py`; it is complete only when no error was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from orchestrator.definition import annotated, graph, render, rules
from orchestrator.definition.annotated import Called
from orchestrator.definition.descriptors import Types
from orchestrator.definition.diagnostics import At, Code, Findings, did_you_mean, listing
from orchestrator.definition.model import Compensate, Definition, Step
from orchestrator.definition.scope import Scope, base_scope, step_scope
from orchestrator.ids import STEP_ID
from orchestrator.limits import ATTRIBUTES_MAX, STEPS_MAX
from orchestrator.saga.plan import Guard, Render, RenderAttributes, RenderText
from orchestrator.values import JSON_TYPE

JSON: Final = "json"
"""How a definition writes untyped input."""
_RESERVED: Final = frozenset({"in", "true", "false", "null"})
"""Words that CEL's grammar does not take as a field name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The called services as they are known to one check."""

    types: Types
    serves: Mapping[str, frozenset[str]]
    """Target -> its services' full names; a target that is absent could not be asked."""
    configured: Sequence[str]
    unreachable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Target -> why it could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall:
    """A call whose names were found."""

    target: str
    method: MethodDescriptor
    render: Render | None = None


@dataclass(slots=True, kw_only=True)
class BoundStep:
    """A step whose names were found and whose expressions compile."""

    call: BoundCall | None = None
    undo: BoundCall | None = None
    undo_reads_reply: bool = False
    when: Guard | None = None
    refuse: Guard | None = None
    reason: RenderText | None = None
    needs: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Bound:
    """What a check resolved."""

    input_type: str
    steps: dict[str, BoundStep]
    attributes: RenderAttributes | None = None
    output: Render | None = None


def check(definition: Definition, services: Services, findings: Findings) -> Bound:
    """Apply every rule; the result is complete where `findings.has_errors` stays false."""
    top = At(findings, ())
    input_ = _input(definition, services, top)
    bound = Bound(
        input_type=input_.full_name if input_ is not None else "",
        steps={step: BoundStep() for step in definition.steps},
    )
    _targets(definition, services, top)
    _step_ids(definition, top)
    for name, step in definition.steps.items():
        at = top / "steps" / name
        bound.steps[name].call = _call(step.call, definition, services, at / "call")
        if isinstance(step.compensate, Compensate):
            bound.steps[name].undo = _call(step.compensate.call, definition, services, at / "compensate" / "call")
    scopes = _scopes(bound, input_, services.types)
    _expressions(definition, bound, scopes, top)
    needs = rules.edges(definition, scopes[1].uses, top)
    for name, found in needs.items():
        bound.steps[name].needs = found
    for name in rules.undo_needs_reply(scopes[1].uses):
        bound.steps[name].undo_reads_reply = True
    ancestors = graph.ancestors(needs)
    rules.cycles(needs, top)
    rules.settled_reads(scopes[1].uses, ancestors)
    rules.patience(definition, top)
    rules.undo_said(definition, top)
    rules.undo_order(definition, ancestors, top)
    rules.triggers(definition, needs, top)
    rules.absent_replies(definition, scopes[1].uses)
    annotated.contradictions(definition, {name: _called(step) for name, step in bound.steps.items()}, top)
    return bound


# --- names ---------------------------------------------------------------------------------------------------------


def _input(definition: Definition, services: Services, top: At) -> Descriptor | None:
    name = JSON_TYPE if definition.input == JSON else definition.input
    found = services.types.message(name)
    if found is None and services.unreachable:
        return None  # it may be that target's; its absence is a finding already
    if found is None:
        known = services.types.messages()
        fix = did_you_mean(name, known) or f"write `json`, or a message of the targets: {listing(known)}"
        (top / "input").value(Code.UNKNOWN_TYPE, f"no target of this definition knows the message type {name}", fix)
    return found


def _targets(definition: Definition, services: Services, top: At) -> None:
    used = {text.partition("/")[0] for _, text in _written_calls(definition)}
    seen: set[str] = set()
    for index, target in enumerate(definition.targets):
        at = top / "targets" / index
        if target in seen:
            at.value(Code.INVALID_VALUE, f"target `{target}` is listed twice", "remove one")
        seen.add(target)
        if target not in services.configured:
            fix = did_you_mean(target, services.configured) or f"configured are: {listing(services.configured)}"
            at.value(Code.UNKNOWN_TARGET, f"target `{target}` is not configured", fix)
        elif target in services.unreachable:
            fix = "start the service, or configure its descriptors (`descriptors: {files: […]}`)"
            why = f"target `{target}` did not tell its methods: {services.unreachable[target]}"
            at.value(Code.TARGET_UNREACHABLE, why, fix)
        elif target not in used:
            at.value(Code.UNUSED_TARGET, f"no step calls target `{target}`", "remove it")


def _written_calls(definition: Definition) -> Iterable[tuple[str, str]]:
    for name, step in definition.steps.items():
        yield name, step.call
        if isinstance(step.compensate, Compensate):
            yield name, step.compensate.call


def split_call(text: str) -> tuple[str, str, str] | None:
    """Return target, service and method of `target/package.Service/Method`; None where it is not that."""
    match text.split("/"):
        case [target, service, method] if target and service and method:
            return target, service, method
        case _:
            return None


def needed(definition: Definition) -> tuple[frozenset[str], str]:
    """Return the services a definition calls and its input type: what its descriptors must hold."""
    split = (split_call(text) for _, text in _written_calls(definition))
    return frozenset(found[1] for found in split if found), definition.input


def _call(text: str, definition: Definition, services: Services, at: At) -> BoundCall | None:
    parts = split_call(text)
    if parts is None:
        at.value(Code.INVALID_VALUE, f"`{text}` is not a call", "write target/package.Service/Method")
        return None
    target, service, name = parts
    if target not in definition.targets:
        known = did_you_mean(target, definition.targets)
        fix = known or f"add `{target}` to `targets`"
        at.value(Code.UNDECLARED_TARGET, f"target `{target}` is not in this definition's `targets`", fix)
        return None
    served = services.serves.get(target)
    if served is None:
        return None  # not configured or not reachable, which is a finding of its own
    if service not in served:
        fix = did_you_mean(service, served) or f"its services: {listing(sorted(served))}"
        at.value(Code.UNKNOWN_METHOD, f"target `{target}` has no service {service}", fix)
        return None
    methods = services.types.methods(service)
    method = methods.get(name)
    if method is None and service not in services.types.services():
        return None  # its file lost against another target's, which is a finding of its own
    if method is None:
        fix = did_you_mean(name, methods) or f"its methods: {listing(methods)}"
        at.value(Code.UNKNOWN_METHOD, f"service {service} has no method `{name}`", fix)
        return None
    if method.client_streaming or method.server_streaming:
        message = f"{service}/{name} is a streaming method; a step calls unary ones"
        at.value(Code.STREAMING_METHOD, message, "offer a unary method")
        return None
    return BoundCall(target=target, method=method)


def _called(step: BoundStep) -> Called:
    return Called(forward=step.call.method if step.call else None, undo=step.undo.method if step.undo else None)


def _step_ids(definition: Definition, top: At) -> None:
    if len(definition.steps) > STEPS_MAX:
        message = f"{len(definition.steps)} steps, more than the {STEPS_MAX} a saga may have"
        (top / "steps").key(Code.TOO_LARGE, message, "split it into several sagas")
    for name in definition.steps:
        at = top / "steps" / name
        if STEP_ID.fullmatch(name) is None:
            fixed = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.lower()).strip("_")
            fix = f"write `{fixed}`" if STEP_ID.fullmatch(fixed) else "write a name such as `reserve_stock`"
            why = f"`{name}` is not a step id: a letter a-z, then a-z 0-9 _ (a dash is minus in an expression)"
            at.key(Code.INVALID_VALUE, why, fix)
        elif name in _RESERVED:
            at.key(Code.INVALID_VALUE, f"`{name}` is a word of the expression language", f"write `{name}_step`")


# --- expressions ---------------------------------------------------------------------------------------------------


def _scopes(bound: Bound, input_: Descriptor | None, types: Types) -> tuple[Scope, Scope]:
    replies = {name: step.call.method.output_type if step.call else None for name, step in bound.steps.items()}
    return base_scope(types, input_), step_scope(types, input_, replies)


def _expressions(definition: Definition, bound: Bound, scopes: tuple[Scope, Scope], top: At) -> None:
    before, during = scopes
    if len(definition.attributes) > ATTRIBUTES_MAX:
        message = f"{len(definition.attributes)} attributes, more than {ATTRIBUTES_MAX}"
        (top / "attributes").key(Code.TOO_LARGE, message, "keep those one searches for")
    if definition.attributes:
        bound.attributes = render.compile_attributes(definition.attributes, top / "attributes", before)
    for name, step in definition.steps.items():
        _step_expressions(step, bound.steps[name], during, top / "steps" / name)
    if definition.output is not None:
        bound.output = render.compile_output(definition.output, top / "output", during)


def _step_expressions(step: Step, bound: BoundStep, scope: Scope, at: At) -> None:
    if bound.call is not None:
        rendering = render.compile_message(step.request, bound.call.method.input_type, at / "request", scope)
        bound.call = BoundCall(target=bound.call.target, method=bound.call.method, render=rendering)
    if step.when is not None:
        bound.when = _guard(step.when, at / "when", scope)
    settled = scope.with_reply(bound.call.method.output_type if bound.call is not None else None)
    if step.refuse is not None:
        bound.refuse = _guard(step.refuse, at / "refuse", settled)
    if step.reason is not None:
        bound.reason = render.compile_sentence(step.reason, at / "reason", settled)
        if step.refuse is None:
            message = "`reason` explains a `refuse`, and there is none"
            (at / "reason").key(Code.INVALID_VALUE, message, "add `refuse:`, or remove `reason:`")
    if isinstance(step.compensate, Compensate) and bound.undo is not None:
        where = at / "compensate" / "request"
        rendering = render.compile_message(step.compensate.request, bound.undo.method.input_type, where, settled)
        bound.undo = BoundCall(target=bound.undo.target, method=bound.undo.method, render=rendering)


def _guard(text: str, at: At, scope: Scope) -> Guard | None:
    found = render.compile_guard(text, at, scope)
    if found is None:
        return None
    guard, expression = found
    if not expression.names:
        at.value(Code.CONSTANT_GUARD, "this condition reads nothing, so it always gives the same answer", "remove it")
    return guard
