"""Pausing a target, over every order of calls and answers; the bounds are so plain that they cannot be wrong."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.invoker.governor import Governor, Held
from orchestrator.limits import TARGET_PAUSE_S_MAX

METHODS = ("s.v1.S/A", "s.v1.S/B")
CODES = ("OK", "NOT_FOUND", "UNAVAILABLE", "CANCELLED", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED")
STEPS = st.lists(
    st.tuples(st.floats(0, 20), st.sampled_from(METHODS), st.sampled_from(CODES), st.integers(0, 7)), max_size=60
)


@given(STEPS)
def test_a_held_call_is_told_a_wait_and_a_passed_one_blocks_nobody_for_ever(
    steps: list[tuple[float, str, str, int]],
) -> None:
    governor = Governor()
    now = 0.0
    under_way: list[tuple[str, tuple[str, ...]]] = []
    for wait_s, method, code, pick in steps:
        now += wait_s
        verdict = governor.admit("t", method, now)
        paused = governor.paused()
        scopes = [scope for scope in ("t", f"t/{method}") if scope in paused]
        if isinstance(verdict, Held):
            assert verdict.scope in scopes
            assert 0 < verdict.retry_after_s <= TARGET_PAUSE_S_MAX
        else:
            assert set(verdict) == set(scopes)
            assert all(paused[scope][1] <= now for scope in scopes)
            under_way.append((method, verdict))
        if under_way:
            asked, trials = under_way.pop(pick % len(under_way))
            governor.answered("t", asked, code, now, trials)
            after = governor.paused()
            if code in {"OK", "NOT_FOUND"}:
                assert "t" not in after
                assert f"t/{asked}" not in after
            elif code == "UNIMPLEMENTED":
                assert after[f"t/{asked}"][1] > now
            elif code in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
                assert now < after["t"][1] <= now + TARGET_PAUSE_S_MAX
            else:
                assert after.keys() == governor.paused().keys()
    # whatever is lost or hangs, after the longest pause a call passes again
    assert not isinstance(governor.admit("t", METHODS[0], now + TARGET_PAUSE_S_MAX), Held)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_between_a_refusal_and_an_answer_at_most_one_call_is_under_way(waits_ms: list[int]) -> None:
    governor = Governor()
    governor.answered("t", METHODS[0], "PERMISSION_DENIED", 0.0, ())
    now, passed_at = 0.0, []
    for wait_ms in waits_ms:
        now += wait_ms / 1_000
        if not isinstance(governor.admit("t", METHODS[0], now), Held):
            passed_at.append(now)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(passed_at))
    assert not passed_at or passed_at[0] >= 1.0
