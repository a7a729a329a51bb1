"""`saga top`'s page as lines: as wide as the terminal, and not higher. Pure: values in, lines out.

A line is a sequence of (text, style). Who needs a person is said first. A table gives up its least needed columns where
the terminal is narrow, and shows its first rows, or none, where it is low; what is left out is counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from orchestrator.cli.output import duration, tame, width_of
from orchestrator.cli.overview import Asking, Definition, Page, Process, Target
from orchestrator.cli.tallies import Quantile
from orchestrator.cli.toplayout import (
    BAD,
    DIM,
    GAP,
    ODD,
    Column,
    Line,
    Segment,
    count_cell,
    cut,
    ok_cell,
    rate,
    rate_cell,
    share_cell,
    size,
    table,
    took,
    uptime,
)

ROWS_MIN = 3
"""Of a table: for so many of each, empty lines give way."""
ROWS_MAX = 20
"""Of a table, where there is room for all: the rest is for the commands that list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is shown row by row, and only in part where the terminal is low."""

    what: str
    """Of those that are not shown, where none is; empty where another line counts them."""
    total: int
    known: int
    draw: Callable[[int], Sequence[Line]]
    """The first rows, so many, below a title."""
    is_titled: bool = True

    def height(self, rows: int) -> int:
        """Return the lines that so many rows take."""
        return (rows + self.is_titled + (rows < self.total)) if rows else 0


def screen(page: Page, width: int, height: int | None = None, *, leave: str = "q quits") -> list[Line]:
    """Lay a page out; `height` is None where it may be as high as it likes, and nobody waits at a keyboard.

    `leave` says by which key one leaves, where somebody does wait.
    """
    is_live = height is not None
    fixed = [_title(page, width, leave if is_live else ""), cut(_attention(page), width), *_sentences(page, width)]
    parts = _parts(page, width, is_live=is_live)
    rows, gap = _dealt(parts, None if height is None else height - len(fixed))
    shown = [_drawn(part, count) for part, count in zip(parts, rows, strict=True)]
    space: list[Line] = [[]] * gap
    above, below = shown[:_ABOVE], [lines for lines in shown[_ABOVE:] if lines]
    lines = [*fixed[:2], *chain.from_iterable(above), *space, *fixed[2:], *_hidden(parts, rows, width)]
    for each in below:
        lines += [*space, *each]
    return lines[:height]


_ABOVE = 2
"""Parts above the sentences: the processes and those of them that are away."""


def _parts(page: Page, width: int, *, is_live: bool) -> list[Part]:
    away = [process for process in page.processes if process.away_since_at is not None]

    def drawn(columns: Callable[[int], Sequence[Column]]) -> Callable[[int], Sequence[Line]]:
        return lambda rows: table(columns(rows), width)

    def of(what: str, count: int, draw: Callable[[int], Sequence[Line]], total: int | None = None) -> Part:
        return Part(what=what, total=count if total is None else total, known=count, draw=draw)

    def told(rows: int) -> Sequence[Line]:
        return [cut([(_away(each, is_live=is_live), BAD)], width) for each in away[:rows]]

    return [
        of("processes", len(page.processes), drawn(lambda rows: _process_columns(page, rows))),
        Part(what="that are away", total=len(away), known=len(away), draw=told, is_titled=False),
        of("definitions", len(page.definitions), drawn(lambda rows: _definition_columns(page.definitions[:rows]))),
        of("targets", len(page.targets), drawn(lambda rows: _target_columns(page.targets[:rows]))),
        of(
            "",
            len(page.asking),
            drawn(lambda rows: _asking_columns(page.asking[:rows], page.at or 0.0)),
            page.asking_total,
        ),
    ]


def _dealt(parts: Sequence[Part], room: int | None) -> tuple[Sequence[int], int]:
    """Return the rows of each part, and the empty lines around it: none where rows have to give way for them."""
    spaces = 1 + sum(1 for part in parts[_ABOVE:] if part.known)
    rows = _shares(parts, None if room is None else room - spaces)
    if all(count >= min(part.known, ROWS_MIN) for part, count in zip(parts, rows, strict=True)):
        return rows, 1
    return _shares(parts, room), 0


def _shares(parts: Sequence[Part], room: int | None) -> list[int]:
    """Deal rows out, one at a time to who has fewest, the upper first, as long as there is room for all of it."""
    rows = [0] * len(parts)
    closed: set[int] = set()
    while open_ := [at for at, part in enumerate(parts) if at not in closed and rows[at] < min(part.known, ROWS_MAX)]:
        at = min(open_, key=lambda each: rows[each])
        tried = [*rows[:at], rows[at] + 1, *rows[at + 1 :]]
        hidden = any(part.what and part.known and not count for part, count in zip(parts, tried, strict=True))
        needed = sum(part.height(count) for part, count in zip(parts, tried, strict=True)) + hidden
        if room is None or needed <= room:
            rows = tried
        else:
            closed.add(at)
    return rows


def _drawn(part: Part, rows: int) -> Sequence[Line]:
    if not rows:
        return []
    rest: list[Line] = [[(f"and {part.total - rows:,} more", DIM)]] if rows < part.total else []
    return [*part.draw(rows), *rest]


def _hidden(parts: Sequence[Part], rows: Sequence[int], width: int) -> list[Line]:
    """Say what there is no room for at all."""
    left = [
        f"{part.total:,} {part.what}"
        for part, count in zip(parts, rows, strict=True)
        if part.what and part.known and not count
    ]
    return [cut([(f"not shown: {', '.join(left)}", DIM)], width)] if left else []


def _title(page: Page, width: int, leave: str) -> Line:
    versions = sorted({each.version for each in page.processes if each.version})
    at = "" if page.at is None else datetime.fromtimestamp(page.at, UTC).strftime("%H:%M:%S Z")
    rates = f"rates of {duration(page.interval_s)}" if page.interval_s else "no rates yet"
    words = ["saga top", f"version {', '.join(map(tame, versions)) or 'unknown'}", rates, *([leave] if leave else [])]
    title = GAP.join(words)
    return cut([(title, "bold"), (at.rjust(max(width - width_of(title), len(at) + 2)), DIM)], width)


def _attention(page: Page) -> Line:
    """Say first what may wait for whoever looks."""
    if page.asking_total:
        sagas = f"{page.asking_total:,} {'saga needs' if page.asking_total == 1 else 'sagas need'} a person"
        return [
            (
                ": ".join([sagas, *([", ".join(tame(each.saga_id) for each in page.asking)] if page.asking else [])]),
                BAD,
            )
        ]
    if page.at is None:
        return [("nobody says whether a saga needs a person", ODD)]
    return [("no saga needs a person", DIM)]


def _away(process: Process, *, is_live: bool) -> str:
    at = datetime.fromtimestamp(process.away_since_at or 0.0, UTC).strftime("%H:%M:%S Z")
    said = (
        f"{process.away_status} since {at}: {process.away_why}"
        if process.away_status
        else f"does not answer since {at}"
    )
    return tame(f"{process.server}: {said}") + ("; asked again all the time" if is_live else "")


def _sentences(page: Page, width: int) -> list[Line]:
    """Say what is no table: the sagas as a whole, the journal, the spans."""
    live = page.live
    sagas: list[Segment] = [
        (f"{live.get('RUNNING', 0):,} running", ""),
        (f"{live.get('COMPENSATING', 0):,} going back", "blue" if live.get("COMPENSATING") else ""),
    ]
    if page.asleep is not None:
        sagas.append((f"{page.asleep:,} not in memory", ""))
    if page.runnable:
        late = f"{page.runnable:,} behind, the oldest by {duration(page.oldest_runnable_s)}"
        sagas.append((late, ODD))
    journal = page.journal
    written: list[Segment] = [(f"{rate(journal.commits)} commits/s", "")]
    if journal.sagas_per_commit is not None:
        written.append((f"{journal.sagas_per_commit:.1f} sagas each", ""))
    if journal.p99 is not None:
        written.append((f"p99 {took(journal.p99)}", ""))
    written.append((f"{rate(journal.records)} records/s", ""))
    spans: list[Segment] = []
    if page.spans_waiting:
        spans.append((f"{page.spans_waiting:,} waiting", ODD if page.spans_waiting > _SPANS_MANY else ""))
    if page.spans_dropped:
        spans.append((f"{rate(page.spans_dropped)}/s given up", BAD))
    told = [_told("sagas", sagas), _told("journal", written), *([_told("spans", spans)] if spans else [])]
    return [cut(line, width) for line in told]


_SPANS_MANY = 10_000
"""More than a collector that keeps up ever leaves."""


def _told(what: str, parts: Sequence[Segment]) -> Line:
    line: list[Segment] = [(f"{what:<9}", DIM)]
    for at, part in enumerate(parts):
        line += [(", ", ""), part] if at else [part]
    return line


def _process_columns(page: Page, rows: int) -> list[Column]:
    found = page.processes[:rows]
    is_cluster = any(each.trust_s is not None or each.members > 1 for each in found)
    many = len({each.name for each in found}) < len(found)
    columns = [
        Column(title="process", cells=[(_name(each, is_told=many), "bold") for each in found], is_left=True),
        Column(title="up", cells=[(uptime(each.up_s), "") for each in found], given_up=3),
        Column(title="cpu", cells=[share_cell(each.cores, _BUSY) for each in found]),
        Column(title="memory", cells=[(size(each.memory_bytes), "") for each in found], given_up=2),
        Column(title="loop p99", cells=[_late(each.lag_p99) for each in found]),
        Column(title="stalls", cells=[(f"{each.stalls:,}", BAD if each.stalls_new else "") for each in found]),
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
                cell if at == 0 or each.away_since_at is None else ("-", DIM)
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
    return took(lag), BAD if lag is not None and lag.seconds >= _LATE_S else ""


def _trust(process: Process) -> Segment:
    if process.trust_s is None:
        return "alone", ""
    return (duration(process.trust_s), "") if process.trust_s > 0.0 else ("none", BAD)


def _definition_columns(found: Sequence[Definition]) -> list[Column]:
    columns = [
        Column(title="definition", cells=[(tame(each.name), "bold") for each in found], is_left=True),
        Column(title="started/s", cells=[rate_cell(each.started) for each in found]),
        Column(title="done/s", cells=[rate_cell(each.completed, "green") for each in found]),
        Column(title="undone/s", cells=[rate_cell(each.compensated, "blue") for each in found]),
        Column(title="undone", cells=[share_cell(each.compensated_share) for each in found], given_up=2),
        Column(title="stopped/s", cells=[rate_cell(each.terminated, ODD) for each in found], given_up=4),
        Column(title="p50", cells=[(took(each.p50), "") for each in found], given_up=1),
        Column(title="p99", cells=[(took(each.p99), "") for each in found]),
        Column(title="asked", cells=[count_cell(each.attention, ODD) for each in found], given_up=3),
    ]
    if all(each.live is not None for each in found):
        columns.insert(1, Column(title="live", cells=[count_cell(each.live or 0) for each in found]))
    return columns


def _target_columns(found: Sequence[Target]) -> list[Column]:
    columns = [
        Column(title="target", cells=[(tame(each.name), "bold") for each in found], is_left=True),
        Column(title="calls/s", cells=[rate_cell(each.calls) for each in found]),
        Column(title="open", cells=[count_cell(each.in_flight) for each in found]),
        Column(title="waiting", cells=[count_cell(each.waiting, ODD) for each in found], given_up=2),
        Column(title="ok", cells=[ok_cell(each.ok_share) for each in found]),
        Column(title="retries/s", cells=[rate_cell(each.retries, ODD) for each in found]),
        Column(title="p50", cells=[(took(each.p50), "") for each in found], given_up=1),
        Column(title="p99", cells=[(took(each.p99), "") for each in found]),
    ]
    if any(each.paused for each in found):
        columns.append(Column(title="paused", cells=[(_paused(each), BAD) for each in found], is_left=True))
    return columns


def _paused(target: Target) -> str:
    if not target.paused:
        return ""
    return "all of it" if "" in target.paused else tame(", ".join(each.rpartition("/")[2] for each in target.paused))


def _asking_columns(found: Sequence[Asking], now: float) -> list[Column]:
    return [
        Column(title="needs a person", cells=[(tame(each.saga_id), BAD) for each in found], is_left=True),
        Column(title="definition", cells=[(tame(each.definition), "") for each in found], is_left=True, given_up=1),
        Column(title="for", cells=[(uptime(max(0.0, now - each.since_at)), "") for each in found]),
        Column(title="why", cells=[(tame(each.why), "") for each in found], is_left=True),
    ]
