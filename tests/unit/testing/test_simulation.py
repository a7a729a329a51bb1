import asyncio
import os
import subprocess
import sys
from typing import cast

import pytest

from orchestrator.ids import SagaId
from orchestrator.saga import SagaStatus
from orchestrator.saga.plan import Plan
from orchestrator.testing import Begin, Fates, Fault, FixedPlans, Kind, Run, Simulation, read_tape, swarm
from orchestrator.testing.flows import FLOWS, mixed
from orchestrator.testing.runs import Happening
from orchestrator.testing.shorthand import plan, sleep, step
from orchestrator.values import Payload

FLOW = {flow.name: flow for flow in FLOWS}
BEGIN = Begin(definition="test", input=Payload("Input", b""))
HANDFUL = (1, 2, 3, 4, 7)
DIGESTS = f"""
from orchestrator.testing import Fates, swarm
from orchestrator.testing.flows import mixed
for seed in {HANDFUL}:
    print(mixed(seed).run(seed, rates=swarm(Fates(seed)), digest=True).digest)
"""


def drawn(seed: int) -> Run:
    return mixed(seed).run(seed, rates=swarm(Fates(seed)), digest=True)


def played(flow: str, *lines: str, seed: int = 1) -> Run:
    return FLOW[flow].simulation().run(seed, tape=read_tape("\n".join(lines)), story=True)


# --- the same run ----------------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_run_and_another_seed_another() -> None:
    first, again = ([drawn(seed) for seed in HANDFUL] for _ in range(2))
    assert [(each.digest, each.tape, each.turns) for each in first] == [
        (each.digest, each.tape, each.turns) for each in again
    ]
    assert len({each.digest for each in first}) == len(HANDFUL)


def test_a_run_hangs_on_no_order_of_hashing() -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in "012"
    ]
    assert found[0] == found[1] == found[2] == [drawn(seed).digest for seed in HANDFUL]


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_tape_replays_its_run_bit_for_bit(seed: int) -> None:
    run = drawn(seed)
    assert run.tape, "something goes wrong in every world of these"
    again = mixed(seed).run(seed, tape=run.tape, digest=True)
    assert (again.digest, again.tape, again.turns, again.virtual_s) == (run.digest, run.tape, run.turns, run.virtual_s)


def test_a_digest_and_a_story_are_made_where_they_are_asked_for_and_change_nothing() -> None:
    bare = mixed(3).run(3)
    told = mixed(3).run(3, digest=True, story=True)
    assert (bare.digest, bare.story) == ("", ())
    assert len(told.digest) == 32
    assert len([each for each in told.story if each.what[0].isdigit()]) == told.records == bare.records
    assert (bare.turns, bare.statuses) == (told.turns, told.statuses)


def test_a_digest_is_of_what_was_done_too_and_not_of_the_records_alone() -> None:
    lost, forgets = read_tape("reply.lost s1/b/forward/1\nforgets.key s1/b/forward/2")
    kept, broken = (FLOW["straight"].simulation().run(1, tape=tape, digest=True) for tape in ([lost], [lost, forgets]))
    assert (kept.records, kept.turns) == (broken.records, broken.turns)
    assert kept.digest != broken.digest


# --- what a run comes to ---------------------------------------------------------------------------------------------


def test_a_run_counts_what_happened() -> None:
    run = played("straight", "kill.append.after life-1 2")
    assert run.is_sound
    assert run.statuses == {"s1": SagaStatus.COMPLETED}
    assert run.lives == 2
    assert run.tape == (Fault(Kind.KILL_AFTER_APPEND, "life-1", 2),)
    assert run.effects == 3, "a forward call each, which kept its key"
    turns, appends, sends = run.passes["life-1"]
    assert (turns > 0, appends, sends) == (True, 2, 1)
    assert run.asked_again > 0, "its caller lost its connection"
    assert run.checked["I13"] > 0


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.startswith("kill.")])
def test_each_kill_ends_a_life_and_another_one_takes_over(kind: Kind) -> None:
    run = played("straight", f"{kind} life-1 {30 if kind is Kind.KILL_TURN else 2}")
    assert (run.is_sound, run.lives) == (True, 2), run.violations
    assert [fault.kind for fault in run.tape] == [kind]


@pytest.mark.parametrize("line", ["stop life-1", "freeze life-1", "usurp life-1", "clock life-1"])
def test_what_happens_to_a_process_from_outside_breaks_nothing(line: str) -> None:
    run = played("sleep", line)
    assert (run.is_sound, len(run.tape)) == (True, 1), run.violations
    assert run.lives == (2 if line.startswith(("stop", "usurp")) else 1)


def test_nothing_is_real_about_its_time() -> None:
    run = played("sleep")
    assert 30 < run.virtual_s < 120
    assert FLOW["sleep"].simulation().run(1).virtual_s == run.virtual_s


def test_an_absent_saga_is_not_there_and_the_others_go_their_way() -> None:
    whole, without = mixed(5).run(5, tape=()), mixed(5).run(5, tape=[Fault(Kind.ABSENT, "s2")])
    assert set(without.statuses) == {saga for saga in whole.statuses if not saga.startswith("s2")}
    assert without.is_sound


def test_when_the_chaos_is_over_nothing_strikes_any_more() -> None:
    rates = dict.fromkeys((Kind.REFUSED, Kind.SLOW), 1.0)
    given = plan(step("a", idempotent=True, retriable=True), forward_s=300.0)
    run = Simulation(plans=[given], begins=[BEGIN], catalogue=FixedPlans(given), chaos_s=5.0).run(1, rates=rates)
    assert run.is_sound
    assert run.statuses == {"s1": SagaStatus.COMPLETED}
    assert {fault.kind for fault in run.tape} == {Kind.REFUSED}, "no call gets through, as long as it lasts"


# --- what is found ---------------------------------------------------------------------------------------------------


def test_a_service_that_forgets_a_key_is_found() -> None:
    run = played("straight", "reply.lost s1/b/forward/1", "forgets.key s1/b/forward/2")
    assert [each.split(":")[0] for each in run.violations] == ["I13 saga s1", "I24 saga s1"]


def test_a_kind_world_waits_as_long_as_the_deadlines_of_its_definitions_allow() -> None:
    given = plan(step("a", idempotent=True), sleep("z", "a", seconds=7_200.0), forward_s=8_000.0)
    run = Simulation(plans=[given], begins=[BEGIN], catalogue=FixedPlans(given)).run(1)
    assert (run.statuses, run.violations) == ({"s1": SagaStatus.COMPLETED}, ())


def test_a_caller_who_is_never_answered_is_found() -> None:
    class Mute(FixedPlans):
        async def plan(self, definition: str, revision: str = "") -> Plan:
            return cast("Plan", await asyncio.get_running_loop().create_future())

    given = plan(step("a"))
    run = Simulation(plans=[given], begins=[BEGIN], catalogue=Mute(given)).run(1)
    (violation,) = run.violations
    assert violation == "caller of saga s1: without an answer when all was well again"


def test_what_the_runtime_logs_as_an_error_is_a_bug_that_is_told() -> None:
    class Broken(FixedPlans):
        def input(self, plan: object, given: object) -> Payload:
            raise ZeroDivisionError("planted")

    given = plan(step("a"))
    run = Simulation(plans=[given], begins=[BEGIN], catalogue=Broken(given)).run(1)
    assert not run.is_sound
    assert "planted" in run.violations[0]


def test_a_moment_belongs_to_its_saga_to_its_services_and_to_the_processes() -> None:
    assert Happening(0.0, "s1", "1 SagaStarted").is_about({"s1"})
    assert Happening(0.0, "service", "forward of s1/a took effect 1 times").is_about({"s1"})
    assert Happening(0.0, "*", "kill.turn life-1 3").is_about({"s1"})
    assert Happening(0.0, "*", "reply.lost s1/a/forward/1").is_about({"s1"})
    assert not Happening(0.0, "*", "reply.lost s11/a/forward/1").is_about({"s1"})
    assert not Happening(0.0, "s11", "1 SagaStarted").is_about({"s1"})


def test_sagas_are_named_by_their_place() -> None:
    assert next(iter(mixed(1, 3).run(1).statuses)) == SagaId("s1")
