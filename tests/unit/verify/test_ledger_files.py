"""Lines of a ledger that are none, and one that a kill has torn."""

import json
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.verify import read_ledgers

LINE = {"saga_id": "s", "saga_step": "book", "op": "forward", "key": "k", "effect": 1}
WRONG: tuple[dict[str, object], ...] = (
    {"effect": float("inf")}, {"effect": 0.5}, {"saga_id": {}}, {"saga_step": 8}, {"key": []}, {"op": None},
)  # fmt: skip


def test_a_line_may_be_torn_in_the_middle_of_a_character(tmp_path: Path) -> None:
    whole = json.dumps(LINE).encode() + b"\n"
    torn = json.dumps({**LINE, "more": "\u00e9"}, ensure_ascii=False).encode()
    (tmp_path / "hotel.ledger.jsonl").write_bytes(whole + torn[: torn.index(b"\xc3") + 1])
    assert len(list(read_ledgers(tmp_path))) == 1


@pytest.mark.parametrize(
    "line", [b"\xff", b"[" * 100_000, *(json.dumps({**LINE, **wrong}).encode() for wrong in WRONG)]
)
def test_a_line_whose_fields_are_none_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "hotel.ledger.jsonl").write_bytes(json.dumps(LINE).encode() + b"\n" + line + b"\n")
    with pytest.raises(ConfigError, match=r"hotel\.ledger\.jsonl:2: not a ledger line"):
        list(read_ledgers(tmp_path))
