"""Rules about one step by itself: which keys go together, what its kind allows, whether its undo is said."""

from collections.abc import Mapping
from typing import Final

from orchestrator.definition.annotated import declared
from orchestrator.definition.bound import BoundStep, Services
from orchestrator.definition.diagnostics import At, Code, listing
from orchestrator.definition.durations import duration_text, seconds
from orchestrator.definition.flat import Flat, Placed
from orchestrator.definition.graph import ancestors
from orchestrator.definition.model import BODIES, Compensate, Definition, Step
from orchestrator.definition.names import ROOTS
from orchestrator.limits import ATTEMPTS_MAX, FORWARD_S_DEFAULT, POLL_S_DEFAULT
from orchestrator.ports.methods import TargetFacts

_EVERY: Final = frozenset({"after", "when", "trigger", "optional"})
_OF_ITEMS: Final = frozenset({"for_each", "as", "parallel", "tolerate"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "call": _EVERY | _OF_ITEMS | {
        "call", "request", "refuse", "reason", "kind", "compensate", "probe", "timeout", "retry",
        "until", "every", "at_most", "response", "poll",
    },
    "sleep": _EVERY | {"sleep"},
    "wait": _EVERY | {"wait"},
    "saga": _EVERY | _OF_ITEMS | {"saga", "input", "compensate"},
    "scope": _EVERY | {"scope", "else"},
}  # fmt: skip
_WORDS: Final = {"call": "a call", "sleep": "a sleep", "wait": "a wait", "saga": "a child saga", "scope": "a scope"}
_NEEDS: Final = {"as": "for_each", "parallel": "for_each", "tolerate": "for_each", "every": "until", "at_most": "until",
                 "reason": "refuse"}  # fmt: skip
"""Keys that mean nothing without another one."""
_RESERVED: Final = frozenset({"in", "true", "false", "null"})
"""Words that CEL's grammar does not take as a name."""


def is_reserved(name: str) -> bool:
    """Return whether the expression language keeps a word for itself."""
    return name in _RESERVED


def judge(flat: Flat, steps: Mapping[str, BoundStep], services: Services, top: At) -> None:
    """Apply every rule to every step."""
    for name, one in flat.items():
        at = At(top.findings, one.path)
        if not _keys(one.step, at):
            continue
        _patience(one.step, at)
        _kind(one, at)
        _items(one.step, at)
        _undo_said(one.step, steps[name], at)
        _poll(one.step, steps[name], services, at)
        _operation(one.step, steps[name], at)


def _written(step: Step) -> list[str]:
    fields = type(step).model_fields
    return [field.alias or name for name, field in fields.items() if name in step.model_fields_set and
            getattr(step, name) is not None]  # fmt: skip


def _keys(step: Step, at: At) -> bool:
    """Return whether the step is one thing, and say which of its keys belong to another."""
    written = _written(step)
    bodies = step.bodies
    if not bodies:
        message = f"nothing says what this step does: one of the keys {listing(BODIES)} is missing"
        at.key(Code.MISSING_KEY, message, "add `call:`")
        return False
    if len(bodies) > 1:
        for other in bodies[1:]:
            message = f"`{bodies[0]}` and `{other}` exclude each other: a step does one thing"
            (at / other).key(Code.MISPLACED_KEY, message, "make it a step of its own")
        return False
    body = step.body
    for key in written:
        if key not in _KEYS[body]:
            owners = listing(f"`{name}`" for name in BODIES if key in _KEYS[name])
            (at / key).key(Code.MISPLACED_KEY, f"{_WORDS[body]} has no `{key}`", f"remove it: it goes with {owners}")
        elif key in _NEEDS and _NEEDS[key] not in written:
            need = _NEEDS[key]
            (at / key).key(Code.MISPLACED_KEY, f"`{key}` says more about `{need}`, and there is none", f"add `{need}:`")
    return True


def _patience(step: Step, at: At) -> None:
    """A first pause must not be longer than the longest one."""
    undo = step.compensate if isinstance(step.compensate, Compensate) else None
    for part, where in ((step, at), (undo, at / "compensate"), (step.probe, at / "probe")):
        retry = part.retry if part is not None else None
        if retry is None or retry.initial_backoff is None or retry.max_backoff is None:
            continue
        if retry.initial_backoff > retry.max_backoff:
            message = "the first pause is longer than the longest one"
            (where / "retry" / "max_backoff").value(Code.INVALID_VALUE, message, "raise it, or lower `initial_backoff`")


def _kind(one: Placed, at: At) -> None:
    step = one.step
    if step.kind == "read" and step.probe is not None:
        message = "a step of kind `read` has no effect, so there is nothing to find out about"
        (at / "probe").key(Code.MISPLACED_KEY, message, "remove `probe`: it is simply asked again")
    insists = step.kind == "retriable" or (one.on_failure == "retry" and not step.optional)
    if insists and step.refuse is not None:
        why = "`kind: retriable`" if step.kind == "retriable" else "`on_failure: retry`"
        message = f"with {why} a refused step is asked again and again, and may be refused for ever"
        (at / "refuse").key(Code.ENDLESS_REFUSAL, message, "remove `refuse`, or let the saga do something else")


def _items(step: Step, at: At) -> None:
    if step.item in ROOTS or is_reserved(step.item):
        message = f"`{step.item}` has a meaning of its own in expressions"
        (at / "as").value(Code.INVALID_VALUE, message, "write `item`")


def _undo_said(step: Step, bound: BoundStep, at: At) -> None:
    """Every step with an effect must say how it is undone; others must not."""
    undo, where = step.compensate, at / "compensate"
    if step.body == "saga":
        if undo is None:
            fix = "add `compensate: undo`, which runs the child's own undo, or `compensate: none`"
            at.key(Code.UNDO_UNSAID, "nothing says how this child is undone", fix)
        elif isinstance(undo, Compensate):
            where.value(Code.MISPLACED_KEY, "a child is undone by its own undo log, not by a call", "write `undo`")
        elif undo == "undo" and bound.child is not None and bound.child.has_pivot:
            message = f"`{bound.child.definition}` has a pivot: once it is past it, it cannot be undone"
            where.value(Code.CANNOT_UNDO, message, "write `compensate: none`")
        return
    if step.body != "call":
        return
    if undo == "undo":
        where.value(Code.INVALID_VALUE, "`undo` is for child sagas", "write the call that undoes this one, or `none`")
    elif step.kind == "read" and undo is not None:
        message = "a step of kind `read` has no effect, so there is nothing to compensate"
        where.key(Code.READ_HAS_UNDO, message, "remove `compensate`, or `kind: read`")
    elif step.kind in {"pivot", "retriable"} and isinstance(undo, Compensate):
        message = f"a step of kind `{step.kind}` is never undone: from the pivot on a saga only goes forward"
        where.key(Code.CANNOT_UNDO, message, "remove `compensate`, or the kind")
    elif step.kind in {None, "compensatable"} and undo is None:
        fix = "add `compensate:` with a call, or `compensate: none`, or `kind: read`"
        at.key(Code.UNDO_UNSAID, "nothing says how this step is undone", fix)


def _poll(step: Step, bound: BoundStep, services: Services, at: At) -> None:
    """What is asked again and again must bear it, and must come to an end."""
    if step.until is None:
        return
    if step.at_most is None:
        at.key(Code.MISSING_KEY, "an `until` needs an end, the key `at_most` is missing", "add `at_most:`")
    else:
        every_s = step.every if step.every is not None else POLL_S_DEFAULT
        if step.at_most / every_s > ATTEMPTS_MAX:
            message = f"more than {ATTEMPTS_MAX} calls, one every {duration_text(every_s)}"
            (at / "at_most").value(Code.INVALID_VALUE, message, "lower it, or write a longer `every`")
    if bound.is_operation:
        message = "an operation is awaited by itself, and there is nothing to poll for"
        (at / "until").key(Code.MISPLACED_KEY, message, "remove `until`, and judge the response with `refuse`")
    elif step.kind != "read" and bound.call is not None and services.facts_of is not None:
        facts = services.facts_of(bound.call.target) or TargetFacts(name=bound.call.target)
        if not declared(facts, bound.call.method).repeatable:
            message = f"{bound.call.method.name} is called again and again, and is not declared idempotent"
            fix = (
                "write `kind: read` where it changes nothing, or declare it `idempotent` where the target is configured"
            )
            (at / "until").key(Code.UNSAFE_POLL, message, fix)


def _operation(step: Step, bound: BoundStep, at: At) -> None:
    if bound.call is None or bound.is_operation:
        return
    for key in ("response", "poll"):
        if getattr(step, key) is not None:
            message = f"{bound.call.method.name} does not answer with a long-running operation"
            (at / key).key(Code.MISPLACED_KEY, message, "remove it")


# --- time ----------------------------------------------------------------------------------------------------------


def waits_s(step: Step) -> float:
    """Return how long a step lets pass at most, as far as it is written; 0 for all others."""
    if step.sleep is not None:
        return 0.0 if "${" in step.sleep else seconds(step.sleep)
    return step.wait.timeout or 0.0 if step.wait is not None else 0.0


def forward_s(definition: Definition, flat: Flat) -> float:
    """Return the forward deadline: as written, or the default and all that the saga sleeps and waits."""
    written = definition.deadline.forward
    return written if written is not None else FORWARD_S_DEFAULT + sum(waits_s(one.step) for one in flat.values())


def deadlines(definition: Definition, flat: Flat, needs: Mapping[str, frozenset[str]], top: At) -> None:
    """No step may wait past the saga's deadline, which does not count behind the pivot."""
    limit_s = definition.deadline.forward
    if limit_s is None:
        return
    above = ancestors(needs)
    for one in flat.values():
        outermost = one.chain[-1]
        is_free = any(flat[other].step.kind == "pivot" for other in above[outermost])
        if waits_s(one.step) > limit_s and not is_free:
            body = one.step.body
            at = At(top.findings, one.path) / body
            written = duration_text(waits_s(one.step))
            message = f"{written} is longer than the saga may take forward, {duration_text(limit_s)}"
            (at / "timeout" if body == "wait" else at).value(
                Code.PAST_DEADLINE, message, "raise `deadline.forward`, or wait less"
            )
