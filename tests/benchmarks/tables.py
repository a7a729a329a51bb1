"""`python -m tests.benchmarks.tables`: the figures of `build/bench.json` into the tables of the pages.

A page has a place for each table, between `<!-- figures: NAME -->` and `<!-- end of figures -->`. What was not measured
says so, and says which command measures it. Figures of smoke runs lie elsewhere and reach no page.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import joining, kept
from tests.benchmarks.arithmetic import arithmetic, carries

PAGES = (Path("docs/performance.md"), Path("docs/design/scale.md"))
PICTURE = PAGES[0].parent / "joining.svg"
_PLACE = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Sections = Mapping[str, Any]


class NotMeasured(Exception):
    """A table wants a section that nobody measured; its argument is the case of `make bench`."""


def main() -> None:
    """Rewrite the pages."""
    sections = kept.load()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, sections), encoding="utf-8")


def filled(text: str, sections: Sections) -> str:
    """Return a page with its places filled."""

    def place(found: re.Match[str]) -> str:
        asked: list[str] = []

        def of(name: str) -> Any:
            if name not in sections:
                raise NotMeasured(name)
            section = sections[name]
            asked.append(f"{section['measured']} on {section['cores']} cores, Python {section['python']}")
            return section["figures"]

        try:
            shown = TABLES[found["name"]](of)
            told = f"*Measured {', '.join(dict.fromkeys(asked))}.*"
            return f"{found[1]}{shown}\n\n{told}\n{found[3]}"
        except NotMeasured as missing:
            case = CASES.get(str(missing), str(missing))
            return f"{found[1]}*Not measured yet: `make bench CASE={case}`.*\n{found[3]}"

    return _PLACE.sub(place, text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of a page."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


Of = Callable[[str], Any]


def _postgres(of: Of) -> str:
    rows = [row for row in of("sagas") if row["journal"] == "postgres"]
    if not rows:
        raise NotMeasured("sagas")
    speed = table(
        ("case", "C", "ours, sagas/s", "bare, sagas/s", "ratio", "p50 ms", "bare p50 ms", "p99 ms"),
        [
            (
                row["case"], str(row["concurrency"]), f"{row['ours_sagas_s']:,.0f}", f"{row['bare_sagas_s']:,.0f}",
                f"{row['ratio']:.2f}", f"{row['p50_ms']:.1f}", f"{row['bare_p50_ms']:.1f}", f"{row['p99_ms']:.1f}",
            )
            for row in rows
        ],
    )  # fmt: skip
    costs = table(
        (
            "case", "C", "CPU ms: engine over bare", "database", "services", "group commits", "sagas in a commit",
            "round trips", "log KB",
        ),
        [
            (
                row["case"], str(row["concurrency"]), f"{row['ours_cpu_ms'] - row['bare_cpu_ms']:.2f}",
                *(f"{row['per_saga'][f'{name}_cpu_s'] * 1e3:.2f}" for name in ("database", "services")),
                f"{row['per_saga']['commits']:.2f}", f"{row['per_saga']['streams'] / row['per_saga']['commits']:.1f}",
                f"{row['per_saga']['statements']:.2f}", f"{row['per_saga']['wal_bytes'] / 1e3:.1f}",
            )
            for row in rows
        ],
    )  # fmt: skip
    return f"{speed}\n\nWhat one saga costs in the same runs:\n\n{costs}"


def _cluster(of: Of) -> str:
    rows = of("cluster")
    shown = table(
        ("", "sagas/s", "ratio to bare", "p50 ms", "p99 ms", "CPU ms: processes", "database", "services", "clients"),
        [
            (
                row["side"], f"{row['sagas_s']:,.0f}", f"{row['ratio']:.2f}", f"{row['p50_ms']:.0f}",
                f"{row['p99_ms']:.0f}",
                *(f"{row[f'{name}_cpu_s'] * 1e3:.2f}" for name in ("nodes", "database", "services", "clients")),
            )
            for row in rows
        ],
    )  # fmt: skip
    one, two, anywhere = (row["nodes_cpu_s"] for row in rows)
    return (
        f"{shown}\n\nBy processor time a process carries {1 / one:,.0f} sagas/s on a core of its own where it is "
        f"alone, and {1 / two:,.0f} where it is one of two. Two on two free cores, with all else elsewhere, are then "
        f"{2 * one / two:.2f} of one; {2 * one / anywhere:.2f} where clients ask either for any saga."
    )


def _joining(of: Of) -> str:
    figures = of("joining")
    rows = [
        (
            f"a second process {what}", f"{dip['before_s']:,.0f}", f"{dip['after_s']:,.0f}", f"{dip['lowest_s']:,.0f}",
            f"{dip['below_80_percent_s']:.2f} s", f"{dip['below_half_s']:.2f} s",
        )
        for what, dip in figures["dips"].items()
    ]  # fmt: skip
    headings = ("event", "sagas/s before", "after", "lowest quarter of a second", "below 80 %", "below half")
    if joining.PICTURE.exists():
        shutil.copy(joining.PICTURE, PICTURE)
    refused = sum(figures["refused"].values())
    told = f"Requests refused meanwhile: {refused}."
    return f"![sagas ended per second]({PICTURE.name})\n\n{table(headings, rows)}\n\n{told}"


def _failover(of: Of) -> str:
    figures = of("failover")
    sagas = f"{figures['parked']:,.0f}"
    rows = [
        (f"killed, lease {row['lease_s']:g} s: all its shards are another's", *_both(row, "owned_s"))
        for row in figures["killed"]
    ]
    rows += [
        (f"... all of its {sagas} parked sagas are done there, lease {row['lease_s']:g} s", *_both(row, "done_s"))
        for row in figures["killed"]
    ]
    rows += [
        (f"... of which taking up and doing them, lease {row['lease_s']:g} s", *_both(row, "work_s"))
        for row in figures["killed"]
    ]
    left = figures["left"][0]
    rows += [
        ("drained under load: all its shards are another's", *_both(left, "handed_s")),
        ("... its process has ended", *_both(left, "ended_s")),
        ("... the longest of all sagas asked for meanwhile", *_both(left, "longest_saga_s")),
    ]
    return table(("from the signal until", "median", "longest"), rows)


def _both(row: dict[str, float], name: str) -> tuple[str, str]:
    return f"{row[name]:.2f} s", f"{row[f'{name}_max']:.2f} s"


def _forwarding(of: Of) -> str:
    figures = of("forwarding")
    rows = [
        (
            what, f"{row['owner_p50_ms']:.1f}", f"{row['other_p50_ms']:.1f}",
            f"{row['other_p50_ms'] / row['owner_p50_ms']:.2f}", f"{row['owner_p99_ms']:.1f}",
            f"{row['other_p99_ms']:.1f}",
        )
        for what, row in figures["rows"].items()
    ]  # fmt: skip
    headings = ("asked, C=1", "p50 ms at the owner", "at the other", "ratio", "p99 ms at the owner", "at the other")
    return (
        f"{table(headings, rows)}\n\nThe bare client's p50 for five calls in this run: {figures['bare_p50_ms']:.1f} ms."
    )


def _capacity(of: Of) -> str:
    figures = of("capacity")
    rows = [
        (
            f"{row['writers']:.0f}", f"{row['group']:.0f}", f"{row['commits_s']:,.0f}", f"{row['streams_s']:,.0f}",
            f"{row['records_s']:,.0f}", f"{row['sagas_s']:,.0f}", f"{row['database_cpu_s'] * 1e3:.2f}",
            f"{row['wal_bytes'] / 1e3:.1f}",
        )
        for row in figures["appends"]
    ]  # fmt: skip
    headings = (
        "writers", "group", "commits/s", "appends/s", "records/s", "sagas/s", "database CPU ms a saga", "log KB a saga",
    )  # fmt: skip
    disk, updates, reads = figures["disk_bytes"], figures["updates"], figures["reads"]
    renewals = table(
        ("renewal of a lease in a store of", "takes", "database CPU", "brings"),
        [
            (
                f"{row['shards']:,.0f} shards", f"{row['ms']:.1f} ms", f"{row['database_cpu_s'] * 1e3:.1f} ms",
                f"{row['bytes'] / 1e3:,.0f} KB",
            )
            for row in figures["renewals"]
        ],
    )  # fmt: skip
    whole, own = sum(disk.values()) / 1e3, disk["records"] / 1e3
    rates = [f"{reads[way]['rows_s']:,.0f}" for way in ("since", "news")]
    costs = [f"{reads[way]['database_cpu_s'] * 1e6:.0f}" for way in ("since", "news")]
    told = (
        f"A saga leaves {figures['records']:.0f} records and {whole:.1f} KB on disk with all indexes, {own:.1f} of "
        f"them its records. It updates its row {updates['per_saga']:.1f} times, {updates['hot_share']:.0%} of them "
        f"without an index. Read back by position: {rates[0]} records/s shard by shard, {rates[1]} over all shards at "
        f"once, for {costs[0]} and {costs[1]} us of the database each."
    )
    return f"{table(headings, rows)}\n\n{told}\n\n{renewals}"


def _carries(of: Of) -> str:
    return table(*carries(of("sagas"), of("cluster"), of("capacity")))


def _arithmetic(of: Of) -> str:
    return table(*arithmetic(of("sagas"), of("cluster"), of("capacity")))


def _tracing(of: Of) -> str:
    sides = of("tracing")
    rows = [
        (
            side, f"{row['sagas_s']:,.0f}", f"{row['of_bare']:.2f}", f"{row['of_untraced']:.2f}",
            f"{row['cpu_ms']:.2f}", f"{row['collector_cpu_ms']:.2f}",
        )
        for side, row in sides.items()
    ]  # fmt: skip
    headings = ("", "sagas/s", "of bare", "of untraced", "CPU ms a saga", "the collector's")
    return table(headings, rows)


TABLES: dict[str, Callable[[Of], str]] = {
    "tracing": _tracing,
    "postgres": _postgres,
    "cluster": _cluster,
    "joining": _joining,
    "failover": _failover,
    "forwarding": _forwarding,
    "capacity": _capacity,
    "carries": _carries,
    "arithmetic": _arithmetic,
}
CASES = {"sagas": "postgres"}
"""What measures a section, where that is not the section's own name."""

if __name__ == "__main__":
    main()
