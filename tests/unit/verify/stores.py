"""Small stores with sagas in them, as a check finds them."""

from dataclasses import replace
from uuid import UUID

from orchestrator.errors import NotFound
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.ports.journal import Append, Record
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.events import AttemptOpened, SagaStarted
from orchestrator.saga.plan import Plan
from orchestrator.values import Payload
from tests.unit.verify.samples import PLAN, SAGA, Sample


class Plans:
    """Knows one definition."""

    async def plan(self, definition: str, revision: str = "") -> Plan:
        if definition != PLAN.definition:
            raise NotFound("definition", definition)
        return PLAN

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        raise NotImplementedError

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        raise NotImplementedError

    def to_json(self, plan: Plan, payload: Payload) -> dict[str, object]:
        raise NotImplementedError


async def put(
    journal: MemoryJournal, sample: Sample, saga_id: SagaId = SAGA, epoch: int | None = None, shard: int = 0
) -> None:
    """Append a whole history, as written by the journal's present owner, or under an earlier epoch."""
    of = journal.epoch if epoch is None else epoch
    row = replace(sample.row, epoch=of, shard=shard)
    append = Append(saga_id=saga_id, expected_version=0, epoch=of, records=in_epoch(sample, of), row=row)
    assert await journal.append([append]) == [None]


def in_epoch(sample: Sample, epoch: int) -> tuple[Record, ...]:
    events = [replace(event, epoch=epoch) if isinstance(event, AttemptOpened) else event for event in sample.events]
    return tuple(Record(version=number, epoch=epoch, event=event) for number, event in enumerate(events, 1))


async def kept(sample: Sample) -> MemoryJournal:
    journal = MemoryJournal()
    await put(journal, sample)
    return journal


def renamed(sample: Sample, name: str, *, request_id: str = "", uid: int = 0) -> Sample:
    """The same history under another name; keys that follow from the uid are not made anew."""
    events = sample.events
    started = events[0]
    assert isinstance(started, SagaStarted)
    its = UUID(int=uid) if uid else started.uid
    events[0] = replace(started, saga_id=SagaId(name), request_id=request_id, uid=its)
    row = replace(sample.row, saga_id=SagaId(name), request_id=request_id, uid=str(its))
    return replace(sample.with_events(events), row=row)
