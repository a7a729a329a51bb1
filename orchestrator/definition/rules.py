"""Rules about the graph of steps: edges, cycles, what may be read when, undo, triggers. One function per rule."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from orchestrator.definition import graph
from orchestrator.definition.diagnostics import At, Code, did_you_mean, listing
from orchestrator.definition.model import AtLeast, Compensate, Definition
from orchestrator.definition.scope import OWN_REPLY, Use

_BEFORE_CALL: Final = frozenset({"request", "when"})
"""What is evaluated before a step's call, so what it reads must have run: data edges."""


def edges(definition: Definition, uses: Sequence[Use], top: At) -> dict[str, frozenset[str]]:
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


def cycles(needs: Mapping[str, frozenset[str]], top: At) -> None:
    """Steps must not wait for each other."""
    for cycle in graph.cycles(needs):
        way = " -> ".join((*cycle, cycle[0]))
        message = f"these steps wait for each other: {way}"
        (top / "steps" / cycle[0]).key(Code.CYCLE, message, "remove one `after` or one reference")


def settled_reads(uses: Sequence[Use], ancestors: Mapping[str, frozenset[str]]) -> None:
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


def undo_needs_reply(uses: Sequence[Use]) -> frozenset[str]:
    """Return the steps whose undo is made from their own reply."""
    undos = [use for use in uses if use.at.path[0] == "steps" and use.at.path[2] == "compensate"]
    return frozenset(str(use.at.path[1]) for use in undos if OWN_REPLY in use.expression.names)


def patience(definition: Definition, top: At) -> None:
    """A first pause must not be longer than the longest one."""
    for name, step in definition.steps.items():
        at = top / "steps" / name
        undo_retry = step.compensate.retry if isinstance(step.compensate, Compensate) else None
        for retry, where in ((step.retry, at / "retry"), (undo_retry, at / "compensate" / "retry")):
            if retry is None or retry.initial_backoff is None or retry.max_backoff is None:
                continue
            if retry.initial_backoff > retry.max_backoff:
                message = "the first pause is longer than the longest one"
                (where / "max_backoff").value(Code.INVALID_VALUE, message, "raise it, or lower `initial_backoff`")


def undo_said(definition: Definition, top: At) -> None:
    """Every step must say how it is undone, a `read` step must not."""
    for name, step in definition.steps.items():
        at = top / "steps" / name
        if step.kind == "read" and step.compensate is not None:
            message = "a step of kind `read` has no effect, so there is nothing to compensate"
            (at / "compensate").key(Code.READ_HAS_UNDO, message, "remove `compensate`, or `kind: read`")
        elif step.kind != "read" and step.compensate is None:
            fix = "add `compensate:` with a call, or `compensate: none`, or `kind: read`"
            at.key(Code.UNDO_UNSAID, "nothing says how this step is undone", fix)


def undo_order(definition: Definition, ancestors: Mapping[str, frozenset[str]], top: At) -> None:
    """What `compensate.after` names must exist, have an undo, and make an order."""
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


def triggers(definition: Definition, needs: Mapping[str, frozenset[str]], top: At) -> None:
    """A trigger must be able to be met, and must have something to choose from."""
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


def absent_replies(definition: Definition, uses: Sequence[Use]) -> None:
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


def _steps_read(use: Use) -> Iterable[tuple[str, str]]:
    """Return step and what is read of it, for every step an expression reads."""
    for name in sorted(use.expression.names):
        parts = name.split(".")
        if parts[0] == "steps":
            yield parts[1], parts[2]


def _where(use: Use, name: str) -> int:
    return use.offset + max(use.expression.source.find(name), 0)
