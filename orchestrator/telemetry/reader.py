"""Records to spans: pages of the journal, folded with the views of the sagas that move."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping

from orchestrator.errors import JournalCorrupted, JournalUnavailable, OrchestratorError
from orchestrator.frozen import frozen_tuple
from orchestrator.ids import SagaId
from orchestrator.limits import TRACE_PAGE_RECORDS_MAX, TRACE_VIEWS_MAX
from orchestrator.logscope import of_saga
from orchestrator.ports.journal import Journal, Record
from orchestrator.ports.plans import Plans
from orchestrator.saga.events import SagaStarted
from orchestrator.telemetry.endings import ENDED_AS
from orchestrator.telemetry.outbox import Entry
from orchestrator.telemetry.project import project
from orchestrator.telemetry.views import SagaView, Shape, shape_of, view_of

_log = logging.getLogger(__name__)


@frozen_tuple
class _Seen:
    """A saga's view as of a version. It is of use for the next record only: a page may be read twice."""

    version: int
    view: SagaView
    shard: int


class Reader:
    """Reads on behind positions that it is given; remembers the sagas that move, and nothing else."""

    def __init__(self, journal: Journal, plans: Plans) -> None:
        """`plans` tells which method a step calls."""
        self._journal = journal
        self._plans = plans
        self._seen: OrderedDict[SagaId, _Seen] = OrderedDict()
        self._shapes: OrderedDict[tuple[str, str], Shape] = OrderedDict()

    async def page(self, after: Mapping[int, int], limit: int) -> tuple[Mapping[int, int], list[Entry]]:
        """Return how far each shard that has news was read, and the entries between that have spans."""
        records = await self._journal.news(after, limit)
        entries: list[Entry] = []
        for found in records:
            saga_id, record = found.saga_id, found.record
            seen = self._seen.get(saga_id)
            is_next = seen is not None and seen.version == record.version - 1
            view = seen.view if seen is not None and is_next else await self._view_before(saga_id, record)
            if view is None:
                continue
            view, spans = project(view, record.event, record.version)
            if type(record.event) in ENDED_AS:
                self._seen.pop(saga_id, None)
            else:
                self._keep(saga_id, _Seen(record.version, view, found.shard))
            if spans:
                entries.append(Entry(found.position, spans, found.shard))
        return {found.shard: found.position for found in records}, entries

    def forget(self, shards: Collection[int]) -> None:
        """Forget the sagas of shards that somebody else reads now."""
        for saga_id in [saga_id for saga_id, seen in self._seen.items() if seen.shard in shards]:
            del self._seen[saga_id]

    def _keep(self, saga_id: SagaId, seen: _Seen) -> None:
        self._seen[saga_id] = seen
        self._seen.move_to_end(saga_id)
        if len(self._seen) > TRACE_VIEWS_MAX:
            self._seen.popitem(last=False)

    async def _view_before(self, saga_id: SagaId, record: Record) -> SagaView | None:
        if isinstance(record.event, SagaStarted):
            return view_of(record.event, await self._shape_of(record.event))
        return await self._folded(saga_id, record.version - 1)

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
                    if record.version != seen + 1:
                        raise JournalCorrupted(  # noqa: TRY301  (what a store would say that looks at it)
                            f"record {record.version} stands where record {seen + 1} should", saga_id=saga_id
                        )
                    seen = record.version
                    if isinstance(record.event, SagaStarted):
                        view = view_of(record.event, await self._shape_of(record.event))
                    elif view is not None:
                        view, _ = project(view, record.event, record.version)
        except JournalCorrupted as error:
            _log.error("no spans for saga %s: %s", saga_id, error, extra=of_saga(saga_id))
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
