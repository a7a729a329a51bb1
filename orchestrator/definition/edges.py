"""Who waits for whom: edges that are written, edges that expressions make, and both lifted to the scopes they cross."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from orchestrator.definition import graph
from orchestrator.definition.diagnostics import At, Code, did_you_mean, listing
from orchestrator.definition.flat import ELSE, Flat, members, section
from orchestrator.definition.names import Use

BEFORE_CALL: Final = frozenset({"request", "when", "for_each", "input", "sleep"})
"""What is evaluated before a step does anything, so what it reads must have run: data edges."""

Needs = Mapping[str, frozenset[str]]
"""Step -> direct predecessors; both stand in one branch of one scope, or both outside of every scope."""
Edge = tuple[str, str]


def edges(flat: Flat, uses: Sequence[Use], top: At) -> Needs:
    """Return direct predecessors: `after` and what is read before the call."""
    needs: dict[str, set[str]] = {name: set() for name in flat}

    def keep(edge: Edge | str | None, at: At, offset: int | None = None) -> None:
        if isinstance(edge, tuple):
            needs[edge[0]].add(edge[1])
        elif edge is not None:
            fix = "remove it, or move the step"
            at.value(Code.NOT_UPSTREAM, edge, fix) if offset is None else at.inside(
                Code.NOT_UPSTREAM, offset, edge, fix
            )

    for name, one in flat.items():
        for index, other in enumerate(one.step.after):
            at = At(top.findings, one.path) / "after" / index
            if is_known(other, name, flat, at):
                keep(lifted(flat, name, other), at)
    for use in uses:
        own, part = section(use.at.path)
        for other, _ in steps_read(use) if own else ():
            where = where_in(use, f"steps.{other}")
            if other == own:
                fix = "write `reply`" if part not in BEFORE_CALL else "read another step, or `input`"
                use.at.inside(Code.SELF_REFERENCE, where, f"step `{own}` reads itself", fix)
            elif part in BEFORE_CALL:
                keep(lifted(flat, own, other), use.at, where)
    return {name: frozenset(found) for name, found in needs.items()}


def is_known(other: str, own: str, flat: Flat, at: At) -> bool:
    """Return whether a name written at a step is that of another one."""
    if other == own:
        at.value(Code.SELF_REFERENCE, f"step `{own}` waits for itself", "remove it")
    elif other not in flat:
        fix = did_you_mean(other, flat) or f"steps are {listing(flat)}"
        at.value(Code.UNKNOWN_STEP, f"there is no step `{other}`", fix)
    return other != own and other in flat


def lifted(flat: Flat, own: str, other: str) -> Edge | str | None:
    """Return the edge between the outermost two that differ, which stand in one branch; or why there can be none.

    None: nothing has to be waited for, because the steps of `else` begin when those before them are over.
    """
    if own == other:
        return f"`{own}` cannot wait for itself"
    if other in flat[own].scopes:
        return f"`{own}` is inside scope `{other}`, and cannot wait for its end"
    if own in flat[other].scopes:
        return f"scope `{own}` begins before what is inside it, and `{other}` is"
    mine, theirs = flat[own].chain[::-1], flat[other].chain[::-1]
    first = next(level for level, (one, two) in enumerate(zip(mine, theirs, strict=False)) if one != two)
    edge = (mine[first], theirs[first])
    if flat[edge[0]].branch == flat[edge[1]].branch:
        return edge
    if flat[edge[0]].branch == ELSE:
        return None
    return f"`{other}` begins when what is beside `{own}` has been undone: the steps of `else` come last"


def upstream(flat: Flat, needs: Needs) -> Needs:
    """Return, for each step, every other one that is over when it begins, whatever scope that stands in."""
    above, inside = graph.ancestors(needs), members(flat)
    found: dict[str, frozenset[str]] = {}
    for name, one in flat.items():
        before = frozenset[str]().union(*(above[each] for each in one.chain))
        before = before.union(*(inside.get(each, ()) for each in before))
        for each in one.chain:
            scope = flat[each].scope
            if scope is not None and flat[each].branch == ELSE:
                before |= {other for other in inside[scope] if _branch_in(flat, other, scope) != ELSE}
        found[name] = before
    return found


def _branch_in(flat: Flat, name: str, scope: str) -> str:
    """Return in which branch of a scope a step stands, at whatever depth."""
    return next(flat[each].branch for each in flat[name].chain if flat[each].scope == scope)


def cycles(flat: Flat, needs: Needs, top: At) -> None:
    """Steps must not wait for each other."""
    for cycle in graph.cycles(needs):
        way = " -> ".join((*cycle, cycle[0]))
        message = f"these steps wait for each other: {way}"
        At(top.findings, flat[cycle[0]].path).key(Code.CYCLE, message, "remove one `after` or one reference")


def steps_read(use: Use) -> Iterator[tuple[str, str]]:
    """Yield step and what is read of it, for every step an expression reads."""
    for name in sorted(use.expression.names):
        parts = name.split(".")
        if parts[0] == "steps":
            yield parts[1], parts[2]


def where_in(use: Use, name: str) -> int:
    """Return where a name stands in the text around an expression."""
    return use.offset + max(use.expression.source.find(name), 0)
