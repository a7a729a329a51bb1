"""Whoever waits in the journal is taken up, whatever other sagas and their services do."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.ids import SagaId
from orchestrator.journal import MemoryJournal
from orchestrator.limits import (
    PASSIVATION_WAIT_S_MIN,
    RECOVERY_CALLS_MAX,
    RECOVERY_PAGE_ROWS,
    RECOVERY_RECORDS_A_TURN,
    RECOVERY_SAGA_RECORDS,
)
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record
from orchestrator.runtime import StartRequest, Until, committer, recovery
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.runtime import Process, TappedJournal, run, until

SLEEP_S = 4 * PASSIVATION_WAIT_S_MIN
CALM = retry(9, initial_s=SLEEP_S, max_s=SLEEP_S)
SLEEPING = plan(step("calm", idempotent=True, policy=CALM))
HANGING = replace(plan(step("hung", read=True, timeout_s=3_000.0), forward_s=4_000.0), definition="hanging")


class Services:
    """One that never answers, and one that is away until it is mended, or silent."""

    is_mended = False
    is_silent = False

    def __call__(self, call: CallRequest) -> Report | None:
        if call.step == "hung" or self.is_silent:
            return None
        return report() if self.is_mended else report("UNAVAILABLE")


class Ready(TappedJournal):
    """One whose records are read without a turn in between, as a file's are."""

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        return await MemoryJournal.read(self, saga_id, after_version, limit)


async def hang(process: Process, count: int) -> None:
    for number in range(count):
        request = StartRequest(definition="hanging", input=Payload("Input", b""), saga_id=f"hung-{number}")
        await process.orchestrator.start(request)


def test_timers_of_sleeping_sagas_fire_while_many_calls_of_others_hang() -> None:
    async def story() -> None:
        services = Services()
        process = Process(services, SLEEPING, HANGING)
        async with process.orchestrator.running():
            for number in range(5):
                await process.start(f"asleep-{number}")
            await until(lambda: process.orchestrator.stats().active_actors == 0)
            await hang(process, RECOVERY_CALLS_MAX)
            services.is_mended = True
            ended = [await process.ended(f"asleep-{number}", timeout_s=2 * SLEEP_S) for number in range(5)]
            assert {each.status for each in ended} == {SagaStatus.COMPLETED}

    run(story())


def test_what_a_turn_has_room_for_is_taken_up_and_committed_together_and_never_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer, "COMMIT_TURNS_MAX", 0)  # so that a group is what one turn has taken up

    async def story() -> None:
        services = Services()
        process = Process(services, HANGING)
        of_each = RECOVERY_SAGA_RECORDS + 2  # its start and its call
        a_turn = -(-RECOVERY_RECORDS_A_TURN // of_each)
        count = 3 * a_turn
        async with process.orchestrator.running():
            await hang(process, count)
        journal = Ready.__new__(Ready)
        journal._open(process.journal._contents)
        heir = Process(services, HANGING, journal=journal.tap(), clock=process.clock)
        async with heir.orchestrator.running():
            await until(lambda: sum(heir.journal.groups) == count)
            assert heir.journal.groups == [a_turn] * 3

    run(story())


def test_recovery_goes_past_a_service_that_hangs() -> None:
    async def story() -> None:
        services = Services()
        services.is_silent = True
        process = Process(services, SLEEPING, HANGING)
        async with process.orchestrator.running():
            await hang(process, 2 * RECOVERY_CALLS_MAX)
            await process.start("z-last")
        heir = process.heir()
        services.is_silent, services.is_mended = False, True
        async with heir.orchestrator.running():
            assert (await heir.ended("z-last", timeout_s=60.0)).status is SagaStatus.COMPLETED

    run(story())


def test_a_page_of_quarantined_sagas_hides_no_sleeping_one() -> None:
    async def story() -> None:
        services = Services()
        process = Process(services, SLEEPING)
        bad = [SagaId(f"bad-{number}") for number in range(RECOVERY_PAGE_ROWS)]
        async with process.orchestrator.running():
            for name in bad:
                await process.start(name)
            await process.start("good")
            await until(lambda: process.orchestrator.stats().active_actors == 0)
        for name in bad:
            process.journal._contents.streams[name][1] = (2, 1, "NoSuchEvent", b"")
        heir = process.heir()
        async with heir.orchestrator.running():
            services.is_mended = True
            assert (await heir.ended("good", timeout_s=3 * SLEEP_S)).status is SagaStatus.COMPLETED
            assert heir.orchestrator.stats().quarantined == len(bad)

    run(story())


def test_a_saga_of_very_many_records_is_read_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(recovery, "LONG_RECORDS", 4)
        services = Services()
        process = Process(services, plan(step("calm", idempotent=True, policy=CALM), step("b", "calm")))
        async with process.orchestrator.running():
            for name in ("a-long", "b-short"):
                await process.start(name)
            await until(lambda: process.orchestrator.stats().active_actors == 0)
            for version in (4, 5, 6):  # more attempts in vain, so that it is long
                await process.orchestrator.wait("a-long", Until.CHANGE, version - 1, 2 * SLEEP_S)
        process.clock.step_s = 2 * SLEEP_S
        heir = process.heir()
        services.is_mended = True
        gate = asyncio.Event()
        read = heir.journal.read

        async def slowly(saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
            if saga_id == "a-long":
                await gate.wait()
            return await read(saga_id, after_version, limit)

        heir.journal.read = slowly  # type: ignore[method-assign]
        async with heir.orchestrator.running():
            assert (await heir.ended("b-short")).status is SagaStatus.COMPLETED
            gate.set()
            assert (await heir.ended("a-long")).status is SagaStatus.COMPLETED

    run(story())
