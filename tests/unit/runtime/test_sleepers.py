"""What sleeps costs nothing, is left alone by a restart, and wakes when it is due."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.ids import SagaId
from orchestrator.limits import ORPHANS_INTERVAL_S, RECOVERY_PAGE_ROWS, SWEEP_INTERVAL_S
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Rest, SearchRow, Shards
from orchestrator.runtime import StartRequest, directory
from orchestrator.saga import SagaStatus
from orchestrator.saga.commands import Audit, PauseSaga
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import sleep, wait
from tests.kit.runtime import Process, TappedJournal, run, until

SLEEP_S = 60.0
SLEEPING = plan(sleep("z", for_s=SLEEP_S), forward_s=10_000.0)
WAITING = plan(wait("w"), forward_s=10_000.0)
CALLING = plan(step("a", idempotent=True), forward_s=10_000.0)


def well(_call: CallRequest) -> Report | None:
    return report()


def silent(_call: CallRequest) -> Report | None:
    return None


class Counting(TappedJournal):
    """A journal that counts the rows recovery reads."""

    rows_read = 0

    async def awake(self, after: str, limit: int, shards: Shards = None) -> Sequence[SearchRow]:
        rows = await super().awake(after, limit, shards)
        self.rows_read += len(rows)
        return rows


def test_many_sleepers_leave_no_actor_and_no_task_and_wake_on_time() -> None:
    async def story() -> None:
        process = Process(well, SLEEPING)
        many = 3 * RECOVERY_PAGE_ROWS
        async with process.orchestrator.running():
            tasks = len(asyncio.all_tasks())
            for number in range(many):
                await process.start(f"s{number}")
            assert process.orchestrator.stats().active_actors == 0
            assert len(asyncio.all_tasks()) == tasks
            for number in range(many):
                state = await process.ended(f"s{number}", timeout_s=2 * SLEEP_S)
                assert state.status is SagaStatus.COMPLETED
                assert state.ended_at is not None
                assert 0 <= state.ended_at - state.started_at - SLEEP_S < 0.1

    run(story())


def test_a_restart_reads_only_what_is_awake() -> None:
    async def story() -> None:
        waiting, calling = replace(WAITING, definition="waiting"), replace(CALLING, definition="calling")
        process = Process(silent, SLEEPING, waiting, calling, journal=Counting().tap())
        async with process.orchestrator.running():
            for number in range(20):
                await process.start(f"asleep-{number}")
            start = process.orchestrator.start
            for name in ("waiting", "calling"):
                await start(StartRequest(definition=name, input=Payload("Input", b""), saga_id=name))
            await start(StartRequest(definition="waiting", input=Payload("Input", b""), saga_id="paused"))
            await process.orchestrator.repair("paused", PauseSaga(audit=Audit(by="ann", reason="look")))
            rows = {row.saga_id: row.rest for row in process.journal._contents.rows.values()}
            assert rows.pop(SagaId("calling")) is Rest.AWAKE
            assert set(rows.values()) == {Rest.ASLEEP}
        journal = Counting.__new__(Counting)
        journal._open(process.journal._contents)
        heir = Process(well, SLEEPING, waiting, calling, journal=journal.tap(), clock=process.clock)
        async with heir.orchestrator.running():
            assert (await heir.ended("calling")).status is SagaStatus.COMPLETED
            assert (journal.rows_read, heir.orchestrator.stats().recovered) == (1, 1)
            for number in range(20):
                assert (await heir.ended(f"asleep-{number}", timeout_s=SLEEP_S)).status is SagaStatus.COMPLETED
            state = await heir.orchestrator.get("waiting")
            assert state.status is SagaStatus.RUNNING

    run(story())


def test_what_a_draining_process_left_undone_is_taken_up() -> None:
    async def story() -> None:
        process = Process(silent, plan(step("a", idempotent=True), step("b", "a", idempotent=True)))
        async with process.orchestrator.running():
            name = (await process.start()).saga_id
            draining = asyncio.ensure_future(process.orchestrator.drain(20.0))  # noqa: TID251  (awaited below)
            await until(lambda: process.orchestrator.is_draining)
            process.hands.open[0].settle(report())
            await draining
            assert process.journal._contents.rows[name].rest is Rest.AWAKE
        heir = process.heir()
        heir.hands.answer = well
        async with heir.orchestrator.running():
            assert (await heir.ended(timeout_s=1.0)).status is SagaStatus.COMPLETED

    run(story())


def test_sleepers_that_came_due_while_nobody_ran_wake_at_once() -> None:
    async def story() -> None:
        process = Process(well, SLEEPING)
        async with process.orchestrator.running():
            for number in range(50):
                await process.start(f"s{number}")
        process.clock.step_s = 2 * SLEEP_S
        heir = process.heir()
        async with heir.orchestrator.running():
            began_at = heir.clock.now()
            for number in range(50):
                assert (await heir.ended(f"s{number}")).status is SagaStatus.COMPLETED
            assert heir.clock.now() - began_at < SWEEP_INTERVAL_S

    run(story())


def test_no_more_are_woken_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(directory, "ACTORS_MAX", 5)
        process = Process(silent, plan(sleep("z", for_s=SLEEP_S), step("a", "z", idempotent=True)))
        process.clock.step_s = 0.0
        async with process.orchestrator.running():
            for number in range(12):
                await process.start(f"s{number}")
            await until(lambda: process.orchestrator.stats().active_actors == 0)
            await asyncio.sleep(SLEEP_S)  # poll: no fact, all of them are due by then
            await until(lambda: len(process.hands.open) == 5)
            await asyncio.sleep(3 * SWEEP_INTERVAL_S)  # poll: no fact, looks that take up nobody
            assert len(process.hands.open) == 5
            process.hands.answer = well
            for call in list(process.hands.open):
                call.settle(report())
            for number in range(12):
                assert (await process.ended(f"s{number}")).status is SagaStatus.COMPLETED

    run(story())


def test_whoever_needs_an_actor_and_has_none_is_taken_up_and_counted() -> None:
    async def story() -> None:
        process = Process(silent, CALLING)
        async with process.orchestrator.running():
            actor = await process.orchestrator._directory.actor((await process.start()).saga_id)
            process.hands.answers_aborts = False
            process.orchestrator._directory._leave(actor, AssertionError("a bug"))  # type: ignore[arg-type]
            process.hands.answer = well
            assert (await process.ended(timeout_s=3 * ORPHANS_INTERVAL_S)).status is SagaStatus.COMPLETED
            assert process.orchestrator.stats().orphaned == 1

    run(story())


def test_nobody_is_called_lost_who_is_only_busy() -> None:
    async def story() -> None:
        process = Process(silent, CALLING, replace(WAITING, definition="waiting"), replace(SLEEPING, definition="z"))
        async with process.orchestrator.running():
            await process.start()
            for name in ("waiting", "z"):
                await process.orchestrator.start(
                    StartRequest(definition=name, input=Payload("Input", b""), saga_id=name)
                )
            await asyncio.sleep(4 * ORPHANS_INTERVAL_S)  # poll: no fact, several looks
            assert process.orchestrator.stats().orphaned == 0

    run(story())


def test_who_was_put_to_sleep_by_a_drain_is_not_called_lost() -> None:
    """Its row says AWAKE until its next record: whoever drains cannot know what the next process has to begin."""

    async def story() -> None:
        first = Process(silent, CALLING)
        async with first.orchestrator.running():
            await first.start()
            await until(lambda: first.hands.open)
            draining = asyncio.get_running_loop().create_task(first.orchestrator.drain(5.0))
            await asyncio.sleep(0)  # poll: one turn, the drain has begun
            first.hands.open[0].settle(report("RESOURCE_EXHAUSTED", retry_after_s=10 * ORPHANS_INTERVAL_S))
            await draining
        row = await first.journal.row(SagaId("s"))
        assert row is not None
        assert row.rest is Rest.AWAKE
        heir = first.heir()
        async with heir.orchestrator.running():
            await asyncio.sleep(4 * ORPHANS_INTERVAL_S)  # poll: no fact, several looks
            assert heir.orchestrator.stats().active_actors == 0
            assert heir.orchestrator.stats().orphaned == 0

    run(story())
