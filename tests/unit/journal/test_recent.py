"""Pages of the newest records are exact, or are not there."""

import pytest

from orchestrator.ids import SagaId
from orchestrator.journal.recent import Recent
from orchestrator.ports.journal import Record
from tests.conformance.journal_values import cancelled


def kept(recent: Recent, position: int, limit: int = 99) -> list[int] | None:
    found = recent.after(position, limit)
    assert found is None or all(each.record.version == each.position for each in found)
    return None if found is None else [each.position for each in found]


def add(recent: Recent, *positions: int, size: int = 1) -> None:
    written = [Record(version=position, epoch=1, event=cancelled(position)) for position in positions]
    recent.add(positions[-1], [(SagaId("a"), record) for record in written], size * len(written))


def followed(**bounds: int) -> Recent:
    recent = Recent(**bounds)
    recent.follow()
    return recent


def test_what_is_kept_is_given_in_pages_and_nothing_else() -> None:
    recent = followed()
    assert kept(recent, 0) is None  # there may be records from before it was followed
    add(recent, 11, 12)
    add(recent, 13)
    assert kept(recent, 9) is None  # 10 may be there, and is not here
    assert kept(recent, 10, 2) == [11, 12]
    assert kept(recent, 10) == [11, 12, 13]
    assert kept(recent, 12) == [13]
    assert kept(recent, 13) == []
    assert kept(recent, 14) is None  # a position that nobody here has seen


def test_what_the_follower_has_asked_beyond_is_forgotten() -> None:
    recent = followed(records_max=3)
    add(recent, 1, 2, 3)
    assert kept(recent, 2) == [3]
    assert kept(recent, 1) is None
    add(recent, 4, 5)
    assert kept(recent, 2) == [3, 4, 5]


def test_a_gap_makes_it_forget_what_was_before() -> None:
    recent = followed()
    add(recent, 1, 2)
    add(recent, 4, 5)
    assert kept(recent, 1) is None
    assert kept(recent, 3) == [4, 5]
    add(recent, 6)
    assert kept(recent, 3) == [4, 5, 6]


@pytest.mark.parametrize("size", [1, 4])
def test_nothing_is_kept_for_a_follower_that_is_too_far_behind_until_it_has_caught_up(size: int) -> None:
    recent = followed(records_max=3, bytes_max=10)
    add(recent, 1, 2, size=size)
    add(recent, 3, 4, size=size)
    assert kept(recent, 0) is None
    add(recent, 5)
    assert kept(recent, 4) is None
    recent.follow()
    assert kept(recent, 5) is None
    add(recent, 6)
    assert kept(recent, 5) == [6]


def test_nothing_is_kept_for_nobody() -> None:
    recent = Recent()
    add(recent, 1)
    assert kept(recent, 0) is None


def test_what_is_half_read_still_counts_and_is_given_back_when_all_of_it_is_read() -> None:
    recent = followed(bytes_max=10)
    add(recent, 1, 2, 3, size=3)
    assert kept(recent, 1, 1) == [2]
    assert kept(recent, 0) is None
    assert kept(recent, 3) == []
    add(recent, 4, 5, 6, size=3)
    assert kept(recent, 3) == [4, 5, 6]
