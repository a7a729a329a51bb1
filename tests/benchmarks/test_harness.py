"""The bench tells what it measured: cases, aims, ratios within a round, places of the pages, pictures."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.benchmarks import cases, plots, tables
from tests.benchmarks.cases import CASES, Aim, chosen
from tests.benchmarks.rounds import Run, Turn, compared

ROOT = Path(__file__).parents[2]


def turn(sagas_s: float, *latencies_ms: float, cpu_ms: float = 1.0) -> Turn:
    return Turn(run=Run(sagas_s, cpu_ms, [*latencies_ms] or [1.0]), cpu_ms=cpu_ms, costs={}, rss_mib=1.0)


def test_a_ratio_is_taken_within_each_round_before_the_median() -> None:
    sides = compared(
        {"bare": [turn(100.0), turn(10.0), turn(1_000.0)], "ours": [turn(50.0), turn(9.0), turn(200.0)]}, "bare"
    )
    assert (sides["ours"]["ratio"], sides["ours"]["ratio_low"], sides["ours"]["ratio_high"]) == (0.5, 0.2, 0.9)
    assert sides["ours"]["sagas_s"] == 50.0


def test_what_is_over_bares_is_processor_time_within_each_round() -> None:
    sides = compared({"bare": [turn(1.0, cpu_ms=0.5)], "ours": [turn(1.0, cpu_ms=2.0)]}, "bare")
    assert (sides["ours"]["over_ms"], sides["ours"]["cpu_ratio"]) == (1.5, 4.0)


@pytest.mark.parametrize(("reached", "verdict"), [(0.4, "missed"), (0.5, "must"), (0.8, "goal")])
def test_an_aim_says_what_of_it_was_reached(reached: float, verdict: str) -> None:
    aim = Aim(what="rate", must=0.5, goal=0.75, reached=float)
    told = cases.aims({"a": reached}, [case(aim)])
    assert told.splitlines()[-1].split(" | ")[4] == verdict


def test_less_is_better_where_an_aim_says_so() -> None:
    aim = Aim(what="time", must=2.5, goal=1.7, reached=float, is_least=False)
    assert (aim.is_met(2.0, aim.must), aim.is_met(2.0, aim.goal)) == (True, False)


def case(*aims: Aim) -> cases.Case:
    async def nothing() -> None: ...

    return cases.Case(name="a", run=nothing, shows=str, aims=aims)


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({each.name for each in CASES}) == len(CASES)


def test_a_family_is_all_that_begin_so_and_no_name_is_what_is_run_by_default() -> None:
    assert [each.name for each in chosen("postgres")] == [each.name for each in cases.POSTGRES]
    assert [each.name for each in chosen("epro-64")] == ["epro-64"]
    assert "growth" not in {each.name for each in chosen("")}
    assert {"epro-64", "postgres-64", "full"} <= {each.name for each in chosen("")}
    assert chosen("nobody") == []


def test_every_aim_that_must_be_is_measured_by_default_and_is_on_the_page() -> None:
    assert all(each in chosen("") for each in CASES if any(aim.must is not None for aim in each.aims))


def test_every_place_of_the_pages_has_its_table_and_every_case_its_place() -> None:
    found = [
        name
        for page in tables.PAGES
        for name in re.findall(r"<!-- figures: ([\w-]+) -->", (ROOT / page).read_text(encoding="utf-8"))
    ]
    assert set(found) <= set(tables.TABLES)
    in_families = {each.name for each in (*cases.SQLITE, *cases.POSTGRES)}
    assert {each.name for each in CASES} - in_families <= set(found)


PLACE = "<!-- figures: items -->\n{}<!-- end of figures -->"


def test_a_place_that_nobody_measured_says_which_command_does() -> None:
    assert "`make bench CASE=items`" in tables.filled(PLACE.format(""), {})


def test_a_place_keeps_its_figures_where_there_are_no_newer_ones() -> None:
    text = PLACE.format("| 1 |\n\n*Measured 2026-01-01 on 2 cores, Python 3.11.*\n")
    assert tables.filled(text, {}) == text


def test_a_place_is_filled_and_dated() -> None:
    sections: Mapping[str, Any] = {
        "api-64": {
            "measured": "2026-11-21",
            "cores": 2,
            "python": "3.11.7",
            "figures": {"concurrency": 64, "sides": compared({"bare": [turn(100.0)], "ours": [turn(50.0)]}, "bare")},
        }
    }
    told = tables.filled(PLACE.replace("items", "api-64").format(""), sections)
    assert "0.50 (0.50 to 0.50)" in told
    assert "*Measured 2026-11-21 on 2 cores, Python 3.11.7.*" in told


def test_a_picture_of_growth_has_every_place_of_every_line() -> None:
    drawn = plots.growth({"a": [(10, 1.0), (1_000, 1.5)], "b": [(1, 1.0)]}, "title", "across")
    names = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()]
    assert (names.count("circle"), names.count("polyline")) == (3, 2)


def test_a_picture_of_shares_has_a_bar_for_each_and_a_line_for_each_bound() -> None:
    drawn = plots.shares([("a", 0.4, 0.5, 0.75), ("b", 1.2, 0.9, None)], "title")
    names = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()]
    assert (names.count("rect") - 1, names.count("line")) == (2, 3)


def test_a_picture_of_a_rate_has_a_mark_for_every_event() -> None:
    drawn = plots.series([1.0, 2.0], 0.25, {"begins": 0.1, "<ends>": 0.3}, "title")
    assert "&lt;ends&gt;" in drawn
    assert drawn.count("stroke-dasharray") == 2
