"""What neither an observation nor a look at a variable tells: the loop's lateness, and what the store has to be asked.

The store is asked every few seconds however often Prometheus scrapes, and a scrape never waits for it.
"""

import asyncio
from collections import Counter as Counts
from collections.abc import Awaitable, Callable
from typing import Protocol

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import ATTENTION_ROWS_MAX, LOOP_LAG_SAMPLE_S, SAGA_COUNT_S
from orchestrator.ports.catalogue import Catalogue
from orchestrator.ports.journal import Journal, SearchQuery
from orchestrator.ports.observer import Backlog
from orchestrator.saga import events as ev
from orchestrator.saga.state import TERMINAL, SagaStatus
from orchestrator.telemetry import instruments
from orchestrator.telemetry.instruments import Metric
from orchestrator.telemetry.series import OTHER, Family, Gauge, Histogram

_LIVE = frozenset(SagaStatus) - TERMINAL - {SagaStatus.QUEUED}


class Countable(Journal, Catalogue, Protocol):
    """A store whose sagas and definitions are counted."""


class Sampler:
    """Measures until it is cancelled."""

    def __init__(
        self,
        gauge: Callable[[Metric], Family[Gauge]],
        loop_lag: Histogram,
        actors: Callable[[], float],
        expect: Callable[[str], None],
    ) -> None:
        """`gauge` makes the gauges that are set here; `actors` says how many sagas are in memory.

        `expect` hears of each definition that sagas may be started with.
        """
        self._expect = expect
        self._loop_lag = loop_lag
        self._actors = actors
        self._live = gauge(instruments.SAGAS_LIVE)
        self._sleeping = gauge(instruments.SLEEPING).of()
        self._needing_attention = gauge(instruments.NEEDING_ATTENTION)
        self._runnable = gauge(instruments.RUNNABLE).of()
        self._oldest_runnable = gauge(instruments.OLDEST_RUNNABLE).of()
        self._definitions = gauge(instruments.DEFINITIONS).of()

    async def run(self, store: Countable, backlog: Callable[[], Awaitable[Backlog]]) -> None:
        """Measure for ever. A store that is away for a while is asked again, and what was counted last stands."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample_loop())
            tasks.create_task(self._sample_store(store, backlog))

    async def _sample_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + LOOP_LAG_SAMPLE_S
            await asyncio.sleep(LOOP_LAG_SAMPLE_S)
            self._loop_lag.observe(max(0.0, loop.time() - due_at))

    async def _sample_store(self, store: Countable, backlog: Callable[[], Awaitable[Backlog]]) -> None:
        while True:
            try:
                await self._count(store)
                waiting = await backlog()
                self._runnable.set(waiting.runnable)
                self._oldest_runnable.set(waiting.oldest_age_s)
            except JournalUnavailable:
                if store.failed is not None:
                    return  # the process is about to stop, and says so elsewhere
            await asyncio.sleep(SAGA_COUNT_S)

    async def _count(self, store: Countable) -> None:
        counts = await store.count(SearchQuery(statuses=_LIVE), group_by="status")
        asking = counts.get(SagaStatus.NEEDS_ATTENTION.value, 0)
        reasons = await _reasons(store, asking) if asking else Counts[str]()
        for status in _LIVE:
            self._live.of(status.value).set(counts.get(status.value, 0))
        self._sleeping.set(max(0, sum(counts.values()) - self._actors()))
        self._needing_attention.clear()
        for reason in (*ev.AttentionReason, OTHER):
            self._needing_attention.of(reason).set(reasons[reason])
        definitions = await store.active()
        self._definitions.set(len(definitions))
        for definition in definitions:
            self._expect(definition)


async def _reasons(journal: Journal, asking: int) -> "Counts[str]":
    """Count the sagas that ask for a person by reason, one of several reasons each; past a bound as `other`."""
    query = SearchQuery(statuses=frozenset({SagaStatus.NEEDS_ATTENTION}), limit=ATTENTION_ROWS_MAX)
    rows = await journal.search(query)
    found = Counts[str]()
    for row in rows:
        found.update(reason for reason in row.attention.split(",") if reason)
    found[OTHER] += max(0, asking - len(rows))
    return found
