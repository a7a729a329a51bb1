"""Definitions that are given together: which of them run each other, and in which order they become revisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.definition import found, graph
from orchestrator.definition.bound import Child, Lost
from orchestrator.definition.diagnostics import At, Findings
from orchestrator.definition.flat import flatten
from orchestrator.definition.model import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A definition that is to become a revision."""

    definition: Definition
    findings: Findings
    source: str

    @property
    def children(self) -> frozenset[str]:
        """Return the names of the definitions that it runs."""
        return found.children(flatten(self.definition, At(Findings(origins=self.findings.origins), ())))


@dataclass(slots=True)
class Given:
    """Definitions that are given together, as far as they have become revisions."""

    made: dict[str, tuple[Child, bytes]]
    lost: dict[str, Lost]


def cycles(drafts: Iterable[Draft]) -> dict[str, Lost]:
    """Return the definitions given together that run each other, each with the way round."""
    edges = _edges(drafts)
    return {name: circle((*cycle, cycle[0])) for cycle in graph.cycles(edges) for name in cycle}


def circle(names: Sequence[str]) -> Lost:
    """Return what is said of definitions that run each other, the first one named again at the end."""
    why = f"these definitions run each other: {' -> '.join(names)}"
    return Lost(why, "let one of them do without the other", is_cycle=True)


def _edges(drafts: Iterable[Draft]) -> dict[str, list[str]]:
    runs = {draft.definition.saga: draft.children for draft in drafts}
    return {name: sorted(each for each in children if each in runs) for name, children in runs.items()}


def in_order(drafts: Iterable[Draft]) -> list[Draft]:
    """Return drafts so that each comes after its children; those that run each other come last."""
    every = list(drafts)
    first = graph.in_order(_edges(every))
    place = {name: index for index, name in enumerate(first)}
    return sorted(every, key=lambda draft: place.get(draft.definition.saga, len(place)))
