"""How far a process is behind: who could move and waits to be taken up, and for how long."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator.errors import IntegrityError
from orchestrator.limits import PASSIVATION_WAIT_S_MIN, RECOVERY_CALLS_MAX, RECOVERY_STALL_S, SWEEP_INTERVAL_S
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.observer import Backlog
from orchestrator.runtime import StartRequest, backlog
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

SLEEP_S = 4 * PASSIVATION_WAIT_S_MIN
CALM = retry(9, initial_s=SLEEP_S, max_s=SLEEP_S)
SLEEPING = plan(step("calm", idempotent=True, policy=CALM))
HANGING = replace(plan(step("hung", read=True, timeout_s=3_000.0), forward_s=4_000.0), definition="hanging")


def answer(call: CallRequest) -> Report | None:
    return None if call.step == "hung" else report("UNAVAILABLE")


async def asleep(process: Process, count: int) -> None:
    for number in range(count):
        await process.start(f"asleep-{number}")
    await until(lambda: process.orchestrator.stats().active_actors == 0)


def test_who_sleeps_and_who_is_in_memory_is_no_backlog() -> None:
    async def story() -> None:
        process = Process(answer, SLEEPING, HANGING)
        async with process.orchestrator.running():
            await asleep(process, 3)
            await process.orchestrator.start(
                StartRequest(definition="hanging", input=Payload("Input", b""), saga_id="hung")
            )
            assert await process.orchestrator.backlog() == Backlog()
            process.clock.step_s += 10_000.0
            due = await process.journal.due(process.clock.now(), 10)
            assert "hung" in {row.saga_id for row in due}, "its timer is over, and it is its actor that sees to it"
            assert (await process.orchestrator.backlog()).runnable == len(due) - 1

    run(story())


def test_who_is_due_and_finds_no_room_has_waited_since_its_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        process = Process(answer, SLEEPING)
        async with process.orchestrator.running():
            await asleep(process, 3)
            monkeypatch.setattr("orchestrator.runtime.directory.ACTORS_MAX", 0)
            rows = await process.journal.due(float("inf"), 10)
            assert len(rows) == 3
            process.clock.step_s += SLEEP_S + 7.0
            waiting = await process.orchestrator.backlog()
            assert waiting.runnable == 3
            assert waiting.oldest_age_s == pytest.approx(process.clock.now() - (rows[0].wake_at or 0.0), abs=0.01)
            assert waiting.oldest_age_s >= 5.0
            monkeypatch.undo()
            await asyncio.sleep(2 * SWEEP_INTERVAL_S)  # poll: no fact, looks of the sweep on virtual time
            assert process.orchestrator.stats().recovered == 3
            assert await process.orchestrator.backlog() == Backlog()

    run(story())


def test_the_count_of_the_due_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        process = Process(answer, SLEEPING)
        async with process.orchestrator.running():
            await asleep(process, 3)
            monkeypatch.setattr("orchestrator.runtime.directory.ACTORS_MAX", 0)
            monkeypatch.setattr(backlog, "RUNNABLE_ROWS_MAX", 2)
            process.clock.step_s += 2 * SLEEP_S
            assert (await process.orchestrator.backlog()).runnable == 2

    run(story())


def test_who_is_set_aside_hides_nobody_who_waits_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        process = Process(answer, SLEEPING)
        async with process.orchestrator.running():
            await asleep(process, 5)
            monkeypatch.setattr("orchestrator.runtime.directory.ACTORS_MAX", 0)
            monkeypatch.setattr(backlog, "RUNNABLE_ROWS_MAX", 2)
            rows = await process.journal.due(float("inf"), 10)
            process.clock.step_s += SLEEP_S + 700.0
            for row in rows[:4]:
                process.orchestrator._directory.supervisor.quarantine(row.saga_id, IntegrityError("unreadable"))
            waiting = await process.orchestrator.backlog()
            assert waiting.runnable == 1
            assert waiting.oldest_age_s == pytest.approx(process.clock.now() - (rows[4].wake_at or 0.0), abs=0.01)
            monkeypatch.setattr(backlog, "RUNNABLE_PAGES_MAX", 2)
            assert await process.orchestrator.backlog() == Backlog(), "it does not read the whole store to find one"

    run(story())


def test_whom_recovery_has_not_come_to_has_waited_since_the_process_was_given_its_shard() -> None:
    async def story() -> None:
        process = Process(answer, HANGING)
        count = RECOVERY_CALLS_MAX + 5
        async with process.orchestrator.running():
            for number in range(count):
                await process.orchestrator.start(
                    StartRequest(definition="hanging", input=Payload("Input", b""), saga_id=f"hung-{number:04}")
                )
        heir = process.heir()
        heir.clock.step_s += 2_400.0
        async with heir.orchestrator.running():
            await until(lambda: heir.orchestrator.stats().recovered >= RECOVERY_CALLS_MAX)
            waiting = await heir.orchestrator.backlog()
            # Some more than that are taken up while the last ones' calls are still on their way to the journal.
            assert 1 < waiting.runnable <= 5
            assert waiting.oldest_age_s < 10.0, "that their calls are open for long is no delay"
            heir.clock.step_s += 30.0
            assert 30.0 <= (await heir.orchestrator.backlog()).oldest_age_s < 40.0
            await asyncio.sleep(2 * RECOVERY_STALL_S)  # poll: no fact, recovery goes past what hangs
            assert heir.orchestrator.stats().recovered == count
            assert await heir.orchestrator.backlog() == Backlog()

    run(story())


def test_whom_recovery_has_not_come_to_and_whose_timer_is_over_has_waited_since_the_timer() -> None:
    async def story() -> None:
        process = Process(answer, HANGING)
        async with process.orchestrator.running():
            await process.orchestrator.start(
                StartRequest(definition="hanging", input=Payload("Input", b""), saga_id="hung")
            )
            rows = await process.journal.due(float("inf"), 10)
        heir = process.heir()
        heir.clock.step_s += 4_500.0
        ownership = heir.orchestrator._around.ownership
        waiting = await backlog.look(
            heir.journal, heir.orchestrator._directory, ownership, heir.clock, {rows[0].saga_id: heir.clock.now()}
        )
        assert waiting.oldest_age_s == pytest.approx(heir.clock.now() - (rows[0].wake_at or 0.0), abs=0.01)
        assert waiting.oldest_age_s > 400.0

    run(story())


def test_what_is_not_this_processs_is_not_its_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        process = Process(answer, SLEEPING)
        async with process.orchestrator.running():
            await asleep(process, 3)
            monkeypatch.setattr("orchestrator.runtime.directory.ACTORS_MAX", 0)
            process.clock.step_s += 2 * SLEEP_S
            assert (await process.orchestrator.backlog()).runnable == 3
            ownership = process.orchestrator._around.ownership
            monkeypatch.setattr(type(ownership), "owned", lambda _self: ())
            assert await process.orchestrator.backlog() == Backlog()
            await asyncio.sleep(SWEEP_INTERVAL_S)  # poll: no fact, a look of the sweep on virtual time

    run(story())
