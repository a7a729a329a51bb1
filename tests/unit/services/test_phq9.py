"""The instrument: bands, safety flag, proration, and what may not be scored."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import phq9
from services.phq9 import Severity

VALUES = st.integers(0, 3)
COMPLETE = st.lists(VALUES, min_size=9, max_size=9)


def answers(*values: int | None) -> list[phq9.Answer]:
    return list(enumerate(values, start=1))


@pytest.mark.parametrize(
    ("total", "severity"),
    [
        (0, Severity.MINIMAL),
        (4, Severity.MINIMAL),
        (5, Severity.MILD),
        (9, Severity.MILD),
        (10, Severity.MODERATE),
        (14, Severity.MODERATE),
        (15, Severity.MODERATELY_SEVERE),
        (19, Severity.MODERATELY_SEVERE),
        (20, Severity.SEVERE),
        (27, Severity.SEVERE),
    ],
)
def test_bands_are_those_of_the_paper(total: int, severity: Severity) -> None:
    values = [min(3, max(0, total - 3 * index)) for index in range(9)]
    assert phq9.score(answers(*values)).total == total
    assert phq9.score(answers(*values)).severity is severity


def test_item_nine_alone_raises_the_flag() -> None:
    score = phq9.score(answers(0, 0, 0, 0, 0, 0, 0, 0, 1))
    assert (score.total, score.severity, score.safety_flag, score.needs_alert) == (1, Severity.MINIMAL, True, True)


def test_a_high_total_without_item_nine_raises_no_flag() -> None:
    score = phq9.score(answers(3, 3, 3, 3, 3, 3, 3, 3, 0))
    assert (score.total, score.safety_flag, score.needs_alert) == (24, False, True)


def test_a_missing_item_nine_is_not_guessed() -> None:
    assert not phq9.score(answers(3, 3, 3, 3, 3, 3, 3, 3, None)).safety_flag


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ((1, 1, 1, 1, 1, 1, 1, 1, None), 9),
        ((3, 3, 3, 3, 3, 3, 3, None, None), 27),
        ((1, 1, 1, 1, 0, 0, 0, 0, None), 5),  # 4.5 is rounded up
        ((1, 0, 0, 0, 0, 0, 0, None, None), 1),  # 1.29 is rounded down
        ((2, 2, 1, 0, 0, 0, 0, None, None), 6),  # 6.43
    ],
)
def test_up_to_two_missing_items_are_made_up_for(values: tuple[int | None, ...], total: int) -> None:
    score = phq9.score(answers(*values))
    assert (score.total, score.prorated, score.answered) == (total, True, 9 - values.count(None))


def test_an_absent_item_is_missing_like_one_without_value() -> None:
    assert phq9.score(answers(*[1] * 8)) == phq9.score(answers(*[1] * 8, None))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answers(1, 1, 1, 1, 1, 1, None, None, None), "3 items are missing"),
        ([], "9 items are missing"),
        (answers(4, 0, 0, 0, 0, 0, 0, 0, 0), "item 1 is answered with 4"),
        (answers(0, -1, 0, 0, 0, 0, 0, 0, 0), "item 2 is answered with -1"),
        ([*answers(*[0] * 9), (10, 0)], "item 10 does not exist"),
        ([*answers(*[0] * 9), (3, 0)], "item 3 is answered twice"),
    ],
)
def test_what_may_not_be_scored_says_why(given: list[phq9.Answer], words: str) -> None:
    with pytest.raises(phq9.UnscorableError, match=words):
        phq9.score(given)


def test_every_problem_is_named_at_once() -> None:
    assert len(phq9.problems([(1, 9), (1, 0), (12, 1)])) == 4


@given(COMPLETE)
def test_a_complete_questionnaire_is_the_sum_of_its_items(values: list[int]) -> None:
    score = phq9.score(answers(*values))
    assert score.total == sum(values)
    assert not score.prorated
    assert score.safety_flag == (values[8] > 0)


@given(COMPLETE, st.sets(st.integers(0, 8), min_size=1, max_size=2))
def test_proration_is_the_mean_of_the_others_rounded_half_up(values: list[int], skipped: set[int]) -> None:
    kept = [None if index in skipped else value for index, value in enumerate(values)]
    present = [value for value in kept if value is not None]
    exact = Fraction(sum(present) * 9, len(present))
    score = phq9.score(answers(*kept))
    assert -Fraction(1, 2) < score.total - exact <= Fraction(1, 2)
    assert 0 <= score.total <= 27


@given(COMPLETE, st.permutations(range(9)))
def test_the_order_of_answers_does_not_matter(values: list[int], order: list[int]) -> None:
    given_ = answers(*values)
    assert phq9.score([given_[index] for index in order]) == phq9.score(given_)
