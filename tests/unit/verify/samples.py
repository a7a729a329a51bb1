"""Histories as the machine makes them, to be spoilt by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.runtime.rows import rest_of, row_of
from orchestrator.saga import owed, wake_at
from orchestrator.saga.events import AttemptOpened, AttemptSettled, Event
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing.shorthand import plan, retry, step
from orchestrator.verify import Findings
from orchestrator.verify.stream import Stream
from orchestrator.verify.streams import check_stream
from tests.kit.machine import Machine, report, started
from tests.unit.telemetry.shapes import Guide

PLAN = plan(
    step("check", read=True),
    step("book", "check", policy=retry(2), idempotent=True),
    step("pay", "book"),
    step("ship", "pay"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One saga as a store has it."""

    plan: Plan
    row: SearchRow
    records: tuple[Record, ...]

    def with_events(self, events: Sequence[Event]) -> "Sample":
        records = tuple(Record(version=n, epoch=1, event=event) for n, event in enumerate(events, 1))
        return replace(self, records=records)

    @property
    def events(self) -> list[Event]:
        return [record.event for record in self.records]

    def find(self, kind: type[Event], which: int = 0, **fields: object) -> int:
        """The index of an event by type and fields."""
        found = [
            at
            for at, event in enumerate(self.events)
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        ]
        return found[which]

    def check(self) -> tuple[Findings, Stream]:
        findings = Findings()
        stream = check_stream(self.row, self.plan, self.records, findings)
        return findings, stream


def sample_of(machine: Machine) -> Sample:
    records = tuple(Record(version=n, epoch=1, event=event) for n, event in enumerate(machine.events, 1))
    row = row_of(machine.state, wake_at(machine.owed), rest_of(machine.state, is_draining=False), epoch=1)
    return Sample(plan=machine.plan, row=row, records=records)


def completed() -> Sample:
    return sample_of(started(PLAN).replies("check", "book", "pay", "ship"))


def compensated() -> Sample:
    """`ship` is refused after a try that nobody saw the end of; `pay` and `book` are undone."""
    machine = started(PLAN).replies("check")
    machine.reply("book", "UNAVAILABLE")
    machine.pass_time(5)
    machine.replies("book", "pay")
    machine.reply("ship", "FAILED_PRECONDITION")
    machine.pass_time(30)
    machine.reply("pay.undo")
    machine.reply("book.undo")
    return sample_of(machine)


def running() -> Sample:
    return sample_of(started(PLAN).replies("check"))


def sample_of_guide(told: Guide) -> Sample:
    """A history of any shape, with the row that its last append would have."""
    effects = owed(told.state)
    rest = rest_of(told.state, is_draining=False)
    row = row_of(told.state, wake_at(effects), rest, epoch=told.records[-1].epoch)
    return Sample(plan=told.plan, row=row, records=tuple(told.records))


Spoil = Callable[[Sample], Sample]


def changed(sample: Sample, at: int, **fields: object) -> Sample:
    """Change fields of one event."""
    events = sample.events
    events[at] = replace(events[at], **fields)  # type: ignore[arg-type]  # the caller names the event's own fields
    return sample.with_events(events)


def moved(sample: Sample, at: int, to: int) -> Sample:
    """Move one event."""
    events = sample.events
    events.insert(to, events.pop(at))
    return sample.with_events(events)


def added(sample: Sample, at: int, *events: Event) -> Sample:
    """Put events in."""
    return sample.with_events([*sample.events[:at], *events, *sample.events[at:]])


def removed(sample: Sample, *at: int) -> Sample:
    """Take events out."""
    return sample.with_events([event for number, event in enumerate(sample.events) if number not in at])


def attempt(sample: Sample, name: str, number: int, operation: Operation = Operation.FORWARD) -> tuple[Event, Event]:
    """One more attempt of a step, its beginning and its end, made from its first one."""
    first = sample.events[sample.find(AttemptOpened, step=StepId(name), operation=operation)]
    assert isinstance(first, AttemptOpened)
    opened = replace(first, attempt=number, request=None)
    settled = sample.events[sample.find(AttemptSettled, step=StepId(name), operation=operation)]
    assert isinstance(settled, AttemptSettled)
    return opened, replace(settled, attempt=number, report=report("UNAVAILABLE"))


SAGA = SagaId("s")
