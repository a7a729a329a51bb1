"""A store that processes run on while it is looked at."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import Append, Record, SearchQuery, SearchRow
from orchestrator.verify import verify
from tests.unit.verify.samples import SAGA, Sample, completed
from tests.unit.verify.stores import Plans, in_epoch


class Moving(MemoryJournal):
    """A store in which every saga has gone on between its row and its records, and one was forgotten."""

    before: SearchRow
    is_gone = False

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        return [] if query.after else [self.before]

    async def row(self, saga_id: SagaId) -> SearchRow | None:
        return None if self.is_gone else await super().row(saga_id)

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        return [] if self.is_gone else await super().read(saga_id, after_version, limit)


async def moving(sample: Sample) -> Moving:
    """Return a store of one saga, whose row is told as it is."""
    journal = Moving()
    records = in_epoch(sample, journal.epoch)
    journal.before = replace(sample.row, epoch=journal.epoch)
    append = Append(saga_id=SAGA, expected_version=0, epoch=journal.epoch, records=records, row=journal.before)
    assert await journal.append([append]) == [None]
    return journal


async def test_a_saga_that_went_on_meanwhile_is_checked_as_its_row_was() -> None:
    journal = await moving(completed())
    journal.before = replace(journal.before, version=1)
    assert (await verify(journal, Plans())).records > 1
    assert (await verify(journal, Plans(), is_live=True)).records == 1


async def test_a_saga_that_was_forgotten_meanwhile_is_no_violation() -> None:
    journal = await moving(completed())
    assert (await verify(journal, Plans(), is_live=True)).violations == []
    journal.is_gone = True
    assert (await verify(journal, Plans())).violations != []
    found = await verify(journal, Plans(), is_live=True)
    assert found.violations == []
    assert "I28" in found.not_checked
