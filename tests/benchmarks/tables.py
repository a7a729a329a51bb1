"""`python -m tests.benchmarks.tables`: the figures of `build/bench.json` into the tables of the pages.

A page has a place for each table, between `<!-- figures: NAME -->` and `<!-- end of figures -->`: that of a case, or
one of several cases, below. What this file has no figures of stays as it was; what nobody measured says so, and which
command does. Figures of smoke runs lie elsewhere and reach no page.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import kept, plots, shown
from tests.benchmarks.arithmetic import arithmetic, carries
from tests.benchmarks.cases import CASES, POSTGRES, SQLITE, Case, aims

PAGES = (Path("docs/performance.md"), Path("docs/design/scale.md"))
PICTURE = "shares.svg"
_PLACE = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

Sections = Mapping[str, Any]
Of = Callable[[str], Any]
"""Returns a case's figures, or raises `NotMeasured`."""


class NotMeasured(Exception):
    """A table wants a case that nobody measured; its argument is the name."""


def main() -> None:
    """Rewrite the pages, and the pictures beside the first of them."""
    sections = kept.load()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, sections), encoding="utf-8")
    if picture := _shares({name: section["figures"] for name, section in sections.items()}):
        (PAGES[0].parent / PICTURE).write_text(picture, encoding="utf-8")
    for case in CASES:
        if case.name in sections:
            for name, picture in case.pictures(sections[case.name]["figures"]).items():
                (PAGES[0].parent / name).write_text(picture, encoding="utf-8")


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
            told = TABLES[found["name"]](of)
            return f"{found[1]}{told}\n\n*Measured {', '.join(dict.fromkeys(asked))}.*\n{found[3]}"
        except NotMeasured as missing:
            if "*Measured " in found[0]:
                return found[0]
            return f"{found[1]}*Not measured yet: `make bench CASE={missing}`.*\n{found[3]}"

    return _PLACE.sub(place, text)


def _family(of: Of, cases: tuple[Case, ...]) -> str:
    """Return several comparisons in one table, those that were made."""
    found: dict[str, Any] = {}
    for case in cases:
        try:
            found[case.name] = of(case.name)
        except NotMeasured:
            continue
    if not found:
        raise NotMeasured(cases[0].family)
    return shown.both(found)


def _aims(of: Of) -> str:
    found: dict[str, Any] = {}
    for case in CASES:
        try:
            found[case.name] = of(case.name)
        except NotMeasured:
            continue
    told = f"![shares of the bare client's rate]({PICTURE})\n\n" if _shares(found) else ""
    return f"{told}{aims(found)}"


def _shares(found: Sections) -> str:
    """Return the picture of all rows that are rates over rates; nothing where none was measured."""
    rows = [
        (aim.what, aim.reached(found[case.name]), aim.must, aim.goal)
        for case in CASES
        for aim in case.aims
        if case.name in found and aim.what.startswith("sagas/s")
    ]
    return plots.shares(rows, "sagas a second over the first side's; dashed: must, plain: goal") if rows else ""


def _carries(of: Of) -> str:
    return shown.table(*carries(of("postgres-64"), of("cluster"), of("capacity")))


def _arithmetic(of: Of) -> str:
    return shown.table(*arithmetic(of("postgres-64"), of("cluster"), of("capacity")))


def _case(of: Of, case: Case) -> str:
    return case.shows(of(case.name))


TABLES: dict[str, Callable[[Of], str]] = {
    **{case.name: partial(_case, case=case) for case in CASES},
    "aims": _aims,
    "sqlite": partial(_family, cases=SQLITE),
    "postgres": partial(_family, cases=POSTGRES),
    "carries": _carries,
    "arithmetic": _arithmetic,
}

if __name__ == "__main__":
    main()
