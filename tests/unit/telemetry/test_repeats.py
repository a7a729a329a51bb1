"""A few alike lines, then a count; and what is kept for it is bounded."""

from orchestrator.limits import LOG_ALIKE_KEPT_MAX, LOG_ALIKE_LINES_MAX, LOG_ALIKE_S
from orchestrator.telemetry.repeats import Kind, Left, Repeats

ODD: Kind = ("orchestrator.actor", 30, "saga %s is odd")
MORE = 5


WALL = 1_790_000_000.0


def said(repeats: Repeats, kind: Kind, times: int, at: float) -> list[int]:
    return [repeats.written(kind, at, WALL + at) for _ in range(times)]


def test_the_first_ones_are_numbered_and_the_others_are_not_written() -> None:
    numbers = said(Repeats(), ODD, LOG_ALIKE_LINES_MAX + MORE, 0.0)
    assert numbers == [*range(1, LOG_ALIKE_LINES_MAX + 1), *[0] * MORE]


def test_the_count_is_told_once_when_its_minute_is_over() -> None:
    repeats = Repeats()
    said(repeats, ODD, LOG_ALIKE_LINES_MAX + MORE, 7.0)
    assert repeats.over(7.0 + LOG_ALIKE_S - 0.001) == []
    assert repeats.over(7.0 + LOG_ALIKE_S) == [Left(kind=ODD, count=MORE, last_at=WALL + 7.0)]
    assert repeats.over(7.0 + LOG_ALIKE_S) == []


def test_nothing_is_told_of_a_minute_in_which_every_line_was_written() -> None:
    repeats = Repeats()
    said(repeats, ODD, LOG_ALIKE_LINES_MAX, 0.0)
    assert repeats.over(LOG_ALIKE_S) == []


def test_the_next_minute_begins_anew() -> None:
    repeats = Repeats()
    said(repeats, ODD, LOG_ALIKE_LINES_MAX + MORE, 0.0)
    repeats.over(LOG_ALIKE_S)
    assert repeats.written(ODD, LOG_ALIKE_S, WALL) == 1


def test_lines_of_another_level_or_place_are_not_alike() -> None:
    repeats = Repeats()
    said(repeats, ODD, LOG_ALIKE_LINES_MAX, 0.0)
    assert repeats.written(("orchestrator.actor", 40, ODD[2]), 0.0, WALL) == 1
    assert repeats.written(("orchestrator.children", 30, ODD[2]), 0.0, WALL) == 1


def test_kinds_past_the_bound_push_out_the_oldest_and_its_count_is_told() -> None:
    repeats = Repeats()
    said(repeats, ODD, LOG_ALIKE_LINES_MAX + MORE, 0.0)
    for number in range(LOG_ALIKE_KEPT_MAX):
        repeats.written(("library", 30, f"text {number}"), 1.0, WALL)
    assert repeats.over(1.0) == [Left(kind=ODD, count=MORE, last_at=WALL)]
    assert repeats.over(1.0) == []
