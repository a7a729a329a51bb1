"""Child sagas whose parent is not in memory, or whose process is gone (R21)."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.ids import SagaId
from orchestrator.limits import PASSIVATION_WAIT_S_MIN
from orchestrator.ports.journal import Rest
from orchestrator.runtime import Started, Until
from orchestrator.runtime.children import ChildCall
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import AttemptOpened, AttentionReason, Report, SagaStarted
from orchestrator.saga.plan import Facts
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import child, named, sleep
from tests.kit.runtime import Process, run, until
from tests.unit.runtime.families import CHILD, PARENT, C, answering, attempts, began, statuses


def test_a_parent_that_waits_for_children_alone_leaves_memory_and_is_woken_by_their_end() -> None:
    async def story() -> None:
        slow = named("child", plan(sleep("z", for_s=300.0), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), slow)
        async with process.orchestrator.running():
            await process.start()
            parent = process.orchestrator._directory.active(SagaId("s"))
            assert parent is not None
            await until(lambda: parent.has_children and process.orchestrator.stats().active_actors == 1)
            began_at = process.clock.now()
            assert process.journal._contents.rows[SagaId("s")].rest is Rest.CHILDREN
            while process.orchestrator.stats().active_actors:
                await process.orchestrator.wait("s", Until.TERMINAL, 0, 0.5)
            assert process.clock.now() - began_at == pytest.approx(PASSIVATION_WAIT_S_MIN, abs=1.0)
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            # Nothing was lost, so nothing is recorded as lost.
            assert attempts(ended) == 1
            assert process.orchestrator.stats().orphaned == 0

    run(story())


def test_a_cancel_finds_the_child_of_a_parent_that_left_memory() -> None:
    async def story() -> None:
        slow = named("child", plan(sleep("z", for_s=300.0), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), slow)
        async with process.orchestrator.running():
            await process.start()
            while process.orchestrator.stats().active_actors or len(process.journal.groups) < 3:
                await process.orchestrator.wait("s", Until.TERMINAL, 0, 0.5)
            await process.orchestrator.cancel("s", "enough")
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            assert await statuses(process, "s.c") == ["COMPENSATED"]

    run(story())


def test_a_stopping_process_cancels_no_child_and_its_heir_finds_the_same_one() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await began(process, "s.c")
        heir = process.heir()
        heir.hands.answer = answering()
        async with heir.orchestrator.running():
            ended = await heir.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert attempts(ended) == 2
            assert set(heir.journal._contents.rows) == {"s", "s.c"}
            records = await heir.journal.read(SagaId("s"))
            opened = [r.event for r in records if isinstance(r.event, AttemptOpened) and r.event.step == C]
            assert len({event.key for event in opened}) == 1

    run(story())


def test_a_child_that_ended_unseen_is_seen_by_the_heir() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await began(process, "s.c")
            # The parent's actor is gone, and so is whoever would wake it.
            process.orchestrator._children.ended = lambda state: None  # type: ignore[method-assign]  # noqa: ARG005
            process.hands.open[0].settle(report())
            await process.ended("s.c")
            assert await statuses(process, "s", "s.c") == ["RUNNING", "COMPLETED"]
        heir = process.heir()
        async with heir.orchestrator.running():
            assert (await heir.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_the_parents_place_is_in_the_childs_first_record() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await process.ended()
            first = (await process.journal.read(SagaId("s.c")))[0].event
            assert isinstance(first, SagaStarted)
            assert first.parent is not None
            assert first.parent.step == C

    run(story())


def test_a_parent_is_not_let_go_while_its_child_is_being_started() -> None:
    async def story() -> None:
        process = Process(answering(), plan(child("c"), forward_s=1_000.0), CHILD)
        async with process.orchestrator.running():
            await process.start()
            process.journal.gate.clear()
            parent = process.orchestrator._directory.active(SagaId("s"))
            assert parent is not None
            await process.orchestrator.wait("s", Until.TERMINAL, 0, 4 * PASSIVATION_WAIT_S_MIN)
            assert not parent.is_idle
            assert process.orchestrator._directory.active(SagaId("s")) is parent
            process.journal.gate.set()
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_child_that_is_set_aside_puts_its_parent_before_a_person() -> None:
    async def story() -> None:
        def bug(_facts: Facts) -> Payload:
            raise ZeroDivisionError("a bug in a rendered expression")

        broken = named("child", plan(step("x", idempotent=True), step("y", "x", request=bug)))
        process = Process(answering(), PARENT, broken)
        async with process.orchestrator.running():
            await process.start()
            state = await process.ended()
            assert (state.status, state.attention) == (SagaStatus.NEEDS_ATTENTION, (AttentionReason.DATA_LOSS,))
            assert process.orchestrator.stats().quarantined == 1

    run(story())


def test_a_child_that_is_set_aside_wakes_a_parent_that_left_memory() -> None:
    async def story() -> None:
        def bug(_facts: Facts) -> Payload:
            raise ZeroDivisionError("a bug in a rendered expression")

        broken = named("child", plan(sleep("z", for_s=60.0), step("y", "z", request=bug), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), broken)
        async with process.orchestrator.running():
            await process.start()
            state = await process.ended()
            assert (state.status, state.attention) == (SagaStatus.NEEDS_ATTENTION, (AttentionReason.DATA_LOSS,))

    run(story())


def test_a_call_that_comes_while_the_one_before_still_starts_the_child_finds_that_child() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, CHILD)
        gate, start = asyncio.Event(), process.orchestrator._starting.start

        async def slowly(*given: Any, **more: Any) -> Started:
            if more:  # a child's
                await gate.wait()
            return await start(*given, **more)

        process.orchestrator._starting.start = slowly  # type: ignore[method-assign]
        async with process.orchestrator.running():
            await process.start()
            began = process.orchestrator._directory.active(SagaId("s"))
            assert began is not None
            await until(lambda: began.has_children)
            ((effect, opened),) = began._hands.open_children.items()
            assert isinstance(opened, ChildCall)
            reports: list[Report] = []
            opened.let_go()
            again = process.orchestrator._children.begin(opened.call, reports.append)
            began._hands.open_children[effect] = again
            await process.orchestrator.wait("s", Until.TERMINAL, 0, 1.0)
            assert not again.is_waiting
            gate.set()
            await until(lambda: reports)
            assert [each.code for each in reports] == ["OK"]
            assert set(process.journal._contents.rows) == {"s", "s.c"}

    run(story())
