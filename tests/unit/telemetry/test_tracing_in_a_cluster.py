"""Each process tells the spans of the shards it owns; whatever changes hands in between, the trace is whole."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded)

import pytest

from orchestrator.errors import JournalUnavailable
from orchestrator.frozen import changed
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import TRACE_BACKLOG_S_FIRST
from orchestrator.ports.journal import Append, PositionedRecord, Record
from orchestrator.saga.plan import Plan
from orchestrator.telemetry import names, tracing
from orchestrator.telemetry.outbox import BatchSettings
from orchestrator.telemetry.spandata import SpanData
from orchestrator.telemetry.tracing import Tracing
from tests.unit.telemetry.doubles import FakeClock, FakeMeter, FakePlans, FakeSender
from tests.unit.telemetry.histories import BEGIN_AT, CALLER, Teller, compensated, happy, wandering
from tests.unit.telemetry.test_spans import events_of, spans_of

QUICK = BatchSettings(queue_spans_max=64, batch_spans_max=8, delay_s=0.005, retry_s=0.001)
SHARDS = 4


class Held:
    """`Ownership` as the test says."""

    obstacle = None

    def __init__(self, shards: Iterable[int], shard_count: int = SHARDS) -> None:
        self.shards = set(shards)
        self.shard_count = shard_count

    def owned(self) -> Sequence[int]:
        return sorted(self.shards)

    def epoch(self, shard: int) -> int:
        raise NotImplementedError


class Shared(MemoryJournal):
    """Counts looks, and can be away."""

    looks = 0
    is_away = False

    async def news(self, after: Mapping[int, int], limit: int) -> Sequence[PositionedRecord]:
        self.looks += 1
        if self.is_away:
            raise JournalUnavailable("the database does not answer")
        return await super().news(after, limit)


class Process:
    """One process's tracing, over a journal that all of them share."""

    def __init__(self, journal: MemoryJournal, held: Held, plans: FakePlans | None = None) -> None:
        self.journal, self.held = journal, held
        self.plans = plans or FakePlans()
        self.sender = FakeSender()
        self.tracing = Tracing(self.sender, QUICK, clock=FakeClock(), meter=FakeMeter())

    async def start(self) -> None:
        await self.tracing.start(self.journal, self.journal, self.plans, self.held)

    def look(self) -> None:
        self.tracing.recorded(Teller().state, ())

    async def die(self) -> None:
        """Be killed: nothing is drained, and nothing is saved."""
        assert self.tracing._task is not None
        self.tracing._task.cancel()
        await asyncio.wait([self.tracing._task])
        self.sender.gate.set()
        self.tracing._outbox.stop()


@asynccontextmanager
async def living(journal: MemoryJournal, *shards: int) -> AsyncIterator[Process]:
    process = Process(journal, Held(shards))
    await process.start()
    yield process
    process.sender.gate.set()
    await process.tracing.drain()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():  # noqa: ASYNC110  (the fact is made by another thread)
            await asyncio.sleep(0.002)  # poll: the fact is made by another thread


async def record(journal: MemoryJournal, shard: int, appends: Iterable[Append]) -> None:
    for append in appends:
        assert list(await journal.append([changed(append, row=changed(append.row, shard=shard))])) == [None]


def once(spans: Iterable[SpanData]) -> dict[int, SpanData]:
    """Return the spans by id; one that is told again is the same."""
    told: dict[int, SpanData] = {}
    for span in spans:
        assert told.setdefault(span.span_id, span) == span
    return told


def moves(luck: Random) -> list[Append]:
    return [append for append in wandering(luck).appends if append.records]


async def test_every_process_tells_the_spans_of_its_own_shards() -> None:
    journal = MemoryJournal()
    async with living(journal, 0, 2) as one, living(journal, 1, 3) as other:
        for number in range(1, 9):
            await record(journal, number % SHARDS, happy(number))
        one.look()
        other.look()
    for process, numbers in ((one, (2, 4, 6, 8)), (other, (1, 3, 5, 7))):
        expected = [span for number in numbers for span in spans_of(events_of(happy(number)))]
        assert process.sender.spans == expected
    assert await journal.places([f"{names.CURSOR}/{shard}" for shard in range(SHARDS)]) == {
        f"{names.CURSOR}/{shard}": (await journal.since(0, 999, shard))[-1].position for shard in range(SHARDS)
    }


async def failed_over(appends: Sequence[Append], cut: int, *, mode: int) -> dict[int, SpanData]:
    """Return all spans of a saga whose first process is killed when it has recorded so much of it.

    It has by then sent nothing that is known of (0), sent some (1), or sent some and saved its place (2).
    """
    journal = MemoryJournal()
    first, other = Process(journal, Held({1, 2})), Process(journal, Held({0}))
    await first.start()
    await other.start()
    await record(journal, 2, appends[:cut])
    first.look()
    if mode:
        await until(lambda: first.tracing.position(2) > 0)
    if mode == 2:
        assert first.tracing._places is not None
        await first.tracing._places.save()
    await first.die()
    other.held.shards |= {1, 2}
    await record(journal, 2, appends[cut:])
    other.look()
    await other.tracing.drain()
    return once([*first.sender.spans, *other.sender.spans])


@pytest.mark.parametrize("mode", range(3))
@pytest.mark.parametrize("cut", range(1, len(compensated())))
async def test_fail_over_in_the_middle_of_a_saga_gives_one_connected_trace(cut: int, mode: int) -> None:
    history = compensated()
    told = await failed_over(history, cut, mode=mode)
    assert told == {span.span_id: span for span in spans_of(events_of(history))}
    roots = [span for span in told.values() if span.parent_id not in told]
    assert [span.parent_id for span in roots] == [CALLER.span_id]
    assert {span.trace_id for span in told.values()} == {CALLER.trace_id}


@pytest.mark.parametrize("seed", range(12))
async def test_no_span_is_missing_after_fail_over_whatever_happened(seed: int) -> None:
    luck = Random(seed)
    appends = moves(luck)
    told = await failed_over(appends, luck.randrange(1, len(appends)), mode=seed % 3)
    assert told == {span.span_id: span for span in spans_of(events_of(appends))}


@pytest.mark.parametrize("seed", range(6))
async def test_a_shard_that_goes_to_and_fro_leaves_no_gap(seed: int) -> None:
    luck = Random(seed)
    journal = MemoryJournal()
    appends = moves(luck)
    async with living(journal, 0) as one, living(journal, 1) as other:
        processes = [one, other]
        for append in appends:
            await record(journal, 3, [append])
            owner = processes[luck.randrange(2)]
            for process in processes:
                (process.held.shards.add if process is owner else process.held.shards.discard)(3)
                process.look()
            if luck.random() < 0.5:
                end = (await journal.since(0, 999))[-1].position
                await until(lambda owner=owner, end=end: owner.tracing.position(3) == end)  # type: ignore[misc]
    told = once([*one.sender.spans, *other.sender.spans])
    assert told == {span.span_id: span for span in spans_of(events_of(appends))}


async def test_who_lost_a_shard_reads_it_no_more_and_forgets_its_sagas() -> None:
    journal = MemoryJournal()
    history = compensated()
    async with living(journal, 1, 2) as process:
        await record(journal, 2, history[:4])
        await record(journal, 1, happy(2)[:4])
        process.look()
        end = (await journal.since(0, 999))[-1].position
        await until(lambda: process.tracing.position(1) == end)
        process.held.shards.discard(2)
        process.look()
        places = process.tracing._places
        assert places is not None
        await until(lambda: 2 not in places.read)
        await record(journal, 2, history[4:])
    assert set(once(process.sender.spans)) == {
        span.span_id for told in (history[:4], happy(2)[:4]) for span in spans_of(events_of(told))
    }


async def test_what_was_recorded_before_a_shard_was_lost_is_told_though_nobody_follows() -> None:
    journal = MemoryJournal()
    async with living(journal, 2) as process:
        await record(journal, 2, happy(1)[:4])
        process.look()
        await until(lambda: process.tracing.position(2) > 0)
        await record(journal, 2, happy(1)[4:])
        process.held.shards.clear()
    assert process.sender.spans == spans_of(events_of(happy(1)))
    assert await journal.load(f"{names.CURSOR}/2") == (await journal.since(0, 999))[-1].position


async def test_who_comes_late_takes_no_cursor_back() -> None:
    hanging = Shared()
    async with living(hanging, 2) as late:
        await record(hanging, 2, happy(1))
        await until(lambda: late.tracing.position(2) > 0)
        hanging.is_away = True
        journal = hanging.reopen()
        await record(journal, 2, happy(2))
        async with living(journal, 2):
            pass
        end = (await journal.since(0, 999))[-1].position
        assert await journal.load(f"{names.CURSOR}/2") == end
        assert late.tracing._places is not None
        assert 0 < late.tracing.position(2) < end
        assert await late.tracing._places.save()
        assert await journal.load(f"{names.CURSOR}/2") == end


async def test_a_shard_that_was_taken_over_is_told_though_nothing_happens_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "TRACE_CURSOR_S", 0.005)
    journal = MemoryJournal()
    async with living(journal) as process:
        places = process.tracing._places
        assert places is not None
        await until(lambda: places.are_settled)
        await record(journal, 3, happy(1))
        process.held.shards.add(3)
        await until(lambda: process.sender.spans == spans_of(events_of(happy(1))))


async def test_one_look_follows_all_shards() -> None:
    journal = Shared()
    for number in range(1, 101):
        await record(journal, number, [Teller(number).start()])
    process = Process(journal, Held(range(256), shard_count=256))
    await process.start()
    await process.tracing.drain()
    assert len(process.sender.spans) == 100
    assert journal.looks < 10


async def test_a_store_that_is_away_for_a_while_loses_no_span(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "TRACE_CURSOR_S", 0.005)
    journal = Shared()
    async with living(journal, 1) as process:
        await record(journal, 1, compensated()[:5])
        process.look()
        await until(lambda: process.tracing.position(1) > 0)
        journal.is_away = True
        looks = journal.looks
        await record(journal, 1, compensated()[5:])
        process.look()
        await until(lambda: journal.looks > looks + 3)
        journal.is_away = False
        await until(lambda: process.sender.spans == spans_of(events_of(compensated())))
    assert caplog.text.count("they follow when the journal is back") == 1


async def test_a_page_that_is_broken_off_is_told_once_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "TRACE_CURSOR_S", 0.005)

    class Failing(FakePlans):
        asked = 0

        async def plan(self, definition: str, revision: str = "") -> Plan:
            self.asked += 1
            if self.asked == 2:
                raise JournalUnavailable("the database does not answer")
            return await super().plan("epro", "r1")

    journal = MemoryJournal()
    plans = Failing()
    process = Process(journal, Held({1}), plans)
    await record(journal, 1, compensated()[:5])
    await process.start()
    await until(lambda: process.tracing.position(1) > 0)
    # A page that moves a saga on, and then comes to one whose plan cannot be had.
    await record(journal, 1, compensated()[5:-2])
    await record(journal, 1, Teller(3, plan=replace(Teller().plan, revision="r2")).run())
    await record(journal, 1, compensated()[-2:])
    process.look()
    await until(lambda: plans.asked >= 3)
    await process.tracing.drain()
    told = [span for span in process.sender.spans if span.attributes[names.SAGA_ID] != "report-3"]
    assert told == spans_of(events_of(compensated()))
    assert len(once(process.sender.spans)) == len(process.sender.spans)


async def test_the_first_start_on_an_old_store_begins_an_hour_back_in_every_shard() -> None:
    journal = MemoryJournal()
    for number, at in enumerate((BEGIN_AT - TRACE_BACKLOG_S_FIRST - 100, BEGIN_AT)):
        for shard in (1, 2):
            await record(journal, shard, Teller(10 * number + shard, at=at).run())
    async with living(journal, 1, 2) as process:
        pass
    assert {span.attributes[names.SAGA_ID] for span in process.sender.spans} == {"report-11", "report-12"}


class Backward(MemoryJournal):
    """A stream whose numbers do not go on."""

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = 10_000) -> Sequence[Record]:
        found = await super().read(saga_id, 0, limit)
        return found[:1]


async def test_a_stream_whose_numbers_go_backward_ends_the_fold(caplog: pytest.LogCaptureFixture) -> None:
    journal = Backward()
    history = happy(1)
    await record(journal, 1, [*history, *happy(2)])
    seen = (await journal.since(0, 999))[3].position
    await journal.advance({f"{names.CURSOR}/1": seen})
    async with living(journal, 1) as process:
        pass
    assert "no spans for saga report-1" in caplog.text
    assert process.sender.spans == spans_of(events_of(happy(2)))
