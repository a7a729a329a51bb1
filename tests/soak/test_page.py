"""The page says what went well, and shouts what did not, or is not known."""

import pytest

from tests.soak.lanes import Lane
from tests.soak.page import Figures, Ran, page

GOOD: Figures = {"lane": "one", "sagas": 1_234, "kills": 9, "lost": 0, "doubled": 0, "violations": 0, "seconds": 7.4}


def lane(*reports: str) -> Lane:
    return Lane(name="lane", proves="what it proves", arguments=(), reports=reports, minutes=1)


def said(*rans: Ran) -> list[str]:
    return page(rans, head="now").splitlines()


def row(lines: list[str], of: str) -> dict[str, str]:
    """A line of the table, by the names of its columns."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return next(dict(zip(table[0], cells, strict=True)) for cells in table if cells[0] == of)


def test_a_good_lane_shows_its_figures_and_is_ok() -> None:
    ran = Ran(lane=lane("one"), figures={"one": {**GOOD, "exit_max_s": 1.25}})
    lines = said(ran)
    assert ran.is_good
    assert row(lines, "one") | {"executions": "1,234", "kills": "9", "lost": "0", "seeds": ""} == row(lines, "one")
    assert "* one: ok" in lines
    assert "* one: exit_max_s 1.25" in lines
    assert "Verdict: nothing broken." in lines


def test_the_last_line_adds_up_what_is_counted_and_nothing_else() -> None:
    lines = said(Ran(lane=lane("one", "two"), figures={"one": GOOD, "two": {"kills": 3, "lost": 0}}))
    assert row(lines, "all") | {"kills": "12", "executions": "1,234", "inputs": ""} == row(lines, "all")


@pytest.mark.parametrize("name", ["lost", "doubled", "left_undone", "violations", "findings"])
def test_anything_broken_is_told_with_its_number(name: str) -> None:
    ran = Ran(lane=lane("one"), figures={"one": {"kills": 9, name: 2, "seconds": 1}})
    lines = said(ran)
    assert not ran.is_good
    column = {"left_undone": "left undone", "findings": "violations"}.get(name, name)
    assert f"* one: BROKEN: 2 {column}" in lines
    assert "Verdict: 1 of 1 NOT GOOD." in lines


def test_a_lane_that_failed_is_not_good_whatever_it_has_counted() -> None:
    ran = Ran(lane=lane("one"), figures={"one": GOOD}, failed="exit code 1, see a log")
    assert not ran.is_good
    assert "* one: FAILED: exit code 1, see a log" in said(ran)


def test_a_lane_that_failed_before_it_counted_says_both() -> None:
    ran = Ran(lane=lane("one"), failed="exit code 2")
    assert not ran.is_good
    assert "* one: FAILED: exit code 2; no figures" in said(ran)


def test_a_lane_that_ran_and_did_not_report_is_not_good() -> None:
    ran = Ran(lane=lane("one", "two"), figures={"one": GOOD})
    lines = said(ran)
    assert not ran.is_good
    assert "* one: ok" in lines
    assert "* two: NO FIGURES: it ran and did not report" in lines
    assert "Verdict: 1 of 2 NOT GOOD." in lines


def test_what_was_skipped_is_no_failure_and_is_said() -> None:
    late = Ran(lane=lane("one"), skipped="the time was up")
    shy = Ran(lane=lane("two"), figures={"two": {"skipped": "no tmpfs here", "violations": 0}})
    partial = Ran(lane=lane("three"), figures={"three": GOOD}, skipped_tests=("[1] tests/x.py:3: no node",))
    lines = said(late, shy, partial)
    assert late.is_good
    assert shy.is_good
    assert "* one: SKIPPED: the time was up" in lines
    assert "* two: SKIPPED: no tmpfs here" in lines
    assert "* lane: SKIPPED, a part of it: [1] tests/x.py:3: no node" in lines
    assert "Verdict: nothing broken; 2 SKIPPED, of which nothing is known." in lines


def test_a_skip_hides_nothing_that_is_broken() -> None:
    ran = Ran(lane=lane("one"), figures={"one": {"skipped": "half of it", "lost": 1}})
    assert not ran.is_good
    assert "* one: BROKEN: 1 lost" in said(ran)
