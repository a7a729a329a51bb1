"""One page of figures, out of what the lanes have kept. Pure: it is given everything it says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.lanes import Lane

Figures = Mapping[str, float | str]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "executions": ("executions", "sagas"),
    "seeds": ("seeds",),
    "kills": ("kills",),
    "restarts": ("restarts",),
    "inputs": ("inputs",),
    "acknowledged": ("acknowledged",),
    "lost": ("lost",),
    "doubled": ("doubled",),
    "left undone": ("left_undone",),
    "ambiguous": ("ambiguous",),
    "violations": ("violations", "findings"),
    "seconds": ("seconds",),
}
"""Column -> the names that a lane may have for it, best first."""

BROKEN = ("lost", "doubled", "left undone", "violations")
"""Columns in which any number but 0 is a defect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A lane, and what became of it."""

    lane: Lane
    figures: Mapping[str, Figures] = field(default_factory=dict[str, Figures])
    """Report -> what was kept by this run."""
    failed: str = ""
    """Why its command is no success; "" where it is one."""
    skipped: str = ""
    """Why it did not run; "" where it did."""
    skipped_tests: tuple[str, ...] = ()
    """What of it could not run here, as pytest says it."""

    def state_of(self, report: str) -> str:
        """Return what is to be said of one of its reports before any figure: "ok", or what is wrong."""
        kept = self.figures.get(report)
        if self.skipped:
            return f"SKIPPED: {self.skipped}"
        if kept is None:
            return f"FAILED: {self.failed}; no figures" if self.failed else "NO FIGURES: it ran and did not report"
        broken = [f"{_shown(kept, name)} {name}" for name in BROKEN if _number(kept, name)]
        if broken:
            return f"BROKEN: {', '.join(broken)}"
        if self.failed:
            return f"FAILED: {self.failed}"
        return f"SKIPPED: {kept['skipped']}" if kept.get("skipped") else "ok"

    @property
    def is_good(self) -> bool:
        """Nothing failed and nothing is broken; what was skipped is said, and no failure."""
        return all(self.state_of(report).startswith(("ok", "SKIPPED")) for report in self.lane.reports)


def page(rans: Sequence[Ran], *, head: str) -> str:
    """Return everything that the lanes have to say."""
    rows = [(report, ran, ran.figures.get(report, {})) for ran in rans for report in ran.lane.reports]
    lines = [["what", *COLUMNS]]
    lines += [[report, *(_shown(kept, name) for name in COLUMNS)] for report, _, kept in rows]
    lines.append(["all", *(_total([kept for *_, kept in rows], name) for name in COLUMNS)])
    said = [f"* {report}: {ran.state_of(report)}" for report, ran, _ in rows]
    said += [f"* {ran.lane.name}: SKIPPED, a part of it: {test}" for ran in rans for test in ran.skipped_tests]
    proved = [f"* {ran.lane.name}: {ran.lane.proves}" for ran in rans]
    also = [f"* {report}: {more}" for report, _, kept in rows if (more := _others(kept))]
    parts = (
        ["# Soak", head, _verdict(rans)],
        _table(lines),
        ["How each ended:", *said],
        ["What a lane tries:", *proved],
        ["What else was counted:", *also],
    )
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _verdict(rans: Sequence[Ran]) -> str:
    states = [ran.state_of(report) for ran in rans for report in ran.lane.reports]
    bad = sum(not state.startswith(("ok", "SKIPPED")) for state in states)
    skipped = sum(state.startswith("SKIPPED") for state in states)
    verdict = f"{bad} of {len(states)} NOT GOOD" if bad else "nothing broken"
    return f"Verdict: {verdict}" + (f"; {skipped} SKIPPED, of which nothing is known" if skipped else "") + "."


def _number(kept: Figures, column: str) -> float | None:
    """Return what a lane has for a column; None where it does not count that."""
    for name in COLUMNS[column]:
        value = kept.get(name)
        if isinstance(value, int | float):
            return value
    return None


def _shown(kept: Figures, column: str) -> str:
    number = _number(kept, column)
    return "" if number is None else f"{number:,.0f}"


def _total(kept: Sequence[Figures], column: str) -> str:
    numbers = [number for each in kept if (number := _number(each, column)) is not None]
    return f"{sum(numbers):,.0f}" if numbers else ""


def _others(kept: Figures) -> str:
    shown = {"lane", "skipped"} | {name for names in COLUMNS.values() for name in names}
    return ", ".join(f"{name} {_as_text(value)}" for name, value in kept.items() if name not in shown)


def _as_text(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int | float) else value


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def rows() -> Iterator[str]:
        for number, line in enumerate(lines):
            cells = (
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            yield f"| {' | '.join(cells)} |"
            if number == 0:
                yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"

    return list(rows())
