import asyncio
from dataclasses import replace
from typing import ClassVar

import pytest

from orchestrator.saga.plan import Plan
from orchestrator.testing import Begin, Fates, Fault, FixedPlans, Kind, Run, Simulation, read_tape, swarm
from orchestrator.testing.flows import FLOWS, mixed
from orchestrator.testing.shorthand import plan, wait
from orchestrator.testing.shrink import rule_of, shrink
from orchestrator.values import Payload

STRAIGHT = next(flow for flow in FLOWS if flow.name == "straight").simulation()
THREE = Simulation(plans=STRAIGHT.plans, begins=[*STRAIGHT.begins] * 3, catalogue=STRAIGHT.catalogue)
PLANTED = read_tape("reply.lost s2/b/forward/1\nforgets.key s2/b/forward/2\n")
NOISE = read_tape(
    """
    slow s1/a/forward/1
    reply.lost s1/b/forward/1
    refuses s3/c/forward/1
    append.slow life-1/2
    slow s2/a/forward/1
    kill.append.after life-1 9
    clock life-1
    repeated s3/start
    """
)


def test_a_planted_violation_shrinks_to_what_was_planted() -> None:
    failing = THREE.run(3, tape=[*NOISE, *PLANTED])
    assert len(failing.tape) > 6
    found = shrink(THREE, failing)
    assert {fault for fault in found.tape if fault.kind is not Kind.ABSENT} == set(PLANTED)
    assert {fault.site for fault in found.tape if fault.kind is Kind.ABSENT} == {"s1", "s3"}
    assert rule_of(found.violations[0]) == rule_of(failing.violations[0]) == "I13"
    assert found.story, "the one that is left is told"


def test_a_swarm_with_a_broken_service_in_it_shrinks_to_a_handful() -> None:
    worlds = ((seed, {**swarm(Fates(seed)), Kind.FORGETS_KEY: 0.2}) for seed in range(1, 200))
    runs = (mixed(seed).run(seed, rates=rates) for seed, rates in worlds)
    failing = next(run for run in runs if not run.is_sound)
    found = shrink(mixed(failing.seed), failing)
    kinds = [fault.kind for fault in found.tape if fault.kind is not Kind.ABSENT]
    assert Kind.FORGETS_KEY in kinds
    assert len(kinds) <= 3 < len(failing.tape)


def test_nothing_can_be_left_out_of_what_is_found() -> None:
    found = shrink(THREE, THREE.run(3, tape=[*NOISE, *PLANTED]))
    for fault in PLANTED:
        assert THREE.run(3, tape=[each for each in found.tape if each != fault]).is_sound


def test_another_rule_that_is_broken_on_the_way_is_not_taken_for_the_first() -> None:
    failing = THREE.run(3, tape=PLANTED)
    failing.violations = ("I99 saga s2: nobody breaks this again", *failing.violations)
    assert shrink(THREE, failing).tape == failing.tape


def test_what_fails_without_any_fault_is_shrunk_to_nothing() -> None:
    liar = replace(STRAIGHT, replies=lambda call, _word: Payload(call.reply_type, b"no"))
    failing = liar.run(3, tape=read_tape("slow s1/a/forward/1\nslow s1/b/forward/1"))
    assert not failing.is_sound, "it acts, and says no"
    assert shrink(liar, failing).tape == ()


def test_progress_is_told_and_the_runs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int]] = []
    failing = THREE.run(3, tape=[*NOISE, *PLANTED])
    shrink(THREE, failing, lambda runs, left: heard.append((runs, left)))
    assert [runs for runs, _ in heard] == list(range(1, len(heard) + 1))
    left = [number for _, number in heard]
    assert left == sorted(left, reverse=True)
    assert left[-1] == len(PLANTED)
    monkeypatch.setattr("orchestrator.testing.shrink.SHRINK_RUNS_MAX", 2)
    heard.clear()
    shrink(THREE, failing, lambda runs, left: heard.append((runs, left)))
    assert len(heard) < 6


def test_sagas_that_do_not_matter_are_left_out_even_where_every_fault_does() -> None:
    found = shrink(THREE, THREE.run(3, tape=PLANTED))
    assert set(found.tape) == {*PLANTED, Fault(Kind.ABSENT, "s1"), Fault(Kind.ABSENT, "s3")}
    assert list(found.statuses) == ["s2"]


def test_sagas_of_callers_who_were_answered_are_left_out() -> None:
    class Mute(FixedPlans):
        asked: ClassVar = set[asyncio.AbstractEventLoop]()

        async def plan(self, definition: str, revision: str = "") -> Plan:
            loop = asyncio.get_running_loop()
            if definition == "test" and revision and loop not in self.asked:
                self.asked.add(loop)  # of each run the first who asks by revision: the caller who signals
                await loop.create_future()
            return await super().plan(definition, revision)

    waiting = plan(wait("w", within_s=5.0))
    begins = [STRAIGHT.begins[0], Begin(definition="test", input=Payload("Input", b"")), STRAIGHT.begins[0]]
    mute = Simulation(plans=[*STRAIGHT.plans, waiting], begins=begins, catalogue=Mute(*STRAIGHT.plans, waiting))
    found = shrink(mute, mute.run(1))
    assert list(found.statuses) == ["s2"]
    assert found.violations == ("caller of saga s2: without an answer when all was well again",)


def test_a_rule_is_the_first_word_of_its_violation() -> None:
    told = ("I13 saga s1: an effect too many", "bug: it failed", "caller of saga s1: was told X", "repetition: another")
    assert [rule_of(each) for each in told] == ["I13", "bug", "caller", "repetition"]


def test_a_bug_is_not_taken_for_a_caller_who_was_told_one() -> None:
    class Two(Simulation):
        def run(self, seed: int, **given: object) -> Run:
            run = super().run(seed, **given)  # type: ignore[arg-type]  # passed on
            has = {fault.kind for fault in run.tape}
            told = ["caller of saga s1: was told X"] * (Kind.SLOW in has) + ["bug: it failed"] * (Kind.REFUSES in has)
            run.violations = tuple(told)
            return run

    two = Two(plans=THREE.plans, begins=THREE.begins, catalogue=THREE.catalogue)
    failing = two.run(3, tape=read_tape("refuses s3/c/forward/1\nslow s1/a/forward/1"))
    assert [rule_of(each) for each in failing.violations] == ["caller", "bug"]
    assert [fault.kind for fault in shrink(two, failing).tape if fault.kind is not Kind.ABSENT] == [Kind.SLOW]
