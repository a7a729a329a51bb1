"""The store's clock, learned before anything is recorded by it."""

import pytest

from orchestrator.cluster.clock import StoreTime
from orchestrator.limits import STORE_TIME_ERROR_S, STORE_TIME_LOOKS_MAX
from orchestrator.ports.leases import View


class SlowStore:
    """A store whose answers take as long as told; all of it on the way there, which is the worst case."""

    def __init__(self, *takes_s: float) -> None:
        self.at = 1_000.0
        self._takes_s = list(takes_s)
        self.looks = 0

    def elapsed(self) -> float:
        return self.at

    async def view(self) -> View:
        self.looks += 1
        self.at += self._takes_s.pop(0) if self._takes_s else 0.0
        return View(at=self.at + 500.0, members=(), shards=())


async def learned(store: SlowStore) -> StoreTime:
    time = StoreTime(store.elapsed, lambda: 0.0)
    await time.learn(store.view)
    return time


async def test_a_first_answer_that_took_seconds_is_not_believed_alone() -> None:
    store = SlowStore(3.0, 2.0, 0.01, 5.0)
    time = await learned(store)
    assert store.looks == 3
    assert time.error_s is not None
    assert time.error_s <= STORE_TIME_ERROR_S
    assert time.wall() == pytest.approx(store.at + 500.0, abs=0.01)


async def test_one_quick_answer_is_enough() -> None:
    store = SlowStore(2 * STORE_TIME_ERROR_S)
    await learned(store)
    assert store.looks == 1


async def test_a_store_that_is_always_slow_is_believed_in_the_end_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = SlowStore(*[2.0] * 100)
    time = await learned(store)
    assert store.looks == STORE_TIME_LOOKS_MAX
    assert time.wall() == pytest.approx(store.at + 500.0, abs=1.0)
    assert "known to 1.0 s only" in caplog.text
