"""Shards that come and go under a running runtime, on virtual time."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from orchestrator.errors import NotFound, NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Rest
from orchestrator.ports.ownership import shard_of
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaStatus
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import child, sleep, wait
from tests.kit.parts import named as called
from tests.kit.runtime import Process, TappedJournal, run, until
from tests.unit.runtime.deeds import GO, NAMES, PLAN, SHARDS, WAITING, Deeds, hangs, named, well
from tests.unit.runtime.families import CHILD, PARENT, attempts


def test_a_command_at_the_wrong_process_says_whose_it_is_and_changes_nothing() -> None:
    async def story() -> None:
        process = Process(well, PLAN, ownership=Deeds(0))
        async with process.orchestrator.running():
            with pytest.raises(NotOwner) as refused:
                await process.start(named(1))
            assert refused.value.owner == "neighbour:1"
            assert await process.journal.row(SagaId(named(1))) is None
            assert (await process.start(named(0))).created

    run(story())


def test_a_saga_without_a_name_begins_where_it_is_asked_for() -> None:
    async def story() -> None:
        process = Process(well, PLAN, ownership=Deeds(2))
        async with process.orchestrator.running():
            for _ in range(8):
                request = StartRequest(definition="test", input=Payload("Input", b"input"))
                started = await process.orchestrator.start(request)
                row = await process.journal.row(started.saga_id)
                assert row is not None
                assert row.shard == shard_of(started.saga_id, SHARDS) == 2

    run(story())


def test_whoever_does_not_own_a_saga_reads_it_and_waits_for_its_end() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        other = Process(well, PLAN, journal=journal, clock=mine.clock, ownership=Deeds())
        async with AsyncExitStack() as stack:
            for process in (mine, other):
                await stack.enter_async_context(process.orchestrator.running())
            await mine.start()
            assert (await other.orchestrator.get("s")).status is SagaStatus.RUNNING
            waiting = asyncio.create_task(other.orchestrator.wait("s", Until.TERMINAL, 0, 60.0))  # noqa: TID251  # awaited below
            watched: list[int] = []

            async def watch() -> None:
                async for records in other.orchestrator.watch("s", 0):
                    watched.extend(record.version for record in records)

            watching = asyncio.create_task(watch())  # noqa: TID251  # awaited below
            await until(lambda: mine.hands.open and watched)
            mine.hands.open[0].settle(report())
            assert (await waiting).status is SagaStatus.COMPLETED
            await watching
            assert watched == list(range(1, len(watched) + 1))

    run(story())


def test_a_shard_that_is_left_ends_what_is_in_flight_and_the_next_owner_goes_on() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        deeds = Deeds(0, 1, 2, 3)
        two = plan(step("a", idempotent=True), step("b", "a", idempotent=True))
        mine = Process(hangs, two, journal=journal, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            shard = shard_of(SagaId("s"), SHARDS)
            leaving = asyncio.create_task(mine.orchestrator.leave([shard], 10.0))  # noqa: TID251  # awaited below
            await asyncio.sleep(0.05)  # poll: virtual time, in which nothing may happen
            with pytest.raises(NotOwner):
                await mine.start(next(name for name in NAMES[1:] if shard_of(SagaId(name), SHARDS) == shard))
            mine.hands.open[0].settle(report())
            await leaving
            assert [call.step for call in mine.hands.begun] == ["a"], "nothing new is begun in a shard that is left"
            assert mine.orchestrator.stats().active_actors == 0
            row = await journal.row(SagaId("s"))
            assert row is not None
            assert row.rest is Rest.AWAKE
            del deeds.held[shard]
            with pytest.raises(NotOwner):
                await mine.orchestrator.cancel("s", "too late")
            heir = Process(well, mine.plans[0], journal=journal, clock=mine.clock, ownership=Deeds(shard, epoch=2))
            async with heir.orchestrator.running():
                ended = await heir.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert [call.step for call in heir.hands.begun] == ["b"], "what was applied is not asked again"

    run(story())


def test_what_was_not_begun_in_a_shard_that_is_left_begins_when_it_is_taken_back_and_its_children_go_on() -> None:
    """Nobody else was there meanwhile: the epoch is as it was, and only a child is open, which nobody interrupted."""

    async def story() -> None:
        parent = plan(step("a", idempotent=True), step("b", "a", idempotent=True), child("c"))
        mine = Process(hangs, parent, called("child", WAITING), ownership=Deeds(*range(SHARDS)))
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open and mine.orchestrator.stats().active_actors == 2)
            shard = shard_of(SagaId("s"), SHARDS)
            leaving = asyncio.create_task(mine.orchestrator.leave([shard], 10.0))  # noqa: TID251  # awaited below
            await asyncio.sleep(0.05)  # poll: virtual time, in which nothing may happen
            mine.hands.open[0].settle(report())
            await leaving
            assert mine.orchestrator.stats().active_actors == 0
            assert not mine.hands.open
            mine.orchestrator.took([shard])
            await until(lambda: mine.hands.open)
            assert [call.request.step for call in mine.hands.open] == ["b"], "while the child waits"
            await mine.orchestrator.signal("s.c", "go", GO)
            mine.hands.open[0].settle(report())
            ended = await mine.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert attempts(ended) == 1

    run(story())


def test_a_shard_that_is_left_is_left_after_the_grace_though_a_call_hangs() -> None:
    async def story() -> None:
        mine = Process(hangs, PLAN, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            began = mine.clock.monotonic()
            await mine.orchestrator.leave(range(SHARDS), 3.0)
            assert 2.9 <= mine.clock.monotonic() - began < 4.0
            assert not mine.orchestrator.stats().active_actors

    run(story())


def test_a_lost_shard_is_let_go_at_once_and_its_late_report_writes_nothing() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            groups = len(mine.journal.groups)
            mine.hands.answers_aborts = False
            (call,) = mine.hands.open
            deeds.held.clear()
            mine.orchestrator.lost(range(SHARDS))
            assert call.was_aborted
            call.settle(report())
            await asyncio.sleep(1.0)  # poll: virtual time, in which nothing may happen
            assert len(mine.journal.groups) == groups
            assert mine.orchestrator.stats().active_actors == 0

    run(story())


def test_trust_that_ends_unnoticed_ends_the_actor_at_its_next_turn_and_nothing_is_appended() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            groups = len(mine.journal.groups)
            deeds.held.clear()  # nobody has told the runtime
            mine.hands.open[0].settle(report())
            await until(lambda: not mine.orchestrator.stats().active_actors)
            assert len(mine.journal.groups) == groups

    run(story())


def test_whoever_asks_when_trust_has_ended_unnoticed_is_told_whose_the_saga_is() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        process = Process(hangs, PLAN, ownership=deeds)
        async with process.orchestrator.running():
            await process.start()
            deeds.held.clear()
            async with asyncio.timeout(1.0):
                with pytest.raises(NotOwner, match="neighbour"):
                    await process.orchestrator.cancel("s", "enough")

    run(story())


def test_what_was_durable_when_trust_ended_is_answered_but_no_call_is_begun() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(well, PLAN, ownership=deeds)
        async with mine.orchestrator.running():
            mine.journal.gate.clear()
            starting = asyncio.create_task(mine.start())  # noqa: TID251  # awaited below
            await until(lambda: mine.orchestrator.stats().active_actors)
            deeds.held.clear()
            mine.journal.gate.set()
            assert (await starting).created, "it is in the journal, so it is acknowledged"
            assert mine.hands.begun == []
            assert mine.orchestrator.stats().active_actors == 0

    run(story())


def test_a_command_in_a_shard_that_is_lost_before_it_is_decided_may_be_asked_elsewhere() -> None:
    async def story() -> None:
        deeds = Deeds(0, 1, 2, 3)
        mine = Process(hangs, plan(wait("w"), step("a", idempotent=True)), ownership=deeds)
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            mine.journal.gate.clear()
            first = asyncio.create_task(mine.orchestrator.signal("s", "go", GO, "r1"))  # noqa: TID251  # awaited below
            await asyncio.sleep(0)  # one turn: the signal is on its way
            second = asyncio.create_task(mine.orchestrator.cancel("s", "enough"))  # noqa: TID251  # awaited below
            await until(lambda: mine.orchestrator.stats().active_actors)
            await asyncio.sleep(0.1)  # poll: virtual time, in which nothing may happen
            deeds.held.clear()
            mine.orchestrator.lost(range(SHARDS))
            mine.journal.gate.set()
            assert (await first).signals, "it was on its way to the journal, and has arrived"
            with pytest.raises(NotOwner):
                await second

    run(story())


def test_a_child_lies_in_its_parents_shard_whatever_its_name() -> None:
    async def story() -> None:
        process = Process(well, PARENT, CHILD, ownership=Deeds(0, 1, 2, 3))
        async with process.orchestrator.running():
            for name in NAMES:
                await process.start(name)
                await process.ended(name)
                row = await process.journal.row(SagaId(f"{name}.c"))
                assert row is not None
                assert row.shard == shard_of(SagaId(name), SHARDS)

    run(story())


def test_sleepers_of_other_shards_are_left_to_their_owners() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        sleepy = plan(sleep("z", for_s=60.0))
        mine = Process(well, sleepy, journal=journal, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            for name in NAMES:
                await mine.start(name)
        other = Process(well, sleepy, journal=journal, clock=mine.clock, ownership=Deeds(0, 1, epoch=2))
        async with other.orchestrator.running():
            await asyncio.sleep(300.0)  # poll: virtual time, in which nothing may happen
            ends = {name: (await other.orchestrator.get(name)).status for name in NAMES}
            owned = {name for name in NAMES if shard_of(SagaId(name), SHARDS) in (0, 1)}
            assert {name for name, status in ends.items() if status is SagaStatus.COMPLETED} == owned

    run(story())


def test_a_saga_that_is_active_is_cancelled_also_while_its_shard_is_handed_over() -> None:
    async def story() -> None:
        mine = Process(hangs, PLAN, ownership=Deeds(0, 1, 2, 3))
        async with mine.orchestrator.running():
            await mine.start()
            await until(lambda: mine.hands.open)
            leaving = asyncio.create_task(mine.orchestrator.leave(range(SHARDS), 60.0))  # noqa: TID251  # awaited below
            await asyncio.sleep(0.05)  # poll: virtual time, in which nothing may happen
            state = await mine.orchestrator.cancel("s", "enough")
            assert state.cause is not None
            await leaving
            assert not mine.orchestrator.stats().active_actors

    run(story())


def test_a_signal_with_a_start_that_names_a_child_goes_to_the_child_from_either_owner() -> None:
    """A child lies with its parent: the owner of the shard that its name says has no say in it."""

    async def story() -> None:
        journal = TappedJournal().tap()
        waiting = called("child", plan(wait("w")))
        parent = next(name for name in NAMES if shard_of(SagaId(name), SHARDS) != shard_of(SagaId(f"{name}.c"), SHARDS))
        home = shard_of(SagaId(parent), SHARDS)
        mine = Process(well, PARENT, waiting, journal=journal, ownership=Deeds(home))
        others = Deeds(*(shard for shard in range(SHARDS) if shard != home))
        other = Process(well, PARENT, waiting, journal=journal, clock=mine.clock, ownership=others)
        request = StartRequest(definition="child", input=Payload("Input", b"input"), saga_id=f"{parent}.c")
        async with mine.orchestrator.running(), other.orchestrator.running():
            await mine.start(parent)
            await until(lambda: f"{parent}.c" in journal._contents.rows)
            with pytest.raises(NotOwner) as refused:
                await other.orchestrator.signal_with_start(request, "go", GO, "r1")
            assert refused.value.shard == home, "it is sent to the owner of the child, not to itself"
            started = await mine.orchestrator.signal_with_start(request, "go", GO, "r1")
            assert not started.created
            assert (await mine.ended(parent)).status is SagaStatus.COMPLETED

    run(story())


def test_who_waits_elsewhere_for_a_saga_that_is_forgotten_is_told() -> None:
    async def story() -> None:
        journal = TappedJournal().tap()
        mine = Process(hangs, PLAN, journal=journal, ownership=Deeds(0, 1, 2, 3))
        other = Process(well, PLAN, journal=journal, clock=mine.clock, ownership=Deeds())
        async with mine.orchestrator.running(), other.orchestrator.running():
            await mine.start()
            waiting = asyncio.create_task(other.orchestrator.wait("s", Until.TERMINAL, 0, 600.0))  # noqa: TID251  # awaited below
            await until(lambda: mine.hands.open)
            await asyncio.sleep(1.0)  # poll: virtual time, in which it is looked at
            del journal._contents.rows[SagaId("s")]
            with pytest.raises(NotFound, match="forgotten"):
                await waiting

    run(story())
