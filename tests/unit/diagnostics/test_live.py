"""A dump of the real runtime: the fullest and oldest first, all of them counted, and what is planted is suspect."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest

from orchestrator.diagnostics import LiveProcess
from orchestrator.errors import Overloaded
from orchestrator.frozen import changed
from orchestrator.ids import SagaId
from orchestrator.limits import CALL_OVERDUE_S, DUMP_SLICE, SUSPECT_COMMIT_S, SUSPECT_IDLE_S
from orchestrator.ports.diagnostics import ActorFacts, CallFacts, Dump, Figure, Profile, StallFacts
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime.actor import Actor
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import Process, run, until

PLAN = plan(step("a", idempotent=True), step("b", "a", idempotent=True))
STALL = StallFacts(at=1.0, held_s=0.3, culprit="here", saga_id="", stack=())


class Others:
    """Every other part of a process, as the test says."""

    total = 7
    latest: Sequence[StallFacts] = (STALL, changed(STALL, at=0.5))

    def __init__(self, process: Process | None = None, actors: Iterable[ActorFacts] = ()) -> None:
        self._process = process
        self._actors = actors

    def counting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def actors(self) -> Iterator[ActorFacts]:
        return iter(self._actors)

    def calls(self) -> Iterator[CallFacts]:
        for one in self._process.hands.open if self._process is not None else ():
            call = one.request
            yield CallFacts(
                saga_id=call.saga_id,
                step=call.step,
                operation=call.operation.value,
                attempt=call.attempt,
                target=call.target,
                method=call.method,
                phase="sent",
                begun_at=0.0,
                deadline_at=call.deadline_at,
            )

    def figures(self) -> Sequence[Figure]:
        return [Figure(name=name, labels={"x": "y"}, value=1.0) for name in ("saga_a", "saga_b_total", "process_c")]

    async def sample(self, seconds: float, hz: float) -> Profile:
        raise Overloaded("PROFILE_RUNNING", f"asked for {seconds:g} s at {hz:g}", 1.0)


def live(process: Process, actors: Iterable[ActorFacts] | None = None) -> LiveProcess:
    others = Others(process, actors or ())
    return LiveProcess(
        name="one",
        clock=process.clock,
        acting=process.orchestrator if actors is None else others,
        calling=others,
        counting=others,
        sampler=others,
        stalls=others,
    )


def silent(_call: CallRequest) -> Report | None:
    return None


def told(story: Callable[[Process, LiveProcess], Coroutine[object, object, Dump]]) -> Dump:
    """Let a story run in a process where no service answers, and return the dump that it takes."""

    async def inside() -> Dump:
        process = Process(silent, PLAN)
        async with process.orchestrator.running():
            return await story(process, live(process))

    return run(inside())


async def pass_time(process: Process, seconds: float) -> None:
    until_at = process.clock.now() + seconds
    await asyncio.sleep(seconds)  # poll: virtual, it takes no time
    await until(lambda: process.clock.now() >= until_at)


def test_a_process_with_nothing_wrong_has_no_suspect() -> None:
    async def story(process: Process, process_itself: LiveProcess) -> Dump:
        await process.start()
        await until(lambda: process.hands.open)
        await pass_time(process, process.hands.open[0].request.deadline_at - process.clock.now() + CALL_OVERDUE_S - 1)
        return await process_itself.dump(10)

    dump = told(story)
    assert (dump.actors_total, dump.calls_total, dump.timers_total) == (1, 1, 1)
    assert dump.suspects == []
    assert (dump.stalls, dump.stalls_total) == (Others.latest, 7)


def test_a_call_that_never_reports_is_suspect() -> None:
    async def story(process: Process, process_itself: LiveProcess) -> Dump:
        await process.start("lost")
        await until(lambda: process.hands.open)
        await pass_time(process, process.hands.open[0].request.deadline_at - process.clock.now() + CALL_OVERDUE_S + 1)
        return await process_itself.dump(10)

    (suspect,) = told(story).suspects
    assert (suspect.kind, suspect.name) == ("call", "service/test.Service/a")
    assert "saga lost for one" in suspect.why


def test_a_saga_that_is_kept_in_memory_is_suspect() -> None:
    async def story(process: Process, process_itself: LiveProcess) -> Dump:
        await process.start("kept")
        for _ in range(2):
            await until(lambda: process.hands.open)
            process.hands.open[0].settle(report())
        await process.ended("kept")
        directory = process.orchestrator._directory
        await until(lambda: len(directory) == 0)
        state = await process.orchestrator.get("kept")
        directory._enter(Actor(SagaId("kept"), state, process.orchestrator._around, directory))
        await pass_time(process, SUSPECT_IDLE_S - 1)
        assert (await process_itself.dump(10)).suspects == []
        await pass_time(process, 2)
        return await process_itself.dump(10)

    dump = told(story)
    (suspect,) = dump.suspects
    assert (suspect.kind, suspect.name, suspect.count) == ("actor", "test", 1)
    assert (dump.actors[0].status, dump.actors[0].doing) == ("COMPLETED", "idle")


def test_a_store_that_does_not_answer_is_suspect() -> None:
    async def story(process: Process, process_itself: LiveProcess) -> Dump:
        await process.start()
        await until(lambda: process.hands.open)
        process.journal.gate.clear()
        process.hands.open[0].settle(report())
        await pass_time(process, SUSPECT_COMMIT_S + 1)
        dump = await process_itself.dump(10)
        process.journal.gate.set()
        return dump

    (suspect,) = told(story).suspects
    assert suspect.why.startswith("an append has been on its way to the store for 31 s, of saga s for one")


def test_a_task_that_is_stuck_shows_what_it_waits_for_through_every_await() -> None:
    async def forgotten() -> None:
        await asyncio.get_running_loop().create_future()

    async def outer() -> None:
        async with asyncio.timeout(1e6):
            await forgotten()

    async def story(process: Process, process_itself: LiveProcess) -> Dump:
        task = asyncio.get_running_loop().create_task(outer(), name="stuck")
        await asyncio.sleep(0)  # one turn: it waits
        dump = await process_itself.dump(100)
        task.cancel()
        return dump

    tasks = told(story).tasks
    (stuck,) = (each for each in tasks if each.name == "stuck")
    assert not [each for each in tasks if "told" in each.coroutine], "the task that looks is no part of what it sees"
    assert [line.rpartition(".")[2] for line in stuck.stack] == ["outer", "forgotten"]


def test_lists_are_cut_with_the_fullest_and_oldest_first_and_totals_are_not() -> None:
    async def story() -> Dump:
        process = Process(silent, PLAN)
        now = process.clock.now()
        facts = ActorFacts(
            saga_id="",
            definition="d",
            status="RUNNING",
            version=1,
            shard=0,
            mailbox=0,
            doing="calls",
            since_at=now,
            activated_at=now,
            calls=1,
            wake_at=None,
            timers=2,
        )
        many = [changed(facts, saga_id=f"s{number}", since_at=now - number) for number in range(3 * DUMP_SLICE)]
        many[5] = changed(many[5], mailbox=4)
        return await live(process, many).dump(3)

    dump = run(story())
    assert [each.saga_id for each in dump.actors] == ["s5", f"s{3 * DUMP_SLICE - 1}", f"s{3 * DUMP_SLICE - 2}"]
    assert (dump.actors_total, dump.timers_total) == (3 * DUMP_SLICE, 6 * DUMP_SLICE)


def test_others_have_their_turns_while_much_is_looked_at() -> None:
    async def story() -> int:
        process, turns = Process(silent, PLAN), 0
        facts = ActorFacts(
            saga_id="s",
            definition="d",
            status="RUNNING",
            version=1,
            shard=0,
            mailbox=0,
            doing="calls",
            since_at=0.0,
            activated_at=0.0,
            calls=1,
            wake_at=None,
            timers=0,
        )
        dumping = asyncio.get_running_loop().create_task(live(process, [facts] * (10 * DUMP_SLICE)).dump(10))
        while not dumping.done():
            turns += 1
            await asyncio.sleep(0)  # one turn
        return turns

    assert run(story()) >= 10


def test_ten_thousand_sagas_and_as_many_tasks_hold_the_loop_for_less_than_twenty_milliseconds() -> None:
    async def story() -> tuple[Dump, float]:
        process, loop = Process(silent, PLAN), asyncio.get_running_loop()
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: process.hands.open)
            directory, around = process.orchestrator._directory, process.orchestrator._around
            model = directory._active[SagaId("s")]
            for number in range(10_000):
                actor = Actor(SagaId(f"s{number}"), model.state, around, directory)
                actor._performed, actor._timers = model._performed, model._timers
                directory._enter(actor)
            event = asyncio.Event()
            tasks = [loop.create_task(event.wait()) for _ in range(10_000)]
            await asyncio.sleep(0)  # one turn: all of them wait
            gc.collect()
            gc.freeze()  # a collection of what others left is no part of a dump
            held_s, last = 0.0, time.thread_time()  # of the processor: neighbours do not count
            dumping = loop.create_task(live(process).dump(100))
            while not dumping.done():
                await asyncio.sleep(0)  # one turn
                held_s, last = max(held_s, time.thread_time() - last), time.thread_time()
            gc.unfreeze()
            event.set()
            await asyncio.wait(tasks)
            return dumping.result(), held_s

    dump, held_s = run(story())
    assert (dump.actors_total, dump.tasks_total > 10_000) == (10_001, True)
    print(f"the longest hold: {held_s * 1e3:.1f} ms of the processor")
    assert held_s < 0.02


def test_figures_are_those_that_begin_as_asked() -> None:
    async def story() -> None:
        process = live(Process(silent, PLAN), ())
        assert [each.name for each in process.figures([])] == ["saga_a", "saga_b_total", "process_c"]
        assert [each.name for each in process.figures(["saga_b", "process_"])] == ["saga_b_total", "process_c"]
        assert process.figures(["nothing"]) == []

    run(story())


def test_a_profile_is_the_samplers_and_so_is_its_refusal() -> None:
    async def story() -> None:
        with pytest.raises(Overloaded, match="asked for 3 s at 50") as refused:
            await live(Process(silent, PLAN), ()).profile(3.0, 50.0)
        assert refused.value.reason == "PROFILE_RUNNING"

    run(story())
