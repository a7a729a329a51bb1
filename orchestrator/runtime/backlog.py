"""How far this process is behind: sagas of its shards that could move, and that it has not taken up.

Two kinds of them wait without an actor: those whose timer is over, which lie in the journal by the instant that it was
due, and, after a start or a take-over, those that recovery has not come to, of which it knows a page. A process that
keeps up has neither: the sweep brings a saga back before its timer fires, and a message brings it back at once.

What waits inside an active saga is not here: that is the event loop's lateness, and the depth of mailboxes.
"""

from collections.abc import Iterable

from orchestrator.limits import RUNNABLE_ROWS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Journal, SearchRow
from orchestrator.ports.observer import Backlog
from orchestrator.ports.ownership import Ownership
from orchestrator.runtime.directory import Directory


async def look(
    journal: Journal, directory: Directory, ownership: Ownership, clock: Clock, untaken: Iterable[SearchRow]
) -> Backlog:
    """Look at the earliest of the timers that are over, and at what recovery has still to take up."""
    now = clock.now()
    shards = ownership.owned()
    due = await journal.due(now, RUNNABLE_ROWS_MAX, None, shards) if shards else ()
    since = {row.saga_id: row.wake_at or now for row in due} | {row.saga_id: row.updated_at for row in untaken}
    waits = [at for saga_id, at in since.items() if not directory.knows(saga_id)]
    return Backlog(runnable=len(waits), oldest_age_s=max(0.0, now - min(waits, default=now)))
