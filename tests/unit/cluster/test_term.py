import pytest

from orchestrator.cluster.term import (
    call_s_max,
    check_lease,
    fences_first,
    look_pause_s,
    may_fence,
    renew_every_s,
    trusted_until,
)
from orchestrator.errors import ConfigError
from orchestrator.limits import CLOCK_SLEW_MAX, LEASE_S_MAX, LEASE_S_MIN
from orchestrator.ports.clock import SteadyTime
from orchestrator.ports.leases import Member


def member(name: str, expires_at: float) -> Member:
    return Member(member=name, name=name, address="", expires_at=expires_at)


@pytest.mark.parametrize("lease_s", [LEASE_S_MIN, 6.0, LEASE_S_MAX])
def test_trust_ends_a_third_of_a_lease_before_the_store_may_give_it_to_another(lease_s: float) -> None:
    assert trusted_until(100.0, lease_s) == pytest.approx(100.0 + lease_s - lease_s / 3)


@pytest.mark.parametrize("step_s", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("lease_s", [LEASE_S_MIN, LEASE_S_MAX])
def test_a_wall_clock_that_was_set_leaves_most_of_the_margin(step_s: float, lease_s: float) -> None:
    passed = [0.0]
    steady = SteadyTime(lambda: 1_800_000_000.0 + passed[0] + (step_s if passed[0] else 0.0), lambda: passed[0])
    until_at = trusted_until(steady.now(), lease_s)
    while steady.now() < until_at:
        passed[0] += 0.01
    assert passed[0] <= lease_s * 2 / 3 / (1 - CLOCK_SLEW_MAX) + 0.02
    assert lease_s - passed[0] > lease_s * 0.3 - 0.02


@pytest.mark.parametrize("lease_s", [LEASE_S_MIN, 6.0, LEASE_S_MAX])
def test_two_questions_that_get_no_answer_fit_into_one_trust(lease_s: float) -> None:
    assert renew_every_s(lease_s) + call_s_max(lease_s) < trusted_until(0.0, lease_s)
    assert 2 * call_s_max(lease_s) <= trusted_until(0.0, lease_s)


@pytest.mark.parametrize("lease_s", [0.0, -1.0, LEASE_S_MIN - 0.001, LEASE_S_MAX + 0.001, float("nan"), float("inf")])
def test_a_lease_out_of_bounds_is_refused(lease_s: float) -> None:
    with pytest.raises(ConfigError, match="out of bounds"):
        check_lease(lease_s)


def test_nobody_judges_others_before_it_has_reached_the_store_for_a_lease() -> None:
    assert not may_fence(105.999, 100.0, 6.0)
    assert may_fence(106.0, 100.0, 6.0)


def test_the_next_one_by_uuid_whose_lease_lasts_longer_looks_first() -> None:
    members = [member("a", 20.0), member("b", 10.0), member("c", 10.0), member("d", 20.0)]
    assert fences_first(members[1], members) == "d", "c ends with b"
    assert fences_first(members[3], members) == ""
    assert fences_first(member("e", 10.0), members) == "a", "round the corner"


@pytest.mark.parametrize(("members", "lease_s", "pause_s"), [(3, 6.0, 0.02), (500, 6.0, 0.5), (5_000, 6.0, 1.0)])
def test_the_more_members_the_further_apart_are_the_looks_of_each(members: int, lease_s: float, pause_s: float) -> None:
    assert look_pause_s(members, lease_s) == pause_s
