"""The steps of a definition in one list, whatever scope they stand in: how everything after reading looks at them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.definition.diagnostics import At, Code, Path, part_of
from orchestrator.definition.model import Definition, OnFailureName, Step

MAIN: Final = "scope"
ELSE: Final = "else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A step and where it stands."""

    id: str
    step: Step
    path: Path
    scopes: tuple[str, ...]
    """The scopes around it, the innermost first."""
    branch: str
    """`scope` or `else`: the branch of the innermost one; empty outside every scope."""
    on_failure: OnFailureName
    """As the innermost scope that says it, or the saga, has it."""

    @property
    def scope(self) -> str | None:
        """The scope whose direct member this is."""
        return self.scopes[0] if self.scopes else None

    @property
    def chain(self) -> tuple[str, ...]:
        """The step and the scopes around it, from the inside out."""
        return (self.id, *self.scopes)


Flat = Mapping[str, Placed]
"""Every step by its id, in the order of the text."""


def flatten(definition: Definition, top: At) -> Flat:
    """Return all steps; an id that is used twice becomes a finding, and its first step is kept."""
    found: dict[str, Placed] = {}
    for placed in _walk(definition.steps, ("steps",), (), "", definition.on_failure):
        if placed.id not in found:
            found[placed.id] = placed
            continue
        message = f"step `{placed.id}` is written twice, an id is used once in a definition"
        At(top.findings, placed.path).key(Code.DUPLICATE_KEY, message, "rename one of them")
    return found


def _walk(
    steps: Mapping[str, Step], at: Path, scopes: tuple[str, ...], branch: str, on_failure: OnFailureName
) -> Iterator[Placed]:
    for name, step in steps.items():
        path = (*at, name)
        inside = (step.scope.on_failure if step.scope is not None else None) or on_failure
        yield Placed(id=name, step=step, path=path, scopes=scopes, branch=branch, on_failure=on_failure)
        around = (name, *scopes)
        if step.scope is not None:
            yield from _walk(step.scope.steps, (*path, "scope", "steps"), around, MAIN, inside)
        if step.otherwise is not None:
            yield from _walk(step.otherwise, (*path, "else"), around, ELSE, inside)


def members(flat: Flat) -> Mapping[str, tuple[str, ...]]:
    """Return, for each scope, every step inside it at any depth."""
    found: dict[str, list[str]] = {name: [] for name, one in flat.items() if one.step.body == "scope"}
    for name, one in flat.items():
        for scope in one.scopes:
            found.setdefault(scope, []).append(name)
    return {scope: tuple(inside) for scope, inside in found.items()}


def section(path: Path) -> tuple[str, str]:
    """Return the step a path leads into, and the key of it; both empty outside the steps."""
    step, rest = part_of(path)
    return (step, str(rest[0]) if rest else "") if step else ("", "")
