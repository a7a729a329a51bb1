"""A target that is set up wrongly is asked once a minute, not thousands of times a second (R7)."""

import pytest

from orchestrator.invoker.governor import Governor, Held

METHOD = "epro.v1.Scoring/Score"


def paused_governor(code: str = "PERMISSION_DENIED", at: float = 100.0) -> Governor:
    governor = Governor()
    assert governor.admit("scoring", METHOD, at) == ()
    governor.answered("scoring", METHOD, code, at, ())
    return governor


def test_calls_are_held_until_the_pause_is_over() -> None:
    governor = paused_governor()
    held = governor.admit("scoring", METHOD, 100.25)
    assert held == Held(code="PERMISSION_DENIED", scope="scoring", retry_after_s=0.75)
    assert governor.admit("scoring", "epro.v1.Scoring/Other", 100.25) == held


def test_other_targets_are_not_held() -> None:
    assert paused_governor().admit("archive", METHOD, 100.25) == ()


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_refused_identity_pauses_the_whole_target(code: str) -> None:
    assert paused_governor(code).paused() == {"scoring": (code, 101.0)}


def test_an_unknown_method_pauses_that_method_only() -> None:
    governor = paused_governor("UNIMPLEMENTED")
    assert governor.paused() == {f"scoring/{METHOD}": ("UNIMPLEMENTED", 101.0)}
    assert isinstance(governor.admit("scoring", METHOD, 100.5), Held)
    assert governor.admit("scoring", "epro.v1.Scoring/Other", 100.5) == ()


def test_the_answers_that_begin_and_end_a_pause_are_told_apart_from_the_others() -> None:
    governor = Governor()
    assert governor.answered("scoring", METHOD, "OK", 99.0, ()) == ()
    assert governor.answered("scoring", METHOD, "UNIMPLEMENTED", 100.0, ()) == (f"scoring/{METHOD}",)
    assert governor.answered("scoring", METHOD, "UNIMPLEMENTED", 100.1, ()) == ()
    trials = governor.admit("scoring", METHOD, 101.0)
    assert not isinstance(trials, Held)
    assert governor.answered("scoring", METHOD, "UNIMPLEMENTED", 101.1, trials) == ()
    assert governor.answered("scoring", METHOD, "NOT_FOUND", 102.0, ()) == (f"scoring/{METHOD}",)


def test_one_call_at_a_time_is_on_trial() -> None:
    governor = paused_governor()
    assert governor.admit("scoring", METHOD, 101.0) == ("scoring",)
    waiting = governor.admit("scoring", METHOD, 101.1)
    assert isinstance(waiting, Held)
    assert waiting.retry_after_s == pytest.approx(0.9)


def test_a_trial_with_the_same_answer_doubles_the_pause_up_to_a_minute() -> None:
    governor = paused_governor()
    now, lengths = 101.0, []
    for _ in range(9):
        trials = governor.admit("scoring", METHOD, now)
        assert trials == ("scoring",)
        governor.answered("scoring", METHOD, "PERMISSION_DENIED", now, trials)
        until_at = governor.paused()["scoring"][1]
        lengths.append(until_at - now)
        now = until_at
    assert lengths == [2, 4, 8, 16, 32, 60, 60, 60, 60]


@pytest.mark.parametrize("code", ["OK", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED"])
def test_a_proper_answer_ends_the_pause(code: str) -> None:
    governor = paused_governor()
    trials = governor.admit("scoring", METHOD, 101.0)
    assert trials == ("scoring",)
    governor.answered("scoring", METHOD, code, 101.5, trials)
    assert governor.paused() == {}
    assert governor.admit("scoring", METHOD, 101.5) == ()


def test_a_trial_that_ends_without_an_answer_gives_its_place_back() -> None:
    governor = paused_governor()
    trials = governor.admit("scoring", METHOD, 101.0)
    assert trials == ("scoring",)
    governor.answered("scoring", METHOD, "UNAVAILABLE", 101.1, trials)
    assert governor.paused() == {"scoring": ("PERMISSION_DENIED", 101.0)}
    assert governor.admit("scoring", METHOD, 101.2) == ("scoring",)


def test_the_end_of_an_older_call_does_not_give_the_trials_place_away() -> None:
    governor = paused_governor()
    assert governor.admit("scoring", METHOD, 101.0) == ("scoring",)
    governor.answered("scoring", METHOD, "UNAVAILABLE", 101.1, ())
    assert isinstance(governor.admit("scoring", METHOD, 101.2), Held)


def test_answers_to_calls_already_under_way_do_not_lengthen_the_pause() -> None:
    governor = paused_governor()
    for _ in range(50):
        governor.answered("scoring", METHOD, "PERMISSION_DENIED", 100.5, ())
    assert governor.paused() == {"scoring": ("PERMISSION_DENIED", 101.0)}


def test_a_trial_that_is_not_back_in_time_makes_room_for_another() -> None:
    governor = paused_governor()
    assert governor.admit("scoring", METHOD, 101.0) == ("scoring",)
    assert isinstance(governor.admit("scoring", METHOD, 101.9), Held)
    assert governor.admit("scoring", METHOD, 102.0) == ("scoring",)
