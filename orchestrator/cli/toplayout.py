"""How `saga top` lays out a table, and writes a number: columns that give way, names that are cut, units. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cli.output import duration, width_of
from orchestrator.cli.tallies import Quantile

Segment = tuple[str, str]
"""Text and its style."""
Line = Sequence[Segment]

DIM, BAD, ODD = "bright_black", "red", "yellow"
GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its title, its cells, and how readily it is given up; 0: never."""

    title: str
    cells: Sequence[Segment]
    given_up: int = 0
    is_left: bool = False


def table(columns: Sequence[Column], width: int) -> list[Line]:
    """Lay columns out in so many characters: some are given up, then the last and the first one are cut."""
    kept = list(columns)
    while _width(kept) > width and (spare := [each for each in kept if each.given_up]):
        kept.remove(max(spare, key=lambda each: each.given_up))
    widths = [_column_width(column) for column in kept]
    for at in (len(kept) - 1, 0):  # names, and sentences at the end; numbers are never cut
        over = sum(widths) + len(GAP) * (len(kept) - 1) - width
        if over > 0 and kept[at].is_left:
            widths[at] = max(widths[at] - over, min(widths[at], max(len(kept[at].title), _NAME_CHARS_MIN)))
    rows = [[(column.title.upper(), DIM) for column in kept], *zip(*(column.cells for column in kept), strict=True)]
    lines: list[Line] = []
    for row in rows:
        line: list[Segment] = []
        for at, ((text, style), column) in enumerate(zip(row, kept, strict=True)):
            line.append((_padded(text, widths[at], is_left=column.is_left), style))
            line.append((GAP, ""))
        lines.append(cut(line[:-1], width))
    return lines


_NAME_CHARS_MIN = 10


def _width(columns: Sequence[Column]) -> int:
    """Return what columns take; of one that may be cut only what it takes then."""
    return sum(
        min(_column_width(column), _NAME_CHARS_WANTED) if column.is_left else _column_width(column)
        for column in columns
    ) + len(GAP) * (len(columns) - 1)


_NAME_CHARS_WANTED = 20
"""Of a name: rather than cut it further, a column is given up."""


def _column_width(column: Column) -> int:
    return max(width_of(column.title), *(width_of(text) for text, _ in column.cells), 1)


def _padded(text: str, width: int, *, is_left: bool) -> str:
    text = shortened(text, width)
    space = " " * (width - width_of(text))
    return text + space if is_left else space + text


def shortened(text: str, width: int) -> str:
    """Return a text in so many columns, with an ellipsis where it is longer."""
    if width_of(text) <= width:
        return text
    kept = ""
    for char in text:
        if width_of(kept + char) > width - 1:
            break
        kept += char
    return kept + "…"


def cut(line: Line, width: int) -> Line:
    """Return a line that is no wider."""
    left, kept = width, list[Segment]()
    for text, style in line:
        if left <= 0:
            break
        kept.append((shortened(text, left), style))
        left -= width_of(text)
    while kept and not kept[-1][0].strip():
        kept.pop()
    if kept:
        kept[-1] = kept[-1][0].rstrip(), kept[-1][1]
    return kept


def rate(value: float) -> str:
    """Return how often a second, with what a person reads of it: `0`, `0.4`, `12`, `3.4k`."""
    if value < 0.05:  # noqa: PLR2004  (below, it would round to 0.0)
        return "0" if value <= 0.0 else "<0.1"
    if value < 9.95:  # noqa: PLR2004  (below, it would round to 10.0)
        return f"{value:.1f}"
    return f"{value:,.0f}" if value < 9_999.5 else f"{value / 1e3:.1f}k"  # noqa: PLR2004  (below, five digits)


def took(found: Quantile | None) -> str:
    """Return a quantile; `>30.0 s` where it is more than its histogram tells."""
    return "" if found is None else f"{'>' if found.is_more else ''}{duration(found.seconds)}"


def size(count: float | None) -> str:
    """Return bytes."""
    if count is None:
        return ""
    mebi = count / 2**20
    return f"{mebi:.0f} MiB" if mebi < 9_999.5 else f"{mebi / 2**10:.1f} GiB"  # noqa: PLR2004  (below, five digits)


def uptime(seconds: float | None) -> str:
    """Return how long ago something began, in whole seconds, or in days and hours; empty where that is not known."""
    if seconds is None:
        return ""
    days, rest = divmod(round(seconds), 86_400)
    return f"{days} d {rest // 3_600} h" if days else duration(float(round(seconds))).replace(".0 s", " s")


def rate_cell(value: float, style: str = "") -> Segment:
    """Return how often a second, as a cell."""
    return rate(value), style if value > 0.0 else DIM


def count_cell(value: int, style: str = "") -> Segment:
    """Return a number, as a cell."""
    return f"{value:,}", style if value else DIM


def share_cell(share: float | None, bad_from: float = 2.0) -> Segment:
    """Return a share in percent, red from a share on."""
    return ("", "") if share is None else (f"{share * 100:.0f} %", BAD if share >= bad_from else "")


def ok_cell(share: float | None) -> Segment:
    """Return the share of good answers."""
    if share is None:
        return "", ""
    text = f"{share * 100:.1f} %" if share < 1.0 else "100 %"
    return text, ODD if share < _FINE else ""


_FINE = 0.9
"""Share of good answers. Not red below: a no is an answer, and what fails is tried again, which has its own column."""
