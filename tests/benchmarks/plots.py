"""Pictures for the pages, as SVG: a rate over time, how a cost grows over decades, shares beside what they aim at."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BELOW = 900, 220, 50, 30
_COLOURS = ("#1f5fa8", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e", "#555")


def series(rates: Sequence[float], bin_s: float, marks: Mapping[str, float], title: str) -> str:
    """Return a rate, bin by bin, with a dashed line where something happened."""
    highest = max(rates, default=0.0) or 1.0
    whole_s = len(rates) * bin_s
    across, up = (_WIDTH - _LEFT) / whole_s, _HEIGHT - 2 * _BELOW
    floor = _HEIGHT - _BELOW
    points = " ".join(
        f"{_LEFT + number * bin_s * across:.1f},{floor - rate / highest * up:.1f} "
        f"{_LEFT + (number + 1) * bin_s * across:.1f},{floor - rate / highest * up:.1f}"
        for number, rate in enumerate(rates)
    )
    parts = [
        *_frame(_WIDTH, _HEIGHT + _BELOW, title),
        f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDTH}" y2="{floor}" stroke="#888"/>',
        _text(4, floor - up + 4, f"{highest:,.0f}/s"),
        _text(4, floor, "0"),
        f'<polyline points="{points}" fill="none" stroke="{_COLOURS[0]}" stroke-width="1.5"/>',
    ]
    for number, (what, at) in enumerate(sorted(marks.items(), key=lambda mark: mark[1])):
        x = _LEFT + at * across
        parts += [
            f'<line x1="{x:.1f}" y1="{_BELOW}" x2="{x:.1f}" y2="{floor}" stroke="#c33" stroke-dasharray="3 3"/>',
            _text(x + 2, floor + 12 + number % 3 * 13, what, "#c33"),
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


_BAR, _NAMES = 22, 430


def shares(rows: Sequence[tuple[str, float, float | None, float | None]], title: str) -> str:
    """Return a bar for each share, up to a whole or the largest; a dashed line is what must be, a plain one a goal."""
    highest = max(1.0, *(value for _, value, _, _ in rows))
    wide = (_WIDTH - _NAMES - 60) / highest
    parts = _frame(_WIDTH, _TOP + _BAR * len(rows) + 10, title)
    for number, (name, value, must, goal) in enumerate(rows):
        y = _TOP + _BAR * number
        colour = _COLOURS[0] if must is None or value >= must else _COLOURS[1]
        parts.append(_text(8, y + 13, name))
        parts.append(f'<rect x="{_NAMES}" y="{y + 2}" width="{value * wide:.1f}" height="{_BAR - 8}" fill="{colour}"/>')
        parts.append(_text(_NAMES + max(value, must or 0.0, goal or 0.0) * wide + 5, y + 13, f"{value:.2f}"))
        for bound, dashes in ((must, "3 3"), (goal, "")):
            if bound is not None:
                x = _NAMES + bound * wide
                parts.append(
                    f'<line x1="{x:.1f}" y1="{y - 1}" x2="{x:.1f}" y2="{y + _BAR - 3}" stroke="black" '
                    f'stroke-dasharray="{dashes}"/>'
                )
    return "\n".join([*parts, "</svg>"]) + "\n"


_SIDE, _RIGHT, _TOP, _TALL, _LEGEND = 60, 50, 30, 260, 18


def growth(lines: Mapping[str, Sequence[tuple[float, float]]], title: str, across: str) -> str:
    """Return lines over decades, each with its places marked; `across` says what is counted there."""
    xs = [x for points in lines.values() for x, _ in points]
    first, last = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
    highest = max(2.0, 1.2 * max(y for points in lines.values() for _, y in points))
    floor = _TOP + _TALL
    wide = (_WIDTH - _SIDE - _RIGHT) / max(last - first, 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return _SIDE + (math.log10(x) - first) * wide, floor - y / highest * _TALL

    parts = _frame(_WIDTH, floor + 40 + _LEGEND * len(lines), title)
    for decade in range(first, last + 1):
        x, _ = place(10.0**decade, 0.0)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{floor}" stroke="#ddd"/>')
        parts.append(_text(x - 12, floor + 14, f"{10.0**decade:,.0f}"))
    for tick in _ticks(highest):
        _, y = place(10.0**first, tick)
        parts.append(f'<line x1="{_SIDE}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(8, y + 4, f"{tick:g}"))
    parts.append(_text(_SIDE, floor + 28, across))
    for number, (name, points) in enumerate(lines.items()):
        colour, placed = _COLOURS[number % len(_COLOURS)], [place(*point) for point in points]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(_text(_SIDE, floor + 46 + _LEGEND * number, f"● {name}", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ticks(highest: float) -> list[float]:
    """Return round steps up to a height, some five of them."""
    rough = highest / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [round(step * number, 10) for number in range(int(highest / step) + 1)]


def _frame(width: int, height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="14" font-size="13">{escape(title)}</text>',
    ]


def _text(x: float, y: float, said: str, colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(said)}</text>'
