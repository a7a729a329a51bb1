"""A saga costs no more than it did (guard.py): counted work to the call, measured ratios beyond doubt."""

import math
from random import Random  # noqa: TID251  (seeded)

import pytest

from tests.benchmarks import guard
from tests.benchmarks.floor import PAIRS_MAX, PAIRS_MIN, chance_of_alarm, judged

_REWRITE = "if this is meant, say so with `python -m tests.benchmarks.guard --write` and in the commit"


@pytest.mark.timeout(600)
def test_a_saga_makes_no_more_calls_instructions_statements_and_allocations_than_it_did() -> None:
    figures = guard.kept()
    if figures["python"] != guard.PYTHON:
        pytest.skip(f"counted on Python {figures['python']}; another minor version makes other calls")
    assert guard.over(figures["counted"], guard.counted()) == [], _REWRITE


@pytest.mark.alone  # renewals of the lease are among them: by the second
@pytest.mark.timeout(600)
async def test_a_saga_on_postgres_takes_no_more_round_trips_than_it_did() -> None:
    figure = guard.kept()["round_trips"]
    assert await guard.round_trips() <= figure * (1 + guard.ROOM), _REWRITE


@pytest.mark.alone  # rates are measured
@pytest.mark.timeout(600)
async def test_no_rate_has_fallen_under_its_floor_beyond_doubt() -> None:
    figures = guard.kept()["measured"]
    assert guard.lost(figures, await guard.pairs(figures)) == [], _REWRITE


# --- a loss is told from noise ---------------------------------------------------------------------------------------


def _is_loss(median: float, floor: float, spread: float, seed: int) -> bool:
    """Whether a run of pairs ends in an alarm."""
    luck, ratios = Random(seed), list[float]()
    while len(ratios) < PAIRS_MAX:
        ratios.append(median * math.exp(luck.gauss(0.0, spread)))
        if judged(ratios, floor).is_decided:
            break
    return judged(ratios, floor).is_loss


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.2])
def test_noise_of_a_sound_engine_is_no_loss(spread: float) -> None:
    assert not any(_is_loss(1.0, guard.FLOOR, spread, seed) for seed in range(2_000))


@pytest.mark.parametrize(("spread", "left"), [(0.02, 0.8), (0.1, 0.7), (0.2, 0.5)])
def test_a_loss_that_stands_out_of_the_noise_is_found(spread: float, left: float) -> None:
    found = [_is_loss(left, guard.FLOOR, spread, seed) for seed in range(500)]
    assert sum(found) >= 0.99 * len(found)


def test_fewer_pairs_than_needed_say_nothing() -> None:
    assert not judged([0.1] * (PAIRS_MIN - 1), 0.5).is_decided
    assert judged([0.1] * PAIRS_MIN, 0.5).is_loss


def test_one_good_pair_of_the_first_ones_makes_it_a_matter_for_more() -> None:
    assert not judged([*[0.1] * (PAIRS_MIN - 1), 0.6], 0.5).is_decided


def test_the_bound_on_false_alarms_grows_with_the_spread() -> None:
    chances = [chance_of_alarm(1.0, guard.FLOOR, spread) for spread in (0.05, 0.1, 0.2)]
    assert chances == sorted(chances)
    assert chances[1] < 1e-6


@pytest.mark.parametrize(("share", "is_over"), [(1.0, False), (1.02, False), (1.04, True)])
def test_counted_work_has_room_for_three_in_a_hundred(share: float, is_over: bool) -> None:
    limits = {"alone": {"python_calls": 1_000.0}}
    assert bool(guard.over(limits, {"alone": {"python_calls": 1_000.0 * share}})) is is_over


def test_what_has_no_figure_is_over() -> None:
    assert guard.over({}, {"alone": {"python_calls": 1.0}})


def test_a_saga_that_leaves_allocations_behind_is_over_whatever_the_figure() -> None:
    limits = {"crowd": {"blocks": 50.0}}
    assert guard.over(limits, {"crowd": {"blocks": 2.5}})
    assert not guard.over(limits, {"crowd": {"blocks": 0.5}})
