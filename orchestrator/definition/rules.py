"""Rules about the graph of steps: what may be read when, the order of undo, triggers. One function per rule."""

from collections.abc import Mapping, Sequence

from orchestrator.definition import graph
from orchestrator.definition.diagnostics import At, Code, listing
from orchestrator.definition.edges import BEFORE_CALL, Needs, is_known, lifted, steps_read, where_in
from orchestrator.definition.flat import Flat, section
from orchestrator.definition.model import AtLeast, Compensate, Step
from orchestrator.definition.names import OWN_REPLY, Use


def settled_reads(flat: Flat, uses: Sequence[Use], before: Needs) -> None:
    """What is evaluated when a step settles may read upstream steps only: others may not have run."""
    for use in uses:
        own, part = section(use.at.path)
        if not own or part in BEFORE_CALL:
            continue
        for other, what in steps_read(use):
            if other != own and other not in before[own]:
                message = f"step `{other}` need not have run when `{own}` settles and this is evaluated"
                where = where_in(use, f"steps.{other}.{what}")
                use.at.inside(Code.NOT_UPSTREAM, where, message, f"add `{other}` to `after` of `{own}`")
        if part == "compensate" and OWN_REPLY in use.expression.names and flat[own].step.probe is None:
            message = "if the outcome stays unknown there is no reply, and this undo cannot be rendered"
            where = where_in(use, OWN_REPLY)
            use.at.inside(Code.UNDO_READS_REPLY, where, message, "prefer a key known before the call, or add `probe:`")


def undo_needs_reply(uses: Sequence[Use]) -> frozenset[str]:
    """Return the steps whose undo is made from their own reply."""
    undos = [use for use in uses if section(use.at.path)[1] == "compensate"]
    return frozenset(section(use.at.path)[0] for use in undos if OWN_REPLY in use.expression.names)


def undo_order(flat: Flat, needs: Needs, top: At) -> None:
    """What `compensate.after` names must exist, have an undo, and make an order."""
    undos = {name: one.step.compensate for name, one in flat.items() if isinstance(one.step.compensate, Compensate)}
    ordered = False
    for name, undo in undos.items():
        for index, other in enumerate(undo.after):
            at = At(top.findings, flat[name].path) / "compensate" / "after" / index
            if not is_known(other, name, flat, at):
                continue
            ordered = True
            if other not in undos and flat[other].step.compensate != "undo":
                at.value(Code.NOTHING_TO_UNDO, f"step `{other}` has nothing to undo", "remove it")
    if ordered:  # `first` alone cannot contradict itself
        _undo_cycles(flat, undos, graph.ancestors(needs), top)


def _undo_cycles(flat: Flat, undos: Mapping[str, Compensate], above: Needs, top: At) -> None:
    """Find undos that wait for each other; pair by pair the author's word overrides the natural order (R19)."""

    def is_demanded(before: str, after: str) -> bool:
        return before in undos[after].after or (undos[before].first and not undos[after].first)

    def waits(after: str, before: str) -> bool:
        if after == before or is_demanded(before, after):
            return after != before
        edge = lifted(flat, before, after)
        return isinstance(edge, tuple) and edge[1] in above[edge[0]] and not is_demanded(after, before)

    edges = {after: [before for before in undos if waits(after, before)] for after in undos}
    for cycle in graph.cycles(edges):
        way = " -> ".join((*cycle, cycle[0]))
        at = At(top.findings, flat[cycle[0]].path) / "compensate"
        at.key(Code.UNDO_CYCLE, f"these undos wait for each other: {way}", "remove one `after` of a `compensate`")


def triggers(flat: Flat, needs: Needs, top: At) -> None:
    """A trigger must be able to be met, and must have something to choose from."""
    for name, one in flat.items():
        step, at = one.step, At(top.findings, one.path) / "trigger"
        count = len(needs[name])
        is_choice = count > 1
        if isinstance(step.trigger, AtLeast) and step.trigger.at_least > count:
            message = f"at_least {step.trigger.at_least} of {count} predecessors can never be met"
            at.value(Code.UNREACHABLE_STEP, message, f"write at most {count}" if count else "remove it")
        elif step.trigger == "all_failed" and (
            required := [need for need in needs[name] if not flat[need].step.optional]
        ):
            message = f"this step can never start: when {listing(sorted(required))} fails, the saga goes backward"
            at.value(Code.UNREACHABLE_STEP, message, "mark its predecessors `optional: true`")
        elif step.trigger not in {"all_success", "all_failed"} and not is_choice:
            message = f"a trigger chooses among several predecessors, this step has {count}"
            at.value(Code.TRIGGER_POINTLESS, message, "remove it")


def absent_replies(flat: Flat, uses: Sequence[Use]) -> None:
    """Warn where a reply is read that a legal run of the saga may not have."""
    for use in uses:
        read = list(steps_read(use))
        guarded = {step for step, what in read if what != "reply"}
        for step, what in read:
            if what == "reply" and step not in guarded and _may_lack(use, step, flat):
                message = f"step `{step}` may be skipped or fail, and has no reply then"
                fix = f"write steps.{step}.applied ? … : …"
                use.at.inside(Code.REPLY_MAY_BE_ABSENT, where_in(use, f"steps.{step}"), message, fix)


def _may_lack(use: Use, name: str, flat: Flat) -> bool:
    own, _ = section(use.at.path)
    chain = flat[name].chain
    if not own:
        return any(_is_unsure(flat[each].step) or flat[each].step.otherwise is not None for each in chain)
    edge = lifted(flat, own, name)
    if edge is None:
        return True  # it was undone before the steps of `else` began
    if not isinstance(edge, tuple):
        return False  # a finding of its own
    reader, read = edge
    inside = chain[: chain.index(read) + 1]
    if any(_is_unsure(flat[each].step) for each in inside[:-1]):
        return True
    if any(flat[each].step.otherwise is not None for each in inside if each != name):
        return True
    # with all_success the reader starts only after the step it reads was applied
    return flat[reader].step.trigger != "all_success" and _is_unsure(flat[read].step)


def _is_unsure(step: Step) -> bool:
    return step.optional or step.when is not None
