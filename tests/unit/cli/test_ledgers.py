import json
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.cli.ledgers import Answer, judge, read_balance

STEPS = frozenset({"archive", "adverse_event", "notify"})


def line(saga_id: str, step: str, op: str = "forward", effect: int = 1) -> str:
    # the fields of services/ledger.py
    entry = {
        "seq": 1,
        "ts": 1.0,
        "service": "archive",
        "method": "Store",
        "attempt": 1,
        "key": "k",
        "report_id": saga_id,
        "saga_id": saga_id,
        "saga_step": step,
        "op": op,
        "effect": effect,
        "outcome": "applied",
    }
    return json.dumps(entry) + "\n"


def completed(saga_id: str = "a", *applied: str) -> Answer:
    return Answer(saga_id=saga_id, is_acknowledged=True, status="COMPLETED", applied=("validate", *applied))


def compensated(saga_id: str = "a") -> Answer:
    return Answer(saga_id=saga_id, is_acknowledged=True, status="COMPENSATED")


def test_ledgers_are_summed_over_all_files_without_torn_lines(tmp_path: Path) -> None:
    (tmp_path / "archive.ledger.jsonl").write_text(
        line("a", "archive")
        + line("a", "archive", "compensate")
        + line("b", "archive")
        + line("b", "archive", effect=0)
    )
    (tmp_path / "safety.ledger.jsonl").write_text(line("b", "adverse_event") + line("c", "adverse_event").rstrip("}\n"))
    (tmp_path / "other.txt").write_text("no ledger")
    assert +read_balance(tmp_path) == Counter({("b", "archive"): 1, ("b", "adverse_event"): 1})


def test_what_went_well_is_clean() -> None:
    balance = Counter({("a", "archive"): 1, ("a", "notify"): 1})
    answers = [completed("a", "archive", "notify"), compensated("b")]
    assert judge(answers, {"a": "COMPLETED", "b": "COMPENSATED"}, balance, STEPS).is_clean


@pytest.mark.parametrize(
    ("listed", "lost"),
    [({}, ["a"]), ({"a": "RUNNING"}, ["a"]), ({"a": "COMPENSATED"}, ["a"]), ({"a": "COMPLETED"}, [])],
)
def test_an_acknowledged_start_that_is_gone_or_ended_otherwise_is_lost(listed: dict[str, str], lost: list[str]) -> None:
    assert judge([completed("a")], listed, Counter(), STEPS).lost == lost


def test_a_start_that_was_never_acknowledged_is_not_lost() -> None:
    assert judge([Answer(saga_id="a")], {}, Counter(), STEPS).is_clean


def test_an_acknowledged_start_without_an_end_is_lost() -> None:
    assert judge([Answer(saga_id="a", is_acknowledged=True)], {"a": ""}, Counter(), STEPS).lost == ["a"]


def test_an_applied_step_without_its_effect_is_lost() -> None:
    verdict = judge([completed("a", "archive", "notify")], {"a": "COMPLETED"}, Counter({("a", "archive"): 1}), STEPS)
    assert verdict.lost == ["a notify"]


def test_an_effect_that_stands_twice_is_duplicated() -> None:
    balance = Counter({("a", "archive"): 2})
    assert judge([completed("a", "archive")], {"a": "COMPLETED"}, balance, STEPS).duplicated == ["a archive"]


def test_an_undo_more_than_was_done_is_told_too() -> None:
    balance = Counter({("a", "archive"): -1})
    assert judge([compensated("a")], {"a": "COMPENSATED"}, balance, STEPS).duplicated == ["a archive"]


def test_an_effect_of_a_compensated_saga_that_stands_is_left_undone() -> None:
    verdict = judge([compensated("a")], {"a": "COMPENSATED"}, Counter({("a", "archive"): 1}), STEPS)
    assert verdict.left_undone == ["a archive"]
