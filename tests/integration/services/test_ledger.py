"""The effect ledger: what is written can be read, what is torn is not there, one process owns it."""

from pathlib import Path

import pytest

from services.ledger import Entry, Ledger, LedgerInUseError, net_effects, read, read_directory


def entry(seq: int, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "seq": seq,
        "ts": 1.5,
        "service": "archive",
        "method": "Store",
        "saga_id": "s",
        "saga_step": "archive",
        "op": "forward",
        "attempt": 1,
        "key": "k",
        "report_id": "Rä\n1",
        "effect": 1,
        "outcome": "applied",
    }
    return Entry(**{**fields, **changes})  # type: ignore[arg-type]  # fields by name, as in the file


def test_entries_come_back_as_they_went_in(tmp_path: Path) -> None:
    entries = [entry(1), entry(2, effect=0, outcome="replayed")]
    ledger = Ledger(tmp_path / "archive.ledger.jsonl")
    ledger.append([each.to_line() for each in entries], 2)
    assert list(read_directory(tmp_path)) == entries
    ledger.close()


def test_a_torn_line_is_not_read_and_is_cut_off_by_the_next_owner(tmp_path: Path) -> None:
    path = tmp_path / "archive.ledger.jsonl"
    path.write_text(entry(7).to_line() + entry(8).to_line()[:20])
    assert [each.seq for each in read(path)] == [7]
    ledger = Ledger(path)
    assert ledger.last_seq == 7
    ledger.append([entry(8).to_line()], 8)
    assert [each.seq for each in read(path)] == [7, 8]
    ledger.close()


def test_a_second_owner_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "archive.ledger.jsonl"
    first = Ledger(path)
    with pytest.raises(LedgerInUseError, match="in use by another process"):
        Ledger(path)
    first.close()
    Ledger(path).close()


def test_net_effects_are_done_minus_undone() -> None:
    entries = [
        entry(1),
        entry(2, effect=0, outcome="replayed"),
        entry(3, saga_id="t"),
        entry(4, saga_id="t", op="compensate", method="Withdraw"),
        entry(5, saga_id="t", op="compensate", method="Withdraw", effect=0, outcome="nothing"),
    ]
    assert net_effects(entries) == {("s", "archive", "archive"): 1, ("t", "archive", "archive"): 0}
