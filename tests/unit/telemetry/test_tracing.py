"""The reader tells every span once it is recorded, after any crash, and holds nobody up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251  (seeded)

import pytest

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import TRACE_BACKLOG_S_FIRST, TRACE_VIEWS_MAX
from orchestrator.ports.journal import Append, PositionedRecord, Record
from orchestrator.telemetry import names, reader, tracing
from orchestrator.telemetry.outbox import BatchSettings
from orchestrator.telemetry.places import first_since
from orchestrator.telemetry.spandata import SpanData
from orchestrator.telemetry.tracing import Tracing
from tests.unit.telemetry.doubles import FakeClock, FakeMeter, FakePlans, FakeSender
from tests.unit.telemetry.histories import BEGIN_AT, UNSAMPLED, Teller, compensated, happy, notify_refused, wandering
from tests.unit.telemetry.test_spans import events_of, spans_of

QUICK = BatchSettings(queue_spans_max=64, batch_spans_max=8, delay_s=0.005, retry_s=0.001)


class Life:
    """One process's tracing over a journal that outlives it."""

    def __init__(self, journal: MemoryJournal, settings: BatchSettings = QUICK) -> None:
        self.journal, self.sender, self.meter, self.clock = journal, FakeSender(), FakeMeter(), FakeClock()
        self.tracing = Tracing(self.sender, settings, clock=self.clock, meter=self.meter)

    async def start(self) -> None:
        await self.tracing.start(self.journal, self.journal, FakePlans())

    async def append(self, appends: Iterable[Append]) -> None:
        for append in appends:
            assert list(await self.journal.append([append])) == [None]
            self.tracing.recorded(Teller().state, append.records)

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not fact():  # noqa: ASYNC110  (an event would need the other thread's help)
                await asyncio.sleep(0.002)  # poll: the fact is made by another thread


@asynccontextmanager
async def living(journal: MemoryJournal, settings: BatchSettings = QUICK) -> AsyncIterator[Life]:
    life = Life(journal, settings)
    await life.start()
    yield life
    life.sender.gate.set()
    await life.tracing.drain()


def ids_of(spans: Iterable[SpanData]) -> list[int]:
    return [span.span_id for span in spans]


async def test_what_is_recorded_is_told() -> None:
    history = compensated()
    async with living(MemoryJournal()) as life:
        await life.append(history)
        expected = spans_of(events_of(history))
        await life.until(lambda: len(life.sender.spans) >= len(expected))
        assert life.sender.spans == expected
        assert life.meter.exported == len(expected)


async def test_draining_tells_the_rest_and_saves_the_place() -> None:
    journal = MemoryJournal()
    history = happy()
    async with living(journal, BatchSettings(delay_s=60.0)) as life:
        await life.append(history)
        await life.tracing.drain()
        assert life.sender.spans == spans_of(events_of(history))
    assert await journal.load(names.CURSOR) == len(events_of(history))


async def test_a_reader_goes_on_where_the_last_one_was_drained() -> None:
    journal = MemoryJournal()
    history = compensated()
    async with living(journal) as first:
        await first.append(history[:5])
    async with living(journal) as second:
        await second.append(history[5:])
    assert first.sender.spans + second.sender.spans == spans_of(events_of(history))


@pytest.mark.parametrize("seed", range(12))
async def test_no_span_is_missing_after_a_crash_and_a_repeat_is_the_same(seed: int) -> None:
    luck = Random(seed)
    journal = MemoryJournal()
    appends = [append for append in wandering(luck).appends if append.records]
    expected = {span.span_id: span for span in spans_of(events_of(appends))}
    cut = luck.randrange(1, len(appends))
    life = Life(journal)
    await life.start()
    await life.append(appends[:cut])
    if seed % 2:
        await life.until(lambda: life.tracing.position() > 0)
        assert life.tracing._places is not None
        await life.tracing._places.save()
    # Killed: nothing is drained; the next process finds the journal, and the cursor of some moment or none.
    assert life.tracing._task is not None
    life.tracing._task.cancel()
    await asyncio.wait([life.tracing._task])
    life.tracing._outbox.stop()
    async with living(journal) as next_life:
        await next_life.append(appends[cut:])
    told: dict[int, SpanData] = {}
    for span in life.sender.spans + next_life.sender.spans:
        assert told.setdefault(span.span_id, span) == span
    assert told == expected


async def test_a_reader_that_has_forgotten_a_saga_reads_its_stream_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TRACE_VIEWS_MAX > 1
    monkeypatch.setattr(reader, "TRACE_VIEWS_MAX", 1)
    tellers = [Teller(number) for number in (1, 2, 3)]
    histories = [list(teller.run(notify_refused)) for teller in tellers]
    async with living(MemoryJournal()) as life:
        for moves in zip(*histories, strict=True):
            await life.append(moves)
    expected = [span for history in histories for span in spans_of(events_of(history))]
    assert sorted(life.sender.spans, key=lambda span: span.span_id) == sorted(expected, key=lambda span: span.span_id)


async def test_unsampled_sagas_move_the_cursor_and_tell_nothing() -> None:
    journal = MemoryJournal()
    history = happy(trace=UNSAMPLED)
    async with living(journal) as life:
        await life.append(history)
    assert life.sender.tries == 0
    assert await journal.load(names.CURSOR) == len(events_of(history))


async def test_a_hanging_collector_stops_the_reader_not_the_sagas() -> None:
    journal = MemoryJournal()
    async with living(journal) as life:
        life.sender.gate.clear()
        for number in range(1, 60):
            await life.append(happy(number))
        await life.until(lambda: life.meter.waiting >= QUICK.queue_spans_max - 8)
        assert life.meter.waiting <= QUICK.queue_spans_max + 8
        assert life.meter.dropped == 0
        life.sender.gate.set()
        await life.until(lambda: life.meter.exported == 59 * 12)
    assert len(set(ids_of(life.sender.spans))) == 59 * 12


async def test_draining_with_a_hanging_collector_keeps_its_time_and_loses_nothing() -> None:
    journal = MemoryJournal()
    loop = asyncio.get_running_loop()
    async with living(journal) as life:
        life.sender.gate.clear()
        for number in range(1, 30):
            await life.append(happy(number))
        began = loop.time()
        await life.tracing.drain(timeout_s=0.1)
        await life.tracing.drain(timeout_s=60.0)  # as an exit stack does: nothing is waited for twice
        assert loop.time() - began < 1.0
    async with living(journal) as next_life:
        pass
    assert {*ids_of(life.sender.spans), *ids_of(next_life.sender.spans)} == {
        span.span_id for number in range(1, 30) for span in spans_of(events_of(happy(number)))
    }


async def test_the_first_start_on_an_old_store_begins_an_hour_back() -> None:
    journal = MemoryJournal()
    old = Teller(1, at=BEGIN_AT - TRACE_BACKLOG_S_FIRST - 100)
    for append in [*old.run(), *happy(2)]:
        await journal.append([append])
    async with living(journal) as life:
        pass
    assert {span.attributes[names.SAGA_ID] for span in life.sender.spans} == {"report-2"}


async def test_the_search_for_the_first_record_is_exact() -> None:
    journal = MemoryJournal()
    for number in range(1, 40):
        await journal.append([Teller(number, at=float(number)).start()])
    records = await journal.since(0, 10_000)
    for instant in (0.0, 1.0, 1.5, 17.0, 39.0, 40.0):
        older = [found.position for found in records if found.record.event.at < instant]
        assert await first_since(journal, instant) == max(older, default=0)


class RottenJournal(MemoryJournal):
    """The stream of one saga cannot be read; `news` leaves such records out."""

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        found = await super().news(after, limit)
        return [entry for entry in found if (entry.saga_id, entry.record.version) != ("report-1", 1)]

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        if saga_id == "report-1":
            raise JournalCorrupted("record 1 of report-1 does not decode", saga_id=saga_id)
        return await super().read(saga_id, after_version, limit)


async def test_a_saga_that_cannot_be_read_costs_its_own_spans_only(caplog: pytest.LogCaptureFixture) -> None:
    async with living(RottenJournal()) as life:
        await life.append(happy(1))
        await life.append(happy(2))
    assert life.sender.spans == spans_of(events_of(happy(2)))
    assert "no spans for saga report-1" in caplog.text


async def test_a_plan_that_is_gone_costs_the_methods_not_the_spans(caplog: pytest.LogCaptureFixture) -> None:
    class NoPlans(FakePlans):
        async def plan(self, definition: str, revision: str = "") -> object:  # type: ignore[override]  # only raises
            return await super().plan("gone")

    life = Life(MemoryJournal())
    await life.tracing.start(life.journal, life.journal, NoPlans())  # type: ignore[arg-type]  # as above
    await life.append(happy())
    await life.tracing.drain()
    attempts = [span for span in life.sender.spans if span.kind == "client"]
    assert "validate forward" in {span.name for span in attempts}
    assert all(names.RPC_METHOD not in span.attributes for span in attempts)
    assert "name no methods" in caplog.text


async def test_draining_what_was_never_started_is_harmless() -> None:
    await Life(MemoryJournal()).tracing.drain()


async def test_the_place_is_saved_while_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "TRACE_CURSOR_S", 0.005)
    journal = MemoryJournal()
    history = happy()
    saved: list[int] = []
    advance = journal.advance

    async def noted(places: Mapping[str, int]) -> None:
        saved.append(places[names.CURSOR])
        await advance(places)

    monkeypatch.setattr(journal, "advance", noted)
    async with living(journal) as life:
        await life.append(history)
        await life.until(lambda: saved[-1:] == [len(events_of(history))])
        assert life.tracing.position() == saved[-1]
    assert saved == sorted(set(saved))


async def test_a_journal_that_fails_ends_the_reader_with_a_line_and_drains_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = MemoryJournal()
    async with living(journal) as life:
        await life.append(happy())
        await life.until(lambda: len(life.sender.spans) == 12)
        await journal.close()
        life.tracing.recorded(Teller().state, ())
        await life.tracing.drain()
    assert "the journal is not available" in caplog.text
    assert "could not be saved" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
