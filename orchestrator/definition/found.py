"""Names found: targets, methods, message types and other definitions that a definition speaks of."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from orchestrator.definition import operations
from orchestrator.definition.bound import BoundCall, BoundStep, Lost, Services
from orchestrator.definition.diagnostics import At, Code, did_you_mean, listing
from orchestrator.definition.flat import Flat, Placed
from orchestrator.definition.model import Compensate, Definition
from orchestrator.limits import CHILDREN_DEPTH_MAX
from orchestrator.values import JSON_TYPE

JSON: Final = "json"
"""How a definition writes untyped input, and untyped payloads of signals."""


def input_type(definition: Definition, services: Services, top: At) -> Descriptor | None:
    """Return the input's type."""
    return _message(definition.input, services, top / "input", "write `json`, or a message of the targets")


def _message(name: str, services: Services, at: At, fix: str) -> Descriptor | None:
    found = services.types.message(JSON_TYPE if name == JSON else name)
    if found is None and (services.unreachable or services.lost_children):
        return None  # it may be that target's, or that child's; its absence is a finding already
    if found is None:
        known = services.types.messages()
        fix = did_you_mean(name, known) or f"{fix}: {listing(known)}"
        at.value(Code.UNKNOWN_TYPE, f"no target of this definition knows the message type {name}", fix)
    return found


def targets(definition: Definition, flat: Flat, services: Services, top: At) -> None:
    """Judge the list of targets."""
    used = {text.partition("/")[0] for text in _written_calls(flat)}
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


def _written_calls(flat: Flat) -> Iterator[str]:
    for one in flat.values():
        parts = (one.step.compensate if isinstance(one.step.compensate, Compensate) else None, one.step.probe)
        yield from (text for text in (one.step.call, *(part.call for part in parts if part is not None)) if text)


def split_call(text: str) -> tuple[str, str, str] | None:
    """Return target, service and method of `target/package.Service/Method`; None where it is not that."""
    match text.split("/"):
        case [target, service, method] if target and service and method:
            return target, service, method
        case _:
            return None


def needed(definition: Definition, flat: Flat) -> tuple[frozenset[str], frozenset[str]]:
    """Return the services a definition calls and the types it names: what its descriptors must hold."""
    split = (split_call(text) for text in _written_calls(flat))
    steps = [one.step for one in flat.values()]
    types = {step.wait.type for step in steps if step.wait is not None}
    types |= {step.response for step in steps if step.response is not None}
    return frozenset(found[1] for found in split if found), frozenset({definition.input, *types})


def children(flat: Flat) -> frozenset[str]:
    """Return the definitions that are run as children."""
    return frozenset(one.step.saga for one in flat.values() if one.step.saga is not None)


def resolve(one: Placed, definition: Definition, services: Services, top: At) -> BoundStep:
    """Find all that a step names; what is not found is a finding."""
    step, at, bound = one.step, At(top.findings, one.path), BoundStep()
    if step.call is not None:
        bound.call = _call(step.call, definition, services, at / "call")
    if isinstance(step.compensate, Compensate):
        bound.undo = _call(step.compensate.call, definition, services, at / "compensate" / "call")
    if step.probe is not None:
        bound.probe = _call(step.probe.call, definition, services, at / "probe" / "call")
    if bound.call is not None:
        bound.reply = bound.call.method.output_type
        bound.is_operation = bound.reply.full_name == operations.TYPE
    if bound.call is not None and bound.is_operation:
        bound.reply = _response(one, bound.call.method, services, at)
    if step.wait is not None:
        bound.reply = _message(step.wait.type, services, at / "wait" / "type", "write `json`, or a message")
    if step.saga is not None:
        _child(step.saga, bound, services, at / "saga")
    return bound


def _response(one: Placed, method: MethodDescriptor, services: Services, at: At) -> Descriptor | None:
    if one.step.response is not None:
        return _message(one.step.response, services, at / "response", "write a message of the targets")
    name = operations.response_of(method)
    if not name:
        message = f"{method.name} answers with an operation, and nothing says what type its response has"
        at.key(Code.UNKNOWN_TYPE, message, "add `response:` with a message type, or the method's `operation_info`")
        return None
    return _message(name, services, at / "call", "add `response:` with a message type")


def _child(name: str, bound: BoundStep, services: Services, at: At) -> None:
    bound.child = child = services.children.get(name)
    if child is None:
        lost = services.lost_children.get(name) or Lost(f"there is no definition `{name}`", "create it first")
        at.value(Code.DEFINITION_CYCLE if lost.is_cycle else Code.UNKNOWN_DEFINITION, lost.why, lost.fix)
        return
    if child.depth >= CHILDREN_DEPTH_MAX:
        message = f"children are nested more than {CHILDREN_DEPTH_MAX} deep below `{name}`"
        at.value(Code.TOO_LARGE, message, "let one saga do more")
    bound.reply = services.types.message(child.output_type)


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
