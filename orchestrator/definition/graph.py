"""The few questions asked of a graph of steps: who is upstream, what goes in circles.

A graph is a mapping from a node to the nodes it points to. Nothing here recurses: definitions come from outside.
"""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.saga.edges import reachable


def ancestors(needs: Mapping[str, Collection[str]]) -> Mapping[str, frozenset[str]]:
    """Return, for each node, everything upstream of it."""
    return {name: reachable(name, needs) for name in needs}


def cycles(edges: Mapping[str, Collection[str]]) -> Sequence[Sequence[str]]:
    """Return one shortest cycle for each knot of nodes that reach each other, in the graph's order."""
    above = ancestors(edges)
    told: set[str] = set()
    found: list[Sequence[str]] = []
    for name in edges:
        if name in above[name] and name not in told:
            told |= {other for other in above[name] if name in above[other]}
            found.append(_shortest(name, edges))
    return found


def path(start: str, end: str, edges: Mapping[str, Collection[str]]) -> list[str]:
    """Return a shortest path by at least one edge; there must be one."""
    came: dict[str, str] = {}
    todo = [start]
    for current in todo:  # grows while it is walked: breadth first
        for following in sorted(edges[current]):
            if following not in came:
                came[following] = current
                todo.append(following)
    way = [end, came[end]]
    while way[-1] != start:
        way.append(came[way[-1]])
    return way[::-1]


def in_order(edges: Mapping[str, Collection[str]]) -> list[str]:
    """Return all nodes, what a node points to before the node; what goes in circles is left out."""
    left = {name: set(found) for name, found in edges.items()}
    back: dict[str, list[str]] = {name: [] for name in edges}
    for name, found in edges.items():
        for other in found:
            back[other].append(name)
    ready = [name for name, found in left.items() if not found]
    for name in ready:  # grows while it is walked
        for follower in back[name]:
            left[follower].discard(name)
            if not left[follower]:
                ready.append(follower)
    return ready


def _shortest(start: str, edges: Mapping[str, Collection[str]]) -> Sequence[str]:
    return path(start, start, edges)[:-1]
