"""What a person is shown of the sagas in memory: what each is about, and since when."""

import pytest

from orchestrator.ports.diagnostics import ActorFacts
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, sleep, step
from tests.kit.machine import BEGIN_AT, report
from tests.kit.runtime import TURN_S, Process, run, until
from tests.unit.runtime.families import CHILD, PARENT, answering

PLAN = plan(step("a", idempotent=True), step("b", idempotent=True), step("c", "a", "b", idempotent=True))


def silent(_call: CallRequest) -> Report | None:
    return None


def only(process: Process) -> ActorFacts:
    (facts,) = process.orchestrator.actors()
    return facts


def test_a_saga_that_waits_for_calls_is_about_them_since_it_was_decided_to_make_them() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            assert list(process.orchestrator.actors()) == []
            await process.start()
            await until(lambda: len(process.hands.open) == 2)
            facts = only(process)
            assert (facts.saga_id, facts.definition, facts.status, facts.shard) == ("s", "test", "RUNNING", 0)
            assert (facts.doing, facts.calls, facts.mailbox, facts.timers) == ("calls", 2, 0, 1)
            assert facts.version == (await process.orchestrator.get("s")).version
            assert facts.activated_at == facts.since_at == BEGIN_AT
            assert facts.wake_at == pytest.approx(BEGIN_AT + PLAN.forward_s)

    run(story())


def test_what_comes_while_an_append_is_on_its_way_waits_in_the_mailbox() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: len(process.hands.open) == 2)
            process.journal.gate.clear()
            await until(lambda: process.clock.now() > BEGIN_AT + 60 * TURN_S)
            decided_at = process.clock.now()
            first, second = process.hands.open
            first.settle(report("UNAVAILABLE"))  # tried again, at a time that is recorded
            assert (only(process).doing, only(process).since_at) == ("commit", decided_at)
            second.settle(report("UNAVAILABLE"))
            assert (only(process).doing, only(process).mailbox) == ("commit", 1)
            process.journal.gate.set()
            await until(lambda: only(process).mailbox == 0)

    run(story())


def test_a_turn_that_waits_for_company_is_held() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: len(process.hands.open) == 2)
            process.hands.open[0].settle(report())
            assert only(process).doing == "held"

    run(story())


def test_a_saga_that_sleeps_for_a_moment_is_about_its_timer() -> None:
    async def story() -> None:
        process = Process(silent, plan(sleep("nap", seconds=2.0), forward_s=60.0))
        async with process.orchestrator.running():
            await process.start()
            facts = only(process)
            assert (facts.doing, facts.calls) == ("timer", 0)
            assert facts.wake_at == pytest.approx(facts.since_at + 2.0)
            assert facts.timers == 2
            await process.ended()
            assert list(process.orchestrator.actors()) == []

    run(story())


def test_a_parent_is_about_its_child_which_counts_among_its_calls() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: any(call.request.step == "x" for call in process.hands.open))
            facts = {each.saga_id: each for each in process.orchestrator.actors()}
            assert (facts["s"].doing, facts["s"].calls) == ("children", 1)
            child = facts["s.c"]
            assert (child.definition, child.doing, child.calls) == ("child", "calls", 1)

    run(story())


def test_who_leaves_while_others_are_looked_at_is_left_out() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            for name in ("one", "two"):
                await process.start(name)
            looking = process.orchestrator.actors()
            assert next(looking).saga_id == "one"
            process.orchestrator.lost([0])
            assert list(looking) == []

    run(story())
