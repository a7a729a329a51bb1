"""Who did what to which saga, read back from the journal: the newest first, a bounded look at a time."""

from orchestrator import limits
from orchestrator.api.views import audit_entry
from orchestrator.frozen import frozen
from orchestrator.ids import StepId
from orchestrator.ports.journal import Record
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.saga.events import OperatorActed, Verb
from orchestrator.v1 import saga_pb2 as pb


@frozen
class AuditPage:
    """Entries, newest first, and where to go on."""

    entries: tuple[pb.AuditEntry, ...]
    before: int | None
    """Everything from here on has been looked at; None where there is no more."""


class AuditTrail:
    """The audit's reader."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def of_saga(self, saga_id: str, before: int, size: int) -> AuditPage:
        """Return entries of one saga with a version below `before`."""
        found: list[pb.AuditEntry] = []
        least = max(1, before - limits.API_AUDIT_RECORDS_MAX)
        while before > least:
            low = max(least, before - limits.API_PAGE_SIZE_MAX)
            records = await self._orchestrator.events(saga_id, low - 1, before - low)
            for record in reversed(records):
                if isinstance(record.event, OperatorActed):
                    found.append(audit_entry(saga_id, record.version, record.event))
                    if len(found) == size:
                        return AuditPage(entries=tuple(found), before=record.version if record.version > 1 else None)
            before = low
        return AuditPage(entries=tuple(found), before=before if before > 1 else None)

    async def of_all(self, before: int | None, size: int) -> AuditPage:
        """Return entries of every saga, from the newest or from before a position in the store."""
        found = await self._orchestrator.acts(before, size + 1)
        page = found[:size]
        entries: list[pb.AuditEntry] = []
        for one in page:
            assert isinstance(one.record.event, OperatorActed)  # it is what was asked for
            entries.append(audit_entry(one.saga_id, one.record.version, one.record.event))
        return AuditPage(entries=tuple(entries), before=page[-1].position if len(found) > size else None)

    async def of_verb(
        self, saga_id: str, after: int, until: int, verb: Verb, step: StepId | None
    ) -> pb.AuditEntry | None:
        """Return the last entry of a verb about a step among the records after one version, up to another."""
        before = until + 1
        while before > after + 1:
            low = max(after + 1, before - limits.API_PAGE_SIZE_MAX)
            records = await self._orchestrator.events(saga_id, low - 1, before - low)
            for record in reversed(records):
                if _is(record, verb, step):
                    assert isinstance(record.event, OperatorActed)  # `_is` has looked
                    return audit_entry(saga_id, record.version, record.event)
            before = low
        return None


def _is(record: Record, verb: Verb, step: StepId | None) -> bool:
    event = record.event
    return isinstance(event, OperatorActed) and event.verb is verb and event.step == step
