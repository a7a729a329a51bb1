"""An actor that has nothing to do leaves, and whoever waited for it hears of that."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator.errors import InputInvalid, IntegrityError
from orchestrator.ids import SagaId
from orchestrator.limits import ATTRIBUTES_MAX
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Started, passivation
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

OTHER = SagaId("other")
PLAN = plan(step("a", idempotent=True), step("b", "a", idempotent=True))


def well(_call: CallRequest) -> Report:
    return report()


def refuses_b_and_the_undo(call: CallRequest) -> Report:
    is_refused = call.step == "b" or call.operation is Operation.COMPENSATE
    return report("INVALID_ARGUMENT" if is_refused else "OK")


def test_a_start_that_is_refused_leaves_its_id_free() -> None:
    async def story() -> None:
        process = Process(well, PLAN)
        async with process.orchestrator.running():
            with pytest.raises(InputInvalid):
                await process.start(attributes={f"name{number}": number for number in range(ATTRIBUTES_MAX + 1)})
            assert process.orchestrator.stats().active_actors == 0
            async with asyncio.timeout(60):
                assert (await process.start()).created

    run(story())


def test_starts_of_an_id_that_ended_long_ago_are_all_answered_when_they_come_at_once() -> None:
    async def story() -> None:
        before = Process(well, PLAN)
        async with before.orchestrator.running():
            await before.start()
            await before.ended()
        process = before.heir()
        async with process.orchestrator.running():
            process.journal.gate.clear()
            starts: list[asyncio.Task[Started]] = []
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                starts += [tasks.create_task(process.start()) for _ in range(3)]
                await until(lambda: process.orchestrator.stats().active_actors == 1)
                process.journal.gate.set()
            assert [start.result().created for start in starts] == [False] * 3

    run(story())


def test_a_saga_that_a_cancel_finds_already_stuck_does_not_stay_in_memory() -> None:
    async def story() -> None:
        process = Process(refuses_b_and_the_undo, PLAN)
        async with process.orchestrator.running():
            await process.start()
            assert (await process.ended()).status is SagaStatus.NEEDS_ATTENTION
            for _ in range(2):
                state = await process.orchestrator.cancel("s", "again")
                assert state.status is SagaStatus.NEEDS_ATTENTION
                await until(lambda: process.orchestrator.stats().active_actors <= 1)
                await asyncio.sleep(600)  # poll: no fact, past every timer of the saga, on virtual time
                assert process.orchestrator.stats().active_actors == 0

    run(story())


def test_of_ended_sagas_as_many_records_are_kept_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(passivation, "ENDED_RECORDS_KEPT_MAX", 20)
        process = Process(well, PLAN)
        async with process.orchestrator.running():
            records = 0
            for name in ("s1", "s2", "s3", "s4"):
                await process.start(name)
                records = (await process.ended(name)).version
            assert 2 * records <= 20 < 3 * records
            reads = process.journal.reads
            for name, is_read in (("s4", 0), ("s3", 0), ("s2", 1), ("s1", 1)):
                assert (await process.orchestrator.get(name)).status is SagaStatus.COMPLETED
                reads += is_read
                assert process.journal.reads == reads, name
            monkeypatch.setattr(passivation, "ENDED_RECORDS_KEPT_MAX", 1)
            await process.start("s5")
            await process.ended("s5")
            reads = process.journal.reads
            await process.orchestrator.get("s5")
            assert process.journal.reads == reads, "the last one is kept, however long"

    run(story())


def test_the_records_of_one_saga_under_the_name_of_another_are_refused() -> None:
    async def story() -> None:
        before = Process(well, PLAN)
        async with before.orchestrator.running():
            await before.start()
            await before.ended()
        process = before.heir()
        contents = process.journal._contents
        contents.streams[OTHER] = list(contents.streams[SagaId("s")])
        contents.rows[OTHER] = replace(contents.rows[SagaId("s")], saga_id=OTHER)
        async with process.orchestrator.running():
            with pytest.raises(IntegrityError, match="saga 'other' begins as saga 's': its records are another's"):
                await process.orchestrator.get(OTHER)

    run(story())
