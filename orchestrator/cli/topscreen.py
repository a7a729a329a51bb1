"""`saga top`'s page as lines: as wide as the terminal, and not higher. Pure: values in, lines out.

A line is a sequence of (text, style). A table gives up its least needed columns where the terminal is narrow, and shows
its first rows where it is low; what is left out is counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.cli.output import duration, tame, width_of
from orchestrator.cli.overview import Asking, Definition, Page, Process, Target
from orchestrator.cli.tallies import Quantile

Segment = tuple[str, str]
Line = Sequence[Segment]

ROWS_MIN = 3
"""Of a table, however low the terminal is."""
ROWS_MAX = 20
"""Of a table, where there is room for all: the rest is for the commands that list."""
_DIM, _BAD, _ODD = "bright_black", "red", "yellow"
_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its title, its cells, and how readily it is given up; 0: never."""

    title: str
    cells: Sequence[Segment]
    given_up: int = 0
    is_left: bool = False


def screen(page: Page, width: int, height: int | None = None) -> list[Line]:
    """Lay a page out; `height` is None where it may be as high as it likes, and nobody waits at a keyboard."""
    head = [*_head(page, width, is_live=height is not None), []]
    tables: list[tuple[Callable[[Sequence[int]], Sequence[Column]], int]] = [
        (lambda rows: _definition_columns([page.definitions[at] for at in rows]), len(page.definitions)),
        (lambda rows: _target_columns([page.targets[at] for at in rows]), len(page.targets)),
        (lambda rows: _asking_columns([page.asking[at] for at in rows], page.at or 0.0), page.asking_total),
    ]
    known = [len(page.definitions), len(page.targets), len(page.asking)]
    shares = _shares(known, None if height is None else height - len(head) - 3 * 3)
    lines = head
    for (columns, total), share in zip(tables, shares, strict=True):
        if total:
            lines += [*table(columns(range(share)), width), *_rest(total - share), []]
    lines = [*lines[:-1], *([] if page.asking_total else [[], [("no saga needs a person", _DIM)]])]
    return lines[:height]


def _shares(wanted: Sequence[int], room: int | None) -> list[int]:
    """Deal rows out: some to everybody, then to whoever wants most of what is left."""
    shares = [min(count, ROWS_MIN) for count in wanted]
    while True:
        open_ = [at for at, count in enumerate(wanted) if shares[at] < min(count, ROWS_MAX)]
        if not open_ or (room is not None and sum(shares) >= room):
            return shares
        at = min(open_, key=lambda each: shares[each])
        shares[at] += 1


def _rest(count: int) -> list[Line]:
    return [[(f"and {count:,} more", _DIM)]] if count > 0 else []


def _head(page: Page, width: int, *, is_live: bool) -> list[Line]:
    versions = sorted({each.version for each in page.processes if each.version})
    at = "" if page.at is None else datetime.fromtimestamp(page.at, UTC).strftime("%H:%M:%S Z")
    rates = f"rates of {duration(page.interval_s)}" if page.interval_s else "no rates yet"
    words = ["saga top", f"version {', '.join(map(tame, versions)) or 'unknown'}", rates]
    title = _GAP.join([*words, "q quits"] if is_live else words)
    lines: list[Line] = [cut([(title, "bold"), (at.rjust(max(width - width_of(title), len(at) + 2)), _DIM)], width)]
    lines += table(_process_columns(page), width)
    lines += [cut([(_away(each), _BAD)], width) for each in page.processes if each.away_since_at is not None]
    return [*lines, [], *_sentences(page, width)]


def _away(process: Process) -> str:
    at = datetime.fromtimestamp(process.away_since_at or 0.0, UTC).strftime("%H:%M:%S Z")
    return f"{tame(process.server)}: does not answer since {at}; asked again all the time"


def _sentences(page: Page, width: int) -> list[Line]:
    """Say what is no table: the sagas as a whole, the journal, the spans."""
    live = page.live
    sagas: list[Segment] = [
        (f"{live.get('RUNNING', 0):,} running", ""),
        (f"{live.get('COMPENSATING', 0):,} going back", "blue" if live.get("COMPENSATING") else ""),
        (f"{page.asking_total:,} need a person", _BAD if page.asking_total else ""),
    ]
    if page.asleep is not None:
        sagas.append((f"{page.asleep:,} not in memory", ""))
    if page.runnable:
        late = f"{page.runnable:,} behind, the oldest by {duration(page.oldest_runnable_s)}"
        sagas.append((late, _ODD))
    journal = page.journal
    written: list[Segment] = [(f"{rate(journal.commits)} commits/s", "")]
    if journal.sagas_per_commit is not None:
        written.append((f"{journal.sagas_per_commit:.1f} sagas each", ""))
    if journal.p99 is not None:
        written.append((f"p99 {took(journal.p99)}", ""))
    written.append((f"{rate(journal.records)} records/s", ""))
    spans: list[Segment] = []
    if page.spans_waiting:
        spans.append((f"{page.spans_waiting:,} waiting", _ODD if page.spans_waiting > _SPANS_MANY else ""))
    if page.spans_dropped:
        spans.append((f"{rate(page.spans_dropped)}/s given up", _BAD))
    told = [_told("sagas", sagas), _told("journal", written), *([_told("spans", spans)] if spans else [])]
    return [cut(line, width) for line in told]


_SPANS_MANY = 10_000
"""More than a collector that keeps up ever leaves."""


def _told(what: str, parts: Sequence[Segment]) -> Line:
    line: list[Segment] = [(f"{what:<9}", _DIM)]
    for at, part in enumerate(parts):
        line += [(", ", ""), part] if at else [part]
    return line


def _process_columns(page: Page) -> list[Column]:
    found = page.processes
    is_cluster = any(each.trust_s is not None or each.members > 1 for each in found)
    many = len({each.name for each in found}) < len(found)
    columns = [
        Column(title="process", cells=[(_name(each, is_told=many), "bold") for each in found], is_left=True),
        Column(title="up", cells=[(_up(each.up_s), "") for each in found], given_up=3),
        Column(title="cpu", cells=[_share(each.cores, _BUSY) for each in found]),
        Column(title="memory", cells=[(size(each.memory_bytes), "") for each in found], given_up=2),
        Column(title="loop p99", cells=[_late(each.lag_p99) for each in found]),
        Column(title="stalls", cells=[(f"{each.stalls:,}", _BAD if each.stalls_new else "") for each in found]),
        Column(title="actors", cells=[(f"{each.actors:,}", "") for each in found]),
    ]
    if is_cluster:
        columns += [
            Column(title="shards", cells=[(f"{each.shards:,}", "") for each in found]),
            Column(title="trust", cells=[_trust(each) for each in found]),
            Column(title="members", cells=[(f"{each.members:,}", "") for each in found], given_up=1),
        ]
    return [
        Column(
            title=column.title,
            cells=[
                cell if at == 0 or each.away_since_at is None else ("-", _DIM)
                for cell, each in zip(column.cells, found, strict=True)
            ],
            given_up=column.given_up,
            is_left=column.is_left,
        )
        for at, column in enumerate(columns)
    ]


_BUSY = 0.9
"""Share of a core past which one event loop has nothing left."""
_LATE_S = 0.1
"""A loop so late holds every saga up."""


def _name(process: Process, *, is_told: bool) -> str:
    return tame(f"{process.name} ({process.server})" if process.name and is_told else process.name or process.server)


def _late(lag: Quantile | None) -> Segment:
    return took(lag), _BAD if lag is not None and lag.seconds >= _LATE_S else ""


def _trust(process: Process) -> Segment:
    if process.trust_s is None:
        return "alone", ""
    return (duration(process.trust_s), "") if process.trust_s > 0.0 else ("none", _BAD)


def _definition_columns(found: Sequence[Definition]) -> list[Column]:
    columns = [
        Column(title="definition", cells=[(tame(each.name), "bold") for each in found], is_left=True),
        Column(title="started/s", cells=[_rate(each.started) for each in found]),
        Column(title="done/s", cells=[_rate(each.completed, "green") for each in found]),
        Column(title="undone/s", cells=[_rate(each.compensated, "blue") for each in found]),
        Column(title="undone", cells=[_share(each.compensated_share) for each in found], given_up=2),
        Column(title="stopped/s", cells=[_rate(each.terminated, _ODD) for each in found], given_up=4),
        Column(title="p50", cells=[(took(each.p50), "") for each in found], given_up=1),
        Column(title="p99", cells=[(took(each.p99), "") for each in found]),
        Column(title="asked", cells=[_count(each.attention, _ODD) for each in found], given_up=3),
    ]
    if all(each.live is not None for each in found):
        columns.insert(1, Column(title="live", cells=[_count(each.live or 0) for each in found]))
    return columns


def _target_columns(found: Sequence[Target]) -> list[Column]:
    columns = [
        Column(title="target", cells=[(tame(each.name), "bold") for each in found], is_left=True),
        Column(title="calls/s", cells=[_rate(each.calls) for each in found]),
        Column(title="open", cells=[_count(each.in_flight) for each in found]),
        Column(title="waiting", cells=[_count(each.waiting, _ODD) for each in found], given_up=2),
        Column(title="ok", cells=[_ok(each.ok_share) for each in found]),
        Column(title="retries/s", cells=[_rate(each.retries, _ODD) for each in found]),
        Column(title="p50", cells=[(took(each.p50), "") for each in found], given_up=1),
        Column(title="p99", cells=[(took(each.p99), "") for each in found]),
    ]
    if any(each.paused for each in found):
        columns.append(Column(title="paused", cells=[(_paused(each), _BAD) for each in found], is_left=True))
    return columns


def _paused(target: Target) -> str:
    if not target.paused:
        return ""
    return "all of it" if "" in target.paused else tame(", ".join(each.rpartition("/")[2] for each in target.paused))


def _asking_columns(found: Sequence[Asking], now: float) -> list[Column]:
    return [
        Column(title="needs a person", cells=[(tame(each.saga_id), _BAD) for each in found], is_left=True),
        Column(title="definition", cells=[(tame(each.definition), "") for each in found], is_left=True, given_up=1),
        Column(title="for", cells=[(_up(max(0.0, now - each.since_at)), "") for each in found]),
        Column(title="why", cells=[(tame(each.why), "") for each in found], is_left=True),
    ]


def table(columns: Sequence[Column], width: int) -> list[Line]:
    """Lay columns out in so many characters: some are given up, then the last and the first one are cut."""
    kept = list(columns)
    while _width(kept) > width and (spare := [each for each in kept if each.given_up]):
        kept.remove(max(spare, key=lambda each: each.given_up))
    widths = [_column_width(column) for column in kept]
    for at in (len(kept) - 1, 0):  # names, and sentences at the end; numbers are never cut
        over = sum(widths) + len(_GAP) * (len(kept) - 1) - width
        if over > 0 and kept[at].is_left:
            widths[at] = max(widths[at] - over, min(widths[at], max(len(kept[at].title), _NAME_CHARS_MIN)))
    rows = [[(column.title.upper(), _DIM) for column in kept], *zip(*(column.cells for column in kept), strict=True)]
    lines: list[Line] = []
    for row in rows:
        line: list[Segment] = []
        for at, ((text, style), column) in enumerate(zip(row, kept, strict=True)):
            line.append((_padded(text, widths[at], is_left=column.is_left), style))
            line.append((_GAP, ""))
        lines.append(cut(line[:-1], width))
    return lines


_NAME_CHARS_MIN = 10


def _width(columns: Sequence[Column]) -> int:
    """Return what columns take; of one that may be cut only what it takes then."""
    return sum(
        min(_column_width(column), _NAME_CHARS_WANTED) if column.is_left else _column_width(column)
        for column in columns
    ) + len(_GAP) * (len(columns) - 1)


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


def _up(seconds: float | None) -> str:
    if seconds is None:
        return ""
    days, rest = divmod(round(seconds), 86_400)
    return f"{days} d {rest // 3_600} h" if days else duration(float(round(seconds))).replace(".0 s", " s")


def _rate(value: float, style: str = "") -> Segment:
    return rate(value), style if value > 0.0 else _DIM


def _count(value: int, style: str = "") -> Segment:
    return f"{value:,}", style if value else _DIM


def _share(share: float | None, bad_from: float = 2.0) -> Segment:
    return ("", "") if share is None else (f"{share * 100:.0f} %", _BAD if share >= bad_from else "")


def _ok(share: float | None) -> Segment:
    if share is None:
        return "", ""
    text = f"{share * 100:.1f} %" if share < 1.0 else "100 %"
    return text, _ODD if share < _FINE else ""


_FINE = 0.9
"""Share of good answers. Not red below: a no is an answer, and what fails is tried again, which has its own column."""
