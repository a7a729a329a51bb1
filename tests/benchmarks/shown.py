"""Figures as tables in Markdown: one form for the screen and for the pages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, its columns as wide as they need to be."""
    lines = [list(headings), ["---"] * len(headings), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between(figures: Mapping[str, float], name: str, digits: int = 2) -> str:
    """Return a median, with the lowest and the highest of the rounds."""
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    return f"{figures[name]:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def _sides(compared: Mapping[str, Any]) -> Iterable[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Yield what each side but the first of a comparison is called, its concurrency, it, and the first."""
    for case, figures in compared.items():
        (_, base), *others = figures["sides"].items()
        for name, side in others:
            yield case if len(others) == 1 else f"{case}, {name}", str(figures["concurrency"]), side, base


def speed(compared: Mapping[str, Any], base: str = "bare") -> str:
    """Return how quick the sides are, by case, beside the first side of each."""
    return table(
        ("case", "C", "sagas/s", f"{base}'s", "ratio", "p50 ms", f"{base}'s", f"p50 over {base}'s", "p99 ms"),
        [
            (
                case, concurrency, f"{side['sagas_s']:,.0f}", f"{beside['sagas_s']:,.0f}", between(side, "ratio"),
                f"{side['p50_ms']:.1f}", f"{beside['p50_ms']:.1f}", f"{side['p50_ratio']:.2f}", f"{side['p99_ms']:.1f}",
            )
            for case, concurrency, side, beside in _sides(compared)
        ],
    )  # fmt: skip


_PROCESSES = ("server", "services", "collector", "database")
_COUNTS = {
    "commits": ("group commits", 1, 2),
    "streams": ("appends", 1, 2),
    "statements": ("round trips", 1, 2),
    "wal_bytes": ("log KB", 1e-3, 1),
    "forgotten": ("forgotten", 1, 2),
}


def costs(compared: Mapping[str, Any], base: str = "bare") -> str:
    """Return what a saga costs: processor time of each process, and what was counted; columns that are nobody's go."""
    rows = list(_sides(compared))
    spent = [name for name in _PROCESSES if any(f"{name}_cpu_s" in side["per_saga"] for *_, side, _ in rows)]
    counted = [name for name in _COUNTS if any(side["per_saga"].get(name) for *_, side, _ in rows)]
    headings = [
        "case", "C", "CPU ms: its own", f"{base}'s", f"over {base}'s", *spent,
        *(_COUNTS[name][0] for name in counted), "memory MiB",
    ]  # fmt: skip

    def cells(side: Mapping[str, Any]) -> list[str]:
        per_saga = side["per_saga"]
        of_processes = [(f"{name}_cpu_s", 1e3, 2) for name in spent]
        return [
            f"{per_saga[name] * factor:.{digits}f}" if name in per_saga else ""
            for name, factor, digits in (*of_processes, *((name, *_COUNTS[name][1:]) for name in counted))
        ]

    return table(
        headings,
        [
            (
                case, concurrency, f"{side['cpu_ms']:.2f}", f"{beside['cpu_ms']:.2f}", between(side, "over_ms"),
                *cells(side), f"{side['rss_mib']:.0f}",
            )
            for case, concurrency, side, beside in rows
        ],
    )  # fmt: skip


def both(compared: Mapping[str, Any], base: str = "bare") -> str:
    """Return how quick and how dear."""
    return f"{speed(compared, base)}\n\nWhat one saga costs in the same runs:\n\n{costs(compared, base)}"
