"""A turn that nothing hangs on waits a moment for the next one of its saga, and shares its append."""

import asyncio

import pytest

from orchestrator.limits import COMMIT_HOLD_S
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import TURN_S, Process, ScriptedCall, run, until

PLAN = plan(step("a", idempotent=True), step("b", idempotent=True), step("c", "a", "b", idempotent=True))


def silent(_call: CallRequest) -> Report | None:
    return None


def open_call(process: Process, name: str) -> ScriptedCall:
    return next(call for call in process.hands.open if call.request.step == name)


async def _started(process: Process) -> int:
    """Start, and return how many appends that took."""
    await process.start()
    await until(lambda: len(process.hands.open) == 2)
    return len(process.journal.groups)


def test_two_branches_that_end_together_share_an_append() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            before = await _started(process)
            open_call(process, "a").settle(report())
            open_call(process, "b").settle(report())
            await until(lambda: process.hands.open)
            assert process.hands.open[0].request.step == "c"
            assert len(process.journal.groups) == before + 1

    run(story())


def test_a_branch_that_ends_alone_is_recorded_after_the_hold() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            before = await _started(process)
            began_at = process.clock.now()
            open_call(process, "a").settle(report())
            await until(lambda: len(process.journal.groups) == before + 1)
            assert process.clock.now() - began_at == pytest.approx(COMMIT_HOLD_S, abs=TURN_S)
            assert (await process.orchestrator.get("s")).steps["a"].status is StepStatus.APPLIED  # type: ignore[index]  # a StepId

    run(story())


def test_a_drain_without_grace_records_what_is_held() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            await _started(process)
            open_call(process, "a").settle(report())
            await process.orchestrator.drain(0.0)
        heir = process.heir()
        async with heir.orchestrator.running():
            state = await heir.orchestrator.get("s")
            assert state.steps["a"].status is StepStatus.APPLIED  # type: ignore[index]  # a StepId
            assert state.status is SagaStatus.RUNNING

    run(story())


def test_a_cancel_does_not_wait_for_what_is_held() -> None:
    async def story() -> None:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            before = await _started(process)
            other = open_call(process, "b")
            open_call(process, "a").settle(report())
            state = await process.orchestrator.cancel("s", "enough")
            assert state.status is SagaStatus.COMPENSATING
            assert len(process.journal.groups) == before + 1
            assert other.was_aborted

    run(story())


def test_a_caller_waits_for_no_company() -> None:
    async def story() -> None:
        process = Process(silent, plan(step("a", no_undo=True), step("b", no_undo=True)))
        process.hands.answers_aborts = False
        async with process.orchestrator.running():
            await _started(process)
            await process.orchestrator.cancel("s", "enough")
            open_call(process, "a").settle(report("CANCELLED"))
            began_at = process.clock.now()
            await process.orchestrator.cancel("s", "enough, again")
            assert process.clock.now() - began_at < COMMIT_HOLD_S / 2

    run(story())


def test_branches_that_end_one_after_the_other_do_not_hold_up_the_first() -> None:
    names = [f"s{number}" for number in range(9)]
    late_s = COMMIT_HOLD_S * 0.6

    async def story() -> None:
        process = Process(silent, plan(*(step(name, idempotent=True) for name in names)))
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: len(process.hands.open) == len(names))
            before = len(process.journal.groups)
            began_at = process.clock.now()
            for name in names[:-1]:
                open_call(process, name).settle(report())
                if len(process.journal.groups) > before:
                    break
                await asyncio.sleep(late_s)  # poll: no fact, the next branch ends this much later, on virtual time
            assert process.clock.now() - began_at < COMMIT_HOLD_S + 2 * late_s

    run(story())
