"""The trace reader: follows the journal and exports the spans that its records close.

There is one source of spans, the journal, and one path, live, after a crash and after a shard has changed its owner:
read the records behind the cursor, fold them into spans, hand them to the outbox, move the cursor when the collector
has taken them. Each shard that this process owns has a cursor. `recorded` only says that there is something to read.
Nothing here is awaited by a saga, and a store that is away for a while is asked again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from orchestrator.errors import JournalUnavailable
from orchestrator.limits import (
    TRACE_CURSOR_S,
    TRACE_DRAIN_S_DEFAULT,
    TRACE_PAGE_PAUSE_S,
    TRACE_PAGE_RECORDS_MAX,
    TRACE_POLL_S,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Cursors, Journal, Record
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import Ownership, SoleOwnership
from orchestrator.ports.plans import Plans
from orchestrator.saga.state import SagaState
from orchestrator.telemetry.outbox import BatchSettings, Entry, Outbox, Sender, SpanMeter
from orchestrator.telemetry.places import Places
from orchestrator.telemetry.reader import Reader
from orchestrator.telemetry.settings import trace_settings

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
        self._outbox: Final = Outbox(sender, settings, clock=clock, meter=meter, on_progress=self._on_progress)
        self._places: Places | None = None

    def position(self, shard: int = 0) -> int:
        """Return the position of a shard up to which every span has left; behind it nothing is missing."""
        return 0 if self._places is None else self._places.position(shard)

    async def start(self, journal: Journal, cursors: Cursors, plans: Plans, ownership: Ownership | None = None) -> None:
        """Begin where each shard's last reader left off. `plans` tells which method a step calls.

        Without `ownership` the store has one process, and that is this one.
        """
        self._loop = asyncio.get_running_loop()
        self._places = Places(
            journal,
            cursors,
            ownership or SoleOwnership(0),
            confirmed=self._outbox.confirmed,
            clock=self._clock,
        )
        self._outbox.start()
        self._wake.set()
        running = self._run(journal, Reader(journal, plans), self._places)
        self._task = self._loop.create_task(running, name="trace-reader")
        self._task.add_done_callback(_tell_end)

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        self._wake.set()

    async def drain(self, timeout_s: float = TRACE_DRAIN_S_DEFAULT) -> None:
        """Send what is recorded, as far as the time allows, and save the place; call it before the journal closes.

        Returns after `timeout_s` at the latest, even if the collector hangs: its thread is left behind, and the next
        start exports the rest.
        """
        task, self._task = self._task, None  # once: who drains again would wait again for a collector that hangs
        if task is None or self._places is None:
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
        if not await self._places.save():
            _log.warning("the trace cursor could not be saved; the next start repeats some spans, with the same ids")

    async def _run(self, journal: Journal, reader: Reader, places: Places) -> None:
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keep_places(places))
            await self._follow(journal, reader, places)
            keeper.cancel()

    async def _follow(self, journal: Journal, reader: Reader, places: Places) -> None:
        """Read until drained, then to the end of what is recorded."""
        is_away = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._catch_up(reader, places)
            except JournalUnavailable as away:
                if journal.failed is not None or self._hurry.is_set():
                    _log.warning("the journal is not available, so no spans are read; they follow at next start")
                    return
                if not is_away:
                    _log.warning("no spans are read, they follow when the journal is back: %s", away)
                is_away = True
                self._wake.set()
            else:
                is_away = False
                if self._hurry.is_set() and not self._wake.is_set():
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(TRACE_CURSOR_S if is_away else TRACE_POLL_S):
                    await self._hurry.wait()

    async def _catch_up(self, reader: Reader, places: Places) -> None:
        while True:
            while (room := self._outbox.room()) == 0:
                self._progress.clear()
                if self._outbox.room() == 0:
                    await self._progress.wait()
            await places.settle()
            if not places.read:
                return
            ends, entries = await reader.page(places.read, min(TRACE_PAGE_RECORDS_MAX, room))
            places.advance(ends)
            if not self._hurry.is_set():  # at the end of the process, they are read to their end, and saved
                reader.forget(await places.forget_lost())
            if not ends:
                return
            self._outbox.offer([*entries, *(Entry(position, shard=shard) for shard, position in ends.items())])
            await asyncio.sleep(TRACE_PAGE_PAUSE_S)

    async def _keep_places(self, places: Places) -> None:
        """Save how far the spans have left; and look, since nothing else tells, whether shards have come or gone."""
        while True:
            await asyncio.sleep(TRACE_CURSOR_S)
            await places.save()
            if not places.are_settled:
                self._wake.set()

    def _on_progress(self) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._progress.set)
        except RuntimeError:  # the loop has closed: the outbox outlived its drain, nobody waits any more
            return


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


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the trace reader failed and no more spans are exported; sagas are not affected", exc_info=error)
