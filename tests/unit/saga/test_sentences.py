"""Names, numbers and instants in a sentence."""

import pytest

from orchestrator.limits import SENTENCE_NAMES_MAX
from orchestrator.saga.sentences import instant, listed, ordinal


def test_a_sentence_names_the_first_few_and_counts_the_rest() -> None:
    names = [f"s{number}" for number in range(SENTENCE_NAMES_MAX + 2)]
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert listed(names[:SENTENCE_NAMES_MAX]) == ", ".join(names[:SENTENCE_NAMES_MAX])
    assert listed(names) == f"{', '.join(names[:SENTENCE_NAMES_MAX])} and 2 more"


def test_an_ordinal_is_spelled_as_people_do() -> None:
    told = "1st 2nd 3rd 4th 10th 11th 12th 13th 14th 21st 22nd 23rd 101st 111th 112th 113th 212th 221st"
    assert [ordinal(int(each[:-2])) for each in told.split()] == told.split()


def test_an_instant_is_told_to_the_millisecond() -> None:
    assert instant(0.0) == "1970-01-01 00:00:00.000Z"
    assert instant(1.5) == "1970-01-01 00:00:01.500Z"
    assert instant(1_700_000_000.0625) == "2023-11-14 22:13:20.062Z"


@pytest.mark.parametrize("at", [1e12, 1e18, float("inf"), float("nan")])
def test_an_instant_past_every_calendar_is_the_end_of_time(at: float) -> None:
    assert instant(at) == "the end of time"
