"""The trace reader: follows the journal and exports the spans that its records close.

There is one source of spans, the journal, and one path, live and after a crash: read the records behind the cursor,
fold them into spans, hand them to the outbox, move the cursor when the collector has taken them. `recorded` only says
that there is something to read. Nothing here is awaited by a saga.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from orchestrator.errors import JournalCorrupted, JournalUnavailable, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import (
    TRACE_BACKLOG_S_FIRST,
    TRACE_CURSOR_S,
    TRACE_DRAIN_S_DEFAULT,
    TRACE_PAGE_PAUSE_S,
    TRACE_PAGE_RECORDS_MAX,
    TRACE_POLL_S,
    TRACE_VIEWS_MAX,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Cursors, Journal, PositionedRecord, Record
from orchestrator.ports.observer import Silence
from orchestrator.ports.plans import Plans
from orchestrator.saga.events import SagaCompensated, SagaCompleted, SagaStarted, SagaTerminated
from orchestrator.saga.state import SagaState
from orchestrator.telemetry.names import CURSOR
from orchestrator.telemetry.outbox import BatchSettings, Entry, Outbox, Sender, SpanMeter
from orchestrator.telemetry.project import project
from orchestrator.telemetry.settings import trace_settings
from orchestrator.telemetry.spandata import SpanData
from orchestrator.telemetry.views import SagaView, Shape, shape_of, view_of

_log = logging.getLogger(__name__)


class Tracing(Silence):
    """Started once, drained once. An observer only so that it knows when to look."""

    def __init__(self, sender: Sender, settings: BatchSettings, *, clock: Clock, meter: SpanMeter) -> None:
        """Nothing runs before `start`."""
        self._clock = clock
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._position = 0
        self._saved = 0
        self._outbox: Final = Outbox(sender, settings, clock=clock, meter=meter, on_progress=self._on_progress)
        self._reader: _Reader | None = None
        self._cursors: Cursors | None = None

    @property
    def position(self) -> int:
        """The journal position up to which every span has left; behind it nothing is missing."""
        return max(self._outbox.confirmed, self._saved)

    async def start(self, journal: Journal, cursors: Cursors, plans: Plans) -> None:
        """Begin where the last process left off. `plans` tells which method a step calls."""
        self._loop = asyncio.get_running_loop()
        self._cursors = cursors
        self._saved = await cursors.load(CURSOR)
        if self._saved == 0:
            self._saved = await first_since(journal, self._clock.now() - TRACE_BACKLOG_S_FIRST)
        self._position = self._saved
        self._reader = _Reader(journal, plans)
        self._outbox.start()
        self._wake.set()
        self._task = self._loop.create_task(self._run(self._reader, cursors), name="trace-reader")
        self._task.add_done_callback(_tell_end)

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        self._wake.set()

    async def drain(self, timeout_s: float = TRACE_DRAIN_S_DEFAULT) -> None:
        """Send what is recorded, as far as the time allows, and save the place; call it before the journal closes.

        Returns after `timeout_s` at the latest, even if the collector hangs: its thread is left behind, and the next
        start exports the rest.
        """
        task, self._task = self._task, None  # once: who drains again would wait again for a collector that hangs
        if task is None or self._cursors is None:
            return
        self._hurry.set()
        self._wake.set()
        self._progress.set()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait([task])
                self._outbox.stop()
                while not self._outbox.ended:
                    self._progress.clear()
                    if not self._outbox.ended:  # it may have ended between the two lines above
                        await self._progress.wait()
        except TimeoutError:
            _log.warning(
                "the trace collector did not take the last spans in %.1f s; they follow at next start", timeout_s
            )
        self._outbox.stop()
        task.cancel()
        await asyncio.wait([task])
        await self._save(self._cursors)

    async def _run(self, reader: "_Reader", cursors: Cursors) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keep_cursor(cursors))
                await self._follow(reader)
                keeper.cancel()
        except* JournalUnavailable:
            _log.warning("the journal is not available, so no spans are read; the next start goes on from the cursor")

    async def _follow(self, reader: "_Reader") -> None:
        """Read until drained, then to the end of what is recorded."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._catch_up(reader)
            if self._hurry.is_set():
                if not self._wake.is_set():
                    return
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(TRACE_POLL_S):
                    await self._hurry.wait()

    async def _catch_up(self, reader: "_Reader") -> None:
        while True:
            while (room := self._outbox.room()) == 0:
                self._progress.clear()
                if self._outbox.room() == 0:
                    await self._progress.wait()
            limit = min(TRACE_PAGE_RECORDS_MAX, room)
            position, entries = await reader.page(self._position, limit)
            if position == self._position:
                return
            self._position = position
            self._outbox.offer([*entries, Entry(position)])
            await asyncio.sleep(TRACE_PAGE_PAUSE_S)

    async def _keep_cursor(self, cursors: Cursors) -> None:
        while True:
            await asyncio.sleep(TRACE_CURSOR_S)
            await self._save(cursors)

    async def _save(self, cursors: Cursors) -> None:
        confirmed = self._outbox.confirmed
        if confirmed > self._saved:
            try:
                await cursors.save(CURSOR, confirmed)
            except JournalUnavailable:
                _log.warning(
                    "the trace cursor could not be saved; the next start repeats some spans, with the same ids"
                )
                return
            self._saved = confirmed

    def _on_progress(self) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._progress.set)
        except RuntimeError:  # the loop has closed: the outbox outlived its drain, nobody waits any more
            return


class _Reader:
    """Records to spans, with the views of the sagas that move."""

    def __init__(self, journal: Journal, plans: Plans) -> None:
        self._journal = journal
        self._plans = plans
        self._views: OrderedDict[SagaId, SagaView] = OrderedDict()
        self._shapes: OrderedDict[tuple[str, str], Shape] = OrderedDict()

    async def page(self, position: int, limit: int) -> tuple[int, list[Entry]]:
        """Return the next position, and the entries between that have spans; the same position at the end."""
        records = await self._journal.since(position, limit)
        entries = [Entry(found.position, spans) for found in records if (spans := await self._spans(found))]
        return (records[-1].position if records else position), entries

    async def _spans(self, positioned: PositionedRecord) -> tuple[SpanData, ...]:
        saga_id, record = positioned.saga_id, positioned.record
        event = record.event
        if isinstance(event, SagaStarted):
            view: SagaView | None = view_of(event, await self._shape_of(event))
        else:
            view = self._views.get(saga_id) or await self._folded(saga_id, record.version - 1)
        if view is None:
            return ()
        view, spans = project(view, event)
        if isinstance(event, SagaCompleted | SagaCompensated | SagaTerminated):
            self._views.pop(saga_id, None)
        else:
            self._views[saga_id] = view
            self._views.move_to_end(saga_id)
            if len(self._views) > TRACE_VIEWS_MAX:
                self._views.popitem(last=False)
        return spans

    async def _folded(self, saga_id: SagaId, version: int) -> SagaView | None:
        """Fold the stream up to a version: this process has not seen the saga move, or has forgotten it."""
        view: SagaView | None = None
        seen = 0
        try:
            while seen < version:
                records = await self._journal.read(saga_id, seen, min(version - seen, TRACE_PAGE_RECORDS_MAX))
                if not records:
                    return view
                for record in records:
                    if isinstance(record.event, SagaStarted):
                        view = view_of(record.event, await self._shape_of(record.event))
                    elif view is not None:
                        view, _ = project(view, record.event)
                seen = records[-1].version
        except JournalCorrupted as error:
            _log.error("no spans for saga %s: %s", saga_id, error)
            return None
        return view

    async def _shape_of(self, started: SagaStarted) -> Shape:
        key = started.definition, started.revision
        if key not in self._shapes:
            try:
                self._shapes[key] = shape_of(await self._plans.plan(*key))
            except JournalUnavailable:
                raise
            except OrchestratorError as error:
                _log.warning("spans of %s revision %s name no methods: %s", *key, error)
                self._shapes[key] = Shape()
            if len(self._shapes) > TRACE_PAGE_RECORDS_MAX:
                self._shapes.popitem(last=False)
        return self._shapes[key]


def open_tracing(environ: Mapping[str, str], *, clock: Clock, meter: SpanMeter) -> Tracing | None:
    """Return the tracing that the environment asks for, not yet started; None where it asks for none.

    `environ` is the process's own: OpenTelemetry's exporters read address, headers and certificates there themselves.

    Raise `ConfigError` naming the variable that cannot be obeyed.
    """
    settings = trace_settings(environ)
    if settings is None:
        return None
    from orchestrator.telemetry.exporters import OtlpSender  # noqa: PLC0415  (the SDK is slow to import)

    return Tracing(OtlpSender(settings.protocol), settings.batch, clock=clock, meter=meter)


async def first_since(journal: Journal, not_before_at: float) -> int:
    """Return the position behind which no record is older than the instant, by halving: they lie in order of time."""

    async def is_old(position: int) -> bool:
        records = await journal.since(position, 1)
        return bool(records) and records[0].record.event.at < not_before_at

    if not await is_old(0):
        return 0
    low, high = 0, 1
    while await is_old(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if await is_old(middle):
            low = middle
        else:
            high = middle
    return high


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the trace reader failed and no more spans are exported; sagas are not affected", exc_info=error)
