"""Who waits for one state of a saga is woken by that one, and knows all that came before it."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from orchestrator.ids import SagaId
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Until, orchestrator
from orchestrator.runtime.watchers import Watch, Watchers
from orchestrator.saga import blank
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report, started
from tests.kit.runtime import Process, run

SAGA = SagaId("s")
HANGING = plan(step("a", idempotent=True), step("b", "a", idempotent=True))


def answers(_call: CallRequest) -> Report:
    return report()


def answers_a(call: CallRequest) -> Report | None:
    return report() if call.step == "a" else None


async def is_woken(watch: Watch) -> bool:
    changed = asyncio.get_running_loop().create_task(watch.changed())
    await asyncio.sleep(0)  # one turn: the waiter begins to wait
    await asyncio.sleep(0)  # one turn: it is woken, if it is
    changed.cancel()
    return changed.done() and not changed.cancelled()


def test_a_state_that_nobody_waits_for_wakes_nobody_and_is_seen_by_the_next_look() -> None:
    async def story() -> None:
        watchers, first, second = Watchers(), blank(HANGING), started(HANGING).state
        with watchers.watching(SAGA, lambda state: state.version >= second.version) as watch:
            watchers.tell(SAGA, first)
            assert not await is_woken(watch)
            assert watch.state is first
            watchers.tell(SAGA, second)
            assert await is_woken(watch)

    run(story())


def test_whatever_else_happens_wakes_everybody() -> None:
    async def story() -> None:
        watchers = Watchers()
        happenings: Sequence[Callable[[], None]] = (
            lambda: watchers.tell(SAGA, None),
            lambda: watchers.moved(SAGA),
            watchers.tell_all,
        )
        for happens in happenings:
            with watchers.watching(SAGA, lambda _: False) as watch:
                happens()
                assert await is_woken(watch)

    run(story())


def test_a_wait_that_runs_out_gives_the_saga_as_it_stands_then() -> None:
    async def story() -> None:
        process = Process(answers_a, HANGING)
        async with process.orchestrator.running():
            begun = await process.start()
            state = await process.orchestrator.wait("s", Until.TERMINAL, 0, 5.0)
            assert state.version > begun.state.version
            assert state == await process.orchestrator.get("s")

    run(story())


def test_whoever_watches_a_long_saga_is_given_it_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(orchestrator, "WATCH_RECORDS_MAX", 2)
        process = Process(answers, HANGING)
        async with process.orchestrator.running():
            await process.start()
            last = (await process.ended()).version
            pages = [[record.version for record in page] async for page in process.orchestrator.watch("s", 0)]
            assert max(map(len, pages)) == 2
            assert [version for page in pages for version in page] == list(range(1, last + 1))

    run(story())
