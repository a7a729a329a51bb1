"""Who comes after whom, and who is inside what: what a plan derives once from what each of its steps names."""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.ids import StepId


def places_by(named: Sequence[Collection[StepId]]) -> Mapping[StepId, tuple[int, ...]]:
    """Turn around what the step at each place names: step -> the places, in order, of those that name it."""
    found: dict[StepId, list[int]] = {}
    for place, names in enumerate(named):
        for name in names:
            found.setdefault(name, []).append(place)
    return {step: tuple(places) for step, places in found.items()}


def closed(needs: Mapping[StepId, Collection[StepId]]) -> Mapping[StepId, frozenset[StepId]]:
    """Return step -> every step that needs it, directly or not."""
    direct: dict[StepId, set[StepId]] = {step: set() for step in needs}
    for step, named in needs.items():
        for need in named:
            direct[need].add(step)
    found: dict[StepId, frozenset[StepId]] = {}
    for root in needs:
        seen: set[StepId] = set()
        todo = list(direct[root])
        while todo:
            after = todo.pop()
            if after not in seen:
                seen.add(after)
                todo.extend(direct[after])
        found[root] = frozenset(seen)
    return found


def inside(scopes: Mapping[StepId, StepId | None]) -> Mapping[StepId, tuple[StepId, ...]]:
    """Return scope -> every step in it, at any depth, in the order given; `scopes` says in which each step is."""
    found: dict[StepId, list[StepId]] = {}
    for step, outer in scopes.items():
        scope = outer
        while scope is not None:
            found.setdefault(scope, []).append(step)
            scope = scopes[scope]
    return {scope: tuple(steps) for scope, steps in found.items()}
