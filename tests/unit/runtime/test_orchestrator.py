"""The verbs over the real actors, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from orchestrator.errors import (
    AlreadyExists,
    Draining,
    IntegrityError,
    JournalCorrupted,
    JournalUnavailable,
    NotFound,
    Rejected,
)
from orchestrator.ids import SagaId
from orchestrator.limits import CRASHES_MAX, PASSIVATION_WAIT_S_MIN
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append, Record
from orchestrator.runtime import ConflictPolicy, Until
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.events import CancelRequested, Report
from orchestrator.saga.plan import ExpressionFailure, Facts
from orchestrator.testing.shorthand import fails, plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.runtime import TURN_S, Process, run, until

PLAN = plan(step("a", idempotent=True), step("b", "a", idempotent=True))


def well(_call: CallRequest) -> Report | None:
    return report()


def silent(_call: CallRequest) -> Report | None:
    return None


def on_virtual_time(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(story)
    def test() -> None:
        run(story())

    return test


# --- starting ------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_starting_twice_is_starting_once() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():
        first, second = await process.start(), await process.start()
        assert (first.created, second.created) == (True, False)
        await process.ended()
        assert (await process.start()).state.status is SagaStatus.COMPLETED


@on_virtual_time
async def test_of_many_starts_at_once_one_creates_and_all_are_answered_alike() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        started = await asyncio.gather(*(process.start() for _ in range(20)))
        assert sum(each.created for each in started) == 1
        assert len({each.state.uid for each in started}) == 1
        assert len(process.hands.begun) == 1


@on_virtual_time
async def test_the_same_id_with_another_input_is_refused_unless_the_caller_takes_what_there_is() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        first = await process.start()
        with pytest.raises(AlreadyExists, match="another definition, input or attributes"):
            await process.start(data=b"other")
        with pytest.raises(AlreadyExists, match="another request"):
            await process.start(conflict=ConflictPolicy.FAIL)
        taken = await process.start(data=b"other", conflict=ConflictPolicy.USE_EXISTING)
        assert not taken.created
        assert taken.state.uid == first.state.uid


@on_virtual_time
async def test_an_attribute_that_is_true_is_not_one_that_is_1() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        for name, kept, given in (("a", True, 1), ("b", 0, False), ("c", 1.0, True)):
            await process.start(name, attributes={"urgent": kept})
            assert not (await process.start(name, attributes={"urgent": kept})).created
            with pytest.raises(AlreadyExists, match="attributes"):
                await process.start(name, attributes={"urgent": given})


@on_virtual_time
async def test_a_request_id_names_one_saga_for_ever() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():
        first = await process.start("", request_id="r1")
        again = await process.start("", request_id="r1")
        assert (again.created, again.saga_id) == (False, first.saga_id)
        with pytest.raises(AlreadyExists, match="r1"):
            await process.start("another", request_id="r1")
        both = await asyncio.gather(*(process.start("", request_id="r2") for _ in range(5)))
        assert len({each.saga_id for each in both}) == 1
        assert (await process.start(first.saga_id, request_id="r1", conflict=ConflictPolicy.FAIL)).created is False


@on_virtual_time
async def test_a_request_is_answered_as_before_when_its_plan_was_put_aside_meanwhile() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():
        first = await process.start("", request_id="r1")
        process.catalogue.put_aside()
        again = await process.start("", request_id="r1")
        assert (again.created, again.saga_id) == (False, first.saga_id)


@on_virtual_time
async def test_an_unknown_saga_is_not_found() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():
        for ask in (
            process.orchestrator.get("x"),
            process.orchestrator.cancel("x", ""),
            process.orchestrator.events("x", 0, 9),
        ):
            with pytest.raises(NotFound):
                await ask


# --- the journal ---------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_what_many_sagas_decide_in_one_turn_is_one_commit() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        process.journal.gate.clear()
        first = asyncio.ensure_future(process.start("s0"))  # noqa: TID251  (gathered below)
        await until(lambda: process.orchestrator.stats().active_actors == 1)
        await asyncio.sleep(TURN_S)  # poll: one turn: the committer takes the first group
        rest = [asyncio.ensure_future(process.start(f"s{number}")) for number in range(1, 50)]  # noqa: TID251
        await until(lambda: process.orchestrator.stats().active_actors == 50)
        process.journal.gate.set()
        await asyncio.gather(first, *rest)
    assert process.journal.groups == [1, 49]


@on_virtual_time
async def test_a_failing_journal_ends_all_acknowledging_at_once() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start("before")
        process.journal.die_at, process.journal.loses = 2, True
        results = await asyncio.gather(*(process.start(f"s{n}") for n in range(3)), return_exceptions=True)
        assert [type(each) for each in results] == [JournalUnavailable] * 3
        with pytest.raises(JournalUnavailable):
            await process.start("later")
        with pytest.raises(JournalUnavailable):
            await process.orchestrator.cancel("before", "")
        assert len(process.failures) == 1
        assert process.orchestrator.failure is not None
    heir = process.heir()
    assert (await heir.orchestrator.get("before")).version > 0
    with pytest.raises(NotFound):
        await heir.orchestrator.get("s0")


@on_virtual_time
async def test_nothing_is_sent_before_its_record_is_durable() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        process.journal.gate.clear()
        starting = asyncio.ensure_future(process.start())  # noqa: TID251  (awaited below)
        await until(lambda: process.orchestrator.stats().active_actors == 1)
        for _ in range(20):
            await asyncio.sleep(TURN_S)  # poll: turns in which a call would have been begun
        assert not process.hands.begun
        assert not starting.done()
        process.journal.gate.set()
        await starting
        assert len(process.hands.begun) == 1


@on_virtual_time
async def test_another_writer_of_the_stream_ends_the_actor_and_not_the_process() -> None:
    """So it will be where several processes share a store and a saga has moved from one to another."""
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start()
        row = await process.journal.row(SagaId("s"))
        assert row is not None
        later = process.journal.epoch + 1
        asked = CancelRequested(at=row.updated_at, reason="elsewhere")
        record = Record(version=row.version + 1, epoch=later, event=asked)
        moved = replace(row, version=record.version, epoch=later)
        append = Append(saga_id=row.saga_id, expected_version=row.version, epoch=later, records=(record,), row=moved)
        assert list(await process.journal.append([append])) == [None]
        process.hands.open[0].settle(report())
        await until(lambda: process.orchestrator.stats().active_actors == 0)
        assert process.orchestrator.failure is None
        assert (await process.journal.row(SagaId("s"))) == moved


@on_virtual_time
async def test_a_process_whose_store_was_opened_by_another_one_stops() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start()
        usurper = process.heir()
        async with usurper.orchestrator.running():
            await until(lambda: usurper.hands.begun)
            process.hands.open[0].settle(report())
            await until(lambda: process.failures)
            assert (await usurper.orchestrator.get("s")).epoch == usurper.journal.epoch


# --- actors --------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_an_ended_saga_leaves_memory_and_is_still_known() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():
        await process.start()
        assert (await process.ended()).status is SagaStatus.COMPLETED
        await until(lambda: process.orchestrator.stats().active_actors == 0)
        assert (await process.orchestrator.get("s")).status is SagaStatus.COMPLETED
        with pytest.raises(Rejected, match="COMPLETED"):
            await process.orchestrator.cancel("s", "")


@on_virtual_time
async def test_a_sleeping_saga_is_woken_for_its_timer() -> None:
    calm = retry(9, initial_s=4 * PASSIVATION_WAIT_S_MIN, max_s=4 * PASSIVATION_WAIT_S_MIN)
    answers = [report("UNAVAILABLE"), report()]
    process = Process(lambda _call: answers.pop(0), plan(step("a", idempotent=True, policy=calm)))
    async with process.orchestrator.running():
        began_at = process.clock.now()
        await process.start()
        await until(lambda: process.orchestrator.stats().active_actors == 0)
        assert (await process.ended()).status is SagaStatus.COMPLETED
        assert process.clock.now() - began_at == pytest.approx(2 * PASSIVATION_WAIT_S_MIN, abs=1)


@on_virtual_time
async def test_many_messages_for_a_sleeping_saga_read_its_records_once() -> None:
    calm = retry(9, initial_s=100.0, max_s=100.0)
    process = Process(lambda _call: report("UNAVAILABLE"), plan(step("a", idempotent=True, barrier=True, policy=calm)))
    async with process.orchestrator.running():
        name = (await process.start()).saga_id
        await until(lambda: process.orchestrator.stats().active_actors == 0)
        reads = process.journal.reads
        actors = await asyncio.gather(*(process.orchestrator._directory.actor(name) for _ in range(10)))
        assert process.journal.reads == reads + 1
        assert len(set(map(id, actors))) == 1


@on_virtual_time
async def test_a_call_opened_and_stopped_in_one_turn_is_begun_and_then_aborted() -> None:
    process = Process(silent, plan(*(step(f"s{number}") for number in range(5)), step("bad", request=fails)))
    process.hands.answers_aborts = False
    async with process.orchestrator.running():
        await process.start()
        assert [call.was_aborted for call in process.hands.open] == [True] * 5


@on_virtual_time
async def test_a_saga_whose_turn_fails_hinders_no_other_and_is_set_aside_in_the_end() -> None:
    def bug(facts: Facts) -> Payload | ExpressionFailure:
        if facts.saga_id == "bad":
            raise ZeroDivisionError("a bug in a rendered expression")
        return Payload("Do", b"")

    process = Process(well, plan(step("a", idempotent=True), step("b", "a", request=bug)))
    async with process.orchestrator.running():
        await process.start("bad")
        await process.start("good")
        assert (await process.ended("good")).status is SagaStatus.COMPLETED
        await process.ended("bad", timeout_s=30)
        assert process.orchestrator.stats().quarantined == 1
        with pytest.raises(IntegrityError, match=f"{CRASHES_MAX} times"):
            await process.orchestrator.cancel("bad", "")


@on_virtual_time
async def test_a_saga_that_cannot_be_read_is_set_aside_and_the_rest_recovers() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start("bad")
        await process.start("good")
    stream = process.journal._contents.streams[(await process.orchestrator.get("bad")).saga_id]
    stream[1] = (2, 1, "NoSuchEvent", b"")
    heir = process.heir()
    heir.hands.answer = well
    async with heir.orchestrator.running():
        assert (await heir.ended("good")).status is SagaStatus.COMPLETED
        with pytest.raises(JournalCorrupted):
            await heir.orchestrator.get("bad")
        await until(lambda: heir.orchestrator.stats().quarantined == 1)


@on_virtual_time
async def test_a_wall_clock_set_back_does_not_lose_a_timer() -> None:
    answers = [report("UNAVAILABLE"), report(), report()]
    process = Process(lambda _call: answers.pop(0), PLAN)
    async with process.orchestrator.running():
        await process.start()
        await until(lambda: not process.hands.open)
        process.clock.step_s = -3.0
        assert (await process.ended()).status is SagaStatus.COMPLETED


# --- watching, waiting, stopping -------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_watch_sees_every_record_once_and_in_order_while_they_are_made() -> None:
    process = Process(well, PLAN)
    async with process.orchestrator.running():

        async def watched(after: int) -> list[int]:
            pages = [page async for page in process.orchestrator.watch("s", after)]
            return [record.version for page in pages for record in page]

        await process.start()
        seen, tail = await asyncio.gather(watched(0), watched(3))
        last = (await process.ended()).version
        assert seen == list(range(1, last + 1))
        assert tail == list(range(4, last + 1))


@on_virtual_time
async def test_a_wait_ends_with_the_change_or_with_its_time() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        state = (await process.start()).state
        began_at = process.clock.now()
        same = await process.orchestrator.wait("s", Until.CHANGE, state.version, 7.0)
        assert same.version == state.version
        assert process.clock.now() - began_at == pytest.approx(7.0, abs=0.01)
        waiting = asyncio.ensure_future(process.orchestrator.wait("s", Until.CHANGE, state.version, 60))  # noqa: TID251
        await asyncio.sleep(TURN_S)  # poll: one turn: the wait begins
        process.hands.open[0].settle(report())
        assert (await waiting).version > state.version


@on_virtual_time
async def test_a_draining_process_records_what_comes_in_and_begins_nothing() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start()
        draining = asyncio.ensure_future(process.orchestrator.drain(20.0))  # noqa: TID251  (awaited below)
        await until(lambda: process.orchestrator.is_draining)
        with pytest.raises(Draining):
            await process.start("late")
        with pytest.raises(Draining):
            await process.orchestrator.wait("s", Until.TERMINAL, 0, 60)
        process.hands.open[0].settle(report())
        await draining
        assert len(process.hands.begun) == 1
        state = await process.orchestrator.get("s")
        assert state.steps["a"].status is StepStatus.APPLIED  # type: ignore[index]  # a step id is a str
    heir = process.heir()
    heir.hands.answer = well
    async with heir.orchestrator.running():
        assert (await heir.ended()).status is SagaStatus.COMPLETED


@on_virtual_time
async def test_a_drain_does_not_wait_past_its_grace() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start()
        began_at = process.clock.now()
        await process.orchestrator.drain(3.0)
        assert process.clock.now() - began_at == pytest.approx(3.0, abs=0.1)


@on_virtual_time
async def test_who_asks_after_the_end_is_told_so_instead_of_waiting() -> None:
    process = Process(silent, PLAN)
    async with process.orchestrator.running():
        await process.start()

    with pytest.raises(JournalUnavailable, match="this orchestrator has ended"):
        await process.orchestrator.cancel("s", "too late")
