"""A series of counts as text, and as a picture for the pages."""

from collections.abc import Mapping, Sequence
from html import escape

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _BELOW = 900, 220, 50, 30


def text(rates: Sequence[float], bin_s: float, marks: Mapping[str, float]) -> str:
    """Return one line of bars a bin each, and one line for each mark, under the bin where it is."""
    highest = max(rates, default=0.0) or 1.0
    lines = ["".join(_BARS[round(rate / highest * 8)] for rate in rates) + f"  0..{highest:,.0f}/s"]
    lines += [" " * int(at / bin_s) + f"^ {at:.1f} s: {what}" for what, at in sorted(marks.items(), key=lambda m: m[1])]
    return "\n".join(lines)


def picture(rates: Sequence[float], bin_s: float, marks: Mapping[str, float], title: str) -> str:
    """Return the same as SVG."""
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
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT + _BELOW}" fill="white"/>',
        f'<text x="{_LEFT}" y="14" font-size="13">{escape(title)}</text>',
        f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDTH}" y2="{floor}" stroke="#888"/>',
        f'<text x="4" y="{floor - up + 4}">{highest:,.0f}/s</text><text x="4" y="{floor}">0</text>',
        f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>',
    ]
    for number, (what, at) in enumerate(sorted(marks.items(), key=lambda mark: mark[1])):
        x = _LEFT + at * across
        y = floor + 12 + number % 3 * 13
        parts.append(
            f'<line x1="{x:.1f}" y1="{_BELOW}" x2="{x:.1f}" y2="{floor}" stroke="#c33" stroke-dasharray="3 3"/>'
        )
        parts.append(f'<text x="{x + 2:.1f}" y="{y}" fill="#c33">{escape(what)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
