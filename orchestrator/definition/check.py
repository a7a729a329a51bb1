"""What a definition means, checked before the first call: one function per rule, all findings at once.

`check` resolves names (targets, methods, types), compiles every expression and applies the rules about the graph. What
it resolved is returned for `compile.py`; it is complete only when no error was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from orchestrator.definition import graph, render
from orchestrator.definition.descriptors import Types
from orchestrator.definition.diagnostics import At, Code, Findings, did_you_mean, listing
from orchestrator.definition.model import AtLeast, Compensate, Definition, Step
from orchestrator.definition.scope import OWN_REPLY, Scope, Use, base_scope, step_scope
from orchestrator.ids import STEP_ID
from orchestrator.limits import ATTRIBUTES_MAX, STEPS_MAX
from orchestrator.saga.plan import Guard, Render, RenderAttributes, RenderText
from orchestrator.values import JSON_TYPE

JSON: Final = "json"
"""How a definition writes untyped input."""
_RESERVED: Final = frozenset({"in", "true", "false", "null"})
"""Words that CEL's grammar does not take as a field name."""
_BEFORE_CALL: Final = frozenset({"request", "when"})
"""What is evaluated before a step's call, so what it reads must have run: data edges."""


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
    needs = _edges(definition, scopes[1].uses, top)
    for name, found in needs.items():
        bound.steps[name].needs = found
    ancestors = graph.ancestors(needs)
    _cycles(needs, top)
    _settled_reads(scopes[1].uses, ancestors)
    _patience(definition, top)
    _undo_said(definition, top)
    _undo_order(definition, ancestors, top)
    _triggers(definition, needs, top)
    _absent_replies(definition, scopes[1].uses)
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


def _steps_read(use: Use) -> Iterable[tuple[str, str]]:
    """Return step and what is read of it, for every step an expression reads."""
    for name in sorted(use.expression.names):
        parts = name.split(".")
        if parts[0] == "steps":
            yield parts[1], parts[2]


def _where(use: Use, name: str) -> int:
    return use.offset + max(use.expression.source.find(name), 0)


# --- the graph -----------------------------------------------------------------------------------------------------


def _edges(definition: Definition, uses: Sequence[Use], top: At) -> dict[str, frozenset[str]]:
    """Return direct predecessors: `after` and what is read before the call."""
    needs: dict[str, set[str]] = {name: set() for name in definition.steps}
    for name, step in definition.steps.items():
        for index, other in enumerate(step.after):
            if _known_step(other, name, definition, top / "steps" / name / "after" / index):
                needs[name].add(other)
    for use in uses:
        if use.at.path[0] != "steps":
            continue
        own, section = str(use.at.path[1]), str(use.at.path[2])
        for other, _ in _steps_read(use):
            if other == own:
                fix = "write `reply`" if section not in _BEFORE_CALL else "read another step, or `input`"
                where = _where(use, f"steps.{other}")
                use.at.inside(Code.SELF_REFERENCE, where, f"step `{own}` reads itself", fix)
            elif section in _BEFORE_CALL:
                needs[own].add(other)
    return {name: frozenset(found) for name, found in needs.items()}


def _known_step(other: str, own: str, definition: Definition, at: At) -> bool:
    if other == own:
        at.value(Code.SELF_REFERENCE, f"step `{own}` waits for itself", "remove it")
    elif other not in definition.steps:
        fix = did_you_mean(other, definition.steps) or f"steps are {listing(definition.steps)}"
        at.value(Code.UNKNOWN_STEP, f"there is no step `{other}`", fix)
    return other != own and other in definition.steps


def _cycles(needs: Mapping[str, frozenset[str]], top: At) -> None:
    for cycle in graph.cycles(needs):
        way = " -> ".join((*cycle, cycle[0]))
        message = f"these steps wait for each other: {way}"
        (top / "steps" / cycle[0]).key(Code.CYCLE, message, "remove one `after` or one reference")


def _settled_reads(uses: Sequence[Use], ancestors: Mapping[str, frozenset[str]]) -> None:
    """What is evaluated when a step settles may read upstream steps only: others may not have run."""
    for use in uses:
        section = str(use.at.path[2]) if use.at.path[0] == "steps" else ""
        if not section or section in _BEFORE_CALL:
            continue
        own = str(use.at.path[1])
        for other, what in _steps_read(use):
            if other != own and other not in ancestors[own]:
                message = f"step `{other}` need not have run when `{own}` settles and this is evaluated"
                where = _where(use, f"steps.{other}.{what}")
                use.at.inside(Code.NOT_UPSTREAM, where, message, f"add `{other}` to `after` of `{own}`")
        if section == "compensate" and OWN_REPLY in use.expression.names:
            message = "if the outcome stays unknown there is no reply, and this undo cannot be rendered"
            where = _where(use, OWN_REPLY)
            use.at.inside(Code.UNDO_READS_REPLY, where, message, "prefer a key known before the call")


def _patience(definition: Definition, top: At) -> None:
    for name, step in definition.steps.items():
        at = top / "steps" / name
        undo_retry = step.compensate.retry if isinstance(step.compensate, Compensate) else None
        for retry, where in ((step.retry, at / "retry"), (undo_retry, at / "compensate" / "retry")):
            if retry is None or retry.initial_backoff is None or retry.max_backoff is None:
                continue
            if retry.initial_backoff > retry.max_backoff:
                message = "the first pause is longer than the longest one"
                (where / "max_backoff").value(Code.INVALID_VALUE, message, "raise it, or lower `initial_backoff`")


def _undo_said(definition: Definition, top: At) -> None:
    for name, step in definition.steps.items():
        at = top / "steps" / name
        if step.kind == "read" and step.compensate is not None:
            message = "a step of kind `read` has no effect, so there is nothing to compensate"
            (at / "compensate").key(Code.READ_HAS_UNDO, message, "remove `compensate`, or `kind: read`")
        elif step.kind != "read" and step.compensate is None:
            fix = "add `compensate:` with a call, or `compensate: none`, or `kind: read`"
            at.key(Code.UNDO_UNSAID, "nothing says how this step is undone", fix)


def _undo_order(definition: Definition, ancestors: Mapping[str, frozenset[str]], top: At) -> None:
    undos = {
        name: step.compensate for name, step in definition.steps.items() if isinstance(step.compensate, Compensate)
    }
    ordered = False
    for name, undo in undos.items():
        for index, other in enumerate(undo.after):
            at = top / "steps" / name / "compensate" / "after" / index
            if not _known_step(other, name, definition, at):
                continue
            ordered = True
            if other not in undos:
                at.value(Code.NOTHING_TO_UNDO, f"step `{other}` has nothing to undo", "remove it")
    if ordered:  # `first` alone cannot contradict itself
        _undo_cycles(undos, ancestors, top)


def _undo_cycles(undos: Mapping[str, Compensate], ancestors: Mapping[str, frozenset[str]], top: At) -> None:
    """Find undos that wait for each other; pair by pair the author's word overrides the natural order (R19)."""

    def is_demanded(before: str, after: str) -> bool:
        return before in undos[after].after or (undos[before].first and not undos[after].first)

    def waits(after: str, before: str) -> bool:
        if after == before or is_demanded(before, after):
            return after != before
        return after in ancestors[before] and not is_demanded(after, before)

    edges = {after: [before for before in undos if waits(after, before)] for after in undos}
    for cycle in graph.cycles(edges):
        way = " -> ".join((*cycle, cycle[0]))
        at = top / "steps" / cycle[0] / "compensate"
        at.key(Code.UNDO_CYCLE, f"these undos wait for each other: {way}", "remove one `after` of a `compensate`")


def _triggers(definition: Definition, needs: Mapping[str, frozenset[str]], top: At) -> None:
    for name, step in definition.steps.items():
        at = top / "steps" / name / "trigger"
        count = len(needs[name])
        is_choice = count > 1
        if isinstance(step.trigger, AtLeast) and step.trigger.at_least > count:
            message = f"at_least {step.trigger.at_least} of {count} predecessors can never be met"
            at.value(Code.UNREACHABLE_STEP, message, f"write at most {count}" if count else "remove it")
        elif step.trigger == "all_failed" and (
            required := [one for one in needs[name] if _is_required(definition, one)]
        ):
            message = f"this step can never start: when {listing(sorted(required))} fails, the saga goes backward"
            at.value(Code.UNREACHABLE_STEP, message, "mark its predecessors `optional: true`")
        elif step.trigger not in {"all_success", "all_failed"} and not is_choice:
            message = f"a trigger chooses among several predecessors, this step has {count}"
            at.value(Code.TRIGGER_POINTLESS, message, "remove it")


def _is_required(definition: Definition, name: str) -> bool:
    return not definition.steps[name].optional


def _absent_replies(definition: Definition, uses: Sequence[Use]) -> None:
    """Warn where a reply is read that a legal run of the saga may not have."""
    for use in uses:
        read = list(_steps_read(use))
        guarded = {step for step, what in read if what != "reply"}
        for step, what in read:
            if what == "reply" and step not in guarded and _may_lack(use, step, definition):
                message = f"step `{step}` may be skipped or fail, and has no reply then"
                fix = f"write steps.{step}.applied ? … : …"
                use.at.inside(Code.REPLY_MAY_BE_ABSENT, _where(use, f"steps.{step}"), message, fix)


def _may_lack(use: Use, step: str, definition: Definition) -> bool:
    read = definition.steps[step]
    if use.at.path[0] == "output":
        return read.optional or read.when is not None
    reader = definition.steps[str(use.at.path[1])]
    # with all_success the reader starts only after the step it reads was applied
    return reader.trigger != "all_success" and (read.optional or read.when is not None)
