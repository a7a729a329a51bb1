"""The fifty: each is held by the checker or by a test that is named, and the page says so."""

import re
from pathlib import Path

import pytest

from orchestrator.verify import ELSEWHERE, INVARIANTS
from orchestrator.verify.streams import RULES, RULES_OF_TARGETS

ROOT = Path(__file__).parents[3]
FIFTY = [f"I{number}" for number in range(1, 51)]
TEST = r"tests/[\w./]+"
BEYOND_STREAMS = {"I5", "I6", "I7", "I8", "I9", "I10", "I24", "I28", "I36", "I45", "I46"}
"""Held by the walk, the families, the ledgers and the answers."""


def expected() -> str:
    """The table of docs/reliability.md; what a failure shows is what belongs there."""
    rows = ["| number | what must hold | held by |", "|---|---|---|"]
    for name in FIFTY:
        if name in INVARIANTS:
            rows.append(f"| {name} | {INVARIANTS[name]} | `saga verify` |")
            continue
        why, _, where = ELSEWHERE[name].partition(": ")
        rows.append(f"| {name} | {why} | {re.sub(TEST, lambda path: f'`{path[0]}`', where) or '-'} |")
    return "\n".join(rows) + "\n"


def test_the_fifty_are_held_here_or_elsewhere() -> None:
    assert sorted([*INVARIANTS, *ELSEWHERE], key=FIFTY.index) == FIFTY


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_held_elsewhere_names_a_test_that_is_there_or_says_why_it_cannot_be_held_yet(name: str) -> None:
    named = re.findall(TEST, ELSEWHERE[name])
    assert named or ELSEWHERE[name].startswith("not applicable yet: ")
    for path in named:
        assert (ROOT / path).exists(), f"{path} is not there"


def test_every_invariant_of_the_checker_is_looked_at_by_some_rule() -> None:
    assert {name for name, _ in RULES + RULES_OF_TARGETS} | BEYOND_STREAMS == INVARIANTS.keys()


def test_the_page_lists_all_fifty_as_they_are_held() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert expected() in page, f"in docs/reliability.md belongs:\n\n{expected()}"
