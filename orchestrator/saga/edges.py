"""Who comes after whom, and who is inside what: what a plan derives once from what each of its steps names."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from orchestrator.ids import StepId

Name = TypeVar("Name", bound=str)


def places_by(named: Sequence[Collection[StepId]]) -> Mapping[StepId, tuple[int, ...]]:
    """Turn around what the step at each place names: step -> the places, in order, of those that name it."""
    found: dict[StepId, list[int]] = {}
    for place, names in enumerate(named):
        for name in names:
            found.setdefault(name, []).append(place)
    return {step: tuple(places) for step, places in found.items()}


def reachable(start: Name, edges: Mapping[Name, Collection[Name]]) -> frozenset[Name]:
    """Return every node that can be reached from `start` by at least one edge."""
    seen: set[Name] = set()
    todo = list(edges[start])
    while todo:
        found = todo.pop()
        if found not in seen:
            seen.add(found)
            todo.extend(edges[found])
    return frozenset(seen)


def closed(needs: Mapping[StepId, Collection[StepId]]) -> Mapping[StepId, frozenset[StepId]]:
    """Return step -> every step that needs it, directly or not."""
    direct: dict[StepId, set[StepId]] = {step: set() for step in needs}
    for step, named in needs.items():
        for need in named:
            direct[need].add(step)
    return {step: reachable(step, direct) for step in needs}


def inside(scopes: Mapping[StepId, StepId | None]) -> Mapping[StepId, tuple[StepId, ...]]:
    """Return scope -> every step in it, at any depth, in the order given; `scopes` says in which each step is."""
    found: dict[StepId, list[StepId]] = {}
    for step, outer in scopes.items():
        scope = outer
        while scope is not None:
            found.setdefault(scope, []).append(step)
            scope = scopes[scope]
    return {scope: tuple(steps) for scope, steps in found.items()}
