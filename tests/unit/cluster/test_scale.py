"""The simulation that `docs/design/scale.md` quotes, at a tenth of its size."""

import statistics
from collections.abc import Callable

import pytest

from orchestrator.cluster.term import renew_every_s
from orchestrator.limits import LOOKS_RATE_MAX
from tests.benchmarks.cluster_scale import (
    LEASE_S,
    Figures,
    a_third_dies,
    busiest,
    busiest_sum,
    one_joins,
    one_leaves,
)

MEMBERS, SHARDS = 50, 5_000


@pytest.mark.parametrize("story", [one_joins, one_leaves, a_third_dies])
def test_no_shard_moves_that_need_not(story: Callable[[int, int, int], Figures]) -> None:
    for seed in range(3):
        figures = story(MEMBERS, SHARDS, seed)
        assert figures.moves == figures.moves_min > 0


def test_whoever_comes_or_goes_has_its_share_within_a_tenth_of_a_second() -> None:
    assert one_joins(MEMBERS, SHARDS, 1).settled_s < 0.1
    assert one_leaves(MEMBERS, SHARDS, 1).settled_s < 0.1


def test_after_a_third_died_every_shard_has_an_owner_within_a_lease_and_a_renewal() -> None:
    figures = a_third_dies(MEMBERS, SHARDS, 1)
    assert len(figures.waits_s) == figures.moves
    assert figures.fences == MEMBERS // 3
    assert max(figures.waits_s) < LEASE_S + renew_every_s(LEASE_S)
    assert statistics.median(figures.waits_s) > LEASE_S - renew_every_s(LEASE_S), "nobody is judged before its time"


def test_nobody_races_for_what_is_free() -> None:
    figures = a_third_dies(MEMBERS, SHARDS, 1)
    assert figures.missed < figures.moves / 20
    assert busiest(figures.looks) < LOOKS_RATE_MAX + MEMBERS * 2


def test_the_busiest_second_is_found_wherever_it_begins() -> None:
    assert busiest([0.0, 0.9, 1.2, 1.8, 3.0]) == 3
    assert busiest_sum([(0.0, 5), (0.99, 1), (1.0, 3)]) == 6
