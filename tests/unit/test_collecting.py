"""The collector of cycles looks at everything only where that is short."""

import asyncio
import gc

import pytest

from orchestrator.bootstrap import collecting
from orchestrator.limits import GC_CONTAINERS, GC_WHOLE_ACTORS_MAX, GC_WHOLE_S
from tests.kit.runtime import run


def test_everything_is_looked_at_now_and_then_unless_many_sagas_are_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    awake, looks = [0], list[float]()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(gc, "collect", lambda: looks.append(loop.time()))
        working = loop.create_task(collecting.collect_in_quiet(lambda: awake[0]))
        await asyncio.sleep(2.5 * GC_WHOLE_S)  # poll: virtual time, in which nothing else happens
        awake[0] = GC_WHOLE_ACTORS_MAX + 1
        await asyncio.sleep(2 * GC_WHOLE_S)  # poll: as above
        awake[0] = GC_WHOLE_ACTORS_MAX
        await asyncio.sleep(GC_WHOLE_S)  # poll: as above
        working.cancel()

    run(story())
    assert looks == pytest.approx([GC_WHOLE_S, 2 * GC_WHOLE_S, 5 * GC_WHOLE_S])


def test_by_itself_the_collector_never_looks_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: asked.append(given))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    was_on = gc.isenabled()
    collecting.calm_collector()
    if not was_on:
        gc.disable()
    [(young, middle, whole)] = asked
    assert (young, middle) == (GC_CONTAINERS, 1)
    assert whole >= 2**31 - 1
