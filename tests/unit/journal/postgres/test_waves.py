"""A statement writes no stream twice, and gives no request id away twice: what would is in the next one."""

import pytest

from orchestrator.journal.postgres.rows import stream_of
from orchestrator.journal.postgres.writer import _waves
from orchestrator.ports.journal import Append
from tests.conformance.journal_values import append


def places(*appends: Append) -> list[list[int]]:
    waves = _waves([stream_of(place, each) for place, each in enumerate(appends)])
    return [[stream.place for stream in wave] for wave in waves]


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_group_in_which_nothing_comes_twice_is_one_statement(count: int) -> None:
    assert places(*(append(f"s{number}", request_id=f"r{number}") for number in range(count))) == [[*range(count)]]


def test_a_stream_that_comes_again_is_in_the_next_statement() -> None:
    assert places(append("one"), append("two"), append("one", after=1)) == [[0, 1], [2]]


def test_a_request_id_that_comes_again_is_in_the_next_statement() -> None:
    assert places(append("one", request_id="r"), append("two", request_id="r"), append("three")) == [[0, 2], [1]]


def test_a_request_id_is_given_away_by_a_first_append_alone() -> None:
    assert places(append("one", after=1, request_id="r"), append("two", after=1, request_id="r")) == [[0, 1]]


def test_sagas_without_a_request_id_do_not_stand_in_each_others_way() -> None:
    assert places(append("one"), append("two")) == [[0, 1]]


def test_of_nothing_there_is_no_statement() -> None:
    assert places() == []
