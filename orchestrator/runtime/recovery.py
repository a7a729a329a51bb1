"""Takes up what needs an actor: after a start all that is awake, and for ever those whose time has come.

::

      journal: awake, or waiting for children  --- once, when its shard is ---->  take up
                                                   taken over: at start, with
                                                   one process
      journal: due within the next look        --- every half second -------->  take up; its timer then fires exactly
      journal: awake, and nobody has it        --- every minute, must be none ->  take up, and say so (I35)

What sleeps costs nothing here: neither a task nor a row in memory, nor a row read at start. Recovery is not an event
but a standing property (I35): a saga that is not terminal is active, or asleep until something that is in the journal,
or was handed a message. Each saga is taken up alone; one that cannot be read is quarantined and hinders no other.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping

from orchestrator.errors import IntegrityError, JournalUnavailable, NotOwner, OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import (
    JOURNAL_AWAY_PAUSE_S,
    LONG_AT_ONCE,
    LONG_RECORDS,
    ORPHANS_INTERVAL_S,
    RECOVERY_CALLS_MAX,
    RECOVERY_PAGE_ROWS,
    RECOVERY_PAUSE_S,
    RECOVERY_RECORDS_A_TURN,
    RECOVERY_SAGA_RECORDS,
    RECOVERY_STALL_S,
    SWEEP_INTERVAL_S,
)
from orchestrator.logscope import of_saga
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import Invoker
from orchestrator.ports.journal import Journal, Rest, SearchRow
from orchestrator.ports.ownership import Ownership
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.rows import rest_of
from orchestrator.tasks import Tasks

BeforeTimers = Callable[[Collection[int]], Awaitable[None]]

logger = logging.getLogger("orchestrator.recovery")


class Recovery:
    """Finds work that has no actor."""

    def __init__(
        self, journal: Journal, directory: Directory, invoker: Invoker, clock: Clock, ownership: Ownership
    ) -> None:
        """Take the ports; nothing happens before `recover` or `sweep`."""
        self._ownership = ownership
        self._taken: set[int] = set()
        """Shards that were taken over and are not walked yet."""
        self._took_at: dict[int, float] = {}
        """Since when each shard is this process's, as far as it was ever."""
        self._has_taken = asyncio.Event()
        self._swept: set[int] = set()
        """Shards whose timers are looked after."""
        self.before_timers: BeforeTimers | None = None
        """Done first for every shard that is taken over."""
        self._journal = journal
        self._directory = directory
        self._invoker = invoker
        self._clock = clock
        self._tasks = Tasks()
        self._long: set[SagaId] = set()
        """Sagas of many records that are being read beside the others."""
        self._room_for_long = asyncio.Semaphore(LONG_AT_ONCE)
        self._untaken: deque[SearchRow] = deque()
        """Read, and still to be taken up."""
        self.recovered_count = 0
        self.orphaned_count = 0
        """Sagas found without an actor that should have had one: a bug each."""
        self._calls_max = RECOVERY_CALLS_MAX

    def took(self, shards: Collection[int]) -> None:
        """Hear of shards that this process has taken over: what is awake there is taken up.

        What others left for their sagas comes first, then their timers (I31).
        """
        self._took_at.update(dict.fromkeys(shards, self._clock.now()))
        if self.before_timers is None:
            self._begin(shards)
        else:
            self._swept.difference_update(shards)
            for shard in shards:  # one whose letters hang delays no other
                self._tasks.spawn(self._begin_after(self.before_timers, shard), self._was_not_begun)

    def untaken(self) -> Mapping[SagaId, float]:
        """Return sagas still to be taken up, a page of them, and since when each waits for this process."""
        return {row.saga_id: max(row.updated_at, self._took_at.get(row.shard, 0.0)) for row in self._untaken}

    async def _begin_after(self, first: BeforeTimers, shard: int) -> None:
        try:
            await first((shard,))
        except JournalUnavailable:
            logger.debug("what was left for shard %d is looked for again, with everything else", shard)
        self._begin((shard,))

    def _begin(self, shards: Collection[int]) -> None:
        self._swept.update(shards)
        self._taken.update(shards)
        self._has_taken.set()

    def _was_not_begun(self, error: BaseException) -> None:
        logger.error("shards that were taken over are not looked after; start this process anew", exc_info=error)

    async def recover(self) -> None:
        """For ever: take up all that is awake where a shard was taken over, and look whether somebody has been lost."""
        suspects: Mapping[SagaId, int] = {}
        loop = asyncio.get_running_loop()
        looks_at = loop.time() + ORPHANS_INTERVAL_S
        while True:
            try:
                async with asyncio.timeout_at(looks_at):
                    await self._has_taken.wait()
            except TimeoutError:
                suspects = await self._take_up_orphans(suspects)
                looks_at = loop.time() + ORPHANS_INTERVAL_S
            else:
                self._has_taken.clear()
                await self._recover_all()

    async def _recover_all(self) -> None:
        """Activate every saga that is awake, page by page, no faster than the services can take it."""
        shards, self._taken = self._taken, set()
        before = self.recovered_count
        try:
            self._untaken.extend(await self._journal.awake("", RECOVERY_PAGE_ROWS, shards))
            taken = read = 0
            while self._untaken:
                await self._take_up(self._untaken[0])
                last = self._untaken.popleft()
                taken, read = taken + 1, read + last.version + RECOVERY_SAGA_RECORDS
                if not self._untaken:  # looked for before the pause, so that whoever asks is told of more
                    self._untaken.extend(await self._journal.awake(last.saga_id, RECOVERY_PAGE_ROWS, shards))
                if read >= RECOVERY_RECORDS_A_TURN or not self._has_room(taken):
                    taken = read = 0
                    await self._breathe()
        except JournalUnavailable:
            self._untaken.clear()
            self._taken |= shards  # they are walked again, by whoever goes on when it is back
            self._has_taken.set()
            raise
        if self.recovered_count > before:
            logger.info("took up %d unfinished sagas", self.recovered_count - before)

    async def _take_up_orphans(self, suspects: Mapping[SagaId, int]) -> Mapping[SagaId, int]:
        """Take up who was found without an actor twice, unchanged; return who was found so for the first time.

        Once is no sign: a row is read while its saga comes and goes.
        """
        found: dict[SagaId, int] = {}
        after = ""
        while rows := await self._journal.awake(after, RECOVERY_PAGE_ROWS, self._ownership.owned()):
            for row in rows:
                waits_here = row.rest is Rest.CHILDREN and self._is_mine(row)
                if waits_here or self._directory.knows(row.saga_id):
                    continue
                if suspects.get(row.saga_id) != row.version:
                    found[row.saga_id] = row.version
                    continue
                if not await self._is_orphan(row):
                    found[row.saga_id] = row.version
                    continue
                self.orphaned_count += 1
                about = of_saga(row.saga_id, definition=row.definition)
                logger.error("saga %s had no actor; it gets one; please report this (I35)", row.saga_id, extra=about)
                await self._take_up(row)
            after = rows[-1].saga_id
            await asyncio.sleep(0)  # one turn: reading the journal may not have waited
        return found

    def _is_mine(self, row: SearchRow) -> bool:
        """Return whether this process wrote the row, in this life of its shard."""
        try:
            return row.epoch == self._ownership.epoch(row.shard)
        except NotOwner:
            return False

    async def _is_orphan(self, row: SearchRow) -> bool:
        """Return whether the saga needs an actor by its records; its row says so of one that a drain put to sleep.

        What cannot be read is one: taking it up sets it aside for a person.
        """
        try:
            state = await self._directory.state(row.saga_id)
        except OrchestratorError:
            return True
        rests = rest_of(state, is_draining=False) is Rest.ASLEEP
        return not (rests or self._directory.knows(row.saga_id))

    async def sweep(self) -> None:
        """For ever: bring back the sagas that are due before the next look."""
        while True:
            await self._wake_due(self._clock.now() + SWEEP_INTERVAL_S)
            await asyncio.sleep(SWEEP_INTERVAL_S)

    async def _wake_due(self, before_at: float) -> None:
        """Were it to wait for calls, one hung service would stop all timers; it waits for room alone."""
        swept = [shard for shard in self._ownership.owned() if shard in self._swept]
        if not swept:
            return
        after: tuple[float, str] | None = None
        while rows := await self._journal.due(before_at, RECOVERY_PAGE_ROWS, after, swept):
            for row in rows:
                if self._directory.wake(row.saga_id) is None and self._directory.has_room:
                    await self._take_up(row)
                    await asyncio.sleep(0)  # one turn, as in recovery
            after = (rows[-1].wake_at or before_at, rows[-1].saga_id)

    async def _take_up(self, row: SearchRow) -> None:
        """Bring a saga back; one that takes seconds to be read must not keep the others from waking in time."""
        if self._directory.knows(row.saga_id):
            return
        if row.version < LONG_RECORDS:
            await self._bring_back(row.saga_id)
        elif row.saga_id not in self._long:
            self._long.add(row.saga_id)
            self._tasks.spawn(self._bring_back_long(row.saga_id), self._was_not_brought_back)

    async def _bring_back_long(self, saga_id: SagaId) -> None:
        try:
            async with self._room_for_long:
                while True:
                    try:
                        return await self._bring_back(saga_id)
                    except JournalUnavailable:
                        if self._journal.failed is not None:
                            raise
                    await asyncio.sleep(JOURNAL_AWAY_PAUSE_S)
        finally:
            self._long.discard(saga_id)

    def _was_not_brought_back(self, error: BaseException) -> None:
        logger.error("taking up a long saga failed; it is found again; please report this", exc_info=error)

    async def close(self) -> None:
        """Stop what is on its way; the next process begins it anew."""
        await self._tasks.cancel()

    async def _bring_back(self, saga_id: SagaId) -> None:
        try:
            self._directory.rest(await self._directory.actor(saga_id))
            self.recovered_count += 1
        except IntegrityError as error:
            self._directory.supervisor.quarantine(saga_id, error)
        except NotOwner:
            logger.debug("saga %s is another process's by now", saga_id, extra=of_saga(saga_id))
        except JournalUnavailable:
            raise
        except OrchestratorError as error:
            logger.warning("saga %s was not taken up: %s", saga_id, error, extra=of_saga(saga_id))

    async def _breathe(self) -> None:
        """Let the event loop turn, and the services keep up, before the next few sagas.

        Calls that do not end hold back nobody for long: after a while without room, as many again may be open.
        """
        await asyncio.sleep(0)  # one turn: reading the journal may not have waited
        if self._open_calls() >= self._calls_max:
            try:
                async with asyncio.timeout(RECOVERY_STALL_S):
                    while self._open_calls() >= self._calls_max:  # noqa: ASYNC110  # a rate, not a fact
                        await asyncio.sleep(RECOVERY_PAUSE_S)
            except TimeoutError:
                self._calls_max = self._open_calls() + RECOVERY_CALLS_MAX
        while not self._directory.has_room:  # noqa: ASYNC110  # a rate as well
            await asyncio.sleep(RECOVERY_PAUSE_S)

    def _has_room(self, taken: int) -> bool:
        """Return whether another saga may be taken up in this turn, in which the calls of so many are still to come."""
        return self._open_calls() + taken < self._calls_max and self._directory.has_room

    def _open_calls(self) -> int:
        return sum(self._invoker.in_flight().values())
