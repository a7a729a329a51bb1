import math
from collections.abc import Mapping

import pytest

from orchestrator.cli.tallies import Interval, Look, Quantile, Tally, look_of, quantile_of

STARTED = "process_start_time_seconds"
Figure = tuple[str, Mapping[str, str], float]


def look(at: float, *figures: Figure, began_at: float = 0.0, name: str = "one") -> Look:
    return look_of("127.0.0.1:7400", name, at, [(STARTED, {}, began_at), *figures])


def ended(status: str, value: float, definition: str = "d") -> Figure:
    return "saga_ended_total", {"definition": definition, "status": status}, value


def tally(*looks: tuple[Look | None, Look]) -> Tally:
    return Tally([Interval(before=before, now=now) for before, now in looks])


def test_a_rate_is_what_a_counter_grew_by_a_second() -> None:
    found = tally((look(10.0, ended("A", 100.0), ended("B", 5.0)), look(14.0, ended("A", 108.0), ended("B", 5.0))))
    assert found.rates("saga_ended_total", "status") == {"A": 2.0, "B": 0.0}
    assert found.rate("saga_ended_total") == 2.0
    assert found.rates("saga_ended_total", where=lambda labels: labels["status"] == "A") == {"": 2.0}


def test_a_counter_that_was_not_there_before_began_at_nothing() -> None:
    assert tally((look(10.0), look(12.0, ended("A", 6.0)))).rate("saga_ended_total") == 3.0


def test_of_the_first_look_nothing_is_known_to_have_happened() -> None:
    found = tally((None, look(10.0, ended("A", 100.0))))
    assert found.rate("saga_ended_total") == 0.0
    assert found.intervals[0].seconds == 0.0


def test_two_looks_at_one_instant_say_nothing() -> None:
    assert tally((look(10.0, ended("A", 1.0)), look(10.0, ended("A", 9.0)))).rate("saga_ended_total") == 0.0


def test_a_clock_that_was_set_back_says_nothing() -> None:
    assert tally((look(10.0, ended("A", 1.0)), look(9.0, ended("A", 9.0)))).rate("saga_ended_total") == 0.0


def test_of_a_process_that_began_anew_all_it_has_is_new() -> None:
    before = look(100.0, ended("A", 1_000.0), began_at=5.0)
    now = look(110.0, ended("A", 1_010.0), began_at=105.0)
    assert tally((before, now)).rates("saga_ended_total", "status") == {"A": 1_010.0 / 5.0}


def test_a_counter_that_went_backwards_is_never_a_negative_rate() -> None:
    found = tally((look(10.0, ended("A", 100.0)), look(12.0, ended("A", 4.0))))
    assert found.rate("saga_ended_total") == 2.0


def test_what_several_processes_did_is_added_up_each_by_its_own_clock() -> None:
    one = look(10.0, ended("A", 0.0)), look(12.0, ended("A", 4.0))
    other = look(5_000.0, ended("A", 10.0), name="two"), look(5_001.0, ended("A", 13.0), name="two")
    assert tally(one, other).rate("saga_ended_total") == 2.0 + 3.0


def test_what_each_counts_in_the_store_they_share_is_not_added_up() -> None:
    live = "saga_live"
    one = None, look(10.0, (live, {"status": "RUNNING"}, 7.0), ("saga_runnable", {}, 2.0), ("saga_actors", {}, 3.0))
    other = None, look(10.0, (live, {"status": "RUNNING"}, 8.0), ("saga_runnable", {}, 1.0), ("saga_actors", {}, 4.0))
    found = tally(one, other)
    assert found.shared_by(live, "status") == {"RUNNING": 8.0}
    assert found.shared("saga_runnable") == 2.0
    assert found.summed("saga_actors") == 7.0


def test_a_gauge_by_label_is_added_up_over_processes_and_other_labels() -> None:
    def flying(target: str, value: float) -> Figure:
        return "saga_target_in_flight", {"target": target}, value

    found = tally((None, look(1.0, flying("a", 1.0), flying("b", 2.0))), (None, look(1.0, flying("a", 5.0))))
    assert found.summed_by("saga_target_in_flight", "target") == {"a": 6.0, "b": 2.0}


# --- quantiles -------------------------------------------------------------------------------------------------------

BUCKETS = [(0.1, 10.0), (0.2, 30.0), (math.inf, 40.0)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.125, Quantile(seconds=0.05)),
        (0.25, Quantile(seconds=0.1)),
        (0.5, Quantile(seconds=0.15)),
        (0.75, Quantile(seconds=0.2)),
        (0.99, Quantile(seconds=0.2, is_more=True)),
    ],
)
def test_a_quantile_lies_where_its_bucket_would_have_it_if_it_were_filled_evenly(
    share: float, expected: Quantile
) -> None:
    found = quantile_of(BUCKETS, share)
    assert found is not None
    assert found.is_more == expected.is_more
    assert found.seconds == pytest.approx(expected.seconds)


@pytest.mark.parametrize("buckets", [[], [(0.1, 0.0), (math.inf, 0.0)]])
def test_of_nothing_there_is_no_quantile(buckets: list[tuple[float, float]]) -> None:
    assert quantile_of(buckets, 0.5) is None


def test_empty_buckets_below_a_quantile_do_not_pull_it_down() -> None:
    found = quantile_of([(0.1, 0.0), (0.2, 0.0), (0.4, 8.0), (math.inf, 8.0)], 0.5)
    assert found == Quantile(seconds=pytest.approx(0.3))  # type: ignore[arg-type]


def test_a_quantile_is_of_the_interval_and_of_all_processes_and_methods() -> None:
    def bucket(le: str, value: float, method: str = "m", target: str = "t") -> Figure:
        return "saga_call_duration_seconds_bucket", {"target": target, "method": method, "le": le}, value

    early = look(1.0, bucket("0.1", 1_000.0), bucket("+Inf", 1_000.0))
    late = look(2.0, bucket("0.1", 1_000.0), bucket("+Inf", 1_000.0), bucket("0.1", 0.0, "n"), bucket("+Inf", 0.0, "n"))
    assert tally((early, late)).quantile("saga_call_duration_seconds", 0.5, target="t") is None
    busy = look(3.0, bucket("0.1", 1_004.0), bucket("+Inf", 1_004.0), bucket("0.1", 4.0, "n"), bucket("+Inf", 4.0, "n"))
    found = tally((late, busy)).quantile("saga_call_duration_seconds", 0.5, target="t")
    assert found == Quantile(seconds=0.05)
    assert tally((late, busy)).quantile("saga_call_duration_seconds", 0.5, target="other") is None
