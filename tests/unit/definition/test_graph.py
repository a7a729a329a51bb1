"""Questions asked of a graph of steps."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition.graph import ancestors, cycles
from orchestrator.saga.edges import reachable


def test_everything_upstream_is_found_also_through_others() -> None:
    assert ancestors({"a": [], "b": ["a"], "c": ["b"]})["c"] == {"a", "b"}


def test_a_node_reaches_itself_only_on_a_cycle() -> None:
    assert reachable("a", {"a": ["b"], "b": []}) == {"b"}
    assert reachable("a", {"a": ["b"], "b": ["a"]}) == {"a", "b"}


def test_each_knot_gives_one_shortest_cycle() -> None:
    edges = {"a": ["b", "c"], "b": ["c"], "c": ["a"], "d": ["d"], "e": ["a"]}

    assert [list(cycle) for cycle in cycles(edges)] == [["a", "c"], ["d"]]


_NODES = "abcdef"


@given(st.fixed_dictionaries({node: st.frozensets(st.sampled_from(_NODES)) for node in _NODES}))
def test_a_cycle_is_told_exactly_where_there_is_one(edges: dict[str, frozenset[str]]) -> None:
    for cycle in cycles(edges):
        assert all(after in edges[before] for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    # the dumb way: remove what points nowhere, again and again; what is left is on or above a cycle
    left = {node: set(found) for node, found in edges.items()}
    while done := [node for node, found in left.items() if not found & left.keys()]:
        for node in done:
            del left[node]
    assert bool(cycles(edges)) == bool(left)
