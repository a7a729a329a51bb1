"""How far this process is behind: sagas of its shards that could move, and that it has not taken up.

Two kinds of them wait without an actor: those whose timer is over, which lie in the journal by the instant that it was
due, and, after a start or a take-over, those that recovery has not come to, of which it knows a page. These wait since
this process was given their shard, and not since their last record: until then somebody else ran them, and a call that
has been open for long was nobody's delay. A process that keeps up has neither: the sweep brings a saga back before its
timer fires, and a message brings it back at once.

What waits inside an active saga is not here: that is the event loop's lateness, and the depth of mailboxes.
"""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.ids import SagaId
from orchestrator.limits import RUNNABLE_PAGES_MAX, RUNNABLE_ROWS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Journal, SearchRow
from orchestrator.ports.observer import Backlog
from orchestrator.ports.ownership import Ownership
from orchestrator.runtime.directory import Directory


async def look(
    journal: Journal, directory: Directory, ownership: Ownership, clock: Clock, untaken: Mapping[SagaId, float]
) -> Backlog:
    """Look at the earliest of the timers that are over, and at what recovery has still to take up, since when."""
    now = clock.now()
    shards = ownership.owned()
    due = await _due(journal, directory, now, shards) if shards else ()
    since = {**untaken, **{row.saga_id: row.wake_at or now for row in due}}
    waits = [at for saga_id, at in since.items() if not directory.knows(saga_id)]
    return Backlog(runnable=len(waits), oldest_age_s=max(0.0, now - min(waits, default=now)))


async def _due(journal: Journal, directory: Directory, now: float, shards: Collection[int]) -> Sequence[SearchRow]:
    """Return the first page in which somebody waits: those set aside stay due for ever, and may fill whole pages."""
    after: tuple[float, str] | None = None
    for _ in range(RUNNABLE_PAGES_MAX):
        page = await journal.due(now, RUNNABLE_ROWS_MAX, after, shards)
        if len(page) < RUNNABLE_ROWS_MAX or not all(directory.knows(row.saga_id) for row in page):
            return page
        after = (page[-1].wake_at or now, page[-1].saga_id)
    return ()
