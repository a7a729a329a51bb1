"""Draws the machine's two tables (orchestrator/saga/transitions.py) into docs/design/machine.md.

The page is written by hand but for what stands between its `drawn` marks.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from orchestrator.saga.state import TERMINAL
from orchestrator.saga.transitions import SAGA, STEP

PAGE = Path(__file__).parent / "design" / "machine.md"
_DRAWN = re.compile(r"(<!-- drawn: (\w+)[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)

Arrows = Mapping[tuple[StrEnum, StrEnum], list[str]]


def page() -> str:
    """Return the page as it is, with its diagrams as the code has them."""
    drawings = {"saga": saga_diagram(), "step": step_diagram()}
    return _DRAWN.sub(lambda found: found[1] + drawings[found[2]] + found[3], PAGE.read_text(encoding="utf-8"))


def saga_diagram() -> str:
    """Saga status x event."""
    arrows: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for status, row in SAGA.items():
        for event, after in row.items():
            arrows.setdefault((status, after), []).append(event.__name__)
    return _diagram(arrows, ends=list(TERMINAL))


def step_diagram() -> str:
    """Step status x event."""
    arrows: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for status, row in STEP.items():
        for event, ends in row.items():
            for after in ends:
                arrows.setdefault((status, after), []).append(event.__name__)
    return _diagram(arrows, ends=[status for status, row in STEP.items() if not row])


def _diagram(arrows: Arrows, ends: list[StrEnum]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *_lines(arrows, ends), "```", ""])


def _lines(arrows: Arrows, ends: list[StrEnum]) -> Iterator[str]:
    first = next(iter(arrows))[0]
    yield f"    [*] --> {first.value}"
    order = list(type(first))
    for before, after in sorted(arrows, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))):
        yield f"    {before.value} --> {after.value}: {', '.join(arrows[before, after])}"
    for end in sorted(ends, key=order.index):
        yield f"    {end.value} --> [*]"
