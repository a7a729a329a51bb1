import re

import pytest

from orchestrator.errors import InputInvalid
from orchestrator.testing import Fates, Fault, Kind, read_tape, seed_of_tape, swarm, write_tape
from orchestrator.testing.fates import COUNTED, NEVER_DRAWN, Faults
from orchestrator.testing.flows import mixed

PLACES = [f"s{number}/pay/forward/1" for number in range(2_000)]


# --- draws -----------------------------------------------------------------------------------------------------------


def test_the_same_seed_and_place_give_the_same_draw_and_others_give_others() -> None:
    assert Fates(17).draw("a/b") == Fates(17).draw("a/b")
    assert len({Fates(seed).draw(place) for seed in (-1, 0, 1, 17) for place in ("a", "b", "a/b")}) == 12


def test_a_draw_does_not_hang_on_what_was_drawn_before() -> None:
    there, back = Fates(5), Fates(5)
    assert [there.draw(place) for place in PLACES] == [back.draw(place) for place in reversed(PLACES)][::-1]


def test_a_draw_is_the_same_for_ever() -> None:
    assert Fates(1).draw("s1/pay/forward/1") == 0.3606969209070689


def test_draws_are_spread_evenly_over_0_to_1() -> None:
    drawn = [Fates(3).draw(place) for place in PLACES]
    assert 0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
    assert all(abs(sum(low <= each < low + 0.1 for each in drawn) - 200) < 60 for low in (n / 10 for n in range(10)))


def test_a_coin_and_a_pick_have_every_side() -> None:
    fates = Fates(4)
    assert {fates.coin(place) for place in PLACES[:50]} == {True, False}
    assert {fates.pick(place, "abc") for place in PLACES[:50]} == set("abc")


# --- swarms ----------------------------------------------------------------------------------------------------------


def test_no_swarm_has_what_only_a_tape_has_and_every_other_kind_is_in_some() -> None:
    drawn = {kind for seed in range(200) for kind in swarm(Fates(seed))}
    assert drawn == set(Kind) - NEVER_DRAWN


def test_a_swarm_has_about_half_of_the_kinds() -> None:
    sizes = [len(swarm(Fates(seed))) for seed in range(300)]
    assert 0.45 < sum(sizes) / len(sizes) / len(set(Kind) - NEVER_DRAWN) < 0.55


def test_rates_stay_within_a_factor_of_their_worst() -> None:
    for kind, worst in ((Kind.KILL_TURN, 0.45), (Kind.APPEND_ERROR, 0.03), (Kind.APPEND_SLOW, 0.1), (Kind.LATE, 0.25)):
        rates = [swarm(Fates(seed), [kind]).get(kind) for seed in range(300)]
        found = [rate for rate in rates if rate is not None]
        assert worst / 25 <= min(found) < worst / 10
        assert worst / 2 < max(found) <= worst


# --- strikes ---------------------------------------------------------------------------------------------------------


def test_faults_strike_as_often_as_their_rate_says_and_are_written_down() -> None:
    faults = Faults(Fates(2), {Kind.LATE: 0.1})
    hit = [place for place in PLACES if faults.strike(Kind.LATE, place)]
    assert 150 < len(hit) < 250
    assert faults.struck == [Fault(Kind.LATE, place) for place in hit]
    assert not any(faults.strike(Kind.SLOW, place) for place in PLACES), "a kind without a rate never strikes"


def test_with_neither_rates_nor_a_tape_nothing_goes_wrong() -> None:
    faults = Faults(Fates(2))
    assert not any(faults.strike(kind, "s1/a/forward/1") for kind in Kind)
    assert not any(faults.pass_of(kind, "life-1", 10) for kind in Kind)


def test_a_tape_strikes_at_its_places_and_nowhere_else() -> None:
    tape = [Fault(Kind.LATE, "here"), Fault(Kind.KILL_TURN, "life-1", 42)]
    faults = Faults(Fates(2), dict.fromkeys(Kind, 1.0), tape)
    assert faults.strike(Kind.LATE, "here")
    assert not faults.strike(Kind.LATE, "there")
    assert not faults.strike(Kind.SLOW, "here")
    assert faults.pass_of(Kind.KILL_TURN, "life-1", 10) == 42
    assert faults.pass_of(Kind.KILL_TURN, "life-2", 10) is None


def test_an_empty_tape_is_a_tape() -> None:
    assert not Faults(Fates(2), dict.fromkeys(Kind, 1.0), ()).strike(Kind.LATE, "here")


def test_nothing_strikes_once_the_world_is_kind() -> None:
    faults = Faults(Fates(2), dict.fromkeys(Kind, 1.0))
    assert faults.strike(Kind.LATE, "here")
    faults.is_over = True
    assert not faults.strike(Kind.LATE, "here")
    assert faults.pass_of(Kind.KILL_TURN, "life-1", 10) is None
    assert len(faults.struck) == 1


def test_the_pass_at_which_a_fault_strikes_is_about_its_mean_and_is_written_when_it_does() -> None:
    faults = Faults(Fates(2), {Kind.KILL_TURN: 0.5})
    passes = [faults.pass_of(Kind.KILL_TURN, f"life-{number}", 400) for number in range(500)]
    found = [each for each in passes if each is not None]
    assert len(found) == 500, "a life has one chance of each, so half a rate is always"
    assert 1 <= min(found) < 20
    assert 780 < max(found) <= 800
    assert faults.struck == []
    faults.note(Kind.KILL_TURN, "life-1", 7)
    assert faults.struck == [Fault(Kind.KILL_TURN, "life-1", 7)]


# --- tapes -----------------------------------------------------------------------------------------------------------


def test_a_tape_is_read_back_as_it_was_written() -> None:
    tape = (*(Fault(kind, f"s1/{kind}", 3 * (kind in COUNTED)) for kind in Kind), Fault(Kind.KILL_TURN, "life-1", 204))
    text = write_tape(17, tape, "I13 saga s1: an effect too many\nand more")
    assert text.startswith("# seed 17\n# I13 saga s1: an effect too many\n# and more\n")
    assert "\nkill.turn life-1 204\n" in text
    assert read_tape(text) == tape


def test_empty_lines_and_comments_are_no_faults() -> None:
    assert read_tape("# seed 3\n\n   \nlate s1/a/forward/1\n") == (Fault(Kind.LATE, "s1/a/forward/1"),)


@pytest.mark.parametrize("line", ["late", "lately s1/a/forward/1", "x"])
def test_a_line_that_is_no_fault_is_told_with_its_number_and_every_kind_there_is(line: str) -> None:
    with pytest.raises(InputInvalid, match=re.escape(f"line 3: {line!r} is no fault")) as caught:
        read_tape(f"# seed 3\nslow s1/a/forward/1\n{line}\n")
    assert all(kind in str(caught.value) for kind in Kind)


COUNTING = [
    f"kill.{name}" for name in ("turn", "append.before", "append.torn", "append.after", "send.before", "send.after")
]


@pytest.mark.parametrize("kind", [*COUNTING, "cancel"])
@pytest.mark.parametrize("passes", ["", " 0", " -1", " soon", " 1 2", " 1.5", " " + "9" * 5000])
def test_what_counts_passes_is_refused_without_the_one_that_it_is_for(kind: str, passes: str) -> None:
    assert read_tape(f"{kind} life-1 7") == (Fault(Kind(kind), "life-1", 7),)
    line = f"{kind} life-1{passes}"
    with pytest.raises(InputInvalid, match=re.escape(f"line 2: {line!r} is no fault; write {kind} life-1 N, with")):
        read_tape(f"# seed 3\n{line}\n")


@pytest.mark.parametrize("kind", sorted(set(Kind) - COUNTED))
def test_what_counts_nothing_is_refused_with_anything_after_its_place(kind: str) -> None:
    with pytest.raises(
        InputInvalid, match=re.escape(f"line 1: '{kind} s1 7' is no fault; write {kind} s1, and nothing")
    ):
        read_tape(f"{kind} s1 7")


@pytest.mark.parametrize("seed", range(1, 30))
def test_whatever_strikes_in_a_run_can_be_read_from_its_tape(seed: int) -> None:
    run = mixed(seed, 3).run(seed, rates=swarm(Fates(seed)))
    assert read_tape(write_tape(seed, run.tape)) == run.tape


@pytest.mark.parametrize(("text", "seed"), [("# seed 17\n", 17), ("# seed -4", -4), ("# seed 5\r\nslow s1/a\r\n", 5)])
def test_a_tape_says_of_which_seed_it_is(text: str, seed: int) -> None:
    assert seed_of_tape(text) == seed
    assert seed_of_tape(write_tape(seed, ())) == seed


@pytest.mark.parametrize("text", ["", "slow s1/a/forward/1\n# seed 3\n", "# seed\n", "# seed x\n", "# seed 3 or so\n"])
def test_a_tape_that_does_not_say_so_is_of_no_seed(text: str) -> None:
    assert seed_of_tape(text) is None
